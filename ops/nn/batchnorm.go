package nn

import (
	"fmt"
	"hash"
	"math"

	"github.com/chewxy/hm"
	"github.com/ftprop/ftprop/internal/opkit"
	"github.com/ftprop/ftprop/internal/par"
	"github.com/ftprop/ftprop/internal/vec"
	"github.com/pkg/errors"
	"gorgonia.org/gorgonia"
	"gorgonia.org/tensor"
)

// BatchNorm is batch normalisation over a batch of vectors (N, C) or images (N, C, H, W), per channel.
//
//	inputs    x, scale (C), shift (C)
//	training  y = scale (x - mean)/sqrt(var + Eps) + shift, mean and biased variance of the batch;
//	          running = (1-Momentum) running + Momentum batch, the variance unbiased
//	testing   the running mean and variance in place of the batch's
//
// Machines switch between the two by SetTraining (gorgonia.EvalMode); the running statistics survive that, and are read and
// set with Running and SetRunning. Sums are in float64. Source: Ioffe & Szegedy (2015), arXiv:1502.03167;
// torch.nn.BatchNorm2d.
//
// A BatchNorm has state, so it belongs to one node: make it with NewBatchNorm or nodes.BatchNorm.
type BatchNorm struct {
	Momentum, Eps float64

	opkit.Pure
	memory
	testing  bool
	fixed    bool      // machines do not switch it: see Evaluation
	mean     []float64 // running, one a channel
	variance []float64
	// Of the last run: what was normalised with. run counts the runs.
	batchMean, invStd []float64
	of                gorgonia.Value // the input that they are of
	run               int
}

var _ gorgonia.TrainModeOp = (*BatchNorm)(nil)

// NewBatchNorm returns a batch normalisation of a number of channels: PyTorch's defaults are momentum 0.1 and eps 1e-5. The
// running mean starts at 0, the variance at 1.
func NewBatchNorm(channels int, momentum, eps float64) (*BatchNorm, error) {
	if channels < 1 || !(momentum >= 0 && momentum <= 1) || !(eps > 0) || math.IsInf(eps, 1) {
		return nil, errors.Errorf("nn: BatchNorm of %d channels, momentum %v, eps %v: want 1 channel or more, momentum from 0 to 1, a positive eps", channels, momentum, eps)
	}
	op := &BatchNorm{Momentum: momentum, Eps: eps, mean: make([]float64, channels), variance: make([]float64, channels)}
	for i := range op.variance {
		op.variance[i] = 1
	}
	return op, nil
}

// String returns the parameters.
func (op *BatchNorm) String() string {
	return fmt.Sprintf("BatchNorm{Channels: %d, Momentum: %v, Eps: %v}", len(op.mean), op.Momentum, op.Eps)
}

// SetTraining switches between training and testing. It implements gorgonia.TrainModeOp.
func (op *BatchNorm) SetTraining(isTraining bool) error {
	op.testing = op.fixed || !isTraining
	return nil
}

// Evaluation returns a batch normalisation, for a node of its own, on the running statistics of op: it sees at once what
// training makes of them. It stays in testing mode, whatever machine runs it.
func (op *BatchNorm) Evaluation() *BatchNorm {
	return &BatchNorm{Momentum: op.Momentum, Eps: op.Eps, mean: op.mean, variance: op.variance, testing: true, fixed: true}
}

// Running returns copies of the running mean and variance.
func (op *BatchNorm) Running() (mean, variance []float64) {
	return append([]float64(nil), op.mean...), append([]float64(nil), op.variance...)
}

// SetRunning sets the running mean and variance, one number a channel, finite, no variance negative.
func (op *BatchNorm) SetRunning(mean, variance []float64) error {
	if len(mean) != len(op.mean) || len(variance) != len(op.mean) {
		return errors.Errorf("nn: %v: %d running means and %d variances: want %d of each", op, len(mean), len(variance), len(op.mean))
	}
	for c := range mean {
		if m, v := mean[c], variance[c]; m-m != 0 || v-v != 0 || v < 0 {
			return errors.Errorf("nn: %v: running mean %v and variance %v of channel %d: want finite numbers, the variance not negative", op, m, v, c)
		}
	}
	copy(op.mean, mean)
	copy(op.variance, variance)
	return nil
}

