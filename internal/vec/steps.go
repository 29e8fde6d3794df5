package vec

import (
	"math"
	"unsafe"
)

// Steps describes n thresholds, equally spaced and s = n-1 steps apart from first to last (n = 1: one, s = 1), and a layer loss that is the mean
// of one loss at all of them, for the functions below. Of a unit with pre-activation z and target t, +1 or -1,
//
//	u   = (z-first)/(last-first) (t = +1) or (last-z)/(last-first) (t = -1)  // its coordinate, which the target wants larger
//	m_k = u - k/s, k = 0..n-1                                                // its margins
//	dz  = -t/n sum of f(m_k) over k with lo < m_k <= hi
//
// and dz = 0 for t = 0; for n = 1 u = t z. z, t and dz are float32. The steps in the window are counted in float64, so that it is decided as
// by that what lies at an edge; errors of the rest are at most 3e-7 of the
// largest f, measured. There is no portable code: each function reports
// whether this processor has a kernel for it, and does nothing where it has none.
type Steps struct {
	first, last, span, s float64
	lo, hi               float64 // the window
	plus, minus          bool    // it is closed below and open above for t = +1 and t = -1
	own                  own
	n                    float64
}

// own is a kernel's coefficients.
type own [18]float32

// NewSteps returns n steps from first to last with a window. For t = +1 and for t = -1 lowPlus and lowMinus say that it is closed below and
// open above; they may differ for Linear of several steps only.
func NewSteps(n int, first, last, lo, hi float64, lowPlus, lowMinus bool) Steps {
	s := Steps{span: 1, s: 1, n: float64(n), lo: lo, hi: hi, plus: lowPlus, minus: lowMinus}
	if n > 1 {
		s.first, s.last, s.span, s.s = first, last, last-first, float64(n-1)
	}
	return s
}

// edges is the window's ends as float32 between which t z of one threshold is: over the first and up to the second.
func (s Steps) edges() (open, closed float32) {
	if s.plus {
		return below32(s.lo), below32(s.hi)
	}
	return atMost32(s.lo), atMost32(s.hi)
}

// atMost32 is the largest float32 that is not over v.
func atMost32(v float64) float32 {
	f := float32(v)
	if float64(f) > v {
		f = math.Nextafter32(f, float32(math.Inf(-1)))
	}
	return f
}

// below32 is the largest float32 under v; of an infinity, itself.
func below32(v float64) float32 {
	f := float32(v)
	if float64(f) >= v && !math.IsInf(v, 0) {
		f = math.Nextafter32(f, float32(math.Inf(-1)))
	}
	return f
}

// infinite stands for s times an infinite end of a window: no float32 is that many steps away from a threshold.
const infinite = 1e200

// Truncated says that the window ends below.
func (s Steps) Truncated() bool { return !math.IsInf(s.lo, -1) }

// Several says that there is more than one step.
func (s Steps) Several() bool { return s.n > 1 }

// lanes is the coefficients for the assembly, in its order, each as often as the largest vector has lanes.
type lanes struct {
	double [11][8]float64
	single [len(own{}) + 4][16]float32
}

// lanes returns them, or nil if no kernel serves for s.
func (s *Steps) lanes() *lanes {
	if !(s.span > 1/extreme && s.span < extreme) {
		return nil
	}
	c := new(lanes)
	minus := func(edge float64) float64 { return 0 - math.Max(-infinite, math.Min(edge*s.s, infinite)) } // not -0
	integer := func(is bool) float64 { return math.Float64frombits(uint64(b2i(is))) }
	for i, v := range [...]float64{
		s.first, -s.last, s.span, 1 / s.span, s.s,
		minus(s.hi), minus(s.lo), integer(s.plus), minus(-s.hi), minus(-s.lo), integer(!s.minus),
	} {
		for j := range c.double[i] {
			c.double[i][j] = v
		}
	}
	open, closed := s.edges()
	for i, v := range append(s.own[:len(s.own):len(s.own)], open, closed, float32(s.s), float32(s.n)) {
		for j := range c.single[i] {
			c.single[i][j] = v
		}
	}
	return c
}

// extreme bounds spans: with others a coordinate, its remainder or 1/span could be out of range.
const extreme = 1e200

// A mean is a kernel with its coefficients; without these it serves for nothing.
type mean struct {
	c      *lanes
	kernel func(*kernels) coefKernel
}

// MulGrad sets dz to |g| times the derivatives for the targets t = -sign(g), and reports whether all of dz is finite, which it is only where g
// is. ok is false, and nothing done, if this processor has no kernel.
func (m mean) MulGrad(dz, z, g []float32) (finite, ok bool) {
	dz, g = dz[:len(z)], g[:len(z)]
	k := m.kernel(best)
	if k == nil || m.c == nil {
		return false, false
	}
	finite = true
	for len(z) > 0 {
		n := min(len(z), block)
		finite = k(unsafe.SliceData(dz), unsafe.SliceData(z), unsafe.SliceData(g), n, &m.c.double[0][0]) && finite
		dz, z, g = dz[n:], z[n:], g[n:]
	}
	return finite, true
}

