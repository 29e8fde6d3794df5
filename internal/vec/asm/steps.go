package main

import (
	"math"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// The kernels of this file have the coefficients of vec.Steps and read pre-activations x = z and targets
// y = t. They follow the formulas in package vec, steps.go.

// Numbers of the coefficients in vec.lanes, each in all lanes of a vector: float64, then float32 of a kernel's own. Instructions read them from
// memory: registers would not do, and what is loaded by instructions of its own fills the processor's window, in which it works on several
// vectors at a time.
const (
	first = iota
	span
	inverse // of span
	perUnit
	highUp // of t = +1, in the order of the thresholds
	lowUp
	equalUp
	highDown // of t = -1
	lowDown
	equalDown
	doubles // how many
)

// After a kernel's own coefficients come those of all.
const (
	openUp   = 18 + iota // of one threshold: the window is over open, up to closed
	closedUp             // for t = +1
	openDown             // and for t = -1
	closedDown
	perUnit32 // perUnit as a float32
	count
	turn // what is added to t u for t = -1
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

// comparePD is compare for float64.
func (g *gen) comparePD(predicate uint8, a, b Op) Op {
	var m Op = K()
	if !g.wide {
		m = YMM()
	}
	VCMPPD(U8(predicate), b, a, m)
	return m
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

// steps is what the kernels know of a vector of units.
type steps struct {
	t        reg.VecVirtual
	u        reg.VecVirtual // the coordinate, counted from the end of the staircase that the target points away from
	x        reg.VecVirtual // u in steps, bounded
	from, to reg.VecVirtual // the steps from the first to before the second have a slope; from is nil where it is 0
}

const bound = 1e30 // of x: no steps with a slope are that far away

func (g *gen) clamp(v reg.VecVirtual, most float64) reg.VecVirtual {
	out := g.reg()
	VMINPS(g.operand(most), v, out)
	VMAXPS(g.operand(-most), out, out)
	return out
}

// steps emits coordinates and counts. What is at an edge is found in float64: float32 would lose units next to one, among them all that stand at
// an end of the staircase. In float32 the counts and what follows are good enough.
//
// With all, the windows end only below: no step is above.
func (g *gen) steps(z, t reg.VecVirtual, all bool) (s steps) {
	s.t = t
	isUp := g.compare(greater, t, g.none)
	var u, from, to [2]reg.VecVirtual
	for i := range 2 {
		isUp := g.halfMask(isUp, i)
		u[i] = g.coordinate(z, i)
		v := g.reg()
		VMULPD(g.double(perUnit), u[i], v)
		// In the order of the thresholds; for t = -1 the last of them is the first of the margins.
		equal := g.pickPD(isUp, g.double(equalUp), g.double(equalDown))
		if !all {
			from[i] = g.below(v, g.pickPD(isUp, g.double(highUp), g.double(highDown)), equal)
		}
		to[i] = g.below(v, g.pickPD(isUp, g.double(lowUp), g.double(lowDown)), equal)
	}
	s.u = g.flipped(isUp, g.joined(u), g.copy(g.coef(turn)))
	s.to = g.flipped(isUp, g.counts(to), g.copy(g.coef(count)))
	if !all {
		s.from = g.flipped(isUp, g.counts(from), g.copy(g.coef(count)))
	}
	x := g.reg()
	VMULPS(g.coef(perUnit32), s.u, x)
	s.x = g.clamp(x, bound)
	return s
}

// halfMask is half of a mask of float32 as one of float64.
func (g *gen) halfMask(m Op, i int) Op {
	if g.wide {
		if i == 0 {
			return m
		}
		k := K()
		KSHIFTRW(U8(8), m, k)
		return k
	}
	out, part := YMM(), m.(reg.VecVirtual).AsX()
	if i == 1 {
		part = XMM()
		VEXTRACTF128(U8(1), m, part)
	}
	VPMOVSXDQ(part, out)
	return out
}

// coordinate is (z-first)/span of half a vector. It divides by Markstein's method, exact to the last bit: the product with the inverse, and its
// remainder's.
func (g *gen) coordinate(z reg.VecVirtual, i int) reg.VecVirtual {
	d, q, r := g.half(z, i), g.reg(), g.double(inverse)
	VSUBPD(g.double(first), d, d)
	VMULPD(r, d, q)
	VFNMADD231PD(g.double(span), q, d)
	VFMADD231PD(r, d, q)
	return q
}

// flipped is v for t = +1 and whole - v for t = -1.
func (g *gen) flipped(isUp Op, v, whole reg.VecVirtual) reg.VecVirtual {
	VSUBPS(v, whole, whole)
	return g.pick(isUp, v, whole)
}

// below is how many steps are under x - edge, and one more where equal is 1 and there is one at it, were there steps without end.
func (g *gen) below(x, edge, equal reg.VecVirtual) reg.VecVirtual {
	at, k := g.reg(), g.reg()
	VSUBPD(edge, x, at)
	if g.wide {
		VRNDSCALEPD(U8(up), at, k)
	} else {
		VROUNDPD(U8(up), at, k)
	}
	if equal != nil {
		same := g.comparePD(0, at, k)
		if g.wide {
			VADDPD(equal, k, same, k)
		} else {
			VANDPD(same, equal, at)
			VADDPD(at, k, k)
		}
	}
	return k
}

// counts joins two halves, bounded by the number of steps there are.
func (g *gen) counts(v [2]reg.VecVirtual) reg.VecVirtual {
	k := g.joined(v)
	VMAXPS(g.none, k, k)
	VMINPS(g.coef(count), k, k)
	return k
}

// result is -t v where there are steps, else 0.
func (g *gen) result(s steps, v reg.VecVirtual) reg.VecVirtual {
	from := s.from
	if from == nil {
		from = g.none
	}
	v = g.keep(g.compare(lessThan, from, s.to), v)
	VXORPS(g.operandBits(1<<31), v, v)
	VMULPS(s.t, v, v)
	return v
}

// inWindow is -t v where z is in the window of one threshold, else 0.
func (g *gen) inWindow(z, t, v reg.VecVirtual) reg.VecVirtual {
	isUp := g.compare(greater, t, g.none)
	v = g.keep(g.compare(greater, z, g.pick(isUp, g.copy(g.coef(openUp)), g.copy(g.coef(openDown)))), v)
	v = g.keep(g.compare(atMost, z, g.pick(isUp, g.copy(g.coef(closedUp)), g.copy(g.coef(closedDown)))), v)
	VXORPS(g.operandBits(1<<31), v, v)
	VMULPS(t, v, v)
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

func oneLinear(g *gen) func(z, t reg.VecVirtual) reg.VecVirtual {
	return func(z, t reg.VecVirtual) reg.VecVirtual {
		m := g.reg()
		VMULPS(z, t, m)
		VSUBPS(m, g.copy(g.coef(2)), m)
		VMULPS(g.coef(3), m, m)
		VADDPS(g.coef(4), m, m)
		return g.inWindow(z, t, m)
	}
}

func meanLinear(g *gen) func(z, t reg.VecVirtual) reg.VecVirtual {
	return func(z, t reg.VecVirtual) reg.VecVirtual {
		s := g.steps(z, t, false)
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
		d = g.keep(g.compare(different, t, g.none), d) // it can be beyond float32, and infinity times 0 is no number
		return g.result(s, d)
	}
}

func oneReciprocal(g *gen) func(z, t reg.VecVirtual) reg.VecVirtual {
	return func(z, t reg.VecVirtual) reg.VecVirtual {
		m := g.reg()
		VMULPS(z, t, m)
		VSUBPS(m, g.value(2), m)
		VDIVPS(m, g.copy(g.coef(1)), m)
		return g.inWindow(z, t, m)
	}
}

// meanReciprocal is of so many steps that the asymptotic series is good at once.
func meanReciprocal(g *gen) func(z, t reg.VecVirtual) reg.VecVirtual {
	return func(z, t reg.VecVirtual) reg.VecVirtual {
		s, a, b := g.distances(z, t)
		VADDPS(g.operand(-0.5), a, a)
		VADDPS(g.operand(-0.5), b, b)
		return g.result(s, g.digammas(s, a, b))
	}
}

// fewReciprocal is of few steps: the first four terms after each end are taken from the recurrence, and the series of the rest.
func fewReciprocal(g *gen) func(z, t reg.VecVirtual) reg.VecVirtual {
	return func(z, t reg.VecVirtual) reg.VecVirtual {
		s, a, b := g.distances(z, t)
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
		VADDPS(g.operand(3.5), a, a)
		VADDPS(g.operand(3.5), b, b)
		rest := g.digammas(s, a, b)
		VFMADD231PS(g.coef(1), first, rest)
		return g.result(s, rest)
	}
}

// distances is s (2-m) of the first step in the window, and of the one after the last.
func (g *gen) distances(z, t reg.VecVirtual) (s steps, a, b reg.VecVirtual) {
	s = g.steps(z, t, false)
	rest := g.reg()
	a, b = g.reg(), g.reg()
	VSUBPS(s.x, g.copy(g.coef(0)), rest) // 2s - x
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
	VDIVPS(inv, g.value(1), inv) // of (b-a)/(a+b) and of 1/ab
	VSUBPS(s.from, s.to, w)
	VMULPS(product, w, w)
	VMULPS(inv, w, w)
	VMULPS(sum, inv, inv)
	out := g.atanh2(w)
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
func meanLogistic(g *gen) func(z, t reg.VecVirtual) reg.VecVirtual {
	exp := g.exp(false)
	return func(z, t reg.VecVirtual) reg.VecVirtual {
		w := g.copy(z)
		VFMSUB213PS(g.coef(1), g.copy(g.coef(0)), w) // scaled, less the middle, in two parts
		VSUBPS(g.coef(2), w, w)
		VMULPS(g.coef(3), w, w)
		VMULPS(t, w, w)
		e := g.expOfMinus(exp, w)
		num := g.polynomial(e, 5, nodes)
		VMULPS(e, num, num)
		VDIVPS(g.polynomial(e, 5+nodes, nodes+1), num, num)
		rest := g.reg()
		VSUBPS(num, g.value(1), rest)
		out := g.pick(g.compare(greater, w, g.none), rest, num)
		VMULPS(g.coef(4), out, out)
		return g.inWindow(z, t, out)
	}
}

// expOfMinus is exp(-|w|), 0 where that is no normal number.
func (g *gen) expOfMinus(exp func(x reg.VecVirtual, low Op) reg.VecVirtual, w reg.VecVirtual) reg.VecVirtual {
	v := g.reg()
	VORPS(g.operandBits(1<<31), w, v)
	in := g.compare(atLeast, v, g.value(-least))
	VMAXPS(g.operand(-least), v, v)
	return g.keep(in, exp(v, nil))
}

const (
	nodes = 6  // of the quadrature of meanLogistic
	least = 87 // exp(-least) is a normal number
)

func meanTruncLogistic(g *gen) func(z, t reg.VecVirtual) reg.VecVirtual {
	exp := g.exp(false)
	return func(z, t reg.VecVirtual) reg.VecVirtual {
		s := g.steps(z, t, true)
		first, last := g.reg(), g.reg()
		VADDPS(g.operand(0.5), s.x, first)
		VSUBPS(s.to, first, last)
		VMULPS(g.coef(0), first, first) // by 1/s
		VMULPS(g.coef(0), last, last)
		ef, el := g.expOfMinus(exp, first), g.expOfMinus(exp, last)
		// The softplus of both ends is log(1+e) + max(-m, 0); log((1+ef)/(1+el)) = 2 artanh((ef-el)/(2+ef+el)).
		sum, w, qf, ql, inv := g.reg(), g.reg(), g.reg(), g.reg(), g.reg()
		VADDPS(el, ef, sum)
		VADDPS(g.operand(2), sum, sum)
		VSUBPS(el, ef, w)
		VADDPS(g.operand(1), ef, qf)
		VMULPS(qf, qf, qf)
		VADDPS(g.operand(1), el, ql)
		VMULPS(ql, ql, ql)
		both := g.reg()
		VMULPS(qf, ql, both)
		VMULPS(sum, both, inv)
		VDIVPS(inv, g.value(1), inv)
		VMULPS(both, w, w)
		VMULPS(inv, w, w)
		VMULPS(sum, inv, inv)
		VMULPS(inv, qf, qf)
		VMULPS(inv, ql, ql)
		VMULPS(ql, ef, ef) // e/(1+e)^2
		VMULPS(qf, el, el)
		soft := g.atanh2(w)
		VMINPS(g.none, first, first)
		VMINPS(g.none, last, last)
		VSUBPS(first, last, last)
		VADDPS(last, soft, soft)
		VMULPS(g.coef(1), soft, soft) // by -s/n
		VFMADD231PS(g.polynomial(ef, 2, 4), ef, soft)
		VFNMADD231PS(g.polynomial(el, 2, 4), el, soft)
		return g.result(s, soft)
	}
}

func gradientScaling(g *gen) func(z, t reg.VecVirtual) reg.VecVirtual {
	return func(z, t reg.VecVirtual) reg.VecVirtual {
		var levels [2]reg.VecVirtual
		for i := range levels {
			at := g.coordinate(z, i)
			VMULPD(g.double(perUnit), at, at)
			levels[i] = g.below(at, g.none, nil)
		}
		k, d := g.counts(levels), g.reg()
		VMULPS(g.coef(0), k, k) // the level, from the lowest
		VSUBPS(g.coef(2), z, d)
		VSUBPS(k, d, d)
		VMULPS(g.coef(1), d, d)
		VMULPS(t, d, d)
		VSUBPS(g.value(1), d, d)
		VMULPS(t, d, d) // t (t delta (z-h) - 1)
		d = g.keep(g.compare(atLeast, z, g.coef(2)), d)
		return g.keep(g.compare(atMost, z, g.coef(3)), d)
	}
}

var stepKernels = []kernel{
	{name: "meanLinear", does: "is vec.MeanLinear.", prepare: meanLinear},
	{name: "oneLinear", does: "is vec.MeanLinear of one threshold.", prepare: oneLinear},
	{name: "oneReciprocal", does: "is vec.MeanReciprocal of one threshold.", prepare: oneReciprocal},
	{name: "fewReciprocal", does: "is vec.MeanReciprocal of 2 to 8 thresholds.", prepare: fewReciprocal},
	{name: "meanReciprocal", does: "is vec.MeanReciprocal.", prepare: meanReciprocal},
	{name: "meanLogistic", does: "is vec.MeanLogistic.", prepare: meanLogistic},
	{name: "meanTruncLogistic", does: "is vec.MeanTruncLogistic.", prepare: meanTruncLogistic},
	{name: "gradientScaling", does: "is vec.GradientScaling.", prepare: gradientScaling},
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
