package intnet

// weightWidth returns in how many bits weights are kept: as few of 1, 2, 4 and 8 as they need. One bit is for weights that are all -1 or 1.
func weightWidth(w []int8) int {
	signs, low, high := true, int8(0), int8(0)
	for _, v := range w {
		signs = signs && (v == 1 || v == -1)
		low, high = min(low, v), max(high, v)
	}
	switch {
	case signs:
		return 1
	case low >= -2 && high <= 1:
		return 2
	case low >= -8 && high <= 7:
		return 4
	}
	return 8
}

// weightZero is what stands for 0 among unpacked weights: of signs, which unpack to 0 and 2, it is 1.
func weightZero(width int) uint8 { return 1 << (width - 1) }

// packedSize is how many bytes n weights take.
func packedSize(n, width int) int {
	perByte := 8 / width
	return n/perByte + (n%perByte+perByte-1)/perByte
}

// packWeights lays weights side by side, the first in the lowest bits of the first byte: w plus the zero, or for signs a bit that is set for 1.
func packWeights(w []int8, width int) []byte {
	b := make([]byte, packedSize(len(w), width))
	perByte := 8 / width
	for i, v := range w {
		u := uint8(v) + weightZero(width)
		if width == 1 {
			u >>= 1
		}
		b[i/perByte] |= u << (i % perByte * width)
	}
	return b
}

// unpackWeights returns n weights of a width.
func unpackWeights(b []byte, width, n int) []int8 {
	w := make([]int8, n)
	perByte := 8 / width
	for i := range w {
		u := b[i/perByte] << (8 - width*(i%perByte+1)) >> (8 - width)
		if width == 1 {
			u <<= 1
		}
		w[i] = int8(u - weightZero(width))
	}
	return w
}

// transpose turns the rows of a matrix into columns.
func transpose(w []int8, rows, columns int) []int8 {
	out := make([]int8, len(w))
	for i := range rows {
		for j := range columns {
			out[j*rows+i] = w[i*columns+j]
		}
	}
	return out
}