// Grad sets dst to the derivatives for the targets t. dst is not z.
func (m mean) Grad(dst, z, t []float32) (ok bool) {
	if m.kernel(best) == nil || m.c == nil {
		return false
	}
	// -t as a gradient has the target t and the weight 1, or 0 where there is no target.
	Scale(dst, t, -1)
	m.MulGrad(dst, z, dst)
	return true
}

// MeanLinear is Steps with f(m) = a + b (c-m), returned by Linear.
type MeanLinear struct{ mean }

// Linear returns s with its f.
func (s Steps) Linear(a, b, c float64) *MeanLinear {
	limit := 1e30 // of u: infinities times 0 are no numbers
	if b != 0 && !s.Truncated() {
		limit = math.Inf(1)
	}
	s.own = own{float32(1 / s.n), float32(1 / (2 * s.s)), float32(c), float32(b), float32(a), float32(limit)}
	if s.Several() {
		return &MeanLinear{mean{s.lanes(), func(k *kernels) coefKernel { return k.meanLinear }}}
	}
	return &MeanLinear{mean{s.lanes(), func(k *kernels) coefKernel { return k.oneLinear }}}
}

// MeanReciprocal is Steps with f(m) = a/(2-m), hi at most 1, returned by Reciprocal.
//
// The sum is a difference of two values of the digamma function, each by its asymptotic series, after four terms of its recurrence where there are
// few steps.
type MeanReciprocal struct{ mean }

// few is the number of thresholds up to which MeanReciprocal needs the recurrence: of more, the series' arguments are over 7.
const few = 8

// Reciprocal returns s with its f.
func (s Steps) Reciprocal(a float64) *MeanReciprocal {
	s.own = own{float32(2 * s.s), float32(a * s.s / s.n)}
	kernel := func(k *kernels) coefKernel { return k.meanReciprocal }
	switch {
	case s.n == 1:
		kernel = func(k *kernels) coefKernel { return k.oneReciprocal }
	case s.n <= few:
		kernel = func(k *kernels) coefKernel { return k.fewReciprocal }
	}
	return &MeanReciprocal{mean{s.lanes(), kernel}}
}

// MeanLogistic is Steps with f(m) = a / (1 + exp(-b m)), |b| at most 2, and lo and hi infinite or n = 1, returned by Logistic.
//
// The mean over the steps is that over up to six points, by Gaussian quadrature: a rational function of exp(b u).
type MeanLogistic struct{ mean }

// logisticNodes is how many points stand for the steps.
const logisticNodes = 6

// Logistic returns s with its f.
func (s Steps) Logistic(a, b float64) *MeanLogistic {
	n := int(s.n)
	centre := 0.5
	if n == 1 {
		centre = 0
	}
	x, w := stepQuadrature(n, logisticNodes)
	// sum of w/(e + c) = p/q, c = exp(b (x-centre))
	p, q := make([]float64, 1, logisticNodes+1), make([]float64, 1, logisticNodes+1)
	q[0] = 1
	for i := range x {
		c := math.Exp(b * (x[i] - centre))
		next := make([]float64, len(q)+1)
		sum := make([]float64, len(q)+1)
		for k, v := range q { // p/q + w/(e+c) = (p (e+c) + w q) / (q (e+c))
			next[k] += c * v
			next[k+1] += v
			sum[k] += w[i] * v
		}
		for k, v := range p {
			sum[k] += c * v
			if k+1 < len(sum) {
				sum[k+1] += v
			}
		}
		p, q = sum, next
	}
	// z is scaled by a power of two, so that nothing is beyond float32 before it is that many spans away, and the middle is taken off in two parts,
	// so that float32 loses nothing of z next to it.
	scale := math.Ldexp(1, -max(-126, min(math.Ilogb(s.span), 126)))
	middle := (s.first + centre*s.span) * scale
	high := float32(middle)
	s.own = own{float32(scale), high, float32(middle - float64(high)), float32(b / (s.span * scale)), float32(a)}
	for k := range min(len(p), logisticNodes) {
		s.own[5+k] = float32(p[k])
	}
	for k, v := range q {
		s.own[5+logisticNodes+k] = float32(v)
	}
	return &MeanLogistic{mean{s.lanes(), func(k *kernels) coefKernel { return k.meanLogistic }}}
}

// MeanTruncLogistic is Steps with f(m) = 1 / (1 + exp(m)), hi infinite, n at least 2, returned by TruncLogistic.
//
// The sum is the integral from half a step before the first to half a step after the last and two terms of the Euler-Maclaurin series; of two or
// three steps, the fractions themselves.
type MeanTruncLogistic struct{ mean }

