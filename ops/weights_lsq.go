package ops

import (
	"fmt"
	"hash"
	"math"

	"github.com/chewxy/hm"
	"github.com/ftprop/ftprop/internal/opkit"
	"github.com/ftprop/ftprop/internal/vec"
	"github.com/pkg/errors"
	"gorgonia.org/gorgonia"
	"gorgonia.org/tensor"
)

// LSQWeights makes of each weight one of 2^Bits levels, multiples of a step size that is a parameter, too. It takes two nodes, w and step;
// step has one element, or one for each output channel.
//
//	forward   ŵ = s round(min(max(w/s, -p-1), p)), halves to even; p = 2^(Bits-1) - 1, s the step
//	backward  dw = |g| dl/dz(z, t), z = w/(s (p+1)), g = dL/dŵ, t = -sign(g), l the rule's loss for 2^Bits levels from -1 to p/(p+1): with SSTE g
//	          where -p-1 <= w/s <= p, both ends included, else 0; 0 where g = 0
//	          ds = r sum g d over the n weights of the step, r = 1/sqrt(n p); d = -p-1 where w/s <= -p-1, p where w/s >= p, else
//	          round(w/s) - w/s. It does not depend on the rule
//	zeros     w = 0 is 0
//	shapes    w any, from scalar to 4-D and beyond, step of 1 element or as many as there are output channels; float32 or float64; Axis as in
//	          WeightQuantiser
//	errors    NaN or infinity in w or g, or out of the rule; a step that is not positive and finite; Bits other than 2 to 8, an axis that there is
//	          not, other numbers of steps or an unsupported rule, when the graph is built
//
// InitialStep has the paper's first step. A solver that takes a step to 0 or below ends training with an error: make its learning rate
// smaller. Source: Esser et al., Learned Step Size Quantization (ICLR 2020), arXiv:1902.08153, equations 1 to 3 and section 2.2, with one
// step for a layer; its dw is 0 at both ends of the range, where SSTE's is g.
type LSQWeights struct {
	Bits int
	Axis int  // of the output channels
	Rule Rule // nil means SSTE{}

	pure
}

func (op LSQWeights) weights() weightOp {
	return weightOp{units: weightUnits{kind: learnedKind, bits: op.Bits, axis: op.Axis, rule: orSSTE(op.Rule)}}
}

// InitialStep returns the paper's first step size for weights, 2 mean |w|/sqrt(p): one number, or if perChannel one for each output channel. For
// weights that are all 0 it is 1.
func (op LSQWeights) InitialStep(w gorgonia.Value, perChannel bool) (*tensor.Dense, error) {
	u := op.weights().units
	if !perChannel {
		u.axis = -1
	}
	var out *tensor.Dense
	_, err := opkit.Dispatch(op, []gorgonia.Value{w}, 1,
		func() (_ gorgonia.Value, err error) { out, err = initialStep[float32](u, w); return nil, err },
		func() (_ gorgonia.Value, err error) { out, err = initialStep[float64](u, w); return nil, err })
	return out, err
}

func initialStep[T vec.Float](u weightUnits, w gorgonia.Value) (*tensor.Dense, error) {
	x, err := opkit.Elements[T](w)
	if err == nil {
		err = u.validate()
	}
	if err == nil {
		err = u.checkAxis(w.Shape())
	}
	if err == nil {
		err = checkFinite("weights", x, 0)
	}
	if err != nil {
		return nil, err
	}
	a, err := means(channelsOf(w.Shape(), u.axis), x, nil)
	steps := make([]T, len(a))
	for k := range a {
		if steps[k] = T(2 * a[k] / math.Sqrt(u.levels().Hi)); !(steps[k] > 0) {
			steps[k] = 1
		}
	}
	return tensor.New(tensor.WithShape(len(steps)), tensor.WithBacking(steps)), err
}

// stepType is the type of a step: Gorgonia's inference has the name b for something else.
const stepType = hm.TypeVariable('c')

// stepGrad is the derivative of the step of LSQWeights, on (step, w, g).
type stepGrad struct {
	units weightUnits
	opkit.Gradient
}

func (op stepGrad) String() string { return fmt.Sprintf("derivative of the step of %v", op.units) }
func (op stepGrad) Arity() int     { return 3 }

func (op stepGrad) Type() hm.Type {
	a := hm.TypeVariable('a')
	return hm.NewFnType(stepType, a, a, stepType)
}

func (op stepGrad) InferShape(in ...gorgonia.DimSizer) (tensor.Shape, error) {
	return opkit.Infer(op, in, 3, func(in []tensor.Shape) (tensor.Shape, error) {
		if err := checkGradient(in[1], in[2]); err != nil {
			return nil, err
		}
		return in[0], op.units.checkShapes(in[1], in[:1])
	})
}

func (op stepGrad) Do(in ...gorgonia.Value) (gorgonia.Value, error) {
	return opkit.Dispatch(op, in, 3,
		func() (gorgonia.Value, error) { return stepGradDo[float32](op.units, in) },
		func() (gorgonia.Value, error) { return stepGradDo[float64](op.units, in) })
}

func stepGradDo[T vec.Float](u weightUnits, in []gorgonia.Value) (gorgonia.Value, error) {
	x, err := opkit.AllElements[T](in[1:]...)
	if err != nil {
		return nil, err
	}
	return opkit.Elementwise(nil, in[:1], func(ds []T, _ [][]T) error {
		return gradSteps(u, ds, x[0], x[1], in[1].Shape(), in[0])
	})
}

func gradSteps[T vec.Float](u weightUnits, ds, w, g []T, shape tensor.Shape, steps gorgonia.Value) error {
	if err := checkFinite(upstream, g, 0); err != nil {
		return err
	}
	lay, scales, err := measured(u, w, shape, []gorgonia.Value{steps})
	if err != nil {
		return err
	}
	lv := u.levels()
	root := math.Sqrt(float64(lay.outer*lay.inner) * lv.Hi)
	sums, stride := make([]float64, lay.count), lay.stride()
	err = lay.reduce(func(c, lo, hi int) {
		for i, x := range w[lo:hi] {
			k := c + i*stride
			v := float64(x) / scales[k].step
			d := math.RoundToEven(v) - v
			switch {
			case v <= lv.Lo:
				d = lv.Lo
			case v >= lv.Hi:
				d = lv.Hi
			}
			sums[k] += float64(g[lo+i]) * (d / root)
		}
	})
	for c, x := range sums {
		if ds[c] = T(x); ds[c]-ds[c] != 0 {
			return errors.Errorf("the derivative of step size %d is no finite %v: training has diverged or the data are not clean", c, dtypeOf[T]())
		}
	}
	return err
}

func (op stepGrad) WriteHash(h hash.Hash) {
	fmt.Fprint(h, "ftprop step's derivative ", op.units.identity())
}

func (op stepGrad) Hashcode() uint32 {
	return opkit.Hashcode("ftprop step's derivative " + op.units.identity())
}
