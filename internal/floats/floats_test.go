package floats_test

import (
	"bytes"
	"math"
	"testing"

	"github.com/ftprop/ftprop/internal/floats"
	"github.com/ftprop/ftprop/internal/gtest"
)

func TestBytes(t *testing.T) {
	if got := floats.Bytes([]float32{1, -2}); !bytes.Equal(got, []byte{0, 0, 0x80, 0x3f, 0, 0, 0, 0xc0}) {
		t.Errorf("%x", got)
	}
	if got := floats.Bytes([]float64{1}); !bytes.Equal(got, []byte{0, 0, 0, 0, 0, 0, 0xf0, 0x3f}) {
		t.Errorf("%x", got)
	}
	if got := floats.Single([]float64{0.1, 3}); got[0] != float32(0.1) || got[1] != 3 {
		t.Errorf("%v", got)
	}
}

func TestChecks(t *testing.T) {
	good := []float64{0, -1, math.MaxFloat32, -math.MaxFloat32}
	if err := floats.CheckSingle(good); err != nil {
		t.Error(err)
	}
	if err := floats.CheckFinite(append(good, 1e300)); err != nil {
		t.Error(err)
	}
	gtest.WantError(t, "large", floats.CheckSingle([]float64{0, 1e39}), "element 1", "float32")
	gtest.WantError(t, "NaN", floats.CheckFinite([]float64{0, math.NaN()}), "element 1", "finite")
	gtest.WantError(t, "infinite", floats.CheckFinite([]float64{math.Inf(-1)}), "element 0", "finite")
}
