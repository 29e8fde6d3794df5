// Command asm writes the float32 kernels of package vec: run it with go generate in that package.
//
// It is a module of its own, so that who uses the library does not depend on the assembler.
//
// Most kernels have one signature, func(dst, x, y *float32, n int, a, b, c, d float32) (finite bool); see form. They do the same
// operations in the same order under AVX-512 and AVX2, so that both give the same bits. The last vector is masked: no
// result depends on where in the slice an element stands.
package main

import (
	"fmt"
	"iter"
	"math"
	"os"
	"slices"
	"strings"

	"github.com/ftprop/ftprop/internal/asm"
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// isa describes a vector instruction set as the kernels use it.
type isa struct {
	name  string
	lanes int
	reg   func() reg.VecVirtual
	wide  bool // AVX-512: opmasks and 32 registers
}

var sets = []isa{{"AVX512", 16, ZMM, true}, {"AVX2", 8, YMM, false}}

// kernel describes one function.
type kernel struct {
	name   string
	does   string // its documentation
	y      bool   // it reads y
	store  bool   // it writes dst
	unroll int
	// prepare emits what comes before the loop and returns what emits a vector's work.
	prepare func(g *gen) func(x, y reg.VecVirtual) reg.VecVirtual
}

// gen is the state while one function is written.
type gen struct {
	isa
	check reg.VecVirtual // for finiteness: largest value of bits << 1
	coefs reg.Register
	lazy  bool           // constants of exp take no registers for longer than they are needed
	none  reg.VecVirtual // zero, of kernels with coefficients
	seen  func(v Op)     // what watch returns, of the same
	pause func()         // lets the next vector have instructions
}

func main() {
	ConstraintExpr("amd64")
	for _, k := range kernels {
		for _, s := range sets {
			k.write(s, numbers)
		}
	}
	for _, k := range stepKernels {
		k.y, k.store = true, true
		for _, s := range sets {
			if !s.wide {
				k.unroll = 1 // AVX2 has not the registers for more
			}
			k.write(s, coefs)
		}
	}
	for _, k := range planeKernels {
		for _, s := range sets {
			k.write(s, planes)
		}
	}
	for _, s := range sets {
		adam(s)
		sums(s)
		moments(s)
		copyRows(s)
		addRows(s)
		pool(s)
		unpool(s)
	}
	if err := table("../kernels_table_amd64.go"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	Generate()
}

// A form is what a kernel's function takes besides dst, x, y and n.
type form int

const (
	numbers form = iota // a, b, c and d; it reports whether all that the kernel watches is finite
	coefs               // coefficients in memory; it reports whether all of dst is finite
	planes              // the planes of a channel, and a, b, c and d
)

var signatures = map[form]string{
	numbers: "func(dst, x, y *float32, n int, a, b, c, d float32) (finite bool)",
	coefs:   "func(dst, x, y *float32, n int, c *float64) (finite bool)",
	planes:  "func(dst, x, y *float32, n, planes, stride int, a, b, c, d float32)",
}

// write emits a kernel.
func (k kernel) write(s isa, as form) {
	name, does := k.name+s.name, k.does
	if as == planes {
		does = strings.TrimSuffix(does, ".") + ", in planes of n elements that start stride elements apart."
	}
	TEXT(name, NOSPLIT, signatures[as])
	Pragma("noescape")
	Doc(name + " " + does)
	g := &gen{isa: s}
	var dst, ySrc reg.Register
	if k.store {
		dst = Load(Param("dst"), GP64())
	}
	xSrc := Load(Param("x"), GP64())
	if k.y {
		ySrc = Load(Param("y"), GP64())
	}
	n := Load(Param("n"), GP64())
	if as == coefs {
		g.lazy = true
		g.coefs, g.none, g.seen = Load(Param("c"), GP64()), g.zero(), g.watch()
	}
	work := k.prepare(g)
	if as == planes {
		bases := slices.DeleteFunc([]reg.Register{dst, xSrc, ySrc}, func(r reg.Register) bool { return r == nil })
		stride := floats("stride")
		eachPlane(bases, stride, func() {
			left := GP64()
			MOVQ(n, left)
			k.plane(g, dst, xSrc, ySrc, left, stride, work)
		})
	} else {
		k.plane(g, dst, xSrc, ySrc, n, nil, work)
		finite := GP8()
		if g.check == nil {
			MOVB(U8(1), finite)
		} else {
			g.allFinite(finite)
		}
		Store(finite, ReturnIndex(0))
	}
	VZEROUPPER()
	RET()
}

// plane emits the work on n elements. With stride, the next plane of dst is fetched into the cache.
func (k kernel) plane(g *gen, dst, xSrc, ySrc, n, stride reg.Register, work func(x, y reg.VecVirtual) reg.VecVirtual) {
	s := g.isa
	full := func(vectors int) {
		g.interleave(vectors, func(i int) {
			at := i * s.lanes * 4
			if stride != nil && at%64 == 0 {
				PREFETCHT0(Mem{Base: dst, Index: stride, Scale: 1, Disp: at})
			}
			x, y := s.reg(), reg.VecVirtual(nil)
			VMOVUPS(Mem{Base: xSrc, Disp: at}, x)
			if k.y {
				y = s.reg()
				VMOVUPS(Mem{Base: ySrc, Disp: at}, y)
			}
			if out := work(x, y); k.store {
				VMOVUPS(out, Mem{Base: dst, Disp: at})
			}
		})
		for _, p := range []reg.Register{dst, xSrc, ySrc} {
			if p != nil {
				ADDQ(U32(vectors*s.lanes*4), p)
			}
		}
		SUBQ(U32(vectors*s.lanes), n)
	}
	for _, vectors := range []int{k.unroll, 1} {
		loop, end := fmt.Sprintf("loop%d", vectors), fmt.Sprintf("end%d", vectors)
		Label(loop)
		CMPQ(n, U32(vectors*s.lanes))
		JL(LabelRef(end))
		full(vectors)
		JMP(LabelRef(loop))
		Label(end)
		if k.unroll == 1 {
			break
		}
	}
	TESTQ(n, n)
	JZ(LabelRef("done"))
	m := g.tail(n)
	x, y := s.reg(), reg.VecVirtual(nil)
	g.maskedLoad(Mem{Base: xSrc}, m, x)
	if k.y {
		y = s.reg()
		g.maskedLoad(Mem{Base: ySrc}, m, y)
	}
	if out := work(x, y); k.store {
		g.maskedStore(out, m, Mem{Base: dst})
	}
	Label("done")
}

// interleave emits the work of several vectors by turns, from one pause to the next: a long chain of instructions that wait for one another
// fills the processor's schedulers before the next vector's come.
func (g *gen) interleave(vectors int, work func(i int)) {
	turns := make([]func() (struct{}, bool), vectors)
	pauses := make([]func(), vectors)
	for i := range turns {
		turns[i], _ = iter.Pull(func(yield func(struct{}) bool) {
			pauses[i] = func() { yield(struct{}{}) }
			work(i)
		})
	}
	for left := vectors; left > 0; {
		for i, turn := range turns {
			if turn == nil {
				continue
			}
			g.pause = func() { pauses[i]() }
			if _, more := turn(); !more {
				turns[i] = nil
				left--
			}
		}
	}
	g.pause = func() {}
}

var data = map[string]Mem{}

// words returns memory that holds the words, of which the last is repeated up to sixteen.
func words(w ...uint32) Mem {
	name := fmt.Sprintf("vec%08x", w[0])
	if len(w) > 1 {
		name = "iota"
	}
	if m, ok := data[name]; ok {
		return m
	}
	m := GLOBL(name, RODATA|NOPTR)
	for i := range 16 {
		DATA(i*4, U32(w[min(i, len(w)-1)]))
	}
	data[name] = m
	return m
}

// bits returns a constant in a register.
func (g *gen) bits(w uint32) reg.VecVirtual {
	r := g.reg()
	VBROADCASTSS(words(w), r)
	return r
}

func (g *gen) zero() reg.VecVirtual {
	r := g.reg()
	if g.wide {
		VPXORD(r, r, r)
	} else {
		VXORPS(r, r, r)
	}
	return r
}

func (g *gen) value(v float64) reg.VecVirtual { return g.bits(math.Float32bits(float32(v))) }

// operand returns a constant that can be the first operand of an instruction: AVX2 has no registers to keep them all.
func (g *gen) operand(v float64) Op {
	return g.operandBits(math.Float32bits(float32(v)))
}

func (g *gen) operandBits(w uint32) Op {
	if g.wide && !g.lazy {
		return g.bits(w)
	}
	return words(w)
}

// param returns a scalar parameter in all lanes.
func (g *gen) param(name string) reg.VecVirtual {
	r := g.reg()
	VBROADCASTSS(asm.Argument(name), r)
	return r
}

// tail returns a mask of the first n lanes, 0 <= n <= lanes.
func (g *gen) tail(n reg.Register) Op {
	if g.wide {
		ones, m := GP64(), K()
		MOVQ(I32(-1), ones)
		BZHIQ(n, ones, ones)
		KMOVW(ones.As32(), m)
		return m
	}
	count, m := XMM(), YMM()
	VMOVQ(n, count)
	VPBROADCASTD(count, m)
	VPCMPGTD(words(0, 1, 2, 3, 4, 5, 6, 7), m, m)
	return m
}

func (g *gen) maskedLoad(mem Mem, m Op, v Op) {
	if g.wide {
		VMOVUPS_Z(mem, m, v)
	} else {
		VMASKMOVPS(mem, m, v)
	}
}

func (g *gen) maskedStore(v, m Op, mem Mem) {
	if g.wide {
		VMOVUPS(v, m, mem)
	} else {
		VMASKMOVPS(v, m, mem)
	}
}

// watch makes the kernel check what seen is called with for finiteness.
func (g *gen) watch() (seen func(v Op)) {
	g.check = g.zero()
	return func(v Op) {
		t := g.reg()
		VPADDD(v, v, t) // drops the sign
		VPMAXUD(t, g.check, g.check)
	}
}

func (g *gen) allFinite(to reg.GPVirtual) {
	const infinity = 0xff000000 // its bits << 1
	if g.wide {
		const notLess = 5
		bad := K()
		VPCMPUD(U8(notLess), g.bits(infinity), g.check, bad)
		KORTESTW(bad, bad)
		SETEQ(to)
		return
	}
	// check >= infinity, unsigned, is max(check, infinity) == check
	m, bad := YMM(), GP32()
	VPMAXUD(words(infinity), g.check, m)
	VPCMPEQD(g.check, m, m)
	VMOVMSKPS(m, bad)
	TESTL(bad, bad)
	SETEQ(to)
}

const (
	lessThan   = 0x11 // quiet; all are false for NaN but those that begin with not
	atMost     = 0x12
	different  = 0x0c
	notGreater = 0x1a
	atLeast    = 0x1d
	greater    = 0x1e
	notAtMost  = 0x16 // true for NaN, too
)

// compare returns the mask of a (predicate) b.
func (g *gen) compare(predicate uint8, a, b Op) Op {
	var m Op = K()
	if !g.wide {
		m = YMM()
	}
	VCMPPS(U8(predicate), b, a, m)
	return m
}

// keep sets v to zero outside of the mask.
func (g *gen) keep(m Op, v reg.VecVirtual) reg.VecVirtual {
	out := g.reg()
	if g.wide {
		VMOVAPS_Z(v, m, out)
	} else {
		VANDPS(v, m, out)
	}
	return out
}

// pick is yes inside of the mask and no outside.
func (g *gen) pick(m Op, yes, no reg.VecVirtual) reg.VecVirtual {
	out := g.reg()
	if g.wide {
		VBLENDMPS(yes, no, m, out)
	} else {
		VBLENDVPS(m, yes, no, out)
	}
	return out
}

const toNearest, up = 8, 10

func (g *gen) round(mode uint8, v, to Op) {
	if g.wide {
		VRNDSCALEPS(U8(mode), v, to)
	} else {
		VROUNDPS(U8(mode), v, to)
	}
}

func (g *gen) copy(v Op) reg.VecVirtual {
	out := g.reg()
	VMOVUPS(v, out)
	return out
}

// exp returns what emits exp(x + low) for x within the range of float32, low nil or tiny: exp = 2^f exp(r), with
// |r| <= ln(2)/2 and a polynomial of degree 6 with relative error 3.1e-9. It destroys x. With gradual, results may be
// subnormal or infinite, else f must keep to normal numbers.
func (g *gen) exp(gradual bool) func(x reg.VecVirtual, low Op) reg.VecVirtual {
	constant := func(v float64) func() Op {
		if g.lazy {
			return func() Op { return g.operand(v) }
		}
		r := g.operand(v)
		return func() Op { return r }
	}
	log2e := constant(1.44269504088896341)
	ln2hi, ln2lo := constant(0.693359375), constant(-2.12194440e-4)
	var coef []func() Op
	for _, c := range []float64{0.00836878066930606, 0.04166839422925958, 0.16666520105682042, 0.49999993412367594, 1, 1} {
		coef = append(coef, constant(c))
	}
	top := constant(0.0013814467130994256)
	var one Op
	if !g.wide && gradual {
		one = words(0x3f800000)
	}
	return func(x reg.VecVirtual, low Op) reg.VecVirtual {
		f := g.reg()
		VMULPS(log2e(), x, f)
		g.round(toNearest, f, f)
		VFNMADD231PS(ln2hi(), f, x) // x becomes r
		VFNMADD231PS(ln2lo(), f, x)
		if low != nil {
			VADDPS(low, x, x)
		}
		p := g.copy(top())
		for _, c := range coef {
			VFMADD213PS(c(), x, p)
		}
		switch {
		case g.wide:
			VSCALEFPS(f, p, p)
		case !gradual:
			VCVTPS2DQ(f, f)
			VPSLLD(U8(23), f, f)
			VPADDD(f, p, p)
		default: // in two steps: 2^f alone can be out of range
			half := g.reg()
			VCVTPS2DQ(f, f)
			VPSRAD(U8(1), f, half)
			VPSUBD(half, f, f)
			for _, h := range []reg.VecVirtual{half, f} {
				VPSLLD(U8(23), h, h)
				VPADDD(one, h, h)
				VMULPS(h, p, p)
			}
		}
		return p
	}
}

func (g *gen) sech2() func(z reg.VecVirtual) reg.VecVirtual {
	abs := g.operandBits(0x7fffffff)
	four, slope, limit := g.param("a"), g.param("b"), g.param("c")
	one, two := g.operand(1), g.operand(2)
	exp := g.exp(false)
	return func(z reg.VecVirtual) reg.VecVirtual {
		VANDPS(abs, z, z)
		in := g.compare(notGreater, z, limit)
		x, low := g.reg(), g.reg()
		VMINPS(z, limit, z) // the second source if there is a NaN
		VMULPS(slope, z, x)
		VMOVAPS(z, low)
		VFMSUB213PS(x, slope, low) // slope*z = x + low exactly
		e := exp(x, low)
		q := g.reg()
		VADDPS(two, e, q)
		VFMADD213PS(one, e, q) // 1 + e(2 + e): less rounding than the square of 1 + e
		VMULPS(four, e, e)
		VDIVPS(q, e, e)
		return g.keep(in, e)
	}
}

func (g *gen) window() func(z reg.VecVirtual) reg.VecVirtual {
	lo, hi, height := g.param("a"), g.param("b"), g.param("c")
	return func(z reg.VecVirtual) reg.VecVirtual {
		m := g.compare(atLeast, z, lo)
		if g.wide {
			both := K()
			VCMPPS(U8(atMost), hi, z, m, both)
			return g.keep(both, height)
		}
		v := g.keep(m, height)
		return g.keep(g.compare(atMost, z, hi), v)
	}
}

// times makes a kernel multiply y, which it watches, by what f makes of x.
func times(f func(g *gen) func(reg.VecVirtual) reg.VecVirtual) func(g *gen) func(x, y reg.VecVirtual) reg.VecVirtual {
	return func(g *gen) func(x, y reg.VecVirtual) reg.VecVirtual {
		h, seen := f(g), g.watch()
		return func(x, y reg.VecVirtual) reg.VecVirtual {
			seen(y)
			VMULPS(h(x), y, y)
			return y
		}
	}
}

func unary(f func(g *gen) func(reg.VecVirtual) reg.VecVirtual) func(g *gen) func(x, y reg.VecVirtual) reg.VecVirtual {
	return func(g *gen) func(x, y reg.VecVirtual) reg.VecVirtual {
		h := f(g)
		return func(x, _ reg.VecVirtual) reg.VecVirtual { return h(x) }
	}
}

// staircase makes a kernel of which step emits the look-up of a vector of steps.
func staircase(lookup func(g *gen) func(k reg.VecVirtual) reg.VecVirtual) func(g *gen) func(x, y reg.VecVirtual) reg.VecVirtual {
	return func(g *gen) func(x, y reg.VecVirtual) reg.VecVirtual {
		a, r, top, n := g.param("a"), g.param("b"), g.param("c"), g.param("d")
		zero := g.zero()
		level, seen := lookup(g), g.watch()
		return func(z, _ reg.VecVirtual) reg.VecVirtual {
			seen(z)
			VSUBPS(a, z, z)
			VDIVPS(r, z, z)
			VMULPS(top, z, z)
			g.round(up, z, z)
			VMAXPS(zero, z, z) // zero if z is NaN
			VMINPS(n, z, z)
			VCVTPS2DQ(z, z)
			return level(z)
		}
	}
}

var kernels = []kernel{
	{"threshold", "sets dst = b where x > 0 and a elsewhere; finite is of x.", false, true, 4, func(g *gen) func(x, y reg.VecVirtual) reg.VecVirtual {
		lo, hi, zero, seen := g.param("a"), g.param("b"), g.zero(), g.watch()
		return func(z, _ reg.VecVirtual) reg.VecVirtual {
			seen(z)
			var m Op = K()
			if !g.wide {
				m = YMM()
			}
			VPCMPGTD(zero, z, m) // as integers, like the portable code: a NaN counts by its sign
			return g.pick(m, hi, lo)
		}
	}},
	{"window", "sets dst = c where a <= x <= b and 0 elsewhere.", false, true, 4, unary((*gen).window)},
	{"mulWindow", "sets dst = y*c where a <= x <= b and y*0 elsewhere; finite is of y.", true, true, 4, times((*gen).window)},
	{"sech2", "sets dst = a*e/(1+e)^2 with e = exp(b|x|), b <= 0, and 0 where |x| > c.", false, true, 1, unary((*gen).sech2)},
	{"mulSech2", "sets dst = y*a*e/(1+e)^2 with e = exp(b|x|), b <= 0, and y*0 where |x| > c; finite is of y.", true, true, 1, times((*gen).sech2)},
	{"tent", "sets dst = a min(max(c - |x-b|, 0), d).", false, true, 2, unary((*gen).tent)},
	{"swish", "sets dst = b e (2(1+e) - v(1-e)) / (1+e)^3 with v = |ax| and e = exp(-v), and 0 where v > 87.", false, true, 1, unary((*gen).swish)},
	{"power", "sets dst = b|x|^a where 0.1 < |x| <= d, c where |x| <= 0.1, and 0 elsewhere.", false, true, 1, unary((*gen).power)},
	{"exp", "sets dst = exp(x).", false, true, 1, unary(func(g *gen) func(reg.VecVirtual) reg.VecVirtual {
		least, most, exp := g.value(-104), g.value(89), g.exp(true)
		return func(x reg.VecVirtual) reg.VecVirtual {
			VMAXPS(x, least, x) // the second source if there is a NaN
			VMINPS(x, most, x)
			return exp(x, nil)
		}
	})},
	{"sigmoid", "sets dst = 1/(1+exp(-x)).", false, true, 1, unary(func(g *gen) func(reg.VecVirtual) reg.VecVirtual {
		sign, least, one, exp := g.operandBits(1<<31), g.value(-104), g.value(1), g.exp(true)
		return func(x reg.VecVirtual) reg.VecVirtual {
			down := g.reg()
			VORPS(sign, x, down)
			VMAXPS(down, least, down)
			e := exp(down, nil)
			var negative Op = x // only the sign bit counts
			if g.wide {
				negative = K()
				VPMOVD2M(x, negative)
			}
			num := g.pick(negative, e, one)
			// num/(1+e), then one step of Newton's method with what 1+e lost: e's error is most of what remains.
			q, lost, w, out := g.reg(), g.reg(), g.reg(), g.reg()
			VADDPS(one, e, q)
			VSUBPS(one, q, lost)
			VSUBPS(lost, e, lost)
			VDIVPS(q, one, w)
			VMULPS(num, w, out)
			VFNMADD231PS(q, out, num)
			VFNMADD231PS(lost, out, num)
			VFMADD231PS(num, w, out)
			return out
		}
	})},
	{"tanh", "sets dst = tanh(x).", false, true, 1, unary(func(g *gen) func(reg.VecVirtual) reg.VecVirtual {
		sign, abs, most := g.operandBits(1<<31), g.operandBits(1<<31-1), g.value(10)
		one, two, edge := g.value(1), g.value(2), g.operand(0.625)
		var coef []Op
		for _, c := range []float64{0.020637041324872797, -0.053739116107061426, 0.13331435389079216, -0.3333328170601296} {
			coef = append(coef, g.operand(c))
		}
		top := g.operand(-0.005702606287984619)
		exp := g.exp(false)
		return func(x reg.VecVirtual) reg.VecVirtual {
			s, t := g.reg(), g.reg()
			VANDPS(sign, x, s)
			VANDPS(abs, x, x)
			VMINPS(x, most, x) // the second source if there is a NaN
			VADDPS(x, x, t)
			e := exp(t, nil)
			VADDPS(one, e, e)
			big := g.reg()
			VDIVPS(e, two, big)
			VSUBPS(big, one, big)
			z := g.reg()
			VMULPS(x, x, z)
			p := g.copy(top)
			for _, c := range coef {
				VFMADD213PS(c, z, p)
			}
			VMULPS(z, p, p)
			small := p
			VFMADD213PS(x, x, small) // x + x*p
			out := g.pick(g.compare(lessThan, x, edge), small, big)
			VORPS(s, out, out)
			return out
		}
	})},
	{"staircaseFew", "sets dst = y[k], k = min(max(ceil((x-a)/b*c), 0), d), for d less than the lanes; finite is of x.", false, true, 1, staircase(func(g *gen) func(k reg.VecVirtual) reg.VecVirtual {
		levels := g.reg()
		y := Load(Param("y"), GP64())
		count := GP64()
		VCVTTSS2SIQ(asm.Argument("d"), count)
		INCQ(count)
		g.maskedLoad(Mem{Base: y}, g.tail(count), levels)
		return func(k reg.VecVirtual) reg.VecVirtual {
			VPERMPS(levels, k, k)
			return k
		}
	})},
	{"staircase", "sets dst = y[k], k = min(max(ceil((x-a)/b*c), 0), d); finite is of x.", false, true, 1, staircase(func(g *gen) func(k reg.VecVirtual) reg.VecVirtual {
		y := Load(Param("y"), GP64())
		return func(k reg.VecVirtual) reg.VecVirtual {
			out := g.zero()
			from := Mem{Base: y, Index: k, Scale: 4}
			if g.wide {
				all := K()
				KXNORW(all, all, all)
				VGATHERDPS(from, all, out)
			} else {
				all := YMM()
				VPCMPEQD(all, all, all)
				VGATHERDPS(all, from, out)
			}
			return out
		}
	})},
	{"finite", "reports whether all of x is finite.", false, false, 4, func(g *gen) func(x, y reg.VecVirtual) reg.VecVirtual {
		seen := g.watch()
		return func(x, _ reg.VecVirtual) reg.VecVirtual {
			seen(x)
			return nil
		}
	}},
	{"negSign", "sets dst = -sign(x), 0 for 0.", false, true, 4, unary(func(g *gen) func(reg.VecVirtual) reg.VecVirtual {
		sign, one := g.bits(1<<31), g.value(1)
		var zero reg.VecVirtual
		if !g.wide {
			zero = g.zero()
		}
		return func(x reg.VecVirtual) reg.VecVirtual {
			t := g.reg()
			VANDNPS(sign, x, t)
			VORPS(one, t, t)
			VPADDD(x, x, x)
			if g.wide {
				m := K()
				VPTESTMD(x, x, m)
				return g.keep(m, t)
			}
			VPCMPEQD(zero, x, x)
			VANDNPS(t, x, t)
			return t
		}
	})},
	{"mulAbs", "sets dst = x*|y|.", true, true, 4, func(g *gen) func(x, y reg.VecVirtual) reg.VecVirtual {
		abs := g.bits(1<<31 - 1)
		return func(x, y reg.VecVirtual) reg.VecVirtual {
			VANDPS(abs, y, y)
			VMULPS(y, x, x)
			return x
		}
	}},
	{"mul", "sets dst = x*y.", true, true, 4, func(g *gen) func(x, y reg.VecVirtual) reg.VecVirtual {
		return func(x, y reg.VecVirtual) reg.VecVirtual {
			VMULPS(y, x, x)
			return x
		}
	}},
	{"negMul", "sets dst = -x*y.", true, true, 4, func(g *gen) func(x, y reg.VecVirtual) reg.VecVirtual {
		sign := g.bits(1 << 31)
		return func(x, y reg.VecVirtual) reg.VecVirtual {
			VXORPS(sign, x, x)
			VMULPS(y, x, x)
			return x
		}
	}},
	{"add", "sets dst = x+y.", true, true, 4, func(g *gen) func(x, y reg.VecVirtual) reg.VecVirtual {
		return func(x, y reg.VecVirtual) reg.VecVirtual {
			VADDPS(y, x, x)
			return x
		}
	}},
	{"scale", "sets dst = a*x.", false, true, 4, unary(func(g *gen) func(reg.VecVirtual) reg.VecVirtual {
		a := g.param("a")
		return func(x reg.VecVirtual) reg.VecVirtual {
			VMULPS(a, x, x)
			return x
		}
	})},
	{"rectify", "sets dst = x where x > 0 or NaN, and 0 elsewhere.", false, true, 4, unary(func(g *gen) func(reg.VecVirtual) reg.VecVirtual {
		zero := g.zero()
		return func(x reg.VecVirtual) reg.VecVirtual { return g.keep(g.compare(notAtMost, x, zero), x) }
	})},
	{"flush", "sets dst = x where |x| >= 2^-126 or NaN, and 0 elsewhere.", false, true, 4, unary(func(g *gen) func(reg.VecVirtual) reg.VecVirtual {
		abs, subnormal := g.bits(1<<31-1), g.bits(1<<23-1)
		return func(x reg.VecVirtual) reg.VecVirtual {
			size := g.reg()
			VANDPS(abs, x, size)
			return g.keep(g.compare(notAtMost, size, subnormal), x)
		}
	})},
	{"gate", "sets dst = y where x > 0 or NaN, and 0 elsewhere.", true, true, 4, func(g *gen) func(x, y reg.VecVirtual) reg.VecVirtual {
		zero := g.zero()
		return func(x, y reg.VecVirtual) reg.VecVirtual { return g.keep(g.compare(notAtMost, x, zero), y) }
	}},
}

// planeKernels work on the planes of a channel.
var planeKernels = []kernel{
	{"affine", "sets dst = a*(x-c) + b, rounded three times.", false, true, 4, unary(func(g *gen) func(reg.VecVirtual) reg.VecVirtual {
		a, b, c := g.param("a"), g.param("b"), g.param("c")
		return func(x reg.VecVirtual) reg.VecVirtual {
			VSUBPS(c, x, x)
			VMULPS(a, x, x)
			VADDPS(b, x, x)
			return x
		}
	})},
	{"affineRest", "sets dst = a*((y-d) - b*(x-c)), rounded at every step.", true, true, 2, func(g *gen) func(x, y reg.VecVirtual) reg.VecVirtual {
		a, b, c, d := g.param("a"), g.param("b"), g.param("c"), g.param("d")
		return func(x, y reg.VecVirtual) reg.VecVirtual {
			VSUBPS(c, x, x)
			VMULPS(b, x, x)
			VSUBPS(d, y, y)
			VSUBPS(x, y, y)
			VMULPS(a, y, y)
			return y
		}
	}},
}

// table writes the Go file that lists the kernels by instruction set.
func table(path string) error {
	var s strings.Builder
	s.WriteString("// Code generated by asm. DO NOT EDIT.\n\n//go:build amd64\n\npackage vec\n")
	width := 0
	all := slices.Concat(kernels, stepKernels, planeKernels)
	for _, k := range all {
		width = max(width, len(k.name))
	}
	for _, set := range sets {
		lanes := fmt.Sprint(set.lanes)
		title := strings.Replace(set.name, "AVX512", "AVX-512", 1)
		fmt.Fprintf(&s, "\nvar kernels%s = kernels{\n", set.name)
		fmt.Fprintf(&s, "\t%-*s %q,\n\t%-*s %s,\n", width+1, "name:", title, width+1, "lanes:", lanes)
		for _, k := range all {
			fmt.Fprintf(&s, "\t%-*s %s%s,\n", width+1, k.name+":", k.name, set.name)
		}
		for _, name := range []string{"adam", "copyRows", "addRows", "pool", "unpool"} {
			fmt.Fprintf(&s, "\t%-*s %s%s,\n", width+1, name+":", name, set.name)
		}
		s.WriteString("}\n")
	}
	return os.WriteFile(path, []byte(s.String()), 0o644)
}
