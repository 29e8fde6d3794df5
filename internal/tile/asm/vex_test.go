package main

import (
	"strings"
	"testing"
)

// Encodings as GNU as writes them: {vex} vpdpbusd %ymm, %ymm, %ymm, whose operands are in the same order.
func TestVPDPBUSD(t *testing.T) {
	for _, c := range []struct {
		registers [3]int
		want      [5]byte
	}{
		{[3]int{0, 0, 0}, [5]byte{0xc4, 0xe2, 0x7d, 0x50, 0xc0}},
		{[3]int{1, 2, 3}, [5]byte{0xc4, 0xe2, 0x6d, 0x50, 0xd9}},
		{[3]int{8, 2, 3}, [5]byte{0xc4, 0xc2, 0x6d, 0x50, 0xd8}},
		{[3]int{1, 9, 3}, [5]byte{0xc4, 0xe2, 0x35, 0x50, 0xd9}},
		{[3]int{1, 2, 10}, [5]byte{0xc4, 0x62, 0x6d, 0x50, 0xd1}},
		{[3]int{13, 14, 15}, [5]byte{0xc4, 0x42, 0x0d, 0x50, 0xfd}},
	} {
		if got := vpdpbusdVEX(c.registers[0], c.registers[1], c.registers[2]); got != c.want {
			t.Errorf("registers %v: % x, want % x", c.registers, got, c.want)
		}
	}
}

func TestVEXText(t *testing.T) {
	const before = `
// func bytesAVX512_1x1(t *byte)
// Requires: AVX512VNNI
TEXT ·bytesAVX512_1x1(SB), NOSPLIT, $0-8
	VPDPBUSD Z1, Z2, Z3

// func bytesAVXVNNI_1(t *byte)
// Requires: AVX, AVX512VL, AVX512VNNI
TEXT ·bytesAVXVNNI_1(SB), NOSPLIT, $0-8
	VPDPBUSD     Y1, Y2, Y3
`
	want := strings.NewReplacer(
		"AVX, AVX512VL, AVX512VNNI", "AVX, AVX2, AVXVNNI",
		"\tVPDPBUSD     Y1, Y2, Y3", "\tLONG $0x506de2c4; BYTE $0xd9 // VPDPBUSD Y1, Y2, Y3",
	).Replace(before)
	if got, err := vexText(before); err != nil || got != want {
		t.Errorf("got %v\n%s\nwant\n%s", err, got, want)
	}
	for _, line := range []string{"VPDPBUSD Y1, Y2, Y16", "VPDPBUSD (AX), Y2, Y3", "VPDPBUSD Z1, Z2, Z3"} {
		if _, err := vexText("TEXT ·bytesAVXVNNI_1(SB)\n\t" + line); err == nil {
			t.Errorf("%s is no error", line)
		}
	}
}
