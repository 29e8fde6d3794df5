package data

import (
	"slices"
	"testing"

	"github.com/ftprop/ftprop/internal/gtest"
)

// The views hold what the copies hold, and look at the source.
func TestSplitIsSetSplit(t *testing.T) {
	s, err := Digits()
	if err != nil {
		t.Fatal(err)
	}
	train, test, err := s.Split(0.2, 7)
	if err != nil {
		t.Fatal(err)
	}
	rest, held, err := Split(s, 0.2, 7)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		copied *Set
		view   Source
	}{{train, rest}, {test, held}} {
		if c.view.N() != c.copied.N() || c.view.NumClasses() != 10 {
			t.Fatalf("%d images of %d classes, want %d of 10", c.view.N(), c.view.NumClasses(), c.copied.N())
		}
		x := make([]float32, 64)
		for i := range c.copied.N() {
			y, err := c.view.Sample(i, nil, x)
			if err != nil || y != c.copied.Y[i] || !slices.Equal(x, c.copied.Image(i)) {
				t.Fatalf("image %d differs: %v", i, err)
			}
		}
	}
	sub, err := Subset(held, []int{3, 3})
	if err != nil {
		t.Fatal(err)
	}
	test.Image(3)[0] = 5
	if x := sample(t, sub, 1, nil); x[0] == 5 {
		t.Error("a view of the source shows the copy")
	}
	_, err = sub.Sample(2, nil, make([]float32, 64))
	gtest.WantError(t, "index", err, "image 2 of 2")
	_, err = Subset(s, []int{0, 1797})
	gtest.WantError(t, "index", err, "index 1 asks for image 1797 of 1797")
	_, err = Subset(nil, nil)
	gtest.WantError(t, "nil", err, "no source")
	for _, share := range []float64{0, 1, 1e-9} {
		_, _, err = Split(s, share, 1)
		gtest.WantError(t, "share", err, "share")
	}
}

func TestSpread(t *testing.T) {
	for _, c := range []struct {
		n, total int
		want     []int
	}{
		{3, 9, []int{0, 3, 6}},
		{4, 10, []int{0, 2, 5, 7}},
		{5, 3, []int{0, 1, 2}},
		{0, 3, []int{}},
		{-1, 3, []int{}},
		{2, 0, []int{}},
		{1, 1, []int{0}},
	} {
		if got := Spread(c.n, c.total); !slices.Equal(got, c.want) {
			t.Errorf("Spread(%d, %d) = %v, want %v", c.n, c.total, got, c.want)
		}
	}
}