// Arity is 3: x, scale, shift.
func (op *BatchNorm) Arity() int { return 3 }

// Type is a-tensor -> vector -> vector -> a-tensor, of any number of dimensions.
func (op *BatchNorm) Type() hm.Type {
	x := hm.TypeVariable('a')
	v := gorgonia.TensorType{Dims: 1, Of: hm.TypeVariable('c')} // 'b' is Gorgonia's own when it infers
	return hm.NewFnType(x, v, v, x)
}

// InferShape returns the shape of x.
func (op *BatchNorm) InferShape(in ...gorgonia.DimSizer) (tensor.Shape, error) {
	shapes, err := gorgonia.DimSizersToShapes(in)
	if err != nil {
		return nil, errors.Wrapf(err, "nn: %v", op)
	}
	_, err = op.layout(shapes)
	return shapes[0].Clone(), err
}

// planes is how the elements of a channel lie: n planes of size elements, channels planes apart.
type planes struct{ n, channels, size int }

func (op *BatchNorm) layout(s []tensor.Shape) (planes, error) {
	if len(s) != 3 {
		return planes{}, errors.Errorf("nn: %v takes x, scale and shift, got %d inputs", op, len(s))
	}
	x := s[0]
	if len(x) != 2 && len(x) != 4 || x[1] != len(op.mean) {
		return planes{}, errors.Errorf("nn: %v: input %v: want (N, %d) or (N, %[3]d, H, W)", op, x, len(op.mean))
	}
	for i, name := range []string{"scale", "shift"} {
		if v := s[i+1]; v.TotalSize() != x[1] || len(v) != 1 {
			return planes{}, errors.Errorf("nn: %v: %s %v: want (%d), one number a channel", op, name, v, x[1])
		}
	}
	return planes{x[0], x[1], x.TotalSize() / (x[0] * x[1])}, nil
}

// each calls f with the elements of every plane of channel c.
func (p planes) each(c int, f func(from, to int)) {
	for n := range p.n {
		from := (n*p.channels + c) * p.size
		f(from, from+p.size)
	}
}

// Do normalises. A training batch with one value a channel has no variance to speak of: an error.
func (op *BatchNorm) Do(in ...gorgonia.Value) (gorgonia.Value, error) {
	return opkit.Dispatch(op, in, 3,
		func() (gorgonia.Value, error) { return batchNorm[float32](op, in) },
		func() (gorgonia.Value, error) { return batchNorm[float64](op, in) })
}

// UsePreallocDo is Do: the result is in memory of the operation's own.
func (op *BatchNorm) UsePreallocDo(_ gorgonia.Value, in ...gorgonia.Value) (gorgonia.Value, error) {
	return op.Do(in...)
}

func batchNorm[T vec.Float](op *BatchNorm, in []gorgonia.Value) (gorgonia.Value, error) {
	if op.Elsewhere(in) {
		return nil, errors.Errorf("nn: %v: it runs on another node than it was made for, in a clone of its graph perhaps: the running statistics are of one network. Build the network anew (models: Net.At)", op)
	}
	p, err := op.layout(valueShapes(in))
	if err != nil {
		return nil, err
	}
	count := p.n * p.size
	if !op.testing && count < 2 {
		return nil, errors.Errorf("nn: %v: input %v has one value a channel: training needs two or more", op, in[0].Shape())
	}
	x, err := slices[T](op, in...)
	if err != nil {
		return nil, err
	}
	v, y := opkit.Tensor[T](&op.memory, in[0].Shape(), in)
	if len(op.batchMean) != p.channels {
		op.batchMean, op.invStd = make([]float64, p.channels), make([]float64, p.channels)
	}
	op.of = in[0]
	op.run++
	return v, par.Range(p.channels, 1, func(lo, hi int) error {
		for c := lo; c < hi; c++ {
			mean, variance := op.mean[c], op.variance[c]
			if !op.testing {
				mean, variance = moments(p, c, x[0])
				// Rounded as PyTorch keeps them, so that a file in the network's precision holds them exactly.
				op.mean[c] = float64(T(op.mean[c] + op.Momentum*(mean-op.mean[c])))
				op.variance[c] = float64(T(op.variance[c] + op.Momentum*(variance*float64(count)/float64(count-1)-op.variance[c])))
			}
			inv := 1 / math.Sqrt(variance+op.Eps)
			op.batchMean[c], op.invStd[c] = mean, inv
			a := T(float64(x[1][c]) * inv)
			b := T(float64(x[2][c]) - float64(x[1][c])*inv*mean)
			p.each(c, func(from, to int) { vec.Affine(y[from:to], x[0][from:to], a, b) })
		}
		return nil
	})
}

