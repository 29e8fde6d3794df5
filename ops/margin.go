package ops

import (
	"math"

	"github.com/ftprop/ftprop/internal/vec"
)

// A margin loss is one of a unit's margin m = tz alone, with a slope in one window of margins and flat on both sides of it. On a staircase it
// is the mean over the steps: the staircase is the mean of n step functions, and the loss the mean at the distances to their thresholds, in
// the coordinate u = (z-Lo)/(Hi-Lo); t = +1 asks for a higher level, t = -1 for a lower one. Value is scaled by Hi-Lo so that Grad is the
// mean of the slopes.
//
// No sum takes more than a few terms, however many steps there are: which of them have their margin in the window follows from u,
// and their sum is known in closed form or, for many of them, is an integral with corrections (see margins.sum).
type margins struct {
	lo, hi       float64 // the window; either may be infinite
	ends         windowEnds
	above, below float64 // the loss of margins above and below the window
	shape        shape
}

// windowEnds says which end of a window belongs to it.
type windowEnds int

const (
	upper      windowEnds = iota // lo < m <= hi
	lower                        // lo <= m < hi
	upperOfAll                   // upper in z, which is lower in m for t = -1
)

// atLow is whether for target t the lower end of the window belongs to it, and the upper does not.
func (e windowEnds) atLow(t float64) bool { return e == lower || e == upperOfAll && t < 0 }

// shape is a loss as a function of the margin in its window.
type shape interface {
	at(m float64) float64
	slope(m float64) float64 // minus the derivative
	// gradients returns what differentiates slices of float32, of steps with the window's ends.
	gradients(s vec.Steps) gradients
}

// smoothShape is a shape of which many steps are summed by an integral.
type smoothShape interface {
	shape
	area(lo, hi, width float64) float64         // the integral of slope, width = hi - lo
	derivatives(m float64) (d1, d2, d3 float64) // of slope
}

// gradients sets dst to derivatives with respect to z, for targets t or weighted for gradients g, if there are instructions for it.
type gradients interface {
	Grad(dst, z, t []float32) (ok bool)
	MulGrad(dst, z, g []float32) (finite, ok bool)
}

// on returns the loss for the given levels.
func (l margins) on(lv Levels) Loss {
	n := float64(lv.Steps)
	out := marginLoss{margins: l, n: n, s: n - 1, scale: lv.Hi - lv.Lo, origin: lv.Lo}
	if lv.Steps == 1 {
		out.s, out.scale, out.origin = 1, 1, 0
	}
	s := vec.NewSteps(lv.Steps, lv.Lo, lv.Hi, l.lo, l.hi, l.ends.atLow(1), l.ends.atLow(-1))
	out.fast = l.shape.gradients(s)
	return out
}

// marginLoss is a margin loss on levels.
type marginLoss struct {
	margins
	n, s          float64 // thresholds, and the steps from the first of them to the last; s = 1 for n = 1
	scale, origin float64 // u = (z-origin)/scale
	fast          gradients
}

func (l marginLoss) Value(z, t float64) float64 {
	if t == 0 {
		return 0
	}
	u := (z - l.origin) / l.scale
	from, to := l.window(u, t)
	above, below := from, l.n-to
	if t < 0 {
		above, below = below, above
	}
	sum := 0.0
	if above > 0 {
		sum += above * l.above
	}
	if below > 0 {
		sum += below * l.below
	}
	if from < to {
		sum += l.sum(u, t, from, to, false)
	}
	return l.scale * (sum / l.n)
}

func (l marginLoss) Grad(z, t float64) float64 {
	if t == 0 {
		return 0
	}
	u := (z - l.origin) / l.scale
	from, to := l.window(u, t)
	if from >= to {
		return 0
	}
	return -t * (l.sum(u, t, from, to, true) / l.n)
}

// GradSlice32 implements SliceLoss.
func (l marginLoss) GradSlice32(dz, z, t []float32) {
	if l.fast.Grad(dz, z, t) {
		return
	}
	for i, v := range z {
		dz[i] = float32(l.Grad(float64(v), float64(t[i])))
	}
}

// GradSlice64 implements SliceLoss.
func (l marginLoss) GradSlice64(dz, z, t []float64) {
	for i, v := range z {
		dz[i] = l.Grad(v, t[i])
	}
}

func (l marginLoss) mulGrad32(dz, z, g []float32) (finite, ok bool) { return l.fast.MulGrad(dz, z, g) }

// window returns the steps with their margin in the window: those from from to before to.
func (l marginLoss) window(u, t float64) (from, to float64) {
	lo, hi := l.lo, l.hi
	if t < 0 {
		lo, hi = -hi, -lo
	}
	atLow := l.ends.atLow(t) == (t > 0)
	return l.beyond(u, hi, atLow), l.beyond(u, lo, atLow)
}

// beyond returns how many steps have u - k/s > b, or also u - k/s = b. They are the first.
func (l marginLoss) beyond(u, b float64, equal bool) float64 {
	is := func(k float64) bool {
		v := u
		if k > 0 {
			v -= k / l.s
		}
		return v > b || equal && v == b
	}
	switch {
	case math.IsInf(b, 1):
		return 0
	case math.IsInf(b, -1):
		return l.n
	case l.n == 1:
		if is(0) {
			return 1
		}
		return 0
	}
	// The estimate is right but for rounding, by which the definition decides.
	k := math.Max(0, math.Min(math.Ceil((u-b)*l.s), l.n))
	for k < l.n && is(k) {
		k++
	}
	for k > 0 && !is(k-1) {
		k--
	}
	return k
}

// fewSteps is how many steps are added up one by one.
const fewSteps = 32

