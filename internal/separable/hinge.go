package separable

import (
	"math"
	"math/rand/v2"
)

// Hinge is the soft-margin problem of a perceptron
//
//	minimise  |v|^2/2 + C sum_i w_i max(0, r_i - s_i a_i . v)
//
// over v, by dual coordinate descent: the dual has one variable 0 <= alpha_i <= C w_i a row, v = sum alpha_i s_i a_i, and
// each step solves for one of them. Rows are visited in random order, from a generator of its own, so that equal
// problems have equal results. Source: Hsieh, Chang, Lin, Keerthi & Sundararajan, "A dual coordinate descent method for
// large-scale linear SVM" (ICML 2008), algorithm 1.
type Hinge struct {
	X      [][]float64 // a_i; several rows may share memory
	Sign   []float64   // s_i; nil means 1
	Margin []float64   // r_i; nil means 1
	Weight []float64   // w_i >= 0; nil means 1
	C      float64
	Epochs int     // most passes over the rows
	Tol    float64 // ends when no row's projected gradient exceeds it
}

// Fit returns v, and alpha by which a later Fit of a similar problem can start. Both arguments may be nil; alpha is
// overwritten, norms are the rows' squared lengths.
func (p *Hinge) Fit(alpha, norms []float64) (v, dual []float64) {
	n := len(p.X)
	if n == 0 {
		return nil, alpha
	}
	v = make([]float64, len(p.X[0]))
	if alpha == nil {
		alpha = make([]float64, n)
	}
	if norms == nil {
		norms = make([]float64, n)
		for i, r := range p.X {
			norms[i] = dot(r, r)
		}
	}
	order := make([]int, n)
	for i, r := range p.X {
		order[i] = i
		alpha[i] = math.Min(alpha[i], p.box(i))
		if alpha[i] != 0 {
			axpy(v, alpha[i]*p.sign(i), r)
		}
	}
	rng := rand.New(rand.NewPCG(uint64(n), 0x5e9a))
	for range p.Epochs {
		rng.Shuffle(n, func(i, j int) { order[i], order[j] = order[j], order[i] })
		worst := 0.0
		for _, i := range order {
			box := p.box(i)
			if box == 0 || norms[i] == 0 {
				continue
			}
			s, r := p.sign(i), 1.0
			if p.Margin != nil {
				r = p.Margin[i]
			}
			g := s*dot(p.X[i], v) - r
			pg := g
			if alpha[i] == 0 {
				pg = math.Min(g, 0)
			} else if alpha[i] == box {
				pg = math.Max(g, 0)
			}
			if pg == 0 {
				continue
			}
			worst = math.Max(worst, math.Abs(pg))
			old := alpha[i]
			alpha[i] = math.Min(math.Max(old-g/norms[i], 0), box)
			axpy(v, (alpha[i]-old)*s, p.X[i])
		}
		if worst <= p.Tol {
			break
		}
	}
	return v, alpha
}

func (p *Hinge) box(i int) float64 {
	if p.Weight == nil {
		return p.C
	}
	return p.C * p.Weight[i]
}

func (p *Hinge) sign(i int) float64 {
	if p.Sign == nil {
		return 1
	}
	return p.Sign[i]
}

func axpy(y []float64, a float64, x []float64) {
	y = y[:len(x)]
	for k, v := range x {
		y[k] += a * v
	}
}
