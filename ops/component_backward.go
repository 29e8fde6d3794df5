package ops

import (
	"fmt"
	"hash"
	"slices"

	"github.com/chewxy/hm"
	"github.com/ftprop/ftprop/internal/opkit"
	"github.com/pkg/errors"
	"gorgonia.org/gorgonia"
	"gorgonia.org/tensor"
)

// componentGrad is the backward pass of a componentOp: its inputs, the pre-activations of the units, of an answer the answer, and the gradient
// that reaches it, to a matrix (N, units of a sample) of what takes the place of the units' derivatives.
type componentGrad struct {
	op *componentOp
	opkit.Gradient
}

func (op *componentOp) derivative() componentGrad { return componentGrad{op: op} }

// parts returns what takes from the matrix the parts of the inputs of units.
func (d componentGrad) parts(in gorgonia.Nodes) []*componentPart {
	parts := make([]*componentPart, len(d.op.levels))
	from := 0
	for k := range parts {
		parts[k] = &componentPart{of: d, k: k, from: from, shape: in[k].Shape()}
		from += parts[k].width()
	}
	return parts
}

func (d componentGrad) component() *Component { return d.op.c }

func (d componentGrad) String() string { return fmt.Sprintf("derivative of %v", d.op) }

// The places of the inputs after those of the operation.
func (d componentGrad) z() int      { return d.op.Arity() }
func (d componentGrad) answer() int { return d.z() + len(d.op.levels) } // not of a loss, which has it among its own

func (d componentGrad) Arity() int {
	if d.op.isLoss() {
		return d.answer() + 1
	}
	return d.answer() + 2
}

func (d componentGrad) Type() hm.Type {
	matrix := typeOf(2)
	types := inputTypes(d.op.dims)
	if d.op.isLoss() {
		types = append(types, matrix, typeOf(d.op.label))
	}
	types = append(types, inputTypes(d.op.dims[:len(d.op.levels)])...)
	if d.op.isLoss() {
		types = append(types, typeOf(0))
	} else {
		types = append(types, matrix, matrix)
	}
	return hm.NewFnType(append(types, matrix)...)
}

func (d componentGrad) InferShape(in ...gorgonia.DimSizer) (tensor.Shape, error) {
	return opkit.Infer(d, in, d.Arity(), func(in []tensor.Shape) (tensor.Shape, error) {
		sizers := make([]gorgonia.DimSizer, d.op.Arity())
		for i, s := range in[:d.op.Arity()] {
			sizers[i] = s
		}
		y, err := d.op.InferShape(sizers...)
		if err != nil {
			return nil, err
		}
		var units []Levels
		n := in[0][0]
		for k, lv := range d.op.levels {
			if z := in[d.z()+k]; !z.Eq(in[k]) {
				return nil, errors.Errorf("units %d have shape %v and their pre-activations %v: they must be the same", k, in[k], z)
			}
			count := in[k].TotalSize() / n
			if count > mostUnits-len(units) {
				return nil, errors.Errorf("more than %d units a sample: no search goes through so many", mostUnits)
			}
			units = append(units, slices.Repeat([]Levels{lv}, count)...)
		}
		if g := in[len(in)-1]; !g.Eq(y) {
			return nil, errors.Errorf("a gradient of shape %v, want that of y, %v", g, y)
		}
		if got := in[len(in)-2]; !d.op.isLoss() && !got.Eq(y) {
			return nil, errors.Errorf("an answer of shape %v, want %v", got, y)
		}
		calls, err := d.op.c.share(n)
		if err != nil {
			return nil, err
		}
		if err := d.check(units, calls); err != nil {
			return nil, err
		}
		return tensor.Shape{n, len(units)}, nil
	})
}

// mostUnits are the units of a sample that a searcher is asked about. Each takes memory when the graph is built.
const mostUnits = 1 << 20

func (d componentGrad) check(units []Levels, calls int) (err error) {
	defer recovered("the searcher", &err)
	return d.op.c.cfg.Searcher.Check(units, calls)
}

func (d componentGrad) Do(in ...gorgonia.Value) (gorgonia.Value, error) {
	return opkit.Dispatch(d, in, d.Arity(), func() (gorgonia.Value, error) {
		return componentGradDo[float32](d, in)
	}, func() (gorgonia.Value, error) {
		return componentGradDo[float64](d, in)
	})
}

