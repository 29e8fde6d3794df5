package data

import (
	"math"
	"testing"

	"github.com/ftprop/ftprop/internal/gtest"
)

// Over the borders of several blocks.
func TestImagesBlocks(t *testing.T) {
	m, err := newImages(1, 256, 256, 70)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 11 {
		pix := m.add(i * 6)
		pix[0], pix[len(pix)-1] = uint8(i), uint8(i+100)
	}
	if len(m.blocks) != 3 || m.N() != 11 {
		t.Fatalf("%d blocks of %d images, %d images", len(m.blocks), m.perBlock, m.N())
	}
	for i := range 11 {
		x := m.Image(i)
		if len(x) != 1<<16 || cap(x) != 1<<16 || int(x[0]) != i || int(x[len(x)-1]) != i+100 || m.Label(i) != i*6 {
			t.Errorf("image %d: %d pixels from %d to %d, label %d", i, len(x), x[0], x[len(x)-1], m.Label(i))
		}
	}
	defer func() {
		if recover() == nil {
			t.Error("Image(N) does not panic")
		}
	}()
	m.Image(11)
}

func TestNewImagesErrors(t *testing.T) {
	for _, c := range []struct {
		pix, labels, c, h, w, classes int
		want                          string
	}{
		{4, 1, 1, 2, 2, 0, "0 classes"},
		{4, 1, 1, 2, 2, 1<<16 + 1, "65537 classes"},
		{4, 1, 0, 2, 2, 1, "image size 0x2x2"},
		{4, 1, 1, math.MaxInt, math.MaxInt, 1, "at most"},
		{5, 1, 1, 2, 2, 1, "5 pixels and 1 labels"},
		{8, 1, 1, 2, 2, 1, "8 pixels and 1 labels"},
	} {
		_, err := NewImages(make([]uint8, c.pix), make([]int, c.labels), c.c, c.h, c.w, c.classes)
		gtest.WantError(t, c.want, err, "data: NewImages", c.want)
	}
	_, err := NewImages(make([]uint8, 2), []int{0, 3}, 1, 1, 1, 3)
	gtest.WantError(t, "label", err, "label 3 of image 1, want 0 to 2")
}

func TestImagesSet(t *testing.T) {
	m := gradient(t, 5, 2, 3, 3, 4)
	s := m.Set()
	if err := s.Validate(); err != nil {
		t.Fatal(err)
	}
	x := make([]float32, 18)
	for i := range 5 {
		y, err := m.Sample(i, nil, x)
		if err != nil || y != s.Y[i] || x[7] != s.Image(i)[7] || x[7] != float32(m.Image(i)[7])/255 {
			t.Errorf("image %d: label %d, pixel %v, error %v", i, y, x[7], err)
		}
	}
	_, err := m.Sample(5, nil, x)
	gtest.WantError(t, "index", err, "image 5 of 5")
	_, err = s.Sample(-1, nil, x)
	gtest.WantError(t, "index", err, "image -1 of 5")
}
