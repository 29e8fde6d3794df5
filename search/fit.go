package search

import (
	"slices"

	"github.com/ftprop/ftprop/internal/par"
)

// layerFit is how a layer does on its targets.
type layerFit struct {
	loss   float64
	missed int         // targets, or samples for classes
	open   bool        // strict, but too large to decide
	dz     [][]float64 // (units, samples)
}

// fitLayer fits the units of layer d to targets, nil for classes, and sets what follows in s: weights and, for a hidden
// layer, levels and the inputs of the layer above. Units whose targets equal keep stay as they are where nothing but the
// layer's own weights matters, in the first layer. strict decides what the fit leaves open.
func (r *run) fitLayer(d int, s *state, targets [][]int, weights [][]float64, keep [][]int, strict bool) (layerFit, error) {
	sz, act := r.net.sizes[d], s.act[d]
	last := d == len(r.net.sizes)-1
	work := len(act) * sz.in
	p := perceptron{loss: r.Loss, c: r.C, epochs: 100, tol: 1e-2}
	if work > 1<<14 {
		p.epochs, p.tol = 30, 3e-2
	}
	if last && targets != nil && r.Output == CrossEntropyOutput {
		p.loss = logistic{}
	}
	if last && targets == nil {
		return r.fitClasses(d, s, p, strict)
	}
	norms := make([]float64, len(act))
	for i, a := range act {
		norms[i] = dot(a, a)
	}
	units, open := make([]fitted, sz.out), make([]bool, sz.out)
	w, dual := slices.Clone(s.w[d]), slices.Clone(s.dual[d])
	z, lev := make([][]float64, sz.out), make([][]int, sz.out)
	grain := max(1, 1<<16/max(work, 1))
	err := par.Range(sz.out, grain, func(lo, hi int) error {
		for j := lo; j < hi; j++ {
			if d == 0 && !last && keep != nil && slices.Equal(targets[j], keep[j]) {
				z[j], lev[j] = s.z[d][j], s.lev[d][j]
				continue
			}
			units[j] = p.fit(act, norms, sz.Levels, targets[j], at(weights, j), w[j], dual[j])
			z[j], lev[j] = r.net.respond(act, d, units[j].w)
			if strict && misses(targets[j], lev[j]) > 0 {
				v, undecided, err := r.decide(act, sz.Levels, targets[j], units[j].w)
				if err != nil {
					return err
				}
				open[j] = undecided
				if v != nil {
					units[j].w = v
					z[j], lev[j] = r.net.respond(act, d, v)
				}
			}
			w[j], dual[j] = units[j].w, units[j].dual
		}
		return nil
	})
	if err != nil {
		return layerFit{}, err
	}
	f := layerFit{dz: make([][]float64, sz.out), open: slices.Contains(open, true)}
	for j, u := range units {
		f.loss += u.loss
		f.dz[j] = u.dz
		if n := misses(targets[j], lev[j]); n > 0 {
			f.missed += n
		}
	}
	s.w[d], s.dual[d] = w, dual
	if !last {
		s.z[d], s.lev[d] = z, lev
		r.net.emit(s, d)
	}
	return f, nil
}

// fitClasses is fitLayer for softmax outputs.
func (r *run) fitClasses(d int, s *state, p perceptron, strict bool) (layerFit, error) {
	w, loss, dz := p.softmax(s.act[d], r.classes, s.w[d])
	s.w[d] = w
	f := layerFit{loss: loss, dz: dz, missed: r.misclassified(s.act[d], w)}
	if strict && f.missed > 0 {
		v, undecided, err := r.decideClasses(s.act[d], w)
		if err != nil {
			return f, err
		}
		f.open = undecided
		if v != nil {
			s.w[d] = v
			f.missed = r.misclassified(s.act[d], v)
		}
	}
	return f, nil
}

// misclassified counts samples whose class does not have the largest logit.
func (r *run) misclassified(act, w [][]float64) int {
	n := 0
	for i, a := range act {
		own := dot(w[r.classes[i]], a)
		for k, u := range w {
			if k != r.classes[i] && dot(u, a) >= own {
				n++
				break
			}
		}
	}
	return n
}

// gradient returns the derivative of layer d's loss with respect to its inputs, without that with the 1: (inputs, samples).
func (r *run) gradient(d int, s *state, fit layerFit) [][]float64 {
	g := make([][]float64, r.net.sizes[d].in)
	for k := range g {
		g[k] = make([]float64, len(s.act[d]))
	}
	for j, dz := range fit.dz {
		for i, v := range dz {
			if v == 0 {
				continue
			}
			for k := range g {
				g[k][i] += v * s.w[d][j][k]
			}
		}
	}
	return g
}

func at(x [][]float64, j int) []float64 {
	if x == nil {
		return nil
	}
	return x[j]
}

// misses counts the targets, not ignored, that levels differ from.
func misses(targets, lev []int) int {
	n := 0
	for i, t := range targets {
		if t != Ignore && t != lev[i] {
			n++
		}
	}
	return n
}
