package vec

import (
	"math"
	"testing"
)

func TestFlush(t *testing.T) {
	defer func(k *kernels) { best = k }(best)
	single := []float32{1, 0x1p-126, 0x1.fffffcp-127, 0x1p-149, 0, float32(math.Copysign(0, -1)), float32(math.NaN()), float32(math.Inf(1))}
	double := []float64{1, 0x1p-1022, 0x1.ffffffffffffep-1023, 0x1p-1074, 0, math.Copysign(0, -1), math.NaN(), math.Inf(1)}
	for _, best = range available() {
		for _, sign := range []float64{1, -1} {
			var x []float32
			var y []float64
			for i := range single {
				x, y = append(x, float32(sign)*single[i]), append(y, sign*double[i])
			}
			wantX, wantY := append([]float32(nil), x...), append([]float64(nil), y...)
			for i := 2; i < 6; i++ {
				wantX[i], wantY[i] = 0, 0
			}
			Flush(x)
			Flush(y)
			for i := range x {
				if !same(x[i], wantX[i]) {
					t.Errorf("%s: float32 %v becomes %v, want %v", best.name, float32(sign)*single[i], x[i], wantX[i])
				}
				if math.Float64bits(y[i]) != math.Float64bits(wantY[i]) && y[i] == y[i] {
					t.Errorf("%s: float64 %v becomes %v, want %v", best.name, sign*double[i], y[i], wantY[i])
				}
			}
		}
	}
}
