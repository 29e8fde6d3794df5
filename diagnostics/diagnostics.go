// Package diagnostics shows what happens inside threshold layers while a network trains: how many units reach their
// targets, how many have none, are dead, saturated or changed since the last look, and how their inputs are spread.
//
//	probe, err := diagnostics.Watch(net.Hidden, net.HiddenNames()) // after gorgonia.Grad
//	...
//	err = vm.RunAll()
//	layers, err := probe.Read()
//
// Watch adds nodes to the graph, which take time in every run: a graph of its own, on the weights of the network that trains
// and a fixed batch, makes the readings comparable and leaves training as fast as it was.
package diagnostics

import (
	"math"

	"github.com/ftprop/ftprop/internal/opkit"
	"github.com/ftprop/ftprop/nodes"
	"github.com/ftprop/ftprop/ops"
	"github.com/pkg/errors"
	"gorgonia.org/gorgonia"
)

// Layer is what a look at a threshold layer shows. Shares are in [0, 1], of the units of all samples of the batch.
type Layer struct {
	Name  string `json:"name"`
	Units int    `json:"units"` // of one sample

	Agreement float64 `json:"agreement"` // units with sign(z) equal to their target, among those that have one: see nodes.Agreement
	Ignored   float64 `json:"ignored"`   // units without a target, t = 0
	Dead      float64 `json:"dead"`      // units, of one sample, that emit the same level for every sample of the batch
	Saturated float64 `json:"saturated"` // units with z outside of the levels' range: the saturating straight-through estimator passes them nothing
	Flips     float64 `json:"flips"`     // units whose level is another than at the last look; 0 at the first
	Loss      float64 `json:"loss"`      // layer loss, sum w l(z, t): see nodes.LayerLoss

	Z          Histogram `json:"z"`          // of the pre-activations
	Thresholds []float64 `json:"thresholds"` // where the activation steps
}

// Histogram counts values in bins of equal width: bin i holds values from Min + i w on, less than Min + (i+1) w, with
// w = (Max - Min)/len(Counts), the last bin Max too.
type Histogram struct {
	Min    float64 `json:"min"`
	Max    float64 `json:"max"`
	Counts []int   `json:"counts"`
}

// bins is the number of bins of a histogram.
const bins = 60

// Probe reads threshold layers after each run of their graph.
type Probe struct {
	layers []*watched
}

// watched is a layer with the values that the machine leaves here.
type watched struct {
	name   string
	levels ops.Levels
	batch  int
	before []float64 // levels at the last look

	z, h, target, agreement, loss gorgonia.Value
}

// Watch returns a probe of the activations in hidden, of which those that have no thresholds (baselines) are left out.
// Call it after gorgonia.Grad and before a machine is made. names are for messages and reports: one for each node, or
// nil for the nodes' own. The error is nodes.ErrNoGrad (compare with errors.Is) before gorgonia.Grad.
func Watch(hidden gorgonia.Nodes, names []string) (*Probe, error) {
	if names != nil && len(names) != len(hidden) {
		return nil, errors.Errorf("diagnostics: %d names for %d layers", len(names), len(hidden))
	}
	p := new(Probe)
	for i, h := range hidden {
		if h == nil {
			return nil, errors.Errorf("diagnostics: layer %d is nil", i)
		}
		act, ok := h.Op().(ops.Activation)
		if !ok {
			continue
		}
		w := &watched{name: h.Name(), levels: act.Layer().Levels, batch: 1}
		if names != nil {
			w.name = names[i]
		}
		if h.Dims() > 0 {
			w.batch = h.Shape()[0]
		}
		for _, n := range []struct {
			of func(*gorgonia.Node) (*gorgonia.Node, error)
			to *gorgonia.Value
		}{{nodes.Target, &w.target}, {nodes.Agreement, &w.agreement}, {nodes.LayerLoss, &w.loss}, {input, &w.z}, {itself, &w.h}} {
			node, err := n.of(h)
			if err != nil {
				return nil, errors.WithMessagef(err, "diagnostics: layer %s", w.name)
			}
			gorgonia.Read(node, n.to)
		}
		p.layers = append(p.layers, w)
	}
	return p, nil
}

func itself(h *gorgonia.Node) (*gorgonia.Node, error) { return h, nil }

// input returns the node that an activation reads.
func input(h *gorgonia.Node) (*gorgonia.Node, error) {
	in := h.Graph().From(h.ID())
	if in.Next() {
		if z, ok := in.Node().(*gorgonia.Node); ok {
			return z, nil
		}
	}
	return nil, errors.Errorf("node %q has no input", h.Name())
}

// Len is the number of layers that are watched.
func (p *Probe) Len() int { return len(p.layers) }

// Read returns what the last run of the graph has left, layer by layer. It is an error if there was none.
func (p *Probe) Read() ([]Layer, error) {
	out := make([]Layer, 0, len(p.layers))
	for _, w := range p.layers {
		l, err := w.read()
		if err != nil {
			return nil, errors.WithMessagef(err, "diagnostics: layer %s", w.name)
		}
		out = append(out, l)
	}
	return out, nil
}

func (w *watched) read() (Layer, error) {
	var v [5][]float64
	for i, from := range []gorgonia.Value{w.z, w.h, w.target, w.agreement, w.loss} {
		if from == nil {
			return Layer{}, errors.New("nothing to read: run the graph first")
		}
		var err error
		if v[i], err = opkit.Floats(from); err != nil {
			return Layer{}, err
		}
	}
	z, h, target := v[0], v[1], v[2]
	n := float64(len(h))
	l := Layer{
		Name: w.name, Units: len(h) / w.batch, Agreement: v[3][0], Loss: v[4][0],
		Z: histogram(z), Thresholds: thresholds(w.levels),
	}
	for i, x := range z {
		if target[i] == 0 {
			l.Ignored++
		}
		if x < w.levels.Lo || x > w.levels.Hi {
			l.Saturated++
		}
		if w.before != nil && h[i] != w.before[i] {
			l.Flips++
		}
	}
	l.Ignored, l.Saturated, l.Flips = l.Ignored/n, l.Saturated/n, l.Flips/n
	for u := range l.Units {
		same := 1.0
		for i := u + l.Units; i < len(h); i += l.Units {
			if h[i] != h[u] {
				same = 0
				break
			}
		}
		l.Dead += same
	}
	l.Dead /= float64(l.Units)
	w.before = append(w.before[:0], h...)
	return l, nil
}

func histogram(x []float64) Histogram {
	h := Histogram{Min: math.Inf(1), Max: math.Inf(-1), Counts: make([]int, bins)}
	for _, v := range x {
		h.Min, h.Max = math.Min(h.Min, v), math.Max(h.Max, v)
	}
	scale := float64(bins) / (h.Max - h.Min)
	for _, v := range x {
		i := 0 // all in one bin, if all values are the same
		if h.Max > h.Min {
			i = min(int((v-h.Min)*scale), bins-1)
		}
		h.Counts[i]++
	}
	return h
}

// thresholds returns where levels step.
func thresholds(l ops.Levels) []float64 {
	t := make([]float64, l.Steps)
	for k := range t {
		t[k] = l.Threshold(k)
	}
	return t
}
