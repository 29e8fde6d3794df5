package ops

import (
	"fmt"
	"hash"
	"math"

	"github.com/ftprop/ftprop/internal/opkit"

	"github.com/chewxy/hm"
	"github.com/ftprop/ftprop/internal/vec"
	"github.com/pkg/errors"
	"gorgonia.org/gorgonia"
	"gorgonia.org/tensor"
)

// OutputLoss is the loss at the top of a network: logits (N, C) and labels (N, C) to a scalar, the
// mean over the N samples. Its values are the constants below. Labels are one-hot; CrossEntropy also
// takes distributions over the classes, not negative and with the sum 1 (within 0.01). Only the logits have a derivative.
//
// Everything is computed in float64, from the row's maximum where exponentials are involved: logits of
// +-1e4 give finite values and derivatives.
type OutputLoss int

// The output losses. s is +1 for the label's class and -1 for the others, x the logits; sums are over
// the classes, one against all.
const (
	CrossEntropy      OutputLoss = iota // -sum y log softmax(x)
	Hinge                               // sum max(0, 1 - s x)
	SquaredHinge                        // sum max(0, 1 - s x)^2
	TruncHinge                          // sum min(2, max(0, 1 - s x))
	HingeSoftmax                        // Hinge of log softmax(x)
	TruncHingeSoftmax                   // TruncHinge of log softmax(x)
)

var _ interface {
	gorgonia.SDOp
	gorgonia.ADOp
} = CrossEntropy

// String returns the name of the loss.
func (op OutputLoss) String() string {
	names := [...]string{"CrossEntropy", "Hinge", "SquaredHinge", "TruncHinge", "HingeSoftmax", "TruncHingeSoftmax"}
	if op < 0 || int(op) >= len(names) {
		return fmt.Sprintf("OutputLoss(%d)", int(op))
	}
	return names[op]
}

func (op OutputLoss) validate() error {
	if op < CrossEntropy || op > TruncHingeSoftmax {
		return errors.Errorf("there is no such loss: the output losses are %v (0) to %v (%d)", CrossEntropy, TruncHingeSoftmax, int(TruncHingeSoftmax))
	}
	return nil
}

// row returns the loss of one sample with logits x and labels y, and its derivative in d.
// p is scratch for log softmax. All have one element a class.
func (op OutputLoss) row(x, y, p, d []float64) float64 {
	switch op {
	case CrossEntropy:
		logSoftmax(p, x)
		loss, mass := 0.0, 0.0
		for c := range x {
			if y[c] != 0 { // 0 * -Inf
				loss -= y[c] * p[c]
			}
			mass += y[c]
		}
		for c := range x {
			d[c] = mass*math.Exp(p[c]) - y[c]
		}
		return loss
	case HingeSoftmax, TruncHingeSoftmax:
		logSoftmax(p, x)
		inner := Hinge
		if op == TruncHingeSoftmax {
			inner = TruncHinge
		}
		loss := inner.row(p, y, nil, d)
		sum := 0.0
		for _, v := range d {
			sum += v
		}
		for c := range d {
			d[c] -= math.Exp(p[c]) * sum
		}
		return loss
	}
	loss := 0.0
	for c, v := range x {
		s := 2*y[c] - 1
		l, g := 1-s*v, -s
		if l < 0 { // at the kinks the slope counts, as in PyTorch's clamp
			l, g = 0, 0
		}
		switch op {
		case SquaredHinge:
			g *= 2 * l
			l *= l
		case TruncHinge:
			if l > 2 {
				l, g = 2, 0
			}
		}
		loss += l
		d[c] = g
	}
	return loss
}

func logSoftmax(p, x []float64) {
	top := math.Inf(-1)
	for _, v := range x {
		top = math.Max(top, v)
	}
	sum := 0.0
	for _, v := range x {
		sum += math.Exp(v - top)
	}
	lse := top + math.Log(sum)
	for c, v := range x {
		p[c] = v - lse
	}
}

// labelSlack is how far from 1 the labels of a sample may sum, for CrossEntropy: room for distributions rounded to a few digits.
const labelSlack = 0.01

