package main

import (
	"math"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// The kernels of this file have the coefficients of vec.Steps and read pre-activations x = z and gradients
// y = g. They follow the formulas in package vec, steps.go.

// Numbers of the coefficients in vec.lanes, each in all lanes of a vector: float64, then float32 of a kernel's own. Instructions read them from
// memory: registers would not do, and what is loaded by instructions of its own fills the processor's window, in which it works on several
// vectors at a time.
const (
	first     = iota // less it, z counts from the end of the staircase that t = +1 points away from
	minusLast        // for t = -1 and -z
	span
	inverse // of span
	perUnit
	highUp // the ends of the window of t = +1, in steps, negative: so a sum is never -0
	lowUp
	equalUp  // 1 as an integer where the window is closed below and open above
	highDown // the same of t = -1, in the order of the thresholds
	lowDown
	equalDown
	doubles // how many
)

// After a kernel's own coefficients come those of all.
const (
	open = 18 + iota // of one threshold: the window of t z is over open, up to closed
	closed
	perUnit32 // perUnit as a float32
	count
)

const lane = 64 // bytes of a coefficient: those of the largest vector

// double returns a coefficient in float64.
func (g *gen) double(i int) Mem { return Mem{Base: g.coefs, Disp: lane * i} }

// coef returns a coefficient in float32, one of a kernel's own or of all.
func (g *gen) coef(i int) Mem { return Mem{Base: g.coefs, Disp: lane * (doubles + i)} }

// half converts the lower (0) or the upper (1) half of a vector to float64.
func (g *gen) half(v reg.VecVirtual, i int) reg.VecVirtual {
	out := g.reg()
	switch {
	case i == 0 && g.wide:
		VCVTPS2PD(v.AsY(), out)
	case i == 0:
		VCVTPS2PD(v.AsX(), out)
	case g.wide:
		part := YMM()
		VEXTRACTF64X4(U8(1), v, part)
		VCVTPS2PD(part, out)
	default:
		part := XMM()
		VEXTRACTF128(U8(1), v, part)
		VCVTPS2PD(part, out)
	}
	return out
}

// joined converts two vectors of float64 to one of float32.
func (g *gen) joined(v [2]reg.VecVirtual) reg.VecVirtual {
	out := g.copy(g.none) // or the allocator takes its upper half for one that must be kept
	if g.wide {
		hi := YMM()
		VCVTPD2PS(v[0], out.AsY())
		VCVTPD2PS(v[1], hi)
		VINSERTF64X4(U8(1), hi, out, out)
	} else {
		hi := XMM()
		VCVTPD2PSY(v[0], out.AsX())
		VCVTPD2PSY(v[1], hi)
		VINSERTF128(U8(1), hi, out, out)
	}
	return out
}

// pickPD is pick for float64.
func (g *gen) pickPD(m Op, yes, no Mem) reg.VecVirtual {
	out, other := g.reg(), g.copy(no)
	if g.wide {
		VBLENDMPD(yes, other, m, out)
	} else {
		VBLENDVPD(m, yes, other, out)
	}
	return out
}

// A unit has a gradient g and the target t = -sign(g).
type unit struct {
	z    reg.VecVirtual // or t z
	g    reg.VecVirtual
	isUp Op // t = +1: a mask of which AVX2 has only the sign bits
}

// target is a unit as it is: it emits the mask.
func (g *gen) target(z, grad reg.VecVirtual) unit {
	u := unit{z: z, g: grad, isUp: grad}
	if g.wide {
		u.isUp = K()
		VPMOVD2M(grad, u.isUp)
	}
	return u
}

// turned is target with t z for z.
func (g *gen) turned(z, grad reg.VecVirtual) unit {
	t := g.reg()
	VANDNPS(g.operandBits(1<<31), grad, t)
	VXORPS(t, z, z)
	return g.target(z, grad)
}

// isUpHalf is the mask isUp of half a vector as one of float64.
func (g *gen) isUpHalf(u unit, i int) Op {
	if g.wide {
		if i == 0 {
			return u.isUp
		}
		k := K()
		KSHIFTRW(U8(8), u.isUp, k)
		return k
	}
	out, part := YMM(), u.g.AsX()
	if i == 1 {
		part = XMM()
		VEXTRACTF128(U8(1), u.g, part)
	}
	VPMOVSXDQ(part, out)
	return out
}

// steps is what the kernels know of a vector of units.
type steps struct {
	unit
	u        reg.VecVirtual // the coordinate, counted from the end of the staircase that the target points away from
	from, to reg.VecVirtual // the steps from the first to before the second have a slope; from is nil where it is 0
}

// steps emits coordinates and counts. What is at an edge is found in float64: float32 would lose units next to one, among them all that stand at
// an end of the staircase. In float32 the counts and what follows are good enough.
//
// The windows' ends are compared in the order of the thresholds, and the result turned for t = -1: so z next to 0 is not lost in a distance from
// the far end, either.
func (g *gen) steps(z, grad reg.VecVirtual) (s steps) {
	s.unit = g.target(z, grad)
	var u, from, to [2]reg.VecVirtual
	for i := range 2 {
		isUp := g.isUpHalf(s.unit, i)
		u[i] = g.coordinate(g.half(z, i), g.double(first))
		x := g.reg()
		VMULPD(g.double(perUnit), u[i], x)
		equal := g.pickPD(isUp, g.double(equalUp), g.double(equalDown))
		from[i] = g.above(x, g.pickPD(isUp, g.double(highUp), g.double(highDown)), equal)
		to[i] = g.above(x, g.pickPD(isUp, g.double(lowUp), g.double(lowDown)), equal)
	}
	fromEnd := func(v, whole reg.VecVirtual) reg.VecVirtual {
		VSUBPS(v, whole, whole)
		return g.pick(s.isUp, v, whole)
	}
	s.u = fromEnd(g.joined(u), g.value(1))
	s.from = fromEnd(g.counts(from), g.copy(g.coef(count)))
	s.to = fromEnd(g.counts(to), g.copy(g.coef(count)))
	g.pause()
	return s
}

// mirrored is steps, of several, for windows to which the same end belongs for t = +1 and t = -1 and that do not end at 0: with the staircase
// turned first both have the same edges. With all, they end only below: no step is above.
func (g *gen) mirrored(z, grad reg.VecVirtual, all bool) (s steps) {
	s.unit = g.turned(z, grad)
	var u, from, to [2]reg.VecVirtual
	for i := range 2 {
		u[i] = g.coordinate(g.half(s.z, i), g.pickPD(g.isUpHalf(s.unit, i), g.double(first), g.double(minusLast)))
		x := g.reg()
		VMULPD(g.double(perUnit), u[i], x)
		if !all {
			from[i] = g.above(x, g.double(highUp), g.double(equalUp))
		}
		to[i] = g.above(x, g.double(lowUp), g.double(equalUp))
		g.pause()
	}
	s.u = g.joined(u)
	s.to = g.counts(to)
	if !all {
		s.from = g.counts(from)
	}
	g.pause()
	return s
}

// coordinate is half a vector of float64, less base, by the span. It divides by Markstein's method, exact to the last bit: the product with the
// inverse, and its remainder's.
func (g *gen) coordinate(d reg.VecVirtual, base Op) reg.VecVirtual {
	q, r := g.reg(), g.double(inverse)
	VSUBPD(base, d, d)
	VMULPD(r, d, q)
	VFNMADD231PD(g.double(span), q, d)
	VFMADD231PD(r, d, q)
	return q
}

// above is how many steps are less than x - edge, minus edge being given, were there steps without end: where equal is 1, or equal to that. The
// next float64 after one that is not negative is that with the next integer for its bits.
func (g *gen) above(x reg.VecVirtual, edge, equal Op) reg.VecVirtual {
	k := g.reg()
	VADDPD(edge, x, k)
	VPADDQ(equal, k, k)
	g.ceilPD(k)
	return k
}

func (g *gen) ceilPD(v reg.VecVirtual) {
	if g.wide {
		VRNDSCALEPD(U8(up), v, v)
	} else {
		VROUNDPD(U8(up), v, v)
	}
}

// counts joins two halves, bounded by the number of steps there are.
func (g *gen) counts(v [2]reg.VecVirtual) reg.VecVirtual {
	k := g.joined(v)
	VMAXPS(g.none, k, k)
	VMINPS(g.coef(count), k, k)
	return k
}

const bound = 1e30 // of coordinates: no steps with a slope are that far away

func (g *gen) clamp(v reg.VecVirtual, most float64) reg.VecVirtual {
	out := g.reg()
	VMINPS(g.operand(most), v, out)
	VMAXPS(g.operand(-most), out, out)
	return out
}

// result is g v where there are steps, else 0.
func (g *gen) result(s steps, v reg.VecVirtual) reg.VecVirtual {
	from := s.from
	if from == nil {
		from = g.none
	}
	return g.weighted(s.g, g.keep(g.compare(lessThan, from, s.to), v))
}

// inWindow is g v where t z is in the window of one threshold, else 0.
func (g *gen) inWindow(u unit, v reg.VecVirtual) reg.VecVirtual {
	v = g.keep(g.compare(greater, u.z, g.coef(open)), v)
	return g.weighted(u.g, g.keep(g.compare(atMost, u.z, g.coef(closed)), v))
}

// weighted is g v, which it watches.
func (g *gen) weighted(grad, v reg.VecVirtual) reg.VecVirtual {
	VMULPS(grad, v, v)
	g.seen(v)
	return v
}

// polynomial is c[0] + c[1] x + ... + c[n-1] x^(n-1), c the coefficients from first on.
func (g *gen) polynomial(x reg.VecVirtual, first, n int) reg.VecVirtual {
	p := g.copy(g.coef(first + n - 1))
	for i := n - 2; i >= 0; i-- {
		VFMADD213PS(g.coef(first+i), x, p)
	}
	return p
}

// artanh is (artanh(w)/w - 1)/w^2 as a polynomial of w^2.
var artanh = []float64{0.33333331172828407, 0.2000059613671236, 0.14259420082246488, 0.1152771542613259, 0.061993736499490436, 0.16267942889979817}

// expm1 is (exp(y)-1)/y as a polynomial of y, 0 <= y <= 4/3, with a relative error of 2.9e-8 before rounding.
var expm1 = []float64{1.0000000286300785, 0.49999773858876495, 0.16669518221865315, 0.04153435659601817, 0.008620024907447245, 0.0010784824089113288, 0.0003559803230136994}

// atanh2 is 2 artanh(w), |w| <= 0.51, with a relative error of 7e-9 before rounding.
func (g *gen) atanh2(w reg.VecVirtual) reg.VecVirtual {
	q := g.reg()
	VMULPS(w, w, q)
	p := g.value(2 * artanh[len(artanh)-1])
	for i := len(artanh) - 2; i >= 0; i-- {
		VFMADD213PS(g.operand(2*artanh[i]), q, p)
	}
	VMULPS(q, p, p)
	w2 := g.reg()
	VADDPS(w, w, w2)
	VMULPS(w, p, p)
	VADDPS(w2, p, p)
	return p
}

func oneLinear(g *gen) func(z, grad reg.VecVirtual) reg.VecVirtual {
	return func(z, grad reg.VecVirtual) reg.VecVirtual {
		u, m := g.turned(z, grad), g.reg()
		VSUBPS(u.z, g.copy(g.coef(2)), m)
		VMULPS(g.coef(3), m, m)
		VADDPS(g.coef(4), m, m)
		return g.inWindow(u, g.targeted(u, m))
	}
}

// targeted is v where there is a target, else 0: it can be beyond float32, and infinity times 0 is no number.
func (g *gen) targeted(u unit, v reg.VecVirtual) reg.VecVirtual {
	return g.keep(g.compare(different, u.g, g.none), v)
}

func meanLinear(g *gen) func(z, grad reg.VecVirtual) reg.VecVirtual {
	return func(z, grad reg.VecVirtual) reg.VecVirtual {
		s := g.steps(z, grad)
		share, d := g.reg(), g.reg()
		VSUBPS(s.from, s.to, share)
		VMULPS(g.coef(0), share, share) // by 1/n
		VADDPS(s.from, s.to, d)
		VSUBPS(g.operand(1), d, d)
		VMULPS(g.coef(1), d, d) // by 1/2s
		limit := g.copy(g.coef(5))
		VMINPS(limit, s.u, s.u)
		VXORPS(g.operandBits(1<<31), limit, limit)
		VMAXPS(limit, s.u, s.u)
		VSUBPS(s.u, d, d)
		VADDPS(g.coef(2), d, d)
		VMULPS(g.coef(3), d, d)
		VADDPS(g.coef(4), d, d)
		VMULPS(share, d, d)
		return g.result(s, g.targeted(s.unit, d))
	}
}

func oneReciprocal(g *gen) func(z, grad reg.VecVirtual) reg.VecVirtual {
	return func(z, grad reg.VecVirtual) reg.VecVirtual {
		u, m := g.turned(z, grad), g.reg()
		VSUBPS(u.z, g.value(2), m)
		VDIVPS(m, g.copy(g.coef(1)), m)
		return g.inWindow(u, m)
	}
}

// meanReciprocal is of so many steps that the asymptotic series is good at once.
func meanReciprocal(g *gen) func(z, grad reg.VecVirtual) reg.VecVirtual {
	return func(z, grad reg.VecVirtual) reg.VecVirtual {
		s, a, b := g.distances(z, grad)
		VADDPS(g.operand(-0.5), a, a)
		VADDPS(g.operand(-0.5), b, b)
		return g.result(s, g.digammas(s, a, b))
	}
}

// fewReciprocal is of few steps: the first four terms after each end are taken from the recurrence, and the series of the rest.
func fewReciprocal(g *gen) func(z, grad reg.VecVirtual) reg.VecVirtual {
	return func(z, grad reg.VecVirtual) reg.VecVirtual {
		s, a, b := g.distances(z, grad)
		var num, den [2]reg.VecVirtual
		for i, y := range []reg.VecVirtual{a, b} {
			p := g.reg()
			num[i], den[i] = g.reg(), g.reg()
			VADDPS(g.operand(3), y, p)
			VMULPS(y, p, p)
			VADDPS(g.operand(2), p, den[i])
			VMULPS(p, den[i], den[i])
			VADDPS(g.operand(1), p, p)
			VADDPS(p, p, p)
			VADDPS(y, y, num[i])
			VADDPS(g.operand(3), num[i], num[i])
			VMULPS(p, num[i], num[i])
		}
		first := g.reg() // the difference, over one denominator
		VMULPS(den[0], num[1], first)
		VFMSUB231PS(den[1], num[0], first)
		VMULPS(den[0], den[1], den[0])
		VDIVPS(den[0], first, first)
		g.pause()
		VADDPS(g.operand(3.5), a, a)
		VADDPS(g.operand(3.5), b, b)
		rest := g.digammas(s, a, b)
		VFMADD231PS(g.coef(1), first, rest)
		return g.result(s, rest)
	}
}

// distances is s (2-m) of the first step in the window, and of the one after the last.
func (g *gen) distances(z, grad reg.VecVirtual) (s steps, a, b reg.VecVirtual) {
	s = g.mirrored(z, grad, false)
	rest := g.copy(g.coef(0))
	a, b = g.reg(), g.reg()
	VFNMADD231PS(g.coef(perUnit32), g.clamp(s.u, bound), rest) // 2s - su
	VADDPS(s.from, rest, a)
	VADDPS(s.to, rest, b)
	return s, a, b
}

// digammas is the difference of the digamma function at b + 1/2 and a + 1/2 by the logarithm and its corrections, times coefficient 1.
func (g *gen) digammas(s steps, a, b reg.VecVirtual) reg.VecVirtual {
	w, sum, product, inv := g.reg(), g.reg(), g.reg(), g.reg()
	VADDPS(a, b, sum)
	VMULPS(a, b, product)
	VMULPS(sum, product, inv)
	g.pause()
	VDIVPS(inv, g.value(1), inv) // of (b-a)/(a+b) and of 1/ab
	VSUBPS(s.from, s.to, w)
	VMULPS(product, w, w)
	VMULPS(inv, w, w)
	VMULPS(sum, inv, inv)
	g.pause()
	out := g.atanh2(w)
	g.pause()
	ra, rb := g.reg(), g.reg()
	VMULPS(b, inv, ra)
	VMULPS(a, inv, rb)
	for i, r := range []reg.VecVirtual{ra, rb} {
		VMULPS(r, r, r)
		p := g.value(31.0 / 8064)
		VFMADD213PS(g.operand(-7.0/960), r, p)
		VFMADD213PS(g.operand(1.0/24), r, p)
		VMULPS(r, p, p)
		if i == 0 {
			VSUBPS(p, out, out)
		} else {
			VADDPS(p, out, out)
		}
	}
	VMULPS(g.coef(1), out, out)
	return out
}

// meanLogistic needs no count of steps: one threshold has a window, more have none.
func meanLogistic(g *gen) func(z, grad reg.VecVirtual) reg.VecVirtual {
	exp := g.exp(false)
	return func(z, grad reg.VecVirtual) reg.VecVirtual {
		w := g.copy(z)
		VFMSUB213PS(g.coef(1), g.copy(g.coef(0)), w) // scaled, less the middle, in two parts
		VSUBPS(g.coef(2), w, w)
		VMULPS(g.coef(3), w, w)
		tw := g.turned(w, grad).z
		e := g.expOfMinus(exp, w)
		g.pause()
		num := g.polynomial(e, 5, nodes)
		VMULPS(e, num, num)
		VDIVPS(g.polynomial(e, 5+nodes, nodes+1), num, num)
		g.pause()
		rest := g.reg()
		VSUBPS(num, g.value(1), rest)
		out := g.pick(g.compare(greater, tw, g.none), rest, num)
		VMULPS(g.coef(4), out, out)
		return g.inWindow(g.turned(z, grad), out)
	}
}

// expOfMinus is exp(-|w|), 0 where that is no normal number.
func (g *gen) expOfMinus(exp func(x reg.VecVirtual, low Op) reg.VecVirtual, w reg.VecVirtual) reg.VecVirtual {
	v := g.reg()
	VORPS(g.operandBits(1<<31), w, v)
	return g.expOver(exp, v)
}

// expOver is exp(v), which is no more than a float32 can hold, and 0 where it is no normal number. It destroys v.
func (g *gen) expOver(exp func(x reg.VecVirtual, low Op) reg.VecVirtual, v reg.VecVirtual) reg.VecVirtual {
	in := g.compare(atLeast, v, g.value(-least))
	VMAXPS(g.operand(-least), v, v)
	return g.keep(in, exp(v, nil))
}

const (
	nodes = 6  // of the quadrature of meanLogistic
	least = 87 // exp(-least) is a normal number
)

// fewTruncLogistic is of two or three steps: a sum of so many fractions.
func fewTruncLogistic(g *gen) func(z, grad reg.VecVirtual) reg.VecVirtual {
	exp := g.exp(false)
	return func(z, grad reg.VecVirtual) reg.VecVirtual {
		s := g.mirrored(z, grad, true)
		v := g.reg()
		VXORPS(g.operandBits(1<<31), s.u, v)
		e := g.expOver(exp, v) // exp(-m) of the first
		g.pause()
		num, den := g.copy(e), g.reg()
		VADDPS(g.operand(1), e, den)
		for k := 1; k <= 2; k++ {
			ek, q, cross := g.reg(), g.reg(), g.reg()
			VMULPS(g.coef(k), e, ek)
			ek = g.keep(g.compare(lessThan, g.value(float64(k)), s.to), ek)
			VADDPS(g.operand(1), ek, q)
			VMULPS(den, ek, cross)
			VFMADD213PS(cross, q, num)
			VMULPS(q, den, den)
		}
		g.pause()
		VMULPS(g.coef(3), num, num) // by 1/n
		VDIVPS(den, num, num)
		return g.result(s, num)
	}
}

func meanTruncLogistic(g *gen) func(z, grad reg.VecVirtual) reg.VecVirtual {
	exp := g.exp(false)
	return func(z, grad reg.VecVirtual) reg.VecVirtual {
		s := g.mirrored(z, grad, true)
		v, width := g.reg(), g.reg()
		VSUBPS(s.u, g.copy(g.coef(0)), v) // -1/2s - u
		VMULPS(g.coef(4), s.to, width)    // by 1/s
		ef := g.expOver(exp, v)           // exp(-m) half a step before the first
		g.pause()
		// exp(width) - 1
		grow := g.value(expm1[len(expm1)-1])
		for i := len(expm1) - 2; i >= 0; i-- {
			VFMADD213PS(g.operand(expm1[i]), width, grow)
		}
		VMULPS(width, grow, grow)
		g.pause()
		diff, el := grow, g.reg()
		VMULPS(ef, grow, diff)
		VADDPS(ef, diff, el)
		// log((1+el)/(1+ef)) = 2 artanh((el-ef)/(2+ef+el))
		sum, w, qf, ql, inv := g.reg(), diff, g.reg(), g.reg(), g.reg()
		VADDPS(g.operand(1), ef, qf)
		VADDPS(g.operand(1), el, ql)
		VADDPS(ql, qf, sum)
		VMULPS(qf, qf, qf)
		VMULPS(ql, ql, ql)
		both := g.reg()
		VMULPS(qf, ql, both)
		VMULPS(sum, both, inv)
		VDIVPS(inv, g.value(1), inv)
		g.pause()
		VMULPS(both, w, w)
		VMULPS(inv, w, w)
		VMULPS(sum, inv, inv)
		VMULPS(inv, qf, qf)
		VMULPS(inv, ql, ql)
		VMULPS(ql, ef, ef) // e/(1+e)^2
		VMULPS(qf, el, el)
		g.pause()
		soft := g.atanh2(w)
		g.pause()
		VMULPS(g.coef(1), soft, soft) // by s/n
		VFMADD231PS(g.polynomial(ef, 2, 2), ef, soft)
		VFNMADD231PS(g.polynomial(el, 2, 2), el, soft)
		return g.result(s, soft)
	}
}

func gradientScaling(g *gen) func(z, grad reg.VecVirtual) reg.VecVirtual {
	return func(z, grad reg.VecVirtual) reg.VecVirtual {
		var levels [2]reg.VecVirtual
		for i := range levels {
			levels[i] = g.coordinate(g.half(z, i), g.double(first))
			VMULPD(g.double(perUnit), levels[i], levels[i])
			g.ceilPD(levels[i])
		}
		k, d, sign := g.counts(levels), g.reg(), g.reg()
		VMULPS(g.coef(0), k, k) // the level, from the lowest
		VSUBPS(g.coef(2), z, d)
		VSUBPS(k, d, d)
		VMULPS(g.coef(1), d, d)
		VANDPS(g.operandBits(1<<31), grad, sign)
		VXORPS(sign, d, d)
		VADDPS(g.value(1), d, d) // 1 - t delta (z-h)
		d = g.keep(g.compare(atLeast, z, g.coef(2)), d)
		return g.weighted(grad, g.keep(g.compare(atMost, z, g.coef(3)), d))
	}
}

var stepKernels = []kernel{
	{name: "meanLinear", does: "is vec.MeanLinear.", unroll: 1, prepare: meanLinear},
	{name: "oneLinear", does: "is vec.MeanLinear of one threshold.", unroll: 1, prepare: oneLinear},
	{name: "oneReciprocal", does: "is vec.MeanReciprocal of one threshold.", unroll: 1, prepare: oneReciprocal},
	{name: "fewReciprocal", does: "is vec.MeanReciprocal of 2 to 8 thresholds.", unroll: 2, prepare: fewReciprocal},
	{name: "meanReciprocal", does: "is vec.MeanReciprocal.", unroll: 2, prepare: meanReciprocal},
	{name: "meanLogistic", does: "is vec.MeanLogistic.", unroll: 2, prepare: meanLogistic},
	{name: "fewTruncLogistic", does: "is vec.MeanTruncLogistic of 2 or 3 thresholds.", unroll: 2, prepare: fewTruncLogistic},
	{name: "meanTruncLogistic", does: "is vec.MeanTruncLogistic.", unroll: 2, prepare: meanTruncLogistic},
	{name: "gradientScaling", does: "is vec.GradientScaling.", unroll: 1, prepare: gradientScaling},
}

// tent is a min(max(c - |x-b|, 0), d).
func (g *gen) tent() func(x reg.VecVirtual) reg.VecVirtual {
	a, b, c, d := g.param("a"), g.param("b"), g.param("c"), g.param("d")
	abs, zero := g.bits(1<<31-1), g.zero()
	return func(x reg.VecVirtual) reg.VecVirtual {
		VSUBPS(b, x, x)
		VANDPS(abs, x, x)
		VSUBPS(x, c, x)
		VMAXPS(x, zero, x) // the first operand if there is a NaN
		VMINPS(x, d, x)
		VMULPS(a, x, x)
		return x
	}
}

// swish is b e (2(1+e) - v(1-e)) / (1+e)^3 with v = |ax| and e = exp(-v), 0 for v over 87.
func (g *gen) swish() func(x reg.VecVirtual) reg.VecVirtual {
	abs, a, b, one, most := g.operandBits(1<<31-1), g.param("a"), g.param("b"), g.value(1), g.value(least)
	sign, exp := g.operandBits(1<<31), g.exp(false)
	return func(x reg.VecVirtual) reg.VecVirtual {
		v, arg := g.reg(), g.reg()
		VMULPS(a, x, v)
		VANDPS(abs, v, v)
		in := g.compare(notGreater, v, most)
		VMINPS(most, v, v)
		VXORPS(sign, v, arg)
		e := exp(arg, nil)
		q, d := g.reg(), g.reg()
		VADDPS(one, e, q)
		VSUBPS(e, one, d)
		VMULPS(v, d, d)
		VSUBPS(d, q, d)
		VADDPS(q, d, d)
		VMULPS(e, d, d)
		VMULPS(b, d, d)
		cube := g.reg()
		VMULPS(q, q, cube)
		VMULPS(q, cube, cube)
		VDIVPS(cube, d, d)
		return g.keep(in, d)
	}
}

// power is b |x|^a for 0.1 < |x| <= d, c for |x| <= 0.1, else 0.
func (g *gen) power() func(x reg.VecVirtual) reg.VecVirtual {
	abs, a, b, c, d := g.operandBits(1<<31-1), g.param("a"), g.param("b"), g.param("c"), g.param("d")
	one, exp := g.value(1), g.exp(false)
	return func(x reg.VecVirtual) reg.VecVirtual {
		VANDPS(abs, x, x)
		flat := g.compare(atMost, x, g.value(0.1))
		in := g.compare(atMost, x, d)
		VMAXPS(g.operand(0.1), x, x)
		VMINPS(d, x, x)
		// log x = k log 2 + 2 artanh((m-1)/(m+1)), x = 2^k m, m from sqrt(1/2) to sqrt(2)
		k, w, den := g.reg(), g.reg(), g.reg()
		VPSUBD(g.operandBits(math.Float32bits(math.Sqrt2/2)), x, k)
		VPSRAD(U8(23), k, k)
		VPSLLD(U8(23), k, w)
		VPSUBD(w, x, x)
		VCVTDQ2PS(k, k)
		VSUBPS(one, x, w)
		VADDPS(one, x, den)
		VDIVPS(den, w, w)
		y := g.atanh2(w)
		VFMADD231PS(g.operand(math.Ln2), k, y)
		VMULPS(a, y, y)
		v := exp(y, nil)
		VMULPS(b, v, v)
		return g.pick(flat, c, g.keep(in, v))
	}
}
