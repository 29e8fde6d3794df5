package data

import (
	"fmt"
	"math"
	"slices"
	"testing"

	"github.com/ftprop/ftprop/internal/gtest"
)

// A seed names an order in results that people publish: it must not drift with
// the version of Go or the processor.
func TestPermutationIsPinned(t *testing.T) {
	if got, want := Permutation(10, 1), []int{6, 3, 1, 9, 7, 4, 8, 2, 0, 5}; !slices.Equal(got, want) {
		t.Errorf("Permutation(10, 1) = %v, want %v", got, want)
	}
	if got, want := Permutation(70000, 3)[:4], []int{55234, 9682, 50312, 19395}; !slices.Equal(got, want) {
		t.Errorf("Permutation(70000, 3) starts %v, want %v", got, want)
	}
	all := Permutation(1000, 7)
	slices.Sort(all)
	for i, v := range all {
		if i != v {
			t.Fatalf("%d stands where %d belongs: not a permutation", v, i)
		}
	}
	for _, n := range []int{0, -1} {
		if got := Permutation(n, 1); len(got) != 0 {
			t.Errorf("Permutation(%d, 1) = %v, want none", n, got)
		}
	}
}

// Whatever a caller puts into the fields, the methods return errors.
func TestMalformedSets(t *testing.T) {
	for _, s := range []*Set{
		{},
		{X: make([]float32, 4), Y: []int{0}, Channels: 1, Height: 2, Width: 2},
		{X: make([]float32, 3), Y: []int{0}, Channels: 1, Height: 2, Width: 2, Classes: 1},
		{X: make([]float32, 4), Y: []int{0, 0}, Channels: 1, Height: 2, Width: 2, Classes: 1},
		{X: make([]float32, 4), Y: []int{0}, Channels: -1, Height: -2, Width: 2, Classes: 1},
		{X: make([]float32, 4), Y: []int{0}, Channels: math.MaxInt, Height: 2, Width: 2, Classes: 1},
		{Y: []int{0, 0}, Channels: math.MaxInt, Height: 1, Width: 1, Classes: 1},
	} {
		name := fmt.Sprintf("%+v", *s)
		if err := s.Validate(); err == nil {
			t.Errorf("%s: Validate: no error", name)
		}
		if err := s.Normalize([]float32{0}, []float32{1}); err == nil {
			t.Errorf("%s: Normalize: no error", name)
		}
		if _, err := s.Subset([]int{0}); err == nil {
			t.Errorf("%s: Subset: no error", name)
		}
		if err := s.Batch(make([]float32, 4), make([]int, 1), []int{0}); err == nil {
			t.Errorf("%s: Batch: no error", name)
		}
		if _, _, err := s.Split(0.5, 1); err == nil {
			t.Errorf("%s: Split: no error", name)
		}
	}
}

func TestErrorsLeaveDataAlone(t *testing.T) {
	s := &Set{X: []float32{1, 2, 3, 4}, Y: []int{0, 1}, Channels: 2, Height: 1, Width: 1, Classes: 2}
	inf, nan := float32(math.Inf(1)), float32(math.NaN())
	for _, c := range [][2][]float32{
		{{0, nan}, {1, 1}}, {{0, 0}, {1, inf}}, {{0, 0}, {1, nan}}, {{0, 0}, {1, -1}}, {{0, 0}, {1}}, {{0, 0, 0}, {1, 1}},
	} {
		if err := s.Normalize(c[0], c[1]); err == nil {
			t.Errorf("Normalize(%v, %v): no error", c[0], c[1])
		}
	}
	if want := []float32{1, 2, 3, 4}; !slices.Equal(s.X, want) {
		t.Errorf("a failed Normalize left %v, want %v", s.X, want)
	}
	x, y := []float32{-1, -1, -1, -1}, []int{-1, -1}
	if err := s.Batch(x, y, []int{0, -1}); err == nil {
		t.Error("Batch: no error for image -1")
	}
	if x[0] != -1 || y[0] != -1 {
		t.Errorf("a failed Batch left %v and %v", x, y)
	}
}

func TestSubsetCopies(t *testing.T) {
	s := &Set{X: []float32{1, 2, 3, 4}, Y: []int{0, 1}, Channels: 1, Height: 1, Width: 2, Classes: 2}
	sub, err := s.Subset([]int{1, 1, 0})
	if err != nil {
		t.Fatal(err)
	}
	if want := []float32{3, 4, 3, 4, 1, 2}; !slices.Equal(sub.X, want) || !slices.Equal(sub.Y, []int{1, 1, 0}) {
		t.Errorf("%v, %v; want pixels %v", sub.X, sub.Y, want)
	}
	sub.X[0] = 9
	if s.X[2] != 3 {
		t.Error("writing to a subset changes the set")
	}
	view := s.Image(0)
	view[1] = 7
	if s.X[1] != 7 || cap(view) != 2 {
		t.Errorf("Image: %v with capacity %d, want a view of 2 pixels", view, cap(view))
	}
}

