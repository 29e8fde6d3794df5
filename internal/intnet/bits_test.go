package intnet

import (
	"slices"
	"testing"
)

func TestWeightBits(t *testing.T) {
	for _, c := range []struct {
		w     []int8
		width int
		bytes []byte
	}{
		{[]int8{1, -1, -1, 1, -1, -1, -1, 1, 1}, 1, []byte{0b1000_1001, 0b1}},
		{[]int8{1, 0, -1}, 2, []byte{0b01_10_11}},
		{[]int8{-2, 1, 0, 0, 1}, 2, []byte{0b10_10_11_00, 0b11}},
		{[]int8{0}, 2, []byte{2}},
		{[]int8{-8, 7, 2}, 4, []byte{0xf0, 0x0a}},
		{[]int8{-128, 127, 0}, 8, []byte{0, 255, 128}},
		{[]int8{8}, 8, []byte{136}},
		{[]int8{-9}, 8, []byte{119}},
		{[]int8{2}, 4, []byte{10}},
		{[]int8{-3}, 4, []byte{5}},
	} {
		width := weightWidth(c.w)
		b := packWeights(c.w, width)
		if width != c.width || !slices.Equal(b, c.bytes) || packedSize(len(c.w), width) != len(b) {
			t.Errorf("%v: %d bits, %v, want %d, %v", c.w, width, b, c.width, c.bytes)
		}
		if got := unpackWeights(b, width, len(c.w)); !slices.Equal(got, c.w) {
			t.Errorf("%v: unpacked %v", c.w, got)
		}
	}
	if got := transpose([]int8{1, 2, 3, 4, 5, 6}, 2, 3); !slices.Equal(got, []int8{1, 4, 2, 5, 3, 6}) {
		t.Errorf("transposed %v", got)
	}
}