// TruncLogistic returns s with its f.
func (s Steps) TruncLogistic() *MeanTruncLogistic {
	d, n := s.s, s.n
	if n <= 3 {
		s.own = own{0, float32(math.Exp(1 / d)), float32(math.Exp(2 / d)), float32(1 / n)}
		return &MeanTruncLogistic{mean{s.lanes(), func(k *kernels) coefKernel { return k.fewTruncLogistic }}}
	}
	// The first and third derivative of f are -p and -p(1-6p), p = f(1-f).
	c1, c3 := 1/(24*d*n), -7/(5760*d*d*d*n)
	s.own = own{float32(-1 / (2 * d)), float32(d / n), float32(c1 + c3), float32(-6 * c3), float32(1 / d)}
	return &MeanTruncLogistic{mean{s.lanes(), func(k *kernels) coefKernel { return k.meanTruncLogistic }}}
}

// GradientScaling is dz = -t + |t| delta (z-h) for lo <= z <= hi, else 0, h the level of z among n+1 from lo to hi with the thresholds of a
// staircase (n = 1: one at 0).
type GradientScaling struct{ mean }

// NewGradientScaling returns it for finite levels.
func NewGradientScaling(n int, lo, hi, delta float64) *GradientScaling {
	s := NewSteps(n, lo, hi, 0, 0, false, false)
	s.own = own{float32((hi - lo) / float64(n)), float32(delta), float32(lo), float32(hi)}
	return &GradientScaling{mean{s.lanes(), func(k *kernels) coefKernel { return k.gradientScaling }}}
}

// stepQuadrature returns the nodes and weights of the Gaussian quadrature, with at most most nodes, of the mean over 0, 1/(n-1), ..., 1: exact for
// polynomials of a degree under twice their number. For n up to most they are the points themselves.
func stepQuadrature(n, most int) (x, w []float64) {
	if n <= most {
		x, w = make([]float64, n), make([]float64, n)
		for k := range x {
			x[k], w[k] = float64(k)/float64(max(n-1, 1)), 1/float64(n)
		}
		return x, w
	}
	// The monic polynomials orthogonal on k = -(n-1)/2 .. (n-1)/2 are p_j+1 = x p_j - b_j p_j-1, b_j = j^2 (n^2-j^2) / (4 (4j^2-1));
	// here x is scaled to -1/2..1/2.
	b := make([]float64, most+1)
	norm := 1.0 // of p_most-1
	for j := 1; j <= most; j++ {
		f, nn := float64(j*j), float64(n)*float64(n)
		b[j] = f * (nn - f) / (4 * (4*f - 1)) / (float64(n-1) * float64(n-1))
		if j < most {
			norm *= b[j]
		}
	}
	at := func(v float64) (p, slope, before float64) {
		p, q, dp, dq := 1.0, 0.0, 0.0, 0.0
		for j := range most {
			p, q, dp, dq = v*p-b[j]*q, p, p+v*dp-b[j]*dq, dp
		}
		return p, dp, q
	}
	for i := range most {
		// Newton's method from the nodes of the continuous quadrature, near enough.
		v := -math.Cos(math.Pi*(float64(i)+0.75)/(float64(most)+0.5)) / 2
		for range 50 {
			p, slope, _ := at(v)
			v -= p / slope
		}
		_, slope, before := at(v)
		x, w = append(x, v+0.5), append(w, norm/(slope*before))
	}
	return x, w
}

// Tent sets dst = height min(max(reach - |z-centre|, 0), most).
func Tent[T Float](dst, z []T, height, centre, reach, most T) {
	dst = dst[:len(z)]
	if z, ok := any(z).([]float32); ok && best.tent != nil {
		best.tent.runAll(any(dst).([]float32), z, nil, float32(height), float32(centre), float32(reach), float32(most))
		return
	}
	for i, v := range z {
		d := v - centre
		dst[i] = height * min(max(reach-max(d, -d), 0), most)
	}
}

// SwishSlope sets dst = beta (2 - v tanh(v/2)) 2e/(1+e)^2 with v = |beta z| and e = exp(-v), 0 for v over 87, beta > 0: the derivative of
// 2 sigmoid(v) (1 + v sigmoid(-v)) - 1. float32, its error at most 3e-7 of beta, measured, and without portable code: see Steps.
func SwishSlope(dst, z []float32, beta float64) bool {
	dst = dst[:len(z)]
	if best.swish == nil {
		return false
	}
	best.swish.run(dst, z, nil, float32(beta), float32(2*beta), 0)
	return true
}

// PowerSlope sets dst = factor |z|^power for 0.1 < |z| <= most, flat for |z| <= 0.1, else 0; -1 <= power <= 0, 0.1 < most <= 1e15. float32, with
// a relative error of at most 2^-23 (1 + |power log z|), measured, and without portable code: see Steps.
func PowerSlope(dst, z []float32, power, factor, flat, most float64) bool {
	dst = dst[:len(z)]
	if best.power == nil {
		return false
	}
	best.power.runAll(dst, z, nil, float32(power), float32(factor), float32(flat), float32(most))
	return true
}
