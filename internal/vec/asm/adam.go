package main

import (
	"github.com/ftprop/ftprop/internal/asm"
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// adam writes the kernel of solvers.Adam: products and sums are rounded one by one, as in Go, so that it gives the
// portable code's bits. It does whole vectors and returns how many elements are left. Subnormal numbers count as 0 while it runs.
func adam(s isa) {
	TEXT("adam"+s.name, NOSPLIT, "func(w, grad, m, v *float32, n int, c *float32) (left int)")
	Pragma("noescape")
	Doc("adam" + s.name + " takes a step of Adam with the nine coefficients of AdamStep at c, and zeroes grad.")
	w, g, m, v := Load(Param("w"), GP64()), Load(Param("grad"), GP64()), Load(Param("m"), GP64()), Load(Param("v"), GP64())
	n, c := Load(Param("n"), GP64()), Load(Param("c"), GP64())
	coef := make([]reg.VecVirtual, 9)
	for i := range coef {
		coef[i] = s.reg()
		VBROADCASTSS(Mem{Base: c, Disp: 4 * i}, coef[i])
	}
	b1, c1, b2, c2, step, unroot, eps, decay, keep := coef[0], coef[1], coef[2], coef[3], coef[4], coef[5], coef[6], coef[7], coef[8]
	restore := asm.NoSubnormals()
	Label("loop")
	CMPQ(n, U32(s.lanes))
	JL(LabelRef("done"))
	p, grad, t, u := s.reg(), s.reg(), s.reg(), s.reg()
	VMOVUPS(Mem{Base: w}, p)
	VMULPS(decay, p, grad)
	VADDPS(Mem{Base: g}, grad, grad)
	VMULPS(Mem{Base: m}, b1, t) // t = m
	VMULPS(grad, c1, u)
	VADDPS(u, t, t)
	VMOVUPS(t, Mem{Base: m})
	VMULPS(grad, c2, u)
	VMULPS(grad, u, grad)
	VMULPS(Mem{Base: v}, b2, u) // u = v
	VADDPS(grad, u, u)
	VMOVUPS(u, Mem{Base: v})
	VSQRTPS(u, u)
	VMULPS(unroot, u, u)
	VADDPS(eps, u, u)
	VMULPS(step, t, t)
	VDIVPS(u, t, t)
	VMULPS(keep, p, p)
	VADDPS(t, p, p)
	VMOVUPS(p, Mem{Base: w})
	if s.wide {
		VPXORD(grad, grad, grad)
	} else {
		VPXOR(grad, grad, grad)
	}
	VMOVUPS(grad, Mem{Base: g})
	for _, r := range []reg.Register{w, g, m, v} {
		ADDQ(U32(4*s.lanes), r)
	}
	SUBQ(U32(s.lanes), n)
	JMP(LabelRef("loop"))
	Label("done")
	restore()
	Store(n, ReturnIndex(0))
	VZEROUPPER()
	RET()
}
