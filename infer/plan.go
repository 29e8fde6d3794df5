package infer

import (
	"slices"

	"github.com/ftprop/ftprop/internal/intnet"
	"github.com/ftprop/ftprop/internal/tile"
	"github.com/pkg/errors"
)

// operation is a step of execution, whose work on a number of images can be shared out.
type operation interface {
	shares(images int) int
	// run does shares from to to of the work on images, in the worker's memory. Logits are of the last operation.
	run(w *worker, images, from, to int, logits []float32)
	// layouts returns where it reads from and writes to.
	layouts() []*layout
}

// plan is what a network needs to run.
type plan struct {
	operations []operation
	layouts    []*layout  // of all values in all their encodings
	rows       []tableRow // of the layers
	memory     int        // bytes that a worker needs
}

// forms is how a value is stored, by encoding; nil where it is not.
type forms [encodings]*layout

// planner decides in which encodings values are stored.
type planner struct {
	set     *tile.Set
	net     *intnet.Network
	consume bool // weights, when they are packed
	known   []intnet.Value
	binary  []bool // values that may be stored as bits
	wanted  [][encodings]bool
	pads    [][2]int
	forms   []forms
	plan    plan
}

// mostElements bounds the values of one image, all together: about three times those of ResNet-18 for images of 224x224.
const mostElements = 1 << 26

func newPlan(set *tile.Set, net *intnet.Network, consume bool) (*plan, error) {
	known, err := net.Values()
	if err != nil {
		return nil, err
	}
	p := &planner{
		set: set, net: net, consume: consume, known: known, binary: make([]bool, len(known)), wanted: make([][encodings]bool, len(known)),
		pads: make([][2]int, len(known)), forms: make([]forms, len(known)),
	}
	total := 0
	for i, v := range known {
		if total += v.Size(); total > mostElements {
			return nil, errors.Errorf("values of more than %d elements an image, by value %d", mostElements, i)
		}
	}
	if err := p.bounded(); err != nil {
		return nil, err
	}
	p.want()
	p.arrange()
	return &p.plan, p.build()
}

// bounded returns an error where packed weights would take far more memory than the weights do.
func (p *planner) bounded() error {
	weights, packed := 0, 0
	for _, l := range p.net.Layers {
		for _, t := range terms(l) {
			if t.Product == nil {
				continue
			}
			weights += len(t.Product.Weights)
			c := (p.known[t.From].C + tile.Lanes - 1) / tile.Lanes * tile.Lanes * 2
			o := (t.Product.Out + tile.Lanes - 1) / tile.Lanes * tile.Lanes
			packed += c * t.Product.Kernel[0] * t.Product.Kernel[1] * o // at most: weights are below 2^28 and each becomes at most 2^9 bytes
			if packed > 4*weights+1<<26 {
				return errors.Errorf("layer %s: filters of %d channels for %d, of which too little memory would be used", intnet.LayerName(l), p.known[t.From].C, t.Product.Out)
			}
		}
	}
	return nil
}

// terms returns those of a layer that is a sum.
func terms(l intnet.Layer) []intnet.Term {
	switch l := l.(type) {
	case *intnet.Units:
		return l.Sum.Terms
	case *intnet.Logits:
		return l.Sum.Terms
	}
	return nil
}

// leastChannels is how many channels a product must have before bits pay.
const leastChannels = tile.Lanes

// want decides, from the last layer on, in which encodings values are needed.
func (p *planner) want() {
	for i, l := range p.net.Layers {
		switch l := l.(type) {
		case *intnet.Units:
			p.binary[i+1] = l.Steps == 1
		case *intnet.MaxPool:
			p.binary[i+1] = p.binary[l.Of] && l.Reverse == nil
		}
	}
	for i := len(p.net.Layers) - 1; i >= 0; i-- {
		switch l := p.net.Layers[i].(type) {
		case *intnet.Units, *intnet.Logits:
			all := terms(l)
			alone := !slices.ContainsFunc(all, func(t intnet.Term) bool { return t.Product != nil })
			for _, t := range all {
				if t.Product == nil {
					p.wanted[t.From][plain] = p.wanted[t.From][plain] || alone
					continue
				}
				p.wanted[t.From][p.encodingOf(t)] = true
				pad := &p.pads[t.From]
				pad[0], pad[1] = max(pad[0], t.Product.Pad[0]), max(pad[1], t.Product.Pad[1])
			}
		case *intnet.MaxPool:
			w := &p.wanted[i+1]
			p.settle(i + 1)
			p.wanted[l.Of][bits] = p.wanted[l.Of][bits] || w[bits]
			p.wanted[l.Of][plain] = p.wanted[l.Of][plain] || w[plain]
		case *intnet.SumPool:
			p.wanted[l.Of][plain] = true
		case *intnet.Concat:
			for _, k := range l.Of {
				p.wanted[k][plain] = true
			}
		}
		p.settle(i + 1)
	}
	p.settle(0)
}

