package main

import (
	"math"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// The kernels of this file have the coefficients of vec.Steps and read pre-activations x = z and targets
// y = t. They follow the formulas in package vec, steps.go.

// Offsets of the coefficients in vec.Steps: float64, then float32 of a kernel's own.
const (
	first = 8 * iota
	span
	perUnit
	count
	highUp // of t = +1, in the order of the thresholds
	lowUp
	equalUp
	highDown // of t = -1
	lowDown
	equalDown
	turn  // what is added to t u
	own32 // the first of a kernel's own coefficients
)

const perUnit32 = 16 // after them, perUnit as a float32

// double returns a coefficient in float64 in all lanes.
func (g *gen) double(offset int) reg.VecVirtual {
	r := g.reg()
	VBROADCASTSD(Mem{Base: g.coefs, Disp: offset}, r)
	return r
}

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
func (g *gen) pickPD(m Op, yes, no reg.VecVirtual) reg.VecVirtual {
	out := g.reg()
	if g.wide {
		VBLENDMPD(yes, no, m, out)
	} else {
		VBLENDVPD(m, yes, no, out)
	}
	return out
}

// coef returns one of a kernel's own coefficients in all lanes. It is read where it is needed: AVX2 has no registers to keep them all.
func (g *gen) coef(i int) reg.VecVirtual {
	r := g.reg()
	VBROADCASTSS(Mem{Base: g.coefs, Disp: own32 + 4*i}, r)
	return r
}

// steps is what the kernels know of a vector of units.
type steps struct {
	t        reg.VecVirtual
	u        reg.VecVirtual // the coordinate, counted from the end of the staircase that the target points away from
	x        reg.VecVirtual // u in steps, bounded
	from, to reg.VecVirtual // the steps from the first to before the second have a slope
}

const bound = 1e30 // of x: no steps with a slope are that far away

func (g *gen) clamp(v reg.VecVirtual, most float64) reg.VecVirtual {
	out := g.reg()
	VMINPS(g.operand(most), v, out)
	VMAXPS(g.operand(-most), out, out)
	return out
}

// steps emits coordinates and counts, both in float64: float32 would lose units next to an edge, among them all that stand at an end of
// the staircase. In float32 the counts and what follows are good enough.
func (g *gen) steps(z, t reg.VecVirtual) (s steps) {
	s.t = t
	var u, from, to [2]reg.VecVirtual
	for i := range 2 {
		v, t := g.half(z, i), g.half(t, i)
		isUp := g.comparePD(greater, t, g.none)
		VSUBPD(g.double(first), v, v)
		VDIVPD(g.double(span), v, v)
		u[i] = g.pickPD(isUp, g.none, g.double(turn))
		VFMADD231PD(v, t, u[i])
		VMULPD(g.double(perUnit), v, v)
		// In the order of the thresholds; for t = -1 the last of them is the first of the margins.
		equal := g.pickPD(isUp, g.double(equalUp), g.double(equalDown))
		from[i], to[i] = g.pickPD(isUp, g.none, g.double(count)), g.reg()
		VMOVAPD(from[i], to[i])
		VFMADD231PD(g.below(v, g.pickPD(isUp, g.double(highUp), g.double(highDown)), equal), t, from[i])
		VFMADD231PD(g.below(v, g.pickPD(isUp, g.double(lowUp), g.double(lowDown)), equal), t, to[i])
	}
	s.u, s.from, s.to = g.joined(u), g.joined(from), g.joined(to)
	x := g.reg()
	VMULPS(g.coef(perUnit32), s.u, x)
	s.x = g.clamp(x, bound)
	return s
}

// below is how many steps are under x - edge, and one more where equal is 1 and there is one at it.
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
	VMAXPD(g.none, k, k)
	VMINPD(g.double(count), k, k)
	return k
}

// result is -t v where there are steps, else 0.
func (g *gen) result(s steps, v reg.VecVirtual) reg.VecVirtual {
	v = g.keep(g.compare(lessThan, s.from, s.to), v)
	VXORPS(g.operandBits(1<<31), v, v)
	VMULPS(s.t, v, v)
	return v
}

