package search

import (
	"math"

	"github.com/ftprop/ftprop/internal/levels"
	"github.com/ftprop/ftprop/internal/separable"
	"gonum.org/v1/gonum/optimize"
)

// fitted is the solution of one unit's convex problem
//
//	minimise  J(w) = |w|^2/(2C) + sum_i weight_i l(w . a_i - theta, s)
//
// over the thresholds theta that the target of sample i puts it above (s = +1) or not above (s = -1).
type fitted struct {
	w, dual []float64
	loss    float64   // J
	dz      []float64 // its derivative with respect to the pre-activations, at the solution
}

// perceptron solves such problems.
type perceptron struct {
	loss   LayerLoss // nil means hinge
	c      float64
	epochs int
	tol    float64
}

// fit fits a unit with the given levels to targets q (a level each, or Ignore). weight may be nil. It starts from w and
// dual, a similar problem's solution; dual may be nil.
//
// The derivative is that of the minimum: by the envelope theorem, with w held. For the hinge loss, whose kinks many samples
// sit at, it is the dual variable, which tells how much each sample matters.
func (p perceptron) fit(act [][]float64, norms []float64, lv levels.Levels, q []int, weight, w, dual []float64) fitted {
	if p.loss != nil {
		return p.smooth(act, lv, q, weight, w)
	}
	n := len(act)
	h := separable.Hinge{X: act, C: p.c, Epochs: p.epochs, Tol: p.tol}
	if lv.Steps == 1 {
		h.Sign = make([]float64, n)
		for i, k := range q {
			h.Sign[i] = float64(2*k - 1)
		}
		h.Weight = weight
		for _, k := range q {
			if k == Ignore {
				h.Weight = make([]float64, n)
				for i, k := range q {
					if k != Ignore {
						h.Weight[i] = weightOf(weight, i)
					}
				}
				break
			}
		}
	} else {
		// Row 2i holds sample i above the threshold below its level, row 2i+1 below the one above.
		h.X = make([][]float64, 2*n)
		h.Sign, h.Weight, h.Margin = make([]float64, 2*n), make([]float64, 2*n), make([]float64, 2*n)
		m := margin(lv)
		wide := make([]float64, 2*n)
		for i, k := range q {
			h.X[2*i], h.X[2*i+1] = act[i], act[i]
			h.Sign[2*i], h.Sign[2*i+1] = 1, -1
			wide[2*i], wide[2*i+1] = norms[i], norms[i]
			if k > 0 {
				h.Weight[2*i], h.Margin[2*i] = weightOf(weight, i), m+lv.Threshold(k-1)
			}
			if k != Ignore && k < lv.Steps {
				h.Weight[2*i+1], h.Margin[2*i+1] = weightOf(weight, i), m-lv.Threshold(k)
			}
		}
		norms = wide
	}
	if len(dual) != len(h.X) {
		dual = nil
	} else {
		dual = append([]float64(nil), dual...)
	}
	var f fitted
	f.w, f.dual = h.Fit(dual, norms)
	f.loss, f.dz = dot(f.w, f.w)/(2*p.c), make([]float64, n)
	rows := len(h.X) / n
	for i, a := range act {
		z := dot(f.w, a)
		for k := i * rows; k < (i+1)*rows; k++ {
			m := 1.0
			if h.Margin != nil {
				m = h.Margin[k]
			}
			if slack := m - h.Sign[k]*z; slack > 0 {
				f.loss += weightOf(h.Weight, k) * slack
			}
			f.dz[i] -= h.Sign[k] * f.dual[k] / p.c
		}
	}
	return f
}

func weightOf(weight []float64, i int) float64 {
	if weight == nil {
		return 1
	}
	return weight[i]
}