// rows runs the loss over a batch: f gets each sample's loss and derivative.
func rows[T vec.Float](op OutputLoss, logits, labels gorgonia.Value, f func(i int, loss float64, d []float64)) error {
	if _, err := op.InferShape(logits.Shape(), labels.Shape()); err != nil {
		return err
	}
	x, err := opkit.AllElements[T](logits, labels)
	if err != nil {
		return err
	}
	if err := checkFinite("logits", x[0], 0); err != nil {
		return err
	}
	classes := logits.Shape()[1]
	buf := make([]float64, 4*classes)
	xr, yr, p, d := buf[:classes], buf[classes:2*classes], buf[2*classes:3*classes], buf[3*classes:]
	for i := range logits.Shape()[0] {
		sum := 0.0
		for c := range classes {
			xr[c], yr[c] = float64(x[0][i*classes+c]), float64(x[1][i*classes+c])
			sum += yr[c]
			if op == CrossEntropy && yr[c] >= 0 && yr[c] <= 1 {
				continue
			}
			if yr[c] != 0 && yr[c] != 1 {
				return errors.Errorf("label %v of sample %d, class %d: labels are one-hot, 0 or 1", yr[c], i, c)
			}
		}
		switch {
		case op != CrossEntropy && sum != 1:
			return errors.Errorf("sample %d has %v labels: labels are one-hot, one class 1 and the others 0", i, sum)
		case math.Abs(sum-1) > labelSlack:
			return errors.Errorf("the labels of sample %d sum to %.4g: they are one-hot, one class 1 and the others 0, or a distribution that sums to 1", i, sum)
		}
		loss := op.row(xr, yr, p, d)
		f(i, loss, d)
	}
	return nil
}

// Arity is 2: logits and labels.
func (op OutputLoss) Arity() int { return 2 }

// Type is matrix a -> matrix a -> a.
func (op OutputLoss) Type() hm.Type { return opkit.ScalarType(2, 2) }

// InferShape checks that logits and labels have the same shape (N, C); the result is a scalar.
func (op OutputLoss) InferShape(in ...gorgonia.DimSizer) (tensor.Shape, error) {
	if err := op.validate(); err != nil {
		return nil, opkit.OfOp(op, err)
	}
	s, err := opkit.SameShape(op, in, 2)
	if err != nil {
		return nil, opkit.OfOp(op, errors.WithMessage(err, "logits (N, C) need one-hot labels (N, C)"))
	}
	if len(s) != 2 || s[0] < 1 || s[1] < 2 {
		return nil, opkit.OfOp(op, errors.Errorf("takes logits and labels of shape (N, C), N >= 1 samples and C >= 2 classes, got %v", s))
	}
	return tensor.ScalarShape(), nil
}

// Do returns the loss. NaN or infinite logits, a loss beyond the dtype and labels that are not one-hot are errors; the message names the sample.
func (op OutputLoss) Do(in ...gorgonia.Value) (gorgonia.Value, error) {
	return opkit.Dispatch(op, in, 2,
		func() (gorgonia.Value, error) { return outputLoss[float32](op, in) },
		func() (gorgonia.Value, error) { return outputLoss[float64](op, in) })
}

func outputLoss[T vec.Float](op OutputLoss, in []gorgonia.Value) (gorgonia.Value, error) {
	sum, worst, at := 0.0, 0.0, 0
	if err := rows[T](op, in[0], in[1], func(i int, loss float64, _ []float64) {
		sum += loss
		if loss > worst { // a loss of a row is never NaN
			worst, at = loss, i
		}
	}); err != nil {
		return nil, err
	}
	mean := T(sum / float64(opkit.BatchOf(in[0])))
	if mean-mean != 0 {
		return nil, errors.Errorf("the loss is no finite %v, for the logits of sample %d give %v: training has diverged or the data are not clean",
			dtypeOf[T](), at, worst)
	}
	return opkit.Scalar(mean), nil
}

// ReturnsPtr is false: the result is not an input.
func (op OutputLoss) ReturnsPtr() bool { return false }

// CallsExtern is false.
func (op OutputLoss) CallsExtern() bool { return false }

// OverwritesInput is -1: none.
func (op OutputLoss) OverwritesInput() int { return -1 }

// WriteHash writes the loss's name.
func (op OutputLoss) WriteHash(h hash.Hash) { fmt.Fprintf(h, "ftprop %v", op) }

