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
//	inputs    x, scale and shift, one number a channel: (C), (1, C) or (1, C, 1, 1)
//	training  y = scale (x - mean)/sqrt(var + eps) + shift, mean and biased variance of the batch;
//	          running = (1-momentum) running + momentum batch, the variance unbiased
//	testing   the running mean and variance in place of the batch's
//
// Momentum is the share of the new batch, as in PyTorch and in Gorgonia v0.9.18.
//
// Machines switch between training and testing by SetTraining: a machine with gorgonia.EvalMode, once made, leaves every graph that
// it shares with a training machine in testing mode, until SetTraining(true) is called or another training machine is made.
// Evaluation, or At of package models, gives a normalisation of its own to evaluate with. The running statistics survive all of
// that (Gorgonia's are reset by every new training machine); they are read and set with Running and SetRunning, or Stats and
// SetStats.
//
// Sums are in float64, of differences from a channel's first element, or from its mean where that is far off, so that an offset of
// all elements costs no digits. NaN and infinities in a training batch, and statistics that the
// network's precision does not hold, are an error that names the channel, and no running statistic changes. Source: Ioffe & Szegedy
// (2015), arXiv:1502.03167; torch.nn.BatchNorm2d.
//
// Where several ranks train one network, each normalises with the statistics of its own batch, as in PyTorch's default, or after
// Synchronise with those of all.
//
// A BatchNorm has state, so it belongs to one node: make it with NewBatchNorm or nodes.BatchNorm.
type BatchNorm struct {
	momentum, eps float64

	pure
	memory
	testing  bool
	single   bool      // before it has a node: it will be of float32
	fixed    bool      // machines do not switch it: see Evaluation
	mean     []float64 // running, one a channel
	variance []float64
	next     [2][]float64 // what mean and variance become if all channels of a batch can be normalised
	// Of the last run: the means that were normalised with are center + rest, center being of x's precision. run counts the runs.
	center, rest, invStd []float64
	of                   gorgonia.Value // the input that they are of
	run                  int
	all                  *ranks // nil for the statistics of one batch
}

var _ gorgonia.TrainModeOp = (*BatchNorm)(nil)

// maxChannels is far more channels than any network has.
const maxChannels = 1 << 24

// NewBatchNorm returns a batch normalisation of a number of channels, 1 to 2^24: PyTorch's defaults are momentum 0.1 and eps 1e-5.
// The running mean starts at 0, the variance at 1.
func NewBatchNorm(channels int, momentum, eps float64) (*BatchNorm, error) {
	if channels < 1 || channels > maxChannels || !(momentum >= 0 && momentum <= 1) || !(eps > 0) || math.IsInf(eps, 1) {
		return nil, opkit.Errorf("nn", "BatchNorm of %d channels, momentum %v, eps %v: want 1 to %d channels, momentum from 0 to 1, a positive eps", channels, momentum, eps, maxChannels)
	}
	op := &BatchNorm{momentum: momentum, eps: eps, mean: make([]float64, channels), variance: make([]float64, channels)}
	return op, op.Reset()
}

// Momentum returns the share of a new batch in the running statistics.
func (op *BatchNorm) Momentum() float64 { return op.momentum }

// Eps returns what is added to variances.
func (op *BatchNorm) Eps() float64 { return op.eps }

// inSingle says whether it normalises float32.
func (op *BatchNorm) inSingle() bool {
	if in := opkit.Inputs(&op.memory); in != nil {
		return in[0].Dtype() == tensor.Float32
	}
	return op.single
}

// String returns the parameters.
func (op *BatchNorm) String() string {
	return fmt.Sprintf("BatchNorm{Channels: %d, Momentum: %v, Eps: %v}", len(op.mean), op.momentum, op.eps)
}

// SetTraining switches between training and testing. It implements gorgonia.TrainModeOp.
func (op *BatchNorm) SetTraining(isTraining bool) error {
	op.testing = op.fixed || !isTraining
	return nil
}

// Evaluation returns a batch normalisation, for a node of its own, on the running statistics of op: it sees at once what
// training makes of them. It stays in testing mode, whatever machine runs it.
func (op *BatchNorm) Evaluation() *BatchNorm {
	return &BatchNorm{momentum: op.momentum, eps: op.eps, single: op.inSingle(), mean: op.mean, variance: op.variance, testing: true, fixed: true}
}

