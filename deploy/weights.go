package deploy

import (
	"math"

	"github.com/ftprop/ftprop/internal/levels"
	"github.com/ftprop/ftprop/internal/opkit"
	"github.com/ftprop/ftprop/ops"
	"github.com/pkg/errors"
	"gorgonia.org/gorgonia"
	"gorgonia.org/tensor"
)

// This file is what deployment knows of weight quantisers, whose results are static values like others.

// quantiserOf returns the node of the weight quantiser that weights come from, through what only moves elements; nil for none.
func quantiserOf(x *gorgonia.Node) *gorgonia.Node {
	for x.Op() != nil {
		if _, ok := x.Op().(ops.WeightQuantiser); ok {
			return x
		}
		if !isMove(x.Op()) {
			break
		}
		in, err := opkit.InputsOf(x)
		if err != nil {
			break
		}
		x = in[0]
	}
	return nil
}

// isMove says whether the elements of an operation's result are its first input's.
func isMove(op gorgonia.Op) bool {
	switch typeName(op) {
	case stockReshape, stockTranspose, stockRepeat, "*nn.Reshape":
		return true
	}
	return false
}

// largestLevel is the largest whole number that quantised weights are multiples of a scale by; 0 for others.
func largestLevel(x *gorgonia.Node) int {
	q := quantiserOf(x)
	if q == nil {
		return 0
	}
	lv := q.Op().(ops.WeightQuantiser).Levels()
	return int(math.Max(-lv.Lo, lv.Hi))
}

// scalesOf returns the scales of the weights that a quantiser's node makes.
func (g *Graph) scalesOf(q *gorgonia.Node) (*tensor.Dense, error) {
	all, err := opkit.InputsOf(q)
	if err != nil {
		return nil, err
	}
	var in []gorgonia.Value
	for _, x := range all {
		v, err := g.value(x)
		if err != nil {
			return nil, err
		}
		in = append(in, v)
	}
	return q.Op().(ops.WeightQuantiser).Scales(in...)
}

// PackWeights packs the weights that quantisers (ops.SignWeights and the like) make of parameters and layers compute with, in the order of their
// first use. An element's number is that of its level: Bits.Levels are whole numbers, which times what ops.WeightQuantiser.Scales returns are
// the weights. Names are those of the quantisers' nodes, or the parameter's with the operation. In a channel whose scale is 0 a sign is that of
// 0, -1. A graph without such weights is an error.
func (g *Graph) PackWeights() ([]*Bits, error) {
	out, err := g.packWeights()
	return out, errors.WithMessagef(err, "deploy: packing the weights of %s", g.Name)
}

func (g *Graph) packWeights() ([]*Bits, error) {
	var out []*Bits
	seen, taken := map[*gorgonia.Node]bool{nil: true}, map[string]bool{}
	for _, s := range g.steps {
		for _, x := range s.in {
			if !g.static[x] {
				continue
			}
			q := quantiserOf(x)
			if seen[q] {
				continue
			}
			seen[q] = true
			name := g.staticName(q)
			b, err := g.packQuantised(q)
			if err != nil {
				return nil, errors.WithMessage(err, name)
			}
			b.Name = unique(taken, name)
			out = append(out, b)
		}
	}
	if len(out) == 0 {
		return nil, errors.New("no weight quantiser is in it")
	}
	return out, nil
}

// packQuantised packs what a quantiser's node makes.
func (g *Graph) packQuantised(q *gorgonia.Node) (*Bits, error) {
	x, err := g.read(q)
	if err != nil {
		return nil, err
	}
	d, err := g.scalesOf(q)
	if err != nil {
		return nil, err
	}
	scales, err := opkit.Floats(d)
	if err != nil {
		return nil, err
	}
	lv := q.Op().(ops.WeightQuantiser).Levels()
	b := &Bits{Shape: append([]int{}, q.Shape()...), Levels: lv, Width: lv.Bits(), Data: make([]byte, bytesFor(len(x), lv.Bits()))}
	inner := 1 // elements of a channel that lie side by side
	for k := len(d.Shape()) - 1; k >= 0 && d.Shape()[k] == 1; k-- {
		inner *= q.Shape()[k]
	}
	for i, v := range x {
		scale := scales[i/inner%len(scales)]
		if scale == 0 { // and v is 0
			v, scale = 0, 1
		}
		k, ok := levels.Levels(lv).Find(v / scale)
		if !ok && v != 0 {
			return nil, errors.Errorf("element %d is %v, which is none of the levels %v times %v", i, v, lv, scale)
		}
		b.set(i, k)
	}
	return b, nil
}

// quantised writes weights that a quantiser makes as QONNX has them: their value is rounded once more, to the levels that it has, by a node that says
// how many bits and which scale they have.
func (e *onnxWriter) quantised(q *gorgonia.Node, name string) error {
	v, err := e.g.value(q)
	if err != nil {
		return err
	}
	scales, err := e.g.scalesOf(q)
	if err != nil {
		return err
	}
	values, scale := e.unique(name+"/value"), e.unique(name+"/scale")
	if err := e.weights(values, v, q.Shape()); err != nil {
		return err
	}
	lv := q.Op().(ops.WeightQuantiser).Levels()
	c := &chain{e: e, name: name, out: name, now: values}
	if lv.Steps == 1 {
		c.then("BipolarQuant", "quant", scale).with(c.custom())
	} else {
		x, err := opkit.ValuesInPlace(scales)
		if err != nil {
			return err
		}
		for i, s := range x.Float32 { // of zeros any will do, but 0
			if s == 0 {
				x.Float32[i] = 1
			}
		}
		for i, s := range x.Float64 {
			if s == 0 {
				x.Float64[i] = 1
			}
		}
		bits, narrow := lv.Bits(), 0
		if lv.Lo == -lv.Hi {
			narrow = 1
		}
		if gap := (lv.Hi - lv.Lo) / float64(lv.Steps); gap > 1 { // odd numbers, among twice as many
			bits++
		}
		c.then("Quant", "quant", scale, e.scalar(0), e.scalar(float32(bits))).with(c.custom(integer("signed", 1), integer("narrow", narrow), text("rounding_mode", "ROUND")))
	}
	if err := e.weights(scale, scales, scales.Shape()); err != nil {
		return err
	}
	c.write()
	return nil
}
