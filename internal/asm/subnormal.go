// Package asm is what the programs that write kernels share. Like them it is a module of its own, so that who uses the library does not depend on the
// assembler.
package asm

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
)

// NoSubnormals makes subnormal numbers, operands as well as results, count as 0 from here to where restore is called, which has to be before each RET. An
// operation with one takes a hundred times as long, and the gradients of deep networks, their squares and the weights behind units that are off are such
// numbers. The mode belongs to the thread, so it must not last beyond the kernel: what Go computes has to keep its subnormal numbers.
func NoSubnormals() (restore func()) {
	before := AllocLocal(4)
	during := AllocLocal(4)
	mode := GP32()
	STMXCSR(before)
	MOVL(before, mode)
	ORL(U32(1<<15|1<<6), mode) // flush to zero, denormals are zero
	MOVL(mode, during)
	LDMXCSR(during)
	return func() { LDMXCSR(before) }
}
