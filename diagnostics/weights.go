package diagnostics

import (
	"math"

	"github.com/ftprop/ftprop/internal/opkit"
	"github.com/ftprop/ftprop/ops"
	"github.com/pkg/errors"
	"gorgonia.org/gorgonia"
)

// WeightStats is what a look at quantised weights shows. Shares are in [0, 1], of all weights.
type WeightStats struct {
	Name    string  `json:"name"`
	Weights int     `json:"weights"`
	Zeros   float64 `json:"zeros"` // weights that are 0: no connection
	Flips   float64 `json:"flips"` // weights with another level than at the last look, whatever the scales; 0 at the first
}

// WeightProbe reads quantised weights.
type WeightProbe struct {
	layers []*watchedWeights
}

// watchedWeights is the quantised weights of a layer.
type watchedWeights struct {
	name   string
	op     ops.WeightQuantiser
	in     gorgonia.Nodes
	before []int8 // levels at the last look, whole numbers less the lowest
}

// WatchWeights returns a probe of nodes that weight quantisers have made, as models.Net.WeightNodes returns them. names are for messages and reports: one for
// each node, or nil for those of the parameters. It adds nothing to the graph, and needs no run of it.
func WatchWeights(weights gorgonia.Nodes, names []string) (*WeightProbe, error) {
	if names != nil && len(names) != len(weights) {
		return nil, errors.Errorf("diagnostics: %d names for %d weights", len(names), len(weights))
	}
	p := new(WeightProbe)
	for i, n := range weights {
		if n == nil {
			return nil, errors.Errorf("diagnostics: weights %d are nil", i)
		}
		op, ok := n.Op().(ops.WeightQuantiser)
		if !ok {
			return nil, errors.Errorf("diagnostics: %q is not the node of a weight quantiser", n.Name())
		}
		in, err := opkit.InputsOf(n)
		if err != nil {
			return nil, errors.WithMessagef(err, "diagnostics: weights %s", n.Name())
		}
		w := &watchedWeights{name: in[0].Name(), op: op, in: in}
		if names != nil {
			w.name = names[i]
		}
		p.layers = append(p.layers, w)
	}
	return p, nil
}

// Len is the number of layers that are watched.
func (p *WeightProbe) Len() int { return len(p.layers) }

// Read returns what the weights are now, layer by layer. It computes them from the parameters, so that it is to be called between the steps of training.
func (p *WeightProbe) Read() ([]WeightStats, error) {
	out := make([]WeightStats, 0, len(p.layers))
	for _, w := range p.layers {
		s, err := w.read()
		if err != nil {
			return nil, errors.WithMessagef(err, "diagnostics: weights %s", w.name)
		}
		out = append(out, s)
	}
	return out, nil
}

func (w *watchedWeights) read() (WeightStats, error) {
	s := WeightStats{Name: w.name}
	var in []gorgonia.Value
	for _, n := range w.in {
		if n.Value() == nil {
			return s, errors.Errorf("%q has no value", n.Name())
		}
		in = append(in, n.Value())
	}
	v, err := w.op.Do(in...)
	if err != nil {
		return s, err
	}
	x, err := opkit.Floats(v)
	if err != nil {
		return s, err
	}
	d, err := w.op.Scales(in...)
	if err != nil {
		return s, err
	}
	scales, err := opkit.Floats(d)
	if err != nil {
		return s, err
	}
	inner := 1 // elements of a channel that lie side by side
	for k := len(d.Shape()) - 1; k >= 0 && d.Shape()[k] == 1; k-- {
		inner *= v.Shape()[k]
	}
	lv := w.op.Levels()
	gap := (lv.Hi - lv.Lo) / float64(lv.Steps) // 2 of odd numbers
	now := make([]int8, len(x))
	for i, v := range x {
		if v == 0 {
			s.Zeros++
		}
		if scale := scales[i/inner%len(scales)]; scale != 0 { // else v is 0, at no level
			v /= scale
		}
		now[i] = int8(math.Round((v-lv.Lo)/gap) - 128)
		if w.before != nil && now[i] != w.before[i] {
			s.Flips++
		}
	}
	s.Weights, w.before = len(x), now
	if n := float64(len(x)); n > 0 {
		s.Zeros, s.Flips = s.Zeros/n, s.Flips/n
	}
	return s, nil
}