// Hashcode is the hash of what WriteHash writes.
func (op OutputLoss) Hashcode() uint32 { return opkit.Hashcode("ftprop " + op.String()) }

// DiffWRT is true for the logits only.
func (op OutputLoss) DiffWRT(int) []bool { return []bool{true, false} }

// SymDiff returns the derivative's node; gorgonia.Grad calls it.
func (op OutputLoss) SymDiff(in gorgonia.Nodes, _, grad *gorgonia.Node) (gorgonia.Nodes, error) {
	if err := opkit.CheckInputs(op, 2, in, grad); err != nil {
		return nil, err
	}
	d, err := gorgonia.ApplyOp(outputGrad{op: op}, in[0], in[1], grad)
	return gorgonia.Nodes{d, nil}, opkit.Differentiating(op, err)
}

// DoDiff adds the derivative to the logits' gradient; the Lisp machine calls it.
func (op OutputLoss) DoDiff(_ gorgonia.ExecutionContext, in gorgonia.Nodes, out *gorgonia.Node) error {
	if err := opkit.CheckInputs(op, 2, in, out); err != nil {
		return err
	}
	return opkit.Accumulate(op, in, out, func(g gorgonia.Value) (gorgonia.Value, error) {
		return outputGrad{op: op}.Do(in[0].Value(), in[1].Value(), g)
	})
}

// outputGrad is the derivative of an OutputLoss: logits (N, C), labels (N, C) and the scalar gradient of
// the loss to (N, C).
type outputGrad struct {
	op OutputLoss
	opkit.Gradient
}

func (d outputGrad) Arity() int            { return 3 }
func (d outputGrad) String() string        { return fmt.Sprintf("derivative of %v", d.op) }
func (d outputGrad) Hashcode() uint32      { return opkit.Hashcode("ftprop " + d.String()) }
func (d outputGrad) WriteHash(h hash.Hash) { fmt.Fprintf(h, "ftprop %v", d) }

func (d outputGrad) Type() hm.Type {
	a := hm.TypeVariable('a')
	m := gorgonia.TensorType{Dims: 2, Of: a}
	return hm.NewFnType(m, m, a, m)
}

func (d outputGrad) InferShape(in ...gorgonia.DimSizer) (tensor.Shape, error) {
	return opkit.Infer(d, in, 3, func(in []tensor.Shape) (tensor.Shape, error) {
		if !in[2].IsScalar() {
			return nil, errors.Errorf("the gradient of the loss has shape %v, want a scalar", in[2])
		}
		_, err := d.op.InferShape(in[0], in[1])
		return in[0], err
	})
}

func (d outputGrad) Do(in ...gorgonia.Value) (gorgonia.Value, error) {
	return d.UsePreallocDo(nil, in...)
}

func (d outputGrad) UsePreallocDo(prealloc gorgonia.Value, in ...gorgonia.Value) (gorgonia.Value, error) {
	return opkit.Dispatch(d, in, 3,
		func() (gorgonia.Value, error) { return outputDiff[float32](d, prealloc, in) },
		func() (gorgonia.Value, error) { return outputDiff[float64](d, prealloc, in) })
}

func outputDiff[T vec.Float](op outputGrad, prealloc gorgonia.Value, in []gorgonia.Value) (gorgonia.Value, error) {
	g, err := opkit.Elements[T](in[2])
	if err != nil {
		return nil, err
	}
	if err := checkFinite("gradient reaching the loss", g, 0); err != nil {
		return nil, err
	}
	scale := float64(g[0]) / float64(opkit.BatchOf(in[0]))
	return opkit.Elementwise(prealloc, in[:2], func(out []T, _ [][]T) error {
		classes := in[0].Shape()[1]
		err := rows[T](op.op, in[0], in[1], func(i int, _ float64, d []float64) {
			row := out[i*classes : (i+1)*classes]
			for c, v := range d {
				row[c] = T(v * scale)
			}
		})
		if err == nil && !vec.Finite(out) {
			i := vec.FirstNonFinite(out)
			err = errors.Errorf("the derivative of sample %d, class %d, is no finite %v: training has diverged or the data are not clean",
				i/classes, i%classes, dtypeOf[T]())
		}
		return err
	})
}
