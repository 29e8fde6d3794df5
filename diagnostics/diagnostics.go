// Package diagnostics shows what happens inside threshold layers while a network trains: how many units reach their
// targets, how many have none, are dead, saturated or changed since the last look, and how their inputs are spread.
//
//	probe, err := diagnostics.Watch(net.Hidden, net.HiddenNames()) // after gorgonia.Grad
//	...
//	err = vm.RunAll()
//	layers, err := probe.Read()
//
// Watch adds nodes to the graph, which take time in every run: a graph of its own, on the weights of the network that trains
// and a fixed batch, makes the readings comparable and leaves training as fast as it was. The batch may come in parts, one run
// and one Add for each, and a graph of the parts' size: the memory of a graph grows with its batch.
package diagnostics

import (
	"math"

	"github.com/ftprop/ftprop/internal/opkit"
	"github.com/ftprop/ftprop/internal/vec"
	"github.com/ftprop/ftprop/nodes"
	"github.com/ftprop/ftprop/ops"
	"github.com/pkg/errors"
	"gorgonia.org/gorgonia"
	"gorgonia.org/tensor"
)

// LayerStats is what a look at a threshold layer shows. Shares are in [0, 1], of the units of all samples of the batch.
type LayerStats struct {
	Name  string `json:"name"`
	Units int    `json:"units"` // of one sample

	Agreement float64 `json:"agreement"` // units with sign(z) equal to their target, among those that have one: see nodes.Agreement
	Ignored   float64 `json:"ignored"`   // units without a target, t = 0
	Dead      float64 `json:"dead"`      // units, of one sample, that emit the same level for every sample of the batch
	Saturated float64 `json:"saturated"` // units with z outside of the levels' range: the saturating straight-through estimator passes them nothing
	Flips     float64 `json:"flips"`     // units whose level is another than at the last look; 0 at the first
	Loss      float64 `json:"loss"`      // layer loss, sum w l(z, t): see nodes.LayerLoss; of a batch in parts the mean of theirs, as the cost of a batch is

	Z          Histogram `json:"z"`          // of the pre-activations, of a large batch of at most 2^20 of each part, evenly spaced
	Thresholds []float64 `json:"thresholds"` // where the activation steps
}

// Histogram counts values in bins of equal width: bin i holds values from Min + i w on, less than Min + (i+1) w, with
// w = (Max - Min)/len(Counts), the last bin Max too.
type Histogram struct {
	Min    float64 `json:"min"`
	Max    float64 `json:"max"`
	Counts []int   `json:"counts"`
}

// bins is the number of bins of a histogram, mostInputs how many pre-activations of a part it is of.
const (
	bins       = 60
	mostInputs = 1 << 20
)

// Probe reads threshold layers after each run of their graph.
type Probe struct {
	layers []layer
}

// layer is a watched in one of the dtypes.
type layer interface {
	add() error
	read() (LayerStats, error)
}

// watched is a layer with the values that the machine leaves here.
type watched[T vec.Float] struct {
	name   string
	levels ops.Levels
	batch  int // samples of a run

	z, h, target, loss gorgonia.Value

	// Of the parts so far, one after the other.
	inputs                               []T // evenly spaced
	low, high                            T   // of all inputs
	parts, seen                          int // seen is the number of outputs
	targets, agreeing, saturated, losses float64
	flips                                float64
	first                                []int  // the level of each unit for the first sample
	alive                                []bool // another one for another sample

	outputs packed // the levels of this look and, from where it is, of the last one
	before  int    // how many those of the last look are
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
		name, batch := h.Name(), 1
		if names != nil {
			name = names[i]
		}
		if h.Dims() > 0 {
			batch = h.Shape()[0]
		}
		var l layer
		var err error
		if h.Dtype() == tensor.Float32 {
			l, err = watch[float32](h, name, act.Threshold().Levels, batch)
		} else {
			l, err = watch[float64](h, name, act.Threshold().Levels, batch)
		}
		if err != nil {
			return nil, errors.WithMessagef(err, "diagnostics: layer %s", name)
		}
		p.layers = append(p.layers, l)
	}
	return p, nil
}