// Running returns copies of the running mean and variance.
func (op *BatchNorm) Running() (mean, variance []float64) {
	return append([]float64(nil), op.mean...), append([]float64(nil), op.variance...)
}

func (op *BatchNorm) errorf(format string, args ...any) error {
	return opkit.OfOp(op, errors.Errorf(format, args...))
}

// SetRunning sets the running mean and variance, one number a channel, finite, no variance negative.
func (op *BatchNorm) SetRunning(mean, variance []float64) error {
	if len(mean) != len(op.mean) || len(variance) != len(op.mean) {
		return op.errorf("%d running means and %d variances: want %d of each", len(mean), len(variance), len(op.mean))
	}
	for c := range mean {
		if m, v := mean[c], variance[c]; m-m != 0 || v-v != 0 || v < 0 {
			return op.errorf("running mean %v and variance %v of channel %d: want finite numbers, the variance not negative", m, v, c)
		}
	}
	copy(op.mean, mean)
	copy(op.variance, variance)
	return nil
}

// Stats returns copies of the running mean and variance, (C) of the dtype of x, float64 before the operation is on a node. It has the signature of gorgonia.BatchNormOp's, whose tensors
// are the statistics themselves.
func (op *BatchNorm) Stats() (mean, variance tensor.Tensor) {
	if op.inSingle() {
		return vector[float32](op.mean), vector[float32](op.variance)
	}
	return vector[float64](op.mean), vector[float64](op.variance)
}

// vector returns a tensor with the numbers of x.
func vector[T vec.Float](x []float64) tensor.Tensor {
	y := make([]T, len(x))
	for i, v := range x {
		y[i] = T(v)
	}
	return tensor.New(tensor.WithShape(len(y)), tensor.WithBacking(y))
}

// SetStats is SetRunning with tensors (C) of the dtype of Stats, which are copied. It has the signature of gorgonia.BatchNormOp's.
func (op *BatchNorm) SetStats(mean, variance tensor.Tensor) (err error) {
	defer opkit.Guard(op, &err)
	want := tensor.Float64
	if op.inSingle() {
		want = tensor.Float32
	}
	var x [2][]float64
	for i, t := range []tensor.Tensor{mean, variance} {
		name := [2]string{"mean", "variance"}[i]
		if t == nil {
			return op.errorf("the running %s is nil", name)
		}
		if !t.Shape().Eq(tensor.Shape{len(op.mean)}) || t.Dtype() != want {
			return op.errorf("running %s %v of %v: want (%d) of %v", name, t.Shape(), t.Dtype(), len(op.mean), want)
		}
		if want == tensor.Float32 {
			x[i], err = doubles[float32](t)
		} else {
			x[i], err = doubles[float64](t)
		}
		if err != nil {
			return opkit.OfOp(op, errors.WithMessagef(err, "running %s", name))
		}
	}
	return op.SetRunning(x[0], x[1])
}

// doubles returns the elements of a value in float64.
func doubles[T vec.Float](v gorgonia.Value) ([]float64, error) {
	x, err := opkit.Elements[T](v)
	y := make([]float64, len(x))
	for i, e := range x {
		y[i] = float64(e)
	}
	return y, err
}

// Reset sets the running mean to 0 and the variance to 1. It never fails. Unlike Gorgonia's, no machine calls it.
func (op *BatchNorm) Reset() error {
	clear(op.mean)
	for c := range op.variance {
		op.variance[c] = 1
	}
	return nil
}

// Arity is 3: x, scale, shift.
func (op *BatchNorm) Arity() int { return 3 }

// Type is a-tensor -> c -> d -> a-tensor, of any number of dimensions; InferShape says what scale and shift may be.
func (op *BatchNorm) Type() hm.Type {
	x := hm.TypeVariable('a')
	return hm.NewFnType(x, hm.TypeVariable('c'), hm.TypeVariable('d'), x) // 'b' is Gorgonia's own when it infers
}

// InferShape returns the shape of x.
func (op *BatchNorm) InferShape(in ...gorgonia.DimSizer) (tensor.Shape, error) {
	return opkit.Infer(op, in, 3, func(in []tensor.Shape) (tensor.Shape, error) {
		_, err := op.layout(in)
		return in[0], err
	})
}

