package search

import (
	"math"
	"slices"
	"time"
)

// result gives the best state its final form and certifies it.
func (r *run) result(status Status) (Result, error) {
	s := r.best.clone()
	last := len(r.net.sizes) - 1
	if err := r.steady(s); err != nil {
		return Result{}, err
	}
	// What the soft fit has missed and certificates find.
	certs, err := r.certify(s)
	if err != nil {
		return Result{}, err
	}
	adopted := false
	w := slices.Clone(s.w[last])
	for _, c := range certs[last] {
		if c.Verdict != Separable {
			continue
		}
		if c.Unit < 0 {
			w, adopted = split(c.Weights, len(s.act[last][0])), true
		} else if _, lev := r.net.respond(s.act[last], last, w[c.Unit]); misses(r.targets[c.Unit], lev) > 0 {
			w[c.Unit], adopted = c.Weights, true
		}
	}
	s.w[last] = w
	rounds := r.round(s)
	if adopted || rounds {
		r.net.forward(s, 0)
		if certs, err = r.certify(s); err != nil {
			return Result{}, err
		}
	}
	r.best, r.bestMissed = s, r.missed(s)
	if r.bestMissed == 0 {
		status = Feasible
	}
	if math.IsInf(r.bestLoss, 1) { // stopped before the first fit
		r.bestLoss = r.meanHinge(s, last) * float64(len(s.act[0])*len(s.w[last]))
	}
	res := Result{Status: status, Missed: r.bestMissed, Loss: r.bestLoss, Starts: r.starts}
	if last > 0 {
		res.Settings = r.tried[last-1]
	}
	for d, sz := range r.net.sizes {
		l := LayerResult{Units: sz.out, Certificates: certs[d]}
		if d < last {
			l.Settings, l.Changed = r.tried[d], r.changed[d]
		}
		for _, c := range certs[d] {
			units := 1
			if c.Unit < 0 {
				units = sz.out
			}
			switch c.Verdict {
			case Separable:
				l.Separable += units
			case Undecided:
				l.Undecided += units
			}
		}
		n := len(s.act[d])
		in := make([]float64, 0, n*sz.in)
		for _, a := range s.act[d] {
			in = append(in, a[:sz.in]...)
		}
		l.Inputs = dense(in, n, sz.in)
		if d == last && r.targets == nil {
			t := make([]float64, n)
			for i, k := range r.classes {
				t[i] = float64(k)
			}
			l.Targets = dense(t, n)
		} else {
			t := make([]float64, n*sz.out)
			for j, q := range r.goal(s, d) {
				for i, k := range q {
					t[i*sz.out+j] = sz.Value(k)
				}
			}
			l.Targets = dense(t, n, sz.out)
		}
		l.Loss = r.meanHinge(s, d)
		res.Layers = append(res.Layers, l)
	}
	res.Elapsed = time.Since(r.start)
	return res, nil
}

// store writes the best weights back.
func (r *run) store(layers []Layer) {
	for d, l := range layers {
		sz := r.net.sizes[d]
		for j, w := range r.best.w[d] {
			if sz.float32 {
				for k := range sz.in {
					l.W.Float32s()[j*sz.in+k] = float32(w[k])
				}
				l.B.Float32s()[j] = float32(w[sz.in])
			} else {
				copy(l.W.Float64s()[j*sz.in:], w[:sz.in])
				l.B.Float64s()[j] = w[sz.in]
			}
		}
	}
}

// goal returns the targets of layer d in a final state.
func (r *run) goal(s *state, d int) [][]int {
	if d < len(s.lev) {
		return s.lev[d]
	}
	return r.targets
}