// smooth fits by L-BFGS: any loss with a derivative, convex or not.
func (p perceptron) smooth(act [][]float64, lv levels.Levels, q []int, weight, w []float64) fitted {
	value := func(w, grad, dz []float64) float64 {
		sum := dot(w, w) / (2 * p.c)
		for k, v := range w {
			grad[k] = v / p.c
		}
		for i, a := range act {
			k := q[i]
			if k == Ignore {
				continue
			}
			z, g := dot(w, a), 0.0
			wt := weightOf(weight, i)
			if k > 0 {
				u := z - lv.Threshold(k-1)
				sum += wt * p.loss.Value(u, 1)
				g += wt * p.loss.Grad(u, 1)
			}
			if k < lv.Steps {
				u := z - lv.Threshold(k)
				sum += wt * p.loss.Value(u, -1)
				g += wt * p.loss.Grad(u, -1)
			}
			if dz != nil {
				dz[i] = g
			}
			for k, v := range a {
				grad[k] += g * v
			}
		}
		return sum
	}
	f := fitted{w: lbfgs(w, func(w, grad []float64) float64 { return value(w, grad, nil) }), dz: make([]float64, len(act))}
	f.loss = value(f.w, make([]float64, len(w)), f.dz)
	return f
}

// softmax fits all units of an output layer at once to classes, by cross entropy; dz is (units, samples). It starts from w.
func (p perceptron) softmax(act [][]float64, classes []int, w [][]float64) (out [][]float64, loss float64, dz [][]float64) {
	c, d := len(w), len(w[0])
	flat := make([]float64, 0, c*d)
	dz = make([][]float64, c)
	for k, u := range w {
		flat = append(flat, u...)
		dz[k] = make([]float64, len(act))
	}
	z := make([]float64, c)
	value := func(w, grad []float64, keep bool) float64 {
		sum := dot(w, w) / (2 * p.c)
		for k, v := range w {
			grad[k] = v / p.c
		}
		for i, a := range act {
			top := math.Inf(-1)
			for k := range c {
				z[k] = dot(a, w[k*d:])
				top = math.Max(top, z[k])
			}
			mass := 0.0
			zy := z[classes[i]]
			for k := range c {
				z[k] = math.Exp(z[k] - top)
				mass += z[k]
			}
			sum += top + math.Log(mass) - zy
			for k := range c {
				g := z[k] / mass
				if k == classes[i] {
					g--
				}
				if keep {
					dz[k][i] = g
				}
				if math.Abs(g) < 1e-12 {
					continue
				}
				row := grad[k*d : (k+1)*d]
				for m, v := range a {
					row[m] += g * v
				}
			}
		}
		return sum
	}
	flat = lbfgs(flat, func(w, grad []float64) float64 { return value(w, grad, false) })
	loss = value(flat, make([]float64, len(flat)), true)
	for k := range c {
		out = append(out, flat[k*d:(k+1)*d:(k+1)*d])
	}
	return out, loss, dz
}

// lbfgs minimises f from w. Where the line search can go no further, the best point so far is the result: losses with kinks
// end so.
func lbfgs(w []float64, f func(w, grad []float64) float64) []float64 {
	// gonum asks for value and gradient in turn: one pass serves both.
	at, grad := make([]float64, len(w)), make([]float64, len(w))
	var val float64
	known := false
	eval := func(x []float64) {
		if known {
			same := true
			for k := range x {
				if x[k] != at[k] {
					same = false
					break
				}
			}
			if same {
				return
			}
		}
		copy(at, x)
		val, known = f(at, grad), true
	}
	p := optimize.Problem{
		Func: func(x []float64) float64 { eval(x); return val },
		Grad: func(g, x []float64) { eval(x); copy(g, grad) },
	}
	start := append([]float64(nil), w...)
	eval(start)
	first := val
	// An error is that of the line search; the result beside it holds the best point.
	res, _ := optimize.Minimize(p, start, &optimize.Settings{MajorIterations: 40, GradientThreshold: 1e-5,
		Converger: &optimize.FunctionConverge{Absolute: 1e-6, Relative: 1e-5, Iterations: 3}}, &optimize.LBFGS{})
	if res == nil || res.X == nil || !(res.F <= first) {
		return append([]float64(nil), w...)
	}
	return res.X
}

// logistic is the loss of logistic regression, log(1 + exp(-tz)).
type logistic struct{}

func (logistic) Value(z, t float64) float64 {
	if m := t * z; m < 0 {
		return -m + math.Log1p(math.Exp(m))
	} else {
		return math.Log1p(math.Exp(-m))
	}
}

func (logistic) Grad(z, t float64) float64 { return -t / (1 + math.Exp(t*z)) }