// sum returns the sum of the loss in the window, or of its slope, over the steps from from to before to.
//
// More than a few are the Euler-Maclaurin series in its midpoint form: the integral from half a step before the first to half a step
// after the last, and of the derivatives there
//
//	s integral - [f'] / 24s + 7 [f”'] / 5760 s^3,
//
// whose first term left out is under 1e-11 of the largest f, the functions having no singularity nearer than 1.
func (l marginLoss) sum(u, t, from, to float64, slope bool) float64 {
	count := to - from
	margin := func(k float64) float64 { return t * (u - k/l.s) }
	if l.n == 1 {
		margin = func(float64) float64 { return t * u }
	}
	if q, ok := l.shape.(quadratic); ok {
		// Of equally spaced margins only mean and variance matter.
		mean := margin((from + to - 1) / 2)
		if slope {
			return count * q.slope(mean)
		}
		v := q.at(mean)
		if q.square != 0 {
			v += q.square * (count*count - 1) / (12 * l.s * l.s)
		}
		return count * v
	}
	f := l.shape.at
	if slope {
		f = l.shape.slope
	}
	smooth, ok := l.shape.(smoothShape)
	if !ok || count <= fewSteps {
		sum := 0.0
		for k := from; k < to; k++ {
			sum += f(margin(k))
		}
		return sum
	}
	lo, hi := margin(to-0.5), margin(from-0.5)
	if t < 0 {
		lo, hi = hi, lo
	}
	width := count / l.s
	area, c1, c3 := 0.0, 0.0, 0.0
	for _, end := range [2]struct{ m, sign float64 }{{hi, 1}, {lo, -1}} {
		d1, d2, d3 := smooth.derivatives(end.m)
		if !slope {
			d1, d3 = -smooth.slope(end.m), -d2
		}
		c1 += end.sign * d1
		c3 += end.sign * d3
	}
	if slope {
		area = smooth.area(lo, hi, width)
	} else {
		area = integral(f, lo, width)
	}
	return l.s*area - c1/(24*l.s) + 7*c3/(5760*l.s*l.s*l.s)
}

// integral returns the integral of f over the width from lo on by Gauss's quadrature with ten nodes.
func integral(f func(float64) float64, lo, width float64) float64 {
	sum := 0.0
	for _, p := range [...]struct{ x, w float64 }{
		{0.14887433898163122, 0.29552422471475287}, {0.4333953941292472, 0.26926671930999635}, {0.6794095682990244, 0.21908636251598204},
		{0.8650633666889845, 0.1494513491505806}, {0.9739065285171717, 0.06667134430868814},
	} {
		sum += p.w / 2 * (f(lo+width*(1-p.x)/2) + f(lo+width*(1+p.x)/2))
	}
	return width * sum
}

// quadratic is shift + line d + square d^2 with d = margin - m.
type quadratic struct{ margin, shift, line, square float64 }

func (q quadratic) at(m float64) float64 {
	v, d := q.shift, q.margin-m
	if q.line != 0 {
		v += q.line * d
	}
	if q.square != 0 {
		v += q.square * d * d
	}
	return v
}

func (q quadratic) slope(m float64) float64 {
	if q.square == 0 {
		return q.line
	}
	return q.line + 2*q.square*(q.margin-m)
}

func (q quadratic) gradients(s vec.Steps) gradients {
	return s.Linear(q.line, 2*q.square, q.margin)
}

// softplus is height log(1 + exp(rate m)).
type softplus struct{ height, rate float64 }

func (p softplus) at(m float64) float64 {
	x := p.rate * m
	return p.height * log1pExp(x)
}

func (p softplus) slope(m float64) float64 { return -p.height * p.rate * sigmoid(p.rate*m) }

func (p softplus) area(lo, hi, width float64) float64 {
	x, y := p.rate*lo, p.rate*hi
	if (x > 0) != (y > 0) {
		return p.at(lo) - p.at(hi)
	}
	// What the two have in common would cancel.
	diff := math.Log1p(math.Exp(-math.Abs(x))) - math.Log1p(math.Exp(-math.Abs(y)))
	if x > 0 {
		diff -= p.rate * width
	}
	return p.height * diff
}

func (p softplus) derivatives(m float64) (d1, d2, d3 float64) {
	x := p.rate * m
	e := math.Exp(-math.Abs(x))
	v := e / ((1 + e) * (1 + e))
	a := -p.height * p.rate
	return a * p.rate * v, a * p.rate * p.rate * v * (1 - 2*sigmoid(x)), a * p.rate * p.rate * p.rate * v * (1 - 6*v)
}

func (p softplus) gradients(s vec.Steps) gradients {
	if s.Truncated() && s.Several() {
		return s.TruncLogistic()
	}
	return s.Logistic(-p.height*p.rate, p.rate)
}

// logarithm is height log(2 - m).
type logarithm struct{ height float64 }

func (l logarithm) at(m float64) float64    { return l.height * math.Log(2-m) }
func (l logarithm) slope(m float64) float64 { return l.height / (2 - m) }
func (l logarithm) area(_, hi, width float64) float64 {
	return l.height * math.Log1p(width/(2-hi))
}

func (l logarithm) derivatives(m float64) (d1, d2, d3 float64) {
	r := 1 / (2 - m)
	d1 = l.height * r * r
	return d1, 2 * d1 * r, 6 * d1 * r * r
}

func (l logarithm) gradients(s vec.Steps) gradients { return s.Reciprocal(l.height) }

func sigmoid(x float64) float64 { return 1 / (1 + math.Exp(-x)) }

// log1pExp is log(1 + exp x).
func log1pExp(x float64) float64 { return math.Max(x, 0) + math.Log1p(math.Exp(-math.Abs(x))) }