func watch[T vec.Float](h *gorgonia.Node, name string, levels ops.Levels, batch int) (layer, error) {
	w := &watched[T]{name: name, levels: levels, batch: batch, outputs: newPacked(levels.Steps + 1)}
	for _, n := range []struct {
		of func(*gorgonia.Node) (*gorgonia.Node, error)
		to *gorgonia.Value
	}{{nodes.Target, &w.target}, {nodes.LayerLoss, &w.loss}, {input, &w.z}, {itself, &w.h}} {
		node, err := n.of(h)
		if err != nil {
			return nil, err
		}
		gorgonia.Read(node, n.to)
	}
	return w, nil
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

// Add takes what the last run of the graph has left as a part of the batch that the next Read tells of.
func (p *Probe) Add() error {
	for _, w := range p.layers {
		if err := w.add(); err != nil {
			return err
		}
	}
	return nil
}

// Read returns what the parts that were added since the last Read show, layer by layer, or without any what the last run of the graph
// has left. It is an error if there was none. Flips compare with the last look unit by unit: parts come in the same order each time.
func (p *Probe) Read() ([]LayerStats, error) {
	out := make([]LayerStats, 0, len(p.layers))
	for _, w := range p.layers {
		l, err := w.read()
		if err != nil {
			return nil, err
		}
		out = append(out, l)
	}
	return out, nil
}

func (w *watched[T]) add() error {
	var v [4][]T
	for i, from := range []gorgonia.Value{w.z, w.h, w.target, w.loss} {
		if from == nil {
			return errors.Errorf("diagnostics: layer %s: nothing to read: run the graph first", w.name)
		}
		var err error
		if v[i], err = opkit.Elements[T](from); err != nil {
			return errors.WithMessagef(err, "diagnostics: layer %s", w.name)
		}
	}
	z, h, target := v[0], v[1], v[2]
	for i, x := range z {
		if t := target[i]; t != 0 {
			w.targets++
			if (x > 0) == (t > 0) { // sign(0) is -1
				w.agreeing++
			}
		}
		if x := float64(x); x < w.levels.Lo || x > w.levels.Hi {
			w.saturated++
		}
	}
	if w.parts == 0 {
		w.low, w.high = T(math.Inf(1)), T(math.Inf(-1))
		w.first, w.alive = make([]int, len(h)/w.batch), make([]bool, len(h)/w.batch)
	}
	for _, x := range z {
		w.low, w.high = min(w.low, x), max(w.high, x)
	}
	for i := 0; i < len(z); i += (len(z) + mostInputs - 1) / mostInputs {
		w.inputs = append(w.inputs, z[i])
	}
	w.outputs.grow(w.seen + len(h))
	for i, x := range h {
		level, unit := w.levels.Index(float64(x)), i%len(w.first)
		if before := w.outputs.swap(w.seen+i, level); before != level {
			w.flips++
		}
		if w.parts == 0 && i < len(w.first) {
			w.first[unit] = level
		} else if w.first[unit] != level {
			w.alive[unit] = true
		}
	}
	w.seen += len(h)
	w.parts++
	w.losses += float64(v[3][0])
	return nil
}

func (w *watched[T]) read() (LayerStats, error) {
	if w.parts == 0 {
		if err := w.add(); err != nil {
			return LayerStats{}, err
		}
	}
	n := float64(w.seen)
	l := LayerStats{
		Name: w.name, Units: len(w.first), Agreement: 1, Loss: w.losses / float64(w.parts),
		Ignored: (n - w.targets) / n, Saturated: w.saturated / n, Z: histogram(w.inputs, float64(w.low), float64(w.high)), Thresholds: thresholds(w.levels),
	}
	if w.targets > 0 {
		l.Agreement = w.agreeing / w.targets
	}
	if w.before == w.seen { // the first look has nothing to compare with, nor has one at fewer parts
		l.Flips = w.flips / n
	}
	for _, alive := range w.alive {
		if !alive {
			l.Dead++
		}
	}
	l.Dead /= float64(l.Units)
	w.before = w.seen
	w.inputs, w.parts, w.seen, w.targets, w.agreeing, w.saturated, w.losses, w.flips = nil, 0, 0, 0, 0, 0, 0, 0
	return l, nil
}

func histogram[T vec.Float](x []T, low, high float64) Histogram {
	h := Histogram{Min: low, Max: high, Counts: make([]int, bins)}
	scale := float64(bins) / (h.Max - h.Min)
	for _, v := range x {
		i := 0 // all in one bin, if all values are the same
		if h.Max > h.Min {
			i = min(int((float64(v)-h.Min)*scale), bins-1)
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