// planes is how the elements of a channel lie: n planes of size elements, channels planes apart.
type planes struct{ n, channels, size int }

func (op *BatchNorm) layout(s []tensor.Shape) (planes, error) {
	if len(s) != 3 {
		return planes{}, errors.Errorf("takes x, scale and shift, got %d inputs", len(s))
	}
	x := s[0]
	if len(x) != 2 && len(x) != 4 || x[1] != len(op.mean) {
		return planes{}, errors.Errorf("input %v: want (N, %d) or (N, %[2]d, H, W)", x, len(op.mean))
	}
	total, err := opkit.Volume(x)
	if err != nil {
		return planes{}, errors.WithMessage(err, "input")
	}
	for i, name := range []string{"scale", "shift"} {
		v := s[i+1]
		if !perChannel(v, x[1]) {
			return planes{}, errors.Errorf("%s %v: want (%d), (1, %[3]d) or (1, %[3]d, 1, 1), one number a channel", name, v, x[1])
		}
	}
	return planes{x[0], x[1], total / (x[0] * x[1])}, nil
}

// perChannel reports whether s is (c), (1, c) or (1, c, 1, 1). (Shape.Eq does not tell (c, 1) apart.)
func perChannel(s tensor.Shape, c int) bool {
	switch len(s) {
	case 1:
		return s[0] == c
	case 2:
		return s[0] == 1 && s[1] == c
	}
	return len(s) == 4 && s[0] == 1 && s[1] == c && s[2] == 1 && s[3] == 1
}

