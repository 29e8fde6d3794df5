package asm

import (
	"github.com/mmcloughlin/avo/build"
	"github.com/mmcloughlin/avo/operand"
)

// Argument returns where a parameter lies, for instructions that read it there. avo's Load of a float is an instruction from before AVX, and such a one among those
// of AVX takes as long as a hundred others on Intel's processors, which put away the upper halves of all vectors for it.
func Argument(name string) operand.Op {
	b, err := build.Param(name).Resolve()
	if err != nil {
		panic(err)
	}
	return b.Addr
}