// moments returns the mean and the biased variance of channel c, in two passes: the one-pass formula cancels.
func moments[T vec.Float](p planes, c int, x []T) (mean, variance float64) {
	count := float64(p.n * p.size)
	sum := 0.0
	p.each(c, func(from, to int) {
		s, _ := vec.SumDot(x[from:to], x[from:to], 0)
		sum += s
	})
	mean = sum / count
	m := T(mean)
	shift := mean - float64(m)
	squares := 0.0
	p.each(c, func(from, to int) { squares += vec.SquaresAround(x[from:to], m) })
	return mean, squares/count - shift*shift
}

// WriteHash writes an identity: a normalisation has state, so no two are the same.
func (op *BatchNorm) WriteHash(h hash.Hash) { fmt.Fprintf(h, "ftprop %v %p", op, op) }

// Hashcode is the hash of what WriteHash writes.
func (op *BatchNorm) Hashcode() uint32 { return opkit.Hashcode(fmt.Sprintf("ftprop %v %p", op, op)) }

// DiffWRT is true for all inputs.
func (op *BatchNorm) DiffWRT(n int) []bool { return allTrue(n) }

// SymDiff returns the nodes of the three gradients; gorgonia.Grad calls it.
func (op *BatchNorm) SymDiff(in gorgonia.Nodes, out, grad *gorgonia.Node) (gorgonia.Nodes, error) {
	op.Bind(in, out)
	shared := &normGrad{norm: op}
	nodes := make(gorgonia.Nodes, 3)
	for i := range in {
		var err error
		// The output is an input so that normalisation is sure to have run before.
		if nodes[i], err = opkit.Apply(&normInputGrad{normGrad: shared, input: i, dims: in[0].Dims()}, in[0], in[1], out, grad); err != nil {
			return nil, errors.WithMessagef(err, "nn: differentiating %v", op)
		}
	}
	return nodes, nil
}

