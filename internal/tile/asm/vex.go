package main

import (
	"fmt"
	"os"
	"regexp"
	"strconv"
	"strings"
)

// vexSet is part of the names of kernels for processors with AVX-VNNI but not AVX-512.
const vexSet = "AVXVNNI"

var (
	function = regexp.MustCompile(`^TEXT ·(\w+)\(SB\)`)
	requires = regexp.MustCompile(`^// Requires: .*AVX512VNNI`)
	vpdpbusd = regexp.MustCompile(`^\tVPDPBUSD +Y(\d+), Y(\d+), Y(\d+)$`)
)

// vex rewrites a file of assembly: the VPDPBUSD of kernels of vexSet become bytes. Go's assembler knows that instruction as a part of AVX-512
// only, with a prefix (EVEX) that processors without AVX-512 do not decode.
func vex(file string) error {
	text, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	out, err := vexText(string(text))
	if err != nil {
		return err
	}
	return os.WriteFile(file, []byte(out), 0o644)
}

func vexText(text string) (string, error) {
	lines := strings.Split(text, "\n")
	of, head := "", 0 // the function, and the line of its comment that says what it requires
	for i, line := range lines {
		if requires.MatchString(line) {
			head = i
		}
		if m := function.FindStringSubmatch(line); m != nil {
			if of = m[1]; strings.Contains(of, vexSet) {
				lines[head] = "// Requires: AVX, AVX2, AVXVNNI"
			}
		}
		if !strings.Contains(of, vexSet) || !strings.Contains(line, "VPDPBUSD") {
			continue
		}
		m := vpdpbusd.FindStringSubmatch(line)
		if m == nil {
			return "", fmt.Errorf("%s: %q, want three registers of 32 bytes", of, line)
		}
		var registers [3]int
		for k := range registers {
			registers[k], _ = strconv.Atoi(m[k+1])
			if registers[k] > 15 {
				return "", fmt.Errorf("%s: %q, want registers Y0 to Y15", of, line)
			}
		}
		b := vpdpbusdVEX(registers[0], registers[1], registers[2])
		lines[i] = fmt.Sprintf("\tLONG $0x%02x%02x%02x%02x; BYTE $0x%02x // %s", b[3], b[2], b[1], b[0], b[4], strings.Join(strings.Fields(line), " "))
	}
	return strings.Join(lines, "\n"), nil
}

// vpdpbusdVEX encodes VPDPBUSD of Y registers by number, in Go's order: signed weights, unsigned inputs, and the sums they are added to. It is
// VEX.256.66.0F38.W0 50 /r in Intel's manual, volume 2.
func vpdpbusdVEX(weights, inputs, sums int) [5]byte {
	inverted := func(number, bit int) byte { return byte(^number >> 3 & 1 << bit) } // the registers' highest bits
	const x = 1 << 6                                                                // of an index in memory, of which there is none
	const map0F38, wide, prefix66, registers = 2, 1 << 2, 1, 3 << 6
	return [5]byte{
		0xc4,
		inverted(sums, 7) | x | inverted(weights, 5) | map0F38,
		byte(^inputs&15<<3) | wide | prefix66,
		0x50,
		byte(registers | sums&7<<3 | weights&7),
	}
}
