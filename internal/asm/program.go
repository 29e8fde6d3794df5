package asm

import (
	"fmt"
	"go/format"
	"os"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// Declare writes the Go file that goes with the kernels, ../kernels_amd64.go. If it cannot, it ends the program, as Generate does.
func Declare(source string) {
	text, err := format.Source([]byte(source))
	if err == nil {
		err = os.WriteFile("../kernels_amd64.go", text, 0o644)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// Read reads 8 bytes into a new register.
func Read(m Mem) reg.GPVirtual {
	r := GP64()
	MOVQ(m, r)
	return r
}