// meanHinge returns layer d's mean hinge loss, or cross entropy for classes, a sample and unit.
func (r *run) meanHinge(s *state, d int) float64 {
	sum := 0.0
	n := len(s.act[d])
	goal := r.goal(s, d)
	if goal == nil {
		for i, a := range s.act[d] {
			z := make([]float64, len(s.w[d]))
			for k, u := range s.w[d] {
				z[k] = dot(u, a)
			}
			top, mass := slices.Max(z), 0.0
			for _, v := range z {
				mass += math.Exp(v - top)
			}
			sum += top + math.Log(mass) - z[r.classes[i]]
		}
		return sum / float64(n)
	}
	lv := r.net.sizes[d].Levels
	for j, w := range s.w[d] {
		for i, a := range s.act[d] {
			z, k := dot(w, a), goal[j][i]
			if k > 0 {
				sum += math.Max(0, margin(lv)-(z-lv.Threshold(k-1)))
			}
			if k < lv.Steps {
				sum += math.Max(0, margin(lv)+(z-lv.Threshold(k)))
			}
		}
	}
	return sum / float64(n*len(s.w[d]))
}

// steady gives hidden units whose pre-activations come close to a threshold, relative to their terms, new weights that emit the same
// levels with a margin: otherwise rounding to float32 could change them.
func (r *run) steady(s *state) error {
	for d, sz := range r.net.sizes[:len(r.net.sizes)-1] {
		w := slices.Clone(s.w[d])
		for j := range w {
			thin := false
			for _, a := range s.act[d] {
				z, size := 0.0, 0.0
				for m, v := range a {
					z += v * w[j][m]
					size += math.Abs(v * w[j][m])
				}
				for k := range sz.Steps {
					thin = thin || math.Abs(z-sz.Threshold(k)) <= 1e-5*size
				}
			}
			if !thin || len(s.act[d])*sz.in > 1<<14 {
				continue
			}
			norms := make([]float64, len(s.act[d]))
			for i, a := range s.act[d] {
				norms[i] = dot(a, a)
			}
			p := perceptron{c: 1e4, epochs: 300, tol: 1e-3}
			f := p.fit(s.act[d], norms, sz.Levels, s.lev[d][j], nil, w[j], nil)
			if _, lev := r.net.respond(s.act[d], d, f.w); misses(s.lev[d][j], lev) == 0 {
				w[j] = f.w
			}
		}
		s.w[d] = w
	}
	return nil
}

// round rounds the weights of float32 layers, and reports whether there are any.
func (r *run) round(s *state) bool {
	some := false
	for d, sz := range r.net.sizes {
		if !sz.float32 {
			continue
		}
		some = true
		s.w[d] = slices.Clone(s.w[d])
		for j, w := range s.w[d] {
			w = slices.Clone(w)
			for k, v := range w {
				w[k] = float64(float32(v))
			}
			s.w[d][j] = w
		}
	}
	return some
}

// certify returns the certificates of a state, layer by layer.
func (r *run) certify(s *state) ([][]Certificate, error) {
	all := make([][]Certificate, len(r.net.sizes))
	for d, sz := range r.net.sizes {
		goal := r.goal(s, d)
		if goal == nil {
			c, err := decideJoint(r.ctx, s.act[d], r.classes, s.w[d], r.pairs[0])
			if err != nil {
				if err = r.stop(err); err != errStop {
					return nil, err
				}
				c = Certificate{Unit: -1, Classes: sz.out}
			}
			c.Layer = d
			all[d] = []Certificate{c}
			continue
		}
		for j := range goal {
			var c Certificate
			var err error
			if d == len(r.net.sizes)-1 && r.pairs[j] != nil {
				c = clash(sz.Levels, 0, goal[j], r.pairs[j])
			} else {
				c, err = decideUnit(r.ctx, s.act[d], sz.Levels, goal[j], s.w[d][j])
			}
			if err != nil {
				if err = r.stop(err); err != errStop {
					return nil, err
				}
				c = undecided(sz.Levels)
			}
			c.Layer, c.Unit = d, j
			all[d] = append(all[d], c)
		}
	}
	return all, nil
}

// missed counts the labels that a state misses.
func (r *run) missed(s *state) int {
	last := len(r.net.sizes) - 1
	if r.targets == nil {
		return r.misclassified(s.act[last], s.w[last])
	}
	n := 0
	for j, w := range s.w[last] {
		_, lev := r.net.respond(s.act[last], last, w)
		n += misses(r.targets[j], lev)
	}
	return n
}