func TestSplitAndBatch(t *testing.T) {
	s, err := Digits()
	if err != nil {
		t.Fatal(err)
	}
	a, b, err := s.Split(0.2, 7)
	if err != nil {
		t.Fatal(err)
	}
	if a.N() != 1438 || b.N() != 359 {
		t.Errorf("split %d + %d, want 1438 + 359", a.N(), b.N())
	}
	a2, _, _ := s.Split(0.2, 7)
	if fmt.Sprint(a.Y) != fmt.Sprint(a2.Y) {
		t.Error("the same seed splits differently")
	}
	a3, _, _ := s.Split(0.2, 8)
	if fmt.Sprint(a.Y) == fmt.Sprint(a3.Y) {
		t.Error("another seed splits the same")
	}
	// Together the halves hold every image once.
	total := func(x []float32) (sum float64) {
		for _, v := range x {
			sum += float64(v)
		}
		return sum
	}
	if d := total(a.X) + total(b.X) - total(s.X); math.Abs(d) > 1e-6 {
		t.Errorf("pixel sums differ by %v", d)
	}
	for _, share := range []float64{0, 1, -1, 1e-9, math.NaN()} {
		_, _, err := s.Split(share, 1)
		gtest.WantError(t, "split", err, "share")
	}
	x, y := make([]float32, 2*64), make([]int, 2)
	if err := s.Batch(x, y, []int{5, 3}); err != nil {
		t.Fatal(err)
	}
	if y[0] != s.Y[5] || x[64+20] != s.Image(3)[20] {
		t.Error("batch holds other images")
	}
	gtest.WantError(t, "index", s.Batch(x, y, []int{5, 1797}), "image 1797 of 1797")
	gtest.WantError(t, "room", s.Batch(x, y, []int{5}), "room for 2 labels")
	if n := testing.AllocsPerRun(10, func() { _ = s.Batch(x, y, []int{5, 3}) }); n > 0 {
		t.Errorf("Batch allocates %v times", n)
	}
}

func TestNormalizeAndValidate(t *testing.T) {
	s := &Set{X: []float32{1, 2, 3, 4}, Y: []int{0}, Channels: 2, Height: 1, Width: 2, Classes: 1}
	if err := s.Normalize([]float32{1, 3}, []float32{1, 2}); err != nil {
		t.Fatal(err)
	}
	if fmt.Sprint(s.X) != "[0 1 0 0.5]" {
		t.Errorf("normalised: %v", s.X)
	}
	gtest.WantError(t, "means", s.Normalize([]float32{1}, []float32{1}), "2 channels")
	gtest.WantError(t, "std", s.Normalize([]float32{1, 1}, []float32{1, 0}), "positive")
	bad := *s
	bad.Y = []int{1}
	gtest.WantError(t, "label", bad.Validate(), "label 1", "0 to 0")
	bad = *s
	bad.X = []float32{1, float32(math.NaN()), 0, 0}
	gtest.WantError(t, "NaN", bad.Validate(), "NaN")
	bad.X = bad.X[:3]
	gtest.WantError(t, "pixels", bad.Validate(), "3 pixels")
	gtest.WantError(t, "empty", (&Set{}).Validate(), "empty")
}

// The training set has mean 0 and variance 1 in each channel, and the other sets are shifted and scaled with it.
func TestStandardize(t *testing.T) {
	train := &Set{X: []float32{0, 2, 10, 10, 4, 6, 20, 40}, Y: []int{0, 0}, Channels: 2, Height: 1, Width: 2, Classes: 1}
	test := &Set{X: []float32{3, 3, 20, 20}, Y: []int{0}, Channels: 2, Height: 1, Width: 2, Classes: 1}
	if err := Standardize(train, test); err != nil {
		t.Fatal(err)
	}
	for c := range 2 {
		var sum, squares float64
		for i := range 2 {
			for _, x := range train.Image(i)[2*c : 2*c+2] {
				sum += float64(x)
				squares += float64(x) * float64(x)
			}
		}
		if math.Abs(sum) > 1e-6 || math.Abs(squares/3-1) > 1e-6 {
			t.Errorf("channel %d: sum %v, squares %v", c, sum, squares)
		}
	}
	for i, x := range test.X { // the means
		if math.Abs(float64(x)) > 1e-6 {
			t.Errorf("test pixel %d is %v, want 0", i, x)
		}
	}
	even := &Set{X: []float32{1, 1}, Y: []int{0, 0}, Channels: 1, Height: 1, Width: 1, Classes: 1}
	gtest.WantError(t, "all equal", Standardize(even), "data: Standardize", "standard deviation of channel 0 is 0")
	gtest.WantError(t, "channels", Standardize(train, even), "data: Standardize", "2 means")
	gtest.WantError(t, "layout", Standardize(&Set{}), "data: Standardize")
}