func componentGradDo[T float32 | float64](d componentGrad, in []gorgonia.Value) (gorgonia.Value, error) {
	shape, err := d.InferShape(shapesOf(in)...)
	if err != nil {
		return nil, err
	}
	op, c, n := d.op, d.op.c, shape[0]
	calls, err := c.share(n)
	if err != nil {
		return nil, err
	}
	b, err := op.read(in)
	if err != nil {
		return nil, err
	}
	var z []sampleRows
	for k := range op.levels {
		r, err := rowsOf("pre-activations", in[d.z()+k])
		if err != nil {
			return nil, err
		}
		z = append(z, r)
	}
	g, err := opkit.Floats(in[len(in)-1])
	if err == nil {
		err = checkFinite(upstream, g, 0)
	}
	if err != nil {
		return nil, err
	}
	// value is the loss of a sample's answer: the user's, or along the gradient.
	var y, label sampleRows
	var value func(i int, y []float64) (float64, error)
	if op.isLoss() {
		if y, label, err = answerAndLabel(in[len(op.dims):]); err != nil {
			return nil, err
		}
		scale := g[0] / float64(n)
		value = func(i int, y []float64) (float64, error) {
			l, err := c.loss(y, label.row(i))
			return scale * l, err
		}
	} else {
		if y, err = rowsOf("answer", in[d.answer()]); err != nil {
			return nil, err
		}
		width := c.cfg.Outputs
		value = func(i int, y []float64) (float64, error) {
			sum := 0.0
			for j, v := range y {
				sum += g[i*width+j] * v
			}
			if sum-sum != 0 {
				return 0, errors.Errorf("gradient times answer is %v: training has diverged or the data are not clean", sum)
			}
			return sum, nil
		}
	}
	out := make([]T, n*b.units)
	err = c.each(n, func(from, to int) error {
		r := caller{c: c, dt: dtypeOf[T](), count: &c.backward}
		args := b.arguments()
		at := 0
		s := newSample(b.levels, func(levels []int) (float64, error) {
			args.set(levels)
			a, err := r.answer(args.units, args.data)
			if err != nil {
				return 0, err
			}
			return value(at, a)
		})
		s.zero = op.isLoss() && g[0] > 0
		dh := make([]float64, b.units)
		for at = from; at < to; at++ {
			if silent(g, at, op.isLoss(), c.cfg.Outputs) {
				continue // nothing depends on the answer
			}
			now, err := value(at, y.row(at))
			if err != nil {
				return ofSample(at, err)
			}
			args.of(at)
			zs := make([]float64, 0, b.units)
			for _, r := range z {
				zs = append(zs, r.row(at)...)
			}
			s.reset(zs, b.index[at*b.units:(at+1)*b.units], now, calls)
			clear(dh)
			if err := search(c.cfg.Searcher, s, dh); err != nil {
				return ofSample(at, err)
			}
			for u, v := range dh {
				if out[at*b.units+u] = T(v); out[at*b.units+u]-out[at*b.units+u] != 0 {
					return ofSample(at, errors.Errorf("%s returned %v for unit %d, want a finite %v", printed(c.cfg.Searcher), v, u, dtypeOf[T]()))
				}
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return tensor.New(tensor.WithShape(n, b.units), tensor.WithBacking(out)), nil
}

// silent says whether the gradient of a sample's answer is 0.
func silent(g []float64, sample int, loss bool, width int) bool {
	if loss {
		return g[0] == 0
	}
	return !slices.ContainsFunc(g[sample*width:(sample+1)*width], func(x float64) bool { return x != 0 })
}

func search(by Searcher, s *Sample, d []float64) (err error) {
	defer recovered("the searcher", &err)
	if err = by.Search(s, d); errors.Is(err, ErrBudget) {
		err = nil
	}
	return err
}

func (d componentGrad) identity() string { return "derivative of " + d.op.identity() }

func (d componentGrad) WriteHash(h hash.Hash) { fmt.Fprint(h, d.identity()) }
func (d componentGrad) Hashcode() uint32      { return opkit.Hashcode(d.identity()) }

// componentPart is the part of a componentGrad's matrix that is of input k, in that input's shape.
type componentPart struct {
	of    componentGrad
	k     int
	from  int // the first column
	shape tensor.Shape
	opkit.Gradient
}

func (p *componentPart) component() *Component { return p.of.op.c }

func (p *componentPart) String() string { return fmt.Sprintf("%v for units %d", p.of, p.k) }
func (p *componentPart) Arity() int     { return 1 }
func (p *componentPart) Type() hm.Type  { return hm.NewFnType(typeOf(2), typeOf(len(p.shape))) }

func (p *componentPart) width() int { return p.shape.TotalSize() / p.shape[0] }

func (p *componentPart) InferShape(in ...gorgonia.DimSizer) (tensor.Shape, error) {
	return opkit.Infer(p, in, 1, func(in []tensor.Shape) (tensor.Shape, error) {
		if s := in[0]; len(s) != 2 || s[0] != p.shape[0] || s[1] < p.from+p.width() {
			return nil, errors.Errorf("a matrix of shape %v for units of shape %v from column %d on", s, p.shape, p.from)
		}
		return p.shape, nil
	})
}

func (p *componentPart) Do(in ...gorgonia.Value) (gorgonia.Value, error) {
	return opkit.Dispatch(p, in, 1, func() (gorgonia.Value, error) {
		return componentPartDo[float32](p, in[0])
	}, func() (gorgonia.Value, error) {
		return componentPartDo[float64](p, in[0])
	})
}

func componentPartDo[T float32 | float64](p *componentPart, in gorgonia.Value) (gorgonia.Value, error) {
	if _, err := p.InferShape(in.Shape()); err != nil {
		return nil, err
	}
	x, err := opkit.Elements[T](in)
	if err != nil {
		return nil, err
	}
	out := make([]T, 0, p.shape.TotalSize())
	for row := range slices.Chunk(x, in.Shape()[1]) {
		out = append(out, row[p.from:p.from+p.width()]...)
	}
	return tensor.New(tensor.WithShape(p.shape.Clone()...), tensor.WithBacking(out)), nil
}

func (p *componentPart) identity() string {
	return fmt.Sprintf("part %d from %d, %v, of %s", p.k, p.from, p.shape, p.of.identity())
}

func (p *componentPart) WriteHash(h hash.Hash) { fmt.Fprint(h, p.identity()) }
func (p *componentPart) Hashcode() uint32      { return opkit.Hashcode(p.identity()) }