// DoDiff adds to the inputs' gradients; the Lisp machine calls it.
func (op *BatchNorm) DoDiff(_ gorgonia.ExecutionContext, in gorgonia.Nodes, out *gorgonia.Node) error {
	shared := &normGrad{norm: op}
	for i := range in {
		d := &normInputGrad{normGrad: shared, input: i, dims: in[0].Dims()}
		err := opkit.Accumulate(op, in[i:i+1], out, func(g gorgonia.Value) (gorgonia.Value, error) {
			return d.Do(in[0].Value(), in[1].Value(), out.Value(), g)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// normGrad is what the three gradients share: for each channel sum dy and sum dy xhat, computed by the first of them in
// a run.
type normGrad struct {
	norm        *BatchNorm
	run         int
	sum, sumHat []float64
}

func normSums[T vec.Float](g *normGrad, p planes, x, dy []T) error {
	if g.run == g.norm.run && len(g.sum) == p.channels {
		return nil
	}
	g.run = g.norm.run
	if len(g.sum) != p.channels {
		g.sum, g.sumHat = make([]float64, p.channels), make([]float64, p.channels)
	}
	return par.Range(p.channels, 1, func(lo, hi int) error {
		for c := lo; c < hi; c++ {
			m := T(g.norm.batchMean[c])
			shift := g.norm.batchMean[c] - float64(m)
			sum, dot := 0.0, 0.0
			p.each(c, func(from, to int) {
				s, d := vec.SumDot(dy[from:to], x[from:to], m)
				sum += s
				dot += d
			})
			g.sum[c], g.sumHat[c] = sum, (dot-shift*sum)*g.norm.invStd[c]
		}
		return nil
	})
}

// normInputGrad is the gradient of one input: (x, scale, y, dy) to that input's shape.
type normInputGrad struct {
	*normGrad
	input int // 0 x, 1 scale, 2 shift
	dims  int // of x

	opkit.Gradient
	memory
}

func (d *normInputGrad) String() string {
	return fmt.Sprintf("gradient of input %d of %v", d.input, d.norm)
}
func (d *normInputGrad) Arity() int            { return 4 }
func (d *normInputGrad) WriteHash(h hash.Hash) { fmt.Fprintf(h, "ftprop %v %p", d, d) }
func (d *normInputGrad) Hashcode() uint32      { return opkit.Hashcode(fmt.Sprintf("ftprop %v %p", d, d)) }

func (d *normInputGrad) Type() hm.Type {
	a := hm.TypeVariable('a')
	x, v := gorgonia.TensorType{Dims: d.dims, Of: a}, gorgonia.TensorType{Dims: 1, Of: a}
	if d.input == 0 {
		return hm.NewFnType(x, v, x, x, x)
	}
	return hm.NewFnType(x, v, x, x, v)
}

func (d *normInputGrad) InferShape(in ...gorgonia.DimSizer) (tensor.Shape, error) {
	shapes, err := gorgonia.DimSizersToShapes(in)
	if err != nil {
		return nil, errors.Wrapf(err, "nn: %v", d)
	}
	return shapes[min(d.input, 1)].Clone(), nil
}

func (d *normInputGrad) UsePreallocDo(_ gorgonia.Value, in ...gorgonia.Value) (gorgonia.Value, error) {
	return d.Do(in...)
}

func (d *normInputGrad) Do(in ...gorgonia.Value) (gorgonia.Value, error) {
	return opkit.Dispatch(d, in, 4,
		func() (gorgonia.Value, error) { return normBackward[float32](d, in) },
		func() (gorgonia.Value, error) { return normBackward[float64](d, in) })
}

func normBackward[T vec.Float](d *normInputGrad, in []gorgonia.Value) (gorgonia.Value, error) {
	p, err := d.norm.layout([]tensor.Shape{in[0].Shape(), in[1].Shape(), in[1].Shape()})
	if err != nil {
		return nil, err
	}
	if d.norm.of != in[0] {
		return nil, errors.Errorf("nn: %v: the batch's mean and variance are of another node: a batch normalisation belongs to one, make each its own", d)
	}
	x, err := slices[T](d, in[0], in[1], in[3])
	if err != nil {
		return nil, err
	}
	if err := normSums(d.normGrad, p, x[0], x[2]); err != nil {
		return nil, err
	}
	v, out := opkit.Tensor[T](&d.memory, in[min(d.input, 1)].Shape(), in)
	switch d.input {
	case 1:
		for c := range out {
			out[c] = T(d.sumHat[c])
		}
		return v, nil
	case 2:
		for c := range out {
			out[c] = T(d.sum[c])
		}
		return v, nil
	}
	count := float64(p.n * p.size)
	return v, par.Range(p.channels, 1, func(lo, hi int) error {
		for c := lo; c < hi; c++ {
			mean, inv := d.norm.batchMean[c], d.norm.invStd[c]
			k := float64(x[1][c]) * inv
			// dx = k (dy - sum/count - xhat sumHat/count), as a dy + b x + e; in testing the statistics are constants.
			a, b, e := k, 0.0, 0.0
			if !d.norm.testing {
				b = -k * inv * d.sumHat[c] / count
				e = -k*d.sum[c]/count - b*mean
			}
			ta, tb, te := T(a), T(b), T(e)
			p.each(c, func(from, to int) {
				dst, xs := out[from:to], x[0][from:to]
				for i, g := range x[2][from:to] {
					dst[i] = ta*g + tb*xs[i] + te
				}
			})
		}
		return nil
	})
}