// encodingOf is what the kernels of a product read.
func (p *planner) encodingOf(t intnet.Term) encoding {
	v := p.known[t.From]
	switch {
	case p.binary[t.From] && v.C >= leastChannels && isSigns(t.Product):
		return bits
	case !p.set.Wide && v.Max > tile.MaxInput:
		return int16s
	}
	return plain
}

// settle gives a value of which no reader wants a particular encoding one, and the int16 form the plain one that it is made of.
func (p *planner) settle(value int) {
	if w := &p.wanted[value]; !w[bits] || w[int16s] {
		w[plain] = true
	}
}

// arrange lays values out in memory.
func (p *planner) arrange() {
	for i, v := range p.known[:len(p.known)-1] {
		for e := range encodings {
			if !p.wanted[i][e] {
				continue
			}
			l := &layout{encoding: e, of: v, padY: p.pads[i][0], padX: p.pads[i][1]}
			groups := (v.C + tile.Lanes - 1) / tile.Lanes
			l.stride = groups * tile.Lanes // kernels write whole vectors
			switch {
			case e == bits:
				l.stride = (groups*tile.Lanes/8 + 3) / 4 * 4
			case e == int16s:
				l.stride = 2 * v.C
			case i == 0:
				l.stride = v.C
			}
			l.arrange()
			p.forms[i][e] = l
			p.plan.layouts = append(p.plan.layouts, l)
		}
	}
}

// build makes the operations.
func (p *planner) build() error {
	p.add(&input{rounding: p.net.Input.Real, out: p.forms[0][plain]})
	p.widen(0)
	for i, l := range p.net.Layers {
		to := &p.forms[i+1]
		var sum *units
		switch l := l.(type) {
		case *intnet.Units:
			u, err := p.units(&l.Sum)
			if err != nil {
				return errors.WithMessagef(err, "layer %s", l.Name)
			}
			u.threshold(l)
			for _, e := range []encoding{plain, bits} {
				if to[e] != nil {
					u.put(to[e])
				}
			}
			sum = u
			p.add(u)
		case *intnet.Logits:
			u, err := p.units(&l.Sum)
			if err != nil {
				return errors.WithMessagef(err, "layer %s", l.Name)
			}
			u.logits = l
			sum = u
			p.add(u)
		case *intnet.MaxPool:
			for _, e := range []encoding{plain, bits} {
				if to[e] != nil {
					p.add(newMaxPool(p.set, l, p.forms[l.Of][e], to[e]))
				}
			}
		case *intnet.SumPool:
			p.add(newSumPool(p.set, l, p.forms[l.Of][plain], to[plain]))
		case *intnet.Concat:
			c := &concat{out: to[plain]}
			for _, k := range l.Of {
				c.in = append(c.in, p.forms[k][plain])
			}
			p.add(c)
		}
		p.widen(i + 1)
		p.plan.rows = append(p.plan.rows, p.describe(i, sum))
	}
	return nil
}

func (p *planner) add(o operation) { p.plan.operations = append(p.plan.operations, o) }

// widen adds what makes the int16 form of a value.
func (p *planner) widen(value int) {
	if f := p.forms[value]; f[int16s] != nil {
		p.add(&widening{f[plain], f[int16s]})
	}
}

// units makes the layer of a sum.
func (p *planner) units(s *intnet.Sum) (*units, error) {
	var known []intnet.Value
	var in []*layout
	for _, t := range s.Terms {
		f := p.forms[t.From]
		l := f[plain]
		switch {
		case t.Product != nil:
			l = f[p.encodingOf(t)]
		case l == nil: // a shortcut reads what there is
			l = f[bits]
		}
		known, in = append(known, p.known[t.From]), append(in, l)
	}
	u, err := newUnits(p.set, s, known, in)
	for _, t := range s.Terms {
		if p.consume && t.Product != nil {
			t.Product.Weights = nil
		}
	}
	return u, err
}

// multiplyAdds is those of an image.
func (p *plan) multiplyAdds() (n int64) {
	for _, o := range p.operations {
		if u, ok := o.(*units); ok {
			for _, q := range u.products {
				n += q.multiplyAdds
			}
		}
	}
	return n
}