// polynomial is c[0] + c[1] x + ... + c[n-1] x^(n-1), c the coefficients from first on.
func (g *gen) polynomial(x reg.VecVirtual, first, n int) reg.VecVirtual {
	p := g.coef(first + n - 1)
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

func meanLinear(g *gen) func(z, t reg.VecVirtual) reg.VecVirtual {
	return func(z, t reg.VecVirtual) reg.VecVirtual {
		s := g.steps(z, t)
		share, d := g.reg(), g.reg()
		VSUBPS(s.from, s.to, share)
		VMULPS(g.coef(0), share, share) // by 1/n
		VADDPS(s.from, s.to, d)
		VSUBPS(g.operand(1), d, d)
		VMULPS(g.coef(1), d, d) // by 1/2s
		limit := g.coef(5)
		VMINPS(limit, s.u, s.u)
		VXORPS(g.operandBits(1<<31), limit, limit)
		VMAXPS(limit, s.u, s.u)
		VSUBPS(s.u, d, d)
		VADDPS(g.coef(2), d, d)
		VMULPS(g.coef(3), d, d)
		VADDPS(g.coef(4), d, d)
		VMULPS(share, d, d)
		return g.result(s, d)
	}
}

func meanReciprocal(g *gen) func(z, t reg.VecVirtual) reg.VecVirtual {
	return func(z, t reg.VecVirtual) reg.VecVirtual {
		s := g.steps(z, t)
		rest, w := g.reg(), g.reg()
		VSUBPS(s.x, g.coef(0), rest) // 2s - x
		a, b := g.reg(), g.reg()
		VADDPS(s.from, rest, a)
		VADDPS(s.to, rest, b)
		sum := g.reg()
		// The first four terms after an end.
		for i, y := range []reg.VecVirtual{a, b} {
			p, den, num := g.reg(), g.reg(), g.reg()
			VADDPS(g.operand(3), y, p)
			VMULPS(y, p, p)
			VADDPS(g.operand(2), p, den)
			VMULPS(p, den, den)
			VADDPS(g.operand(1), p, p)
			VADDPS(p, p, p)
			VADDPS(y, y, num)
			VADDPS(g.operand(3), num, num)
			VMULPS(p, num, num)
			VDIVPS(den, num, num)
			if i == 0 {
				VMOVAPS(num, sum)
			} else {
				VSUBPS(num, sum, sum)
			}
		}
		// What remains, by the logarithm and its corrections.
		VADDPS(g.operand(3.5), a, a)
		VADDPS(g.operand(3.5), b, b)
		VSUBPS(s.from, s.to, w)
		den := g.reg()
		VADDPS(a, b, den)
		VDIVPS(den, w, w)
		VADDPS(g.atanh2(w), sum, sum)
		inv := g.reg()
		VMULPS(a, b, inv)
		VDIVPS(inv, g.value(1), inv)
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
				VSUBPS(p, sum, sum)
			} else {
				VADDPS(p, sum, sum)
			}
		}
		VMULPS(g.coef(1), sum, sum)
		return g.result(s, sum)
	}
}

func meanLogistic(g *gen) func(z, t reg.VecVirtual) reg.VecVirtual {
	exp := g.exp(false)
	return func(z, t reg.VecVirtual) reg.VecVirtual {
		s := g.steps(z, t)
		w, v := g.reg(), g.reg()
		VSUBPS(g.coef(0), s.u, w)
		VMULPS(g.coef(1), w, w)
		VORPS(g.operandBits(1<<31), w, v) // -|w|
		in := g.compare(atLeast, v, g.value(-least))
		VMAXPS(g.operand(-least), v, v)
		e := g.keep(in, exp(v, nil))
		num := g.polynomial(e, 3, nodes)
		VMULPS(e, num, num)
		VDIVPS(g.polynomial(e, 3+nodes, nodes+1), num, num)
		rest := g.reg()
		VSUBPS(num, g.value(1), rest)
		out := g.pick(g.compare(greater, w, g.none), rest, num)
		VMULPS(g.coef(2), out, out)
		return g.result(s, out)
	}
}

const (
	nodes = 6  // of the quadrature of meanLogistic
	least = 87 // exp(-least) is a normal number
)

func meanTruncLogistic(g *gen) func(z, t reg.VecVirtual) reg.VecVirtual {
	exp := g.exp(false)
	return func(z, t reg.VecVirtual) reg.VecVirtual {
		s := g.steps(z, t)
		end := func(m reg.VecVirtual) reg.VecVirtual {
			VMULPS(g.coef(0), m, m) // by 1/s
			v := g.reg()
			VORPS(g.operandBits(1<<31), m, v)
			in := g.compare(atLeast, v, g.value(-least))
			VMAXPS(g.operand(-least), v, v)
			e := g.keep(in, exp(v, nil))
			q, q2, inv := g.reg(), g.reg(), g.reg()
			VADDPS(g.operand(1), e, q)
			VMULPS(q, q, q)
			VADDPS(g.operand(2), e, q2)
			VMULPS(q, q2, inv)
			VDIVPS(inv, e, inv)
			VMULPS(inv, q, q)   // e/(2+e)
			VMULPS(inv, q2, q2) // e/(1+e)^2
			soft := g.atanh2(q)
			VXORPS(g.operandBits(1<<31), m, m)
			VMAXPS(g.none, m, m)
			VADDPS(m, soft, soft)
			VMULPS(g.coef(1), soft, soft) // by -s/n
			c := g.polynomial(q2, 2, 4)
			VFMADD231PS(c, q2, soft)
			return soft
		}
		first, last := g.reg(), g.reg()
		VADDPS(g.operand(0.5), s.x, first)
		VSUBPS(s.to, first, last)
		out := end(first)
		VSUBPS(end(last), out, out)
		return g.result(s, out)
	}
}

func gradientScaling(g *gen) func(z, t reg.VecVirtual) reg.VecVirtual {
	return func(z, t reg.VecVirtual) reg.VecVirtual {
		var levels [2]reg.VecVirtual
		for i := range levels {
			at := g.half(z, i)
			VSUBPD(g.double(first), at, at)
			VDIVPD(g.double(span), at, at)
			VMULPD(g.double(perUnit), at, at)
			levels[i] = g.below(at, g.none, nil)
		}
		k, d := g.joined(levels), g.reg()
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
