package search

import (
	"encoding/binary"
	"encoding/json"
	"math"
	"math/big"
	"slices"
	"time"

	"github.com/ftprop/ftprop/internal/opkit"
	"github.com/pkg/errors"
	"gorgonia.org/tensor"
)

// Status is how a Fit ended.
type Status int

const (
	// BudgetExhausted: not all labels are right; the best weights found are kept.
	BudgetExhausted Status = iota
	// Feasible: all labels are right, and every unit reaches its targets.
	Feasible
	// Cancelled: the context ended the search; the best weights found are kept.
	Cancelled
	// Infeasible: no weights of this network give all labels. Shown by labels that contradict each other, by the certificate of
	// a network without hidden layers, or by an Exhaustive search that has seen all targets.
	Infeasible
)

// String returns the constant's name.
func (s Status) String() string {
	switch s {
	case BudgetExhausted:
		return "BudgetExhausted"
	case Feasible:
		return "Feasible"
	case Cancelled:
		return "Cancelled"
	case Infeasible:
		return "Infeasible"
	}
	return "Status(" + itoa(int(s)) + ")"
}

// Result is what a Fit has reached; it describes the weights that are in the layers afterwards. encoding/json and encoding/gob store
// it without loss.
type Result struct {
	Status   Status
	Missed   int     // labels not reached: output units and samples, or samples for classes
	Loss     float64 // of the output layer: J, summed over its units, see FullBatch.C
	Settings int     // settings tried of the last hidden layer's targets
	Starts   int     // 1, and 1 for every start again from random weights, which is a setting, too
	Elapsed  time.Duration
	Layers   []LayerResult
}

// LayerResult is how one layer does.
type LayerResult struct {
	// Settings is how many settings of this layer's targets were tried in all, and Changed in how many places they
	// asked for another level than the layer emitted before. 0 for the output layer, whose targets are the labels.
	Settings, Changed int
	Units, Separable  int
	Undecided         int     // units, of those not separable, that are not proved inseparable
	Loss              float64 // mean hinge loss of the units on their targets, a sample; 0 where margins are 1 or more
	// Inputs (N, in) and Targets (N, out), or (N) class numbers for classes, float64, are what Certificates are about. A hidden
	// layer's targets are the levels that it emits.
	Inputs, Targets *tensor.Dense
	Certificates    []Certificate // one a unit, or one for all classes
}

// storedLayer is a LayerResult as JSON: package tensor has none for its tensors.
type storedLayer struct {
	plainLayer
	Inputs, Targets *storedTensor
}

// storedTensor is a tensor as JSON, in row-major order. One of Float32 and Float64 is nil.
type storedTensor struct {
	Shape   []int
	Float32 []float32
	Float64 []float64
}

type plainLayer LayerResult // without methods

// MarshalJSON writes Inputs and Targets as {"Shape": [...], "Float32": [...], "Float64": [...]}, row-major, one of the latter null.
func (l LayerResult) MarshalJSON() ([]byte, error) {
	s := storedLayer{plainLayer: plainLayer(l)}
	for _, x := range []struct {
		from *tensor.Dense
		to   **storedTensor
	}{{l.Inputs, &s.Inputs}, {l.Targets, &s.Targets}} {
		if x.from == nil {
			continue
		}
		e, err := opkit.ValuesOf(x.from)
		if err != nil {
			return nil, errors.Wrap(err, "search: LayerResult")
		}
		*x.to = &storedTensor{Shape: e.Shape, Float32: e.Float32, Float64: e.Float64}
	}
	return json.Marshal(s)
}

// UnmarshalJSON reads what MarshalJSON has written.
func (l *LayerResult) UnmarshalJSON(b []byte) error {
	var s storedLayer
	if err := json.Unmarshal(b, &s); err != nil {
		return errors.Wrap(err, "search: LayerResult")
	}
	out := LayerResult(s.plainLayer)
	for _, x := range []struct {
		from *storedTensor
		to   **tensor.Dense
	}{{s.Inputs, &out.Inputs}, {s.Targets, &out.Targets}} {
		t := x.from
		if t == nil {
			continue
		}
		size := len(t.Float32) + len(t.Float64)
		volume, err := opkit.Volume(t.Shape)
		switch {
		case err != nil || size != volume || len(t.Shape) == 0 || t.Float32 != nil && t.Float64 != nil:
			return errors.Errorf("search: LayerResult: %d float32 and %d float64 for shape %v", len(t.Float32), len(t.Float64), t.Shape)
		case t.Float32 != nil:
			*x.to = tensor.New(tensor.WithShape(t.Shape...), tensor.WithBacking(t.Float32))
		default:
			*x.to = dense(t.Float64, t.Shape...)
		}
	}
	*l = out
	return nil
}

// Verify checks all certificates in exact arithmetic. It is an error if one does not hold, if a Feasible result has one that is
// not Separable, or if what a layer emits is not what the next one takes.
func (r Result) Verify() error {
	var emitted []float64 // by the layer before
	for d, l := range r.Layers {
		inputs, targets, err := l.elements()
		if err != nil {
			return errors.Wrapf(err, "search: layer %d", d+1)
		}
		if d > 0 && !slices.Equal(inputs.Floats(), emitted) {
			return errors.Errorf("search: layer %d does not take what layer %d emits", d+1, d)
		}
		emitted = targets.Floats()
		for k, c := range l.Certificates {
			t := l.Targets
			if c.Unit >= 0 {
				if c.Unit != k || len(targets.Shape) != 2 || k >= targets.Shape[1] {
					return errors.Errorf("search: layer %d: certificate %d is about unit %d, the targets have shape %v", d+1, k+1, c.Unit+1, targets.Shape)
				}
				t = column(emitted, targets.Shape[1], k)
			}
			if c.Verdict == Undecided && r.Status != Feasible {
				continue
			}
			if err := c.Verify(l.Inputs, t); err != nil {
				return err
			}
			if r.Status == Feasible && c.Verdict != Separable {
				return errors.Errorf("search: feasible, but %v", c)
			}
		}
	}
	return nil
}