// channel is how the elements of a channel lie, from its first one on.
func (p planes) channel() vec.Planes {
	return vec.Planes{Count: p.n, Size: p.size, Stride: p.channels * p.size}
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
	if opkit.Elsewhere(&op.memory, in) {
		return nil, errElsewhere()
	}
	p, err := op.layout(valueShapes(in))
	if err != nil {
		return nil, err
	}
	count := p.n * p.size
	if !op.testing && count < 2 && op.all == nil {
		return nil, errors.Errorf("input %v has one value a channel: training needs two or more", in[0].Shape())
	}
	x, err := slices[T](in...)
	if err != nil {
		return nil, err
	}
	v, y := opkit.Tensor[T](&op.memory, in[0].Shape(), in)
	if len(op.center) != p.channels {
		op.center, op.rest, op.invStd = make([]float64, p.channels), make([]float64, p.channels), make([]float64, p.channels)
		op.next = [2][]float64{make([]float64, p.channels), make([]float64, p.channels)}
	}
	op.of = in[0]
	op.run++
	together := op.all != nil && !op.testing
	if together {
		if err := momentsOfAll(op, p, x[0]); err != nil {
			return nil, err
		}
	}
	err = par.Each(p.channels, 1, func(lo, hi int) error {
		for c := lo; c < hi; c++ {
			m, variance := T(op.mean[c]), op.variance[c]
			rest := op.mean[c] - float64(m)
			switch {
			case together:
				mean := op.all.mean[c]
				m, variance = T(mean), op.all.variance[c]
				rest = mean - float64(m)
				if err := follow[T](op, c, mean, variance, op.all.count); err != nil {
					return err
				}
			case !op.testing:
				var err error
				if m, rest, variance, err = moments(op, p, c, x[0]); err != nil {
					return err
				}
			}
			inv := 1 / math.Sqrt(variance+op.eps)
			op.center[c], op.rest[c], op.invStd[c] = float64(m), rest, inv
			// x - m before anything else: a x + (shift - a mean) would cancel.
			a, b := affineOf(rest, inv, x[1][c], x[2][c])
			from := c * p.size
			vec.AffineAround(y[from:], x[0][from:], p.channel(), a, b, m)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	if !op.testing {
		copy(op.mean, op.next[0])
		copy(op.variance, op.next[1])
	}
	return v, nil
}

// affineOf returns the factor of x - m, and what is added, where the mean is m + rest.
func affineOf[T vec.Float](rest, inv float64, scale, shift T) (a, b T) {
	factor := float64(scale) * inv
	return T(factor), T(float64(shift) - factor*rest)
}

func errElsewhere() error {
	return errors.New("it runs on another node than it was made for, in a clone of its graph perhaps: the running statistics are of one network. Build the network anew (models: Net.At)")
}

// moments returns the mean of channel c, as m + rest, and its biased variance, and writes the running statistics that follow from
// them to op.next.
func moments[T vec.Float](op *BatchNorm, p planes, c int, x []T) (m T, rest, variance float64, err error) {
	if m, rest, variance, err = ofBatch(op, p, c, x); err != nil {
		return m, rest, variance, err
	}
	return m, rest, variance, follow[T](op, c, float64(m)+rest, variance, float64(p.n*p.size))
}

// ofBatch is moments without the running statistics.
//
// Sums are of differences from a center: squares/n - (sum/n)^2 cancels as far as that is away from the mean. The first element is
// near enough, as a rule; where it is more than four standard deviations off, sums are taken again, around the mean.
func ofBatch[T vec.Float](op *BatchNorm, p planes, c int, x []T) (m T, rest, variance float64, err error) {
	center, count := x[c*p.size], float64(p.n*p.size)
	for range 2 {
		sum, squares := vec.Moments(x[c*p.size:], p.channel(), center)
		off := sum / count
		m = T(float64(center) + off)
		rest = off - (float64(m) - float64(center))
		variance = max(0, squares/count-off*off)
		if off*off <= 16*variance {
			break
		}
		center = m
	}
	if mean := float64(m) + rest; mean-mean != 0 || variance-variance != 0 {
		return m, rest, variance, nonFinite(op, p, c, x, variance)
	}
	return m, rest, variance, nil
}

// follow writes to op.next the running statistics of channel c after a batch of count elements a channel, in all.
func follow[T vec.Float](op *BatchNorm, c int, mean, variance, count float64) error {
	for i, r := range [2]float64{op.mean[c] + op.momentum*(mean-op.mean[c]), op.variance[c] + op.momentum*(variance*count/(count-1)-op.variance[c])} {
		// Rounded as PyTorch keeps them, so that a file in the network's precision holds them exactly.
		t := T(r)
		if t-t != 0 {
			return errors.Errorf("the running %s of channel %d would become %v, more than %T holds: the batch has mean %v and variance %v", [2]string{"mean", "variance"}[i], c, r, t, mean, variance)
		}
		op.next[i][c] = float64(t)
	}
	return nil
}

// nonFinite is the error for a channel whose mean or variance is not finite.
func nonFinite[T vec.Float](op *BatchNorm, p planes, c int, x []T, variance float64) error {
	for n := range p.n {
		from := (n*p.channels + c) * p.size
		if i := vec.FirstNonFinite(x[from : from+p.size]); i >= 0 {
			return errors.Errorf("element %d of channel %d of sample %d is %v: training needs finite numbers", i, c, n, x[from+i])
		}
	}
	return errors.Errorf("the variance of channel %d is %v: its elements are too large", c, variance)
}

// WriteHash writes an identity: a normalisation has state, so no two are the same.
func (op *BatchNorm) WriteHash(h hash.Hash) { fmt.Fprintf(h, "ftprop %v %p", op, op) }

// Hashcode is the hash of what WriteHash writes.
func (op *BatchNorm) Hashcode() uint32 { return opkit.Hashcode(fmt.Sprintf("ftprop %v %p", op, op)) }

// DiffWRT is true for all inputs.
func (op *BatchNorm) DiffWRT(n int) []bool { return opkit.AllTrue(n) }

// SymDiff returns the nodes of the three gradients; gorgonia.Grad calls it.
func (op *BatchNorm) SymDiff(in gorgonia.Nodes, out, grad *gorgonia.Node) (gorgonia.Nodes, error) {
	opkit.Bind(op, in, out)
	shared := &normGrad{norm: op}
	nodes := make(gorgonia.Nodes, 3)
	for i := range in {
		var err error
		// The output is an input so that normalisation is sure to have run before.
		if nodes[i], err = opkit.Apply(&normInputGrad{normGrad: shared, input: i, dims: in[0].Dims(), shape: in[i].Shape()}, in[0], in[1], out, grad); err != nil {
			return nil, opkit.Differentiating(op, err)
		}
	}
	return nodes, nil
}

// DoDiff adds to the inputs' gradients; the Lisp machine calls it.
func (op *BatchNorm) DoDiff(_ gorgonia.ExecutionContext, in gorgonia.Nodes, out *gorgonia.Node) error {
	shared := &normGrad{norm: op}
	for i := range in {
		d := &normInputGrad{normGrad: shared, input: i, dims: in[0].Dims(), shape: in[i].Shape()}
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
	all, allHat []float64 // over all ranks, or the same ones
}

// begin reports whether the sums are still to be computed in this run, and prepares for it.
func (g *normGrad) begin(channels int) bool {
	if g.run == g.norm.run && len(g.sum) == channels {
		return false
	}
	g.run = g.norm.run
	if len(g.sum) != channels {
		g.sum, g.sumHat = make([]float64, channels), make([]float64, channels)
	}
	g.all, g.allHat = g.sum, g.sumHat
	return true
}

// together says whether the sums are those of all ranks.
func (g *normGrad) together() bool { return g.norm.all != nil && !g.norm.testing }

func normSums[T vec.Float](g *normGrad, p planes, x, dy []T) error {
	if !g.begin(p.channels) {
		return nil
	}
	err := par.Each(p.channels, 1, func(lo, hi int) error {
		for c := lo; c < hi; c++ {
			channelSums(g, p, c, x, dy)
		}
		return nil
	})
	if err == nil && g.together() {
		g.all, g.allHat, err = g.norm.all.gradients(g.sum, g.sumHat)
	}
	return err
}

func channelSums[T vec.Float](g *normGrad, p planes, c int, x, dy []T) {
	from := c * p.size
	sum, dot := vec.SumDot(dy[from:], x[from:], p.channel(), T(g.norm.center[c]))
	g.sum[c], g.sumHat[c] = sum, (dot-g.norm.rest[c]*sum)*g.norm.invStd[c]
}

// normInputGrad is the gradient of one input: (x, scale, y, dy) to that input's shape.
type normInputGrad struct {
	*normGrad
	input int          // 0 x, 1 scale, 2 shift
	dims  int          // of x
	shape tensor.Shape // of the input

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
	x := gorgonia.TensorType{Dims: d.dims, Of: a}
	return hm.NewFnType(x, hm.TypeVariable('c'), x, x, gorgonia.TensorType{Dims: len(d.shape), Of: a})
}

func (d *normInputGrad) InferShape(in ...gorgonia.DimSizer) (tensor.Shape, error) {
	return always(d, in, 4, d.shape)
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
		return nil, errors.New("the batch's mean and variance are of another node: a batch normalisation belongs to one, make each its own")
	}
	x, err := slices[T](in[0], in[1], in[3])
	if err != nil {
		return nil, err
	}
	// Sums of a channel are taken right before its gradient, while its elements are in the cache, unless other ranks have their part in them.
	sums := false
	if d.input == 0 && !d.together() {
		sums = d.begin(p.channels)
	} else if err := normSums(d.normGrad, p, x[0], x[2]); err != nil {
		return nil, err
	}
	shape := d.shape
	if d.input == 0 {
		shape = in[0].Shape()
	}
	v, out := opkit.Tensor[T](&d.memory, shape, in)
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
	if d.together() {
		count = d.norm.all.count
	}
	return v, par.Each(p.channels, 1, func(lo, hi int) error {
		for c := lo; c < hi; c++ {
			if sums {
				channelSums(d.normGrad, p, c, x[0], x[2])
			}
			inv := d.norm.invStd[c]
			k := float64(x[1][c]) * inv
			if d.norm.testing { // the statistics are constants
				p.each(c, func(from, to int) { vec.Scale(out[from:to], x[2][from:to], T(k)) })
				continue
			}
			// dx = k (dy - sum/count - xhat sumHat/count), differences first; sums and count are those of all ranks.
			m := T(d.norm.center[c])
			b := inv * d.allHat[c] / count
			e := d.all[c]/count - b*d.norm.rest[c]
			from := c * p.size
			vec.AffineRest(out[from:], x[0][from:], x[2][from:], p.channel(), T(k), T(b), m, T(e))
		}
		return nil
	})
}