func (l LayerResult) elements() (inputs, targets opkit.Values, err error) {
	if inputs, err = opkit.ValuesOf(l.Inputs); err != nil {
		return inputs, targets, errors.Wrap(err, "inputs")
	}
	targets, err = opkit.ValuesOf(l.Targets)
	return inputs, targets, errors.Wrap(err, "targets")
}

// column returns column j of a matrix with c columns.
func column(m []float64, c, j int) *tensor.Dense {
	v := make([]float64, len(m)/c)
	for i := range v {
		v[i] = m[i*c+j]
	}
	return dense(v, len(v))
}

// Progress is what FullBatch.Progress is told after a setting of the last hidden layer's targets.
type Progress struct {
	Settings, Starts int
	Infeasible       int // units that do not reach their targets in this setting: hidden units what they were asked for, output units their labels
	Missed           int // labels not reached in this setting
	Best             int // and in the best so far
	Loss             float64
	Elapsed          time.Duration
}

// decide returns weights that reach targets, or nil if there are none; open is true if that could not be decided.
func (r *run) decide(act [][]float64, lv levels, q []int, guess []float64) (w []float64, open bool, err error) {
	c, err := decideUnit(r.ctx, act, lv, q, guess)
	if err != nil {
		return nil, true, r.stop(err)
	}
	return c.Weights, c.Verdict == Undecided, nil
}

// decideClasses is decide for softmax outputs.
func (r *run) decideClasses(act, guess [][]float64) (w [][]float64, open bool, err error) {
	c, err := decideJoint(r.ctx, act, r.classes, guess, r.pairs[0])
	if err != nil {
		return nil, true, r.stop(err)
	}
	return split(c.Weights, len(act[0])), c.Verdict == Undecided, nil
}

func split(flat []float64, d int) [][]float64 {
	var w [][]float64
	for k := 0; k < len(flat); k += d {
		w = append(w, flat[k:k+d:k+d])
	}
	return w
}

// stop turns a context's error into errStop.
func (r *run) stop(err error) error {
	if r.ctx.Err() != nil {
		return errStop
	}
	return err
}

// contradicted returns how many labels any network must miss, because samples with equal inputs have different ones, and for each
// output (one for all classes) two such samples, or nil.
func (r *run) contradicted() (lost int, pairs [][]int) {
	groups, order := map[string][]int{}, []string{}
	for i, a := range r.best.act[0] {
		buf := make([]byte, 0, 8*len(a))
		for _, v := range a {
			buf = binary.LittleEndian.AppendUint64(buf, math.Float64bits(v+0)) // +0: no -0
		}
		key := string(buf)
		if groups[key] == nil {
			order = append(order, key)
		}
		groups[key] = append(groups[key], i)
	}
	labels := r.targets
	if labels == nil {
		labels = [][]int{r.classes}
	}
	pairs = make([][]int, len(labels))
	for _, key := range order {
		g := groups[key]
		for j, t := range labels {
			count, most := map[int]int{}, 0
			for _, i := range g {
				count[t[i]]++
				most = max(most, count[t[i]])
				if pairs[j] == nil && t[i] != t[g[0]] {
					pairs[j] = []int{g[0], i}
				}
			}
			lost += len(g) - most
		}
	}
	return lost, pairs
}

// clash returns the certificate that two samples with equal inputs, whatever layers they have gone through, have different targets q.
func clash(lv levels, classes int, q []int, pair []int) Certificate {
	i, j := pair[0], pair[1]
	c := lv.certificate()
	c.Verdict, c.Classes = Inseparable, classes
	a, b := q[j], q[i] // each against the other's class
	if classes == 0 {
		a = min(q[i], q[j]) // the threshold that the one must be above and the other not
		b = a
	} else {
		c.Unit = -1
	}
	c.Proof = []Multiplier{{i, a, big.NewInt(1)}, {j, b, big.NewInt(1)}}
	return c
}

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
					t[i*sz.out+j] = sz.value(k)
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
	lv := r.net.sizes[d].levels
	for j, w := range s.w[d] {
		for i, a := range s.act[d] {
			z, k := dot(w, a), goal[j][i]
			if k > 0 {
				sum += math.Max(0, lv.margin()-(z-lv.threshold(k-1)))
			}
			if k < lv.steps {
				sum += math.Max(0, lv.margin()+(z-lv.threshold(k)))
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
					size += abs(v * w[j][m])
				}
				for k := range sz.steps {
					thin = thin || abs(z-sz.threshold(k)) <= 1e-5*size
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
			f := p.fit(s.act[d], norms, sz.levels, s.lev[d][j], nil, w[j], nil)
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
				c = clash(sz.levels, 0, goal[j], r.pairs[j])
			} else {
				c, err = decideUnit(r.ctx, s.act[d], sz.levels, goal[j], s.w[d][j])
			}
			if err != nil {
				if err = r.stop(err); err != errStop {
					return nil, err
				}
				c = sz.levels.certificate()
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
