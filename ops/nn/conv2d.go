package nn

import (
	"fmt"
	"hash"
	"math"

	"github.com/chewxy/hm"
	"github.com/ftprop/ftprop/internal/conv"
	"github.com/ftprop/ftprop/internal/gemm"
	"github.com/ftprop/ftprop/internal/opkit"
	"github.com/ftprop/ftprop/internal/par"
	"github.com/ftprop/ftprop/internal/vec"
	"github.com/pkg/errors"
	"gorgonia.org/gorgonia"
	"gorgonia.org/tensor"
)

// Conv2d is two-dimensional convolution (cross-correlation, as in every framework) with an optional bias.
//
//	inputs   image (N, C, H, W), filter (O, C, KH, KW), and bias (O) if it has one
//	output   (N, O, OH, OW), OH = (H + 2 pad[0] - dilation[0] (KH-1) - 1)/stride[0] + 1, OW likewise
//
// In float32, on processors with AVX2 or AVX-512, the images are read where they lie (package internal/conv). Gradients of images of few channels, float64 and
// other processors take columns: matrix
// products, filter (O, C KH KW) by columns (C KH KW, outputs), of several samples at a time where their maps are small and of a part of one where
// they are large; 1x1 convolutions with stride 1 need no columns. Samples are shared out between goroutines. In float32, 3x3 and 5x5 convolutions with
// stride 1 of 16 channels or more take a half to a quarter of the multiplications where it pays: Winograd's algorithm F(2x2, 3x3), F(4x4, 3x3) or F(2x2, 5x5), whose
// rounding differs from that of the definition. Errors of the last two are up to five times those of the definition. Which one it is depends on sizes, the number of
// samples among them, so that one image and a batch may differ in the last bits. Where there are a few outputs a channel, as of one small image, sums are in another
// order than in larger batches. The gradient of the image is computed only where gorgonia.Grad needs it,
// not for a network's input.
//
// A Conv2d keeps its output and its scratch memory from run to run, so it belongs to one node: make it with NewConv2d
// or nodes.Conv2d. Source: torch.nn.functional.conv2d.
type Conv2d struct {
	pad, stride, dilation [2]int
	bias                  bool

	pure
	direct // see NewDirectConv2d
	memory
}

// NewConv2d returns a convolution. Pad, stride and dilation have two elements, for height and width.
func NewConv2d(pad, stride, dilation []int, bias bool) (*Conv2d, error) {
	op := &Conv2d{bias: bias}
	for _, p := range []struct {
		name   string
		from   []int
		to     *[2]int
		lowest int
	}{{"pad", pad, &op.pad, 0}, {"stride", stride, &op.stride, 1}, {"dilation", dilation, &op.dilation, 1}} {
		if len(p.from) != 2 {
			return nil, opkit.Errorf("nn", "Conv2d: %s %v: want two numbers, for height and width", p.name, p.from)
		}
		for i, v := range p.from {
			if v < p.lowest {
				return nil, opkit.Errorf("nn", "Conv2d: %s %v: want %d or more", p.name, p.from, p.lowest)
			}
			p.to[i] = v
		}
	}
	return op, nil
}

// NewDirectConv2d is NewConv2d without Winograd's algorithm: the convolution is computed by its definition, so that where no sum of
// products has to be rounded, the result is exact.
func NewDirectConv2d(pad, stride, dilation []int, bias bool) (*Conv2d, error) {
	op, err := NewConv2d(pad, stride, dilation, bias)
	if err != nil {
		return nil, err
	}
	opkit.SetDirect(op)
	return op, nil
}

// Clone returns a convolution with the same settings and memory of its own, for another node.
func (op *Conv2d) Clone() *Conv2d {
	return &Conv2d{pad: op.pad, stride: op.stride, dilation: op.dilation, bias: op.bias, direct: op.direct}
}

// Pad returns the padding at each end of height and width.
func (op *Conv2d) Pad() [2]int { return op.pad }

// Stride returns the distance of windows in height and width.
func (op *Conv2d) Stride() [2]int { return op.stride }

// Dilation returns the distance of a window's elements in height and width.
func (op *Conv2d) Dilation() [2]int { return op.dilation }

// String returns the convolution's parameters.
func (op *Conv2d) String() string {
	return fmt.Sprintf("Conv2d{Pad: %v, Stride: %v, Dilation: %v, Bias: %v}", op.pad, op.stride, op.dilation, op.bias)
}

// Arity is 2, or 3 with a bias.
func (op *Conv2d) Arity() int {
	if op.bias {
		return 3
	}
	return 2
}

// Type is 4-tensor a -> 4-tensor a (-> vector a) -> 4-tensor a.
func (op *Conv2d) Type() hm.Type {
	a := hm.TypeVariable('a')
	t := gorgonia.TensorType{Dims: 4, Of: a}
	if op.bias {
		return hm.NewFnType(t, t, gorgonia.TensorType{Dims: 1, Of: a}, t)
	}
	return hm.NewFnType(t, t, t)
}

// InferShape returns the output's shape, or an error that says what does not fit.
func (op *Conv2d) InferShape(in ...gorgonia.DimSizer) (tensor.Shape, error) {
	return opkit.Infer(op, in, op.Arity(), func(in []tensor.Shape) (tensor.Shape, error) {
		g, err := op.geometry(in)
		return tensor.Shape{g.n, g.o, g.oh, g.ow}, err
	})
}

func (op *Conv2d) geometry(shapes []tensor.Shape) (g geometry, err error) {
	if len(shapes) != op.Arity() {
		return g, errors.Errorf("takes %d inputs, got %d", op.Arity(), len(shapes))
	}
	x, f := shapes[0], shapes[1]
	if len(x) != 4 || len(f) != 4 {
		return g, errors.Errorf("image %v and filter %v: want (N, C, H, W) and (O, C, KH, KW)", x, f)
	}
	if x[1] != f[1] {
		return g, errors.Errorf("image %v has %d channels, filter %v is for %d", x, x[1], f, f[1])
	}
	if op.bias && (len(shapes[2]) != 1 || shapes[2][0] != f[0]) {
		return g, errors.Errorf("bias %v: want (%d), one number for each of the filter's outputs", shapes[2], f[0])
	}
	g = geometry{n: x[0], c: x[1], h: x[2], w: x[3], o: f[0], kh: f[2], kw: f[3], pad: op.pad, stride: op.stride, dilation: op.dilation, byDefinition: opkit.IsDirect(&op.direct)}
	g.oh, err = windows(g.h, g.kh, g.pad[0], g.pad[0], g.stride[0], g.dilation[0])
	if err == nil {
		g.ow, err = windows(g.w, g.kw, g.pad[1], g.pad[1], g.stride[1], g.dilation[1])
	}
	return g, errors.WithMessagef(err, "image %v, filter %v", x, f)
}

// windows returns how often a window of size k fits into size n with the given padding before and after it.
func windows(n, k, before, after, stride, dilation int) (int, error) {
	room, reach := opkit.Add(n, opkit.Add(before, after)), 1
	if k > 1 {
		reach = opkit.Add(opkit.Mul(dilation, k-1), 1)
	}
	switch {
	case room == math.MaxInt:
		return 0, errors.Errorf("padding of %d and %d is too large", before, after)
	case k < 1 || room < reach:
		return 0, errors.Errorf("a window that reaches over %d does not fit into %d with %d and %d of padding before and after it", reach, n, before, after)
	}
	return (room-reach)/stride + 1, nil
}

// gemmSerial is the product on the calling goroutine.
func gemmSerial[T vec.Float](tA, tB bool, m, n, k int, a []T, lda int, b []T, ldb int, beta T, c []T, ldc int) {
	switch a := any(a).(type) {
	case []float32:
		gemm.Serial(tA, tB, m, n, k, 1, a, lda, any(b).([]float32), ldb, float32(beta), any(c).([]float32), ldc)
	case []float64:
		gemm.SerialD(tA, tB, m, n, k, 1, a, lda, any(b).([]float64), ldb, float64(beta), any(c).([]float64), ldc)
	}
}

func convForward[T vec.Float](g *geometry, out, x, f []T, e *vec.Epilogue[T]) error {
	if fewPixels[T](g) {
		return fewForward(g, out, x, f, e)
	}
	if c := winogradFor[T](g, forwardPass); c != nil {
		return c.Forward(single(out), single(x), single(f), *any(e).(*conv.Epilogue))
	}
	if c := directFor[T](g, forwardPass); c != nil {
		return c.Forward(single(out), single(x), single(f), *any(e).(*conv.Epilogue))
	}
	return columnsForward(g, out, x, f, e)
}

// fewForward is one product of the columns of all samples, of which cores share out the filters. Each has the columns for itself: to read those that another
// core has written, and is to write again, takes longer than to write them.
func fewForward[T vec.Float](g *geometry, out, x, f []T, e *vec.Epilogue[T]) error {
	r, q := g.rows(), g.n*g.cols()
	if g.linear() {
		product(false, true, g.n, g.o, r, x, r, f, r, out, g.o)
		for n := range g.n {
			e.ApplyAcross(out[n*g.o:(n+1)*g.o], n*g.o)
		}
		return nil
	}
	const tile = 8 // rows of the kernels' tiles
	grain := tile
	if g.o*r*q < 1<<18 { // a second core costs more than it gains
		grain = g.o
	}
	all := chunk{0, g.n, 0, g.oh}
	return par.Range(g.o, grain, func(lo, hi int) error {
		s := convScratch[T](g)
		defer s.release()
		s.col, s.rows = grow(s.col, r*q), grow(s.rows, (hi-lo)*q)
		im2col(g, all, s.col, x)
		rows := s.rows
		if all.whole(g) {
			rows = out[lo*q : hi*q]
		}
		gemmSerial(false, false, hi-lo, q, r, f[lo*r:], r, s.col, q, 0, rows, q)
		scatter(g, all, lo, hi, out, rows, e)
		return nil
	})
}

func columnsForward[T vec.Float](g *geometry, out, x, f []T, e *vec.Epilogue[T]) error {
	r, size, direct := g.rows(), g.c*g.h*g.w, g.direct()
	return par.Range(g.n, g.sharing(), func(lo, hi int) error {
		s := convScratch[T](g)
		defer s.release()
		g.chunks(lo, hi, func(ch chunk) {
			col, q := s.col, ch.cols(g)
			if direct {
				col = x[ch.n0*size : ch.n1*size]
			} else {
				im2col(g, ch, col, x)
			}
			rows := s.rows
			if ch.whole(g) {
				rows = out[ch.n0*g.o*q : ch.n1*g.o*q]
			}
			gemmSerial(false, false, g.o, q, r, f, r, col, q, 0, rows, q)
			scatter(g, ch, 0, g.o, out, rows, e)
		})
		return nil
	})
}

// convInputGrad sets dx to the gradient of the image.
func convInputGrad[T vec.Float](g *geometry, dx, dy, f []T) error {
	if c := winogradFor[T](g, inputPass); c != nil {
		return c.InputGrad(single(dx), single(dy), single(f))
	}
	if c := directFor[T](g, inputPass); c != nil {
		return c.InputGrad(single(dx), single(dy), single(f))
	}
	return columnsInputGrad(g, dx, dy, f)
}

func columnsInputGrad[T vec.Float](g *geometry, dx, dy, f []T) error {
	r, size, direct := g.rows(), g.c*g.h*g.w, g.direct()
	return par.Range(g.n, g.sharing(), func(lo, hi int) error {
		s := convScratch[T](g)
		defer s.release()
		if !direct {
			clear(dx[lo*size : hi*size])
		}
		g.chunks(lo, hi, func(ch chunk) {
			q := ch.cols(g)
			d := gather(g, ch, s.rows, dy)
			if direct {
				gemmSerial(true, false, r, q, g.o, f, r, d, q, 0, dx[ch.n0*size:ch.n1*size], q)
				return
			}
			gemmSerial(true, false, r, q, g.o, f, r, d, q, 0, s.col, q)
			col2im(g, ch, dx, s.col)
		})
		return nil
	})
}

// convFilterGrad sets df to the gradient of the filter.
func convFilterGrad[T vec.Float](g *geometry, df, dy, x []T) error {
	if c := winogradFor[T](g, filterPass); c != nil {
		return c.FilterGrad(single(df), single(dy), single(x))
	}
	if c := directFor[T](g, filterPass); c != nil {
		return c.FilterGrad(single(df), single(dy), single(x))
	}
	return columnsFilterGrad(g, df, dy, x)
}

func columnsFilterGrad[T vec.Float](g *geometry, df, dy, x []T) error {
	parts := partialsFor[T]()
	defer parts.release()
	r, size, direct := g.rows(), g.c*g.h*g.w, g.direct()
	err := parts.sum(g.n, r*g.o, func(lo, hi int, acc []T) {
		s := convScratch[T](g)
		defer s.release()
		beta := T(0)
		g.chunks(lo, hi, func(ch chunk) {
			col, q := s.col, ch.cols(g)
			if direct {
				col = x[ch.n0*size : ch.n1*size]
			} else {
				im2col(g, ch, col, x)
			}
			d := gather(g, ch, s.rows, dy)
			// The transpose, columns by outputs: so it is the small dy that is transposed, not the columns.
			gemmSerial(false, true, r, g.o, q, col, q, d, q, beta, acc, g.o)
			beta = 1
		})
	})
	if err != nil {
		return err
	}
	const side = 16 // of the squares that are transposed at a time: what a cache line holds is read from it at once
	return par.Range(g.o, side, func(lo, hi int) error {
		for from := 0; from < r; from += side {
			to := min(from+side, r)
			for o := lo; o < hi; o++ {
				for p, row := from, df[o*r:(o+1)*r]; p < to; p++ {
					row[p] = parts.total[p*g.o+o]
				}
			}
		}
		return nil
	})
}

func convBiasGrad[T vec.Float](g *geometry, db, dy []T) error {
	q := g.cols()
	return par.Range(g.o, 1, func(lo, hi int) error {
		for o := lo; o < hi; o++ {
			sum, _ := vec.Moments(dy[o*q:], vec.Planes{Count: g.n, Size: q, Stride: g.o * q}, 0)
			db[o] = T(sum)
		}
		return nil
	})
}

// Do returns the convolution.
func (op *Conv2d) Do(in ...gorgonia.Value) (gorgonia.Value, error) {
	return opkit.Dispatch(op, in, op.Arity(),
		func() (gorgonia.Value, error) { return convDo[float32](op, in) },
		func() (gorgonia.Value, error) { return convDo[float64](op, in) })
}

// UsePreallocDo is Do: the result is in memory of the operation's own.
func (op *Conv2d) UsePreallocDo(_ gorgonia.Value, in ...gorgonia.Value) (gorgonia.Value, error) {
	return op.Do(in...)
}

func valueShapes(in []gorgonia.Value) []tensor.Shape {
	shapes := make([]tensor.Shape, len(in))
	for i, v := range in {
		shapes[i] = v.Shape()
	}
	return shapes
}

// slices returns the elements of values of any shapes.
func slices[T vec.Float](in ...gorgonia.Value) ([][]T, error) {
	out := make([][]T, len(in))
	for i, v := range in {
		var err error
		if out[i], err = opkit.Elements[T](v); err != nil {
			return nil, errors.WithMessagef(err, "input %d", i)
		}
	}
	return out, nil
}

func convDo[T vec.Float](op *Conv2d, in []gorgonia.Value) (gorgonia.Value, error) {
	g, err := op.geometry(valueShapes(in))
	if err != nil {
		return nil, err
	}
	x, err := slices[T](in...)
	if err != nil {
		return nil, err
	}
	var e vec.Epilogue[T]
	if op.bias {
		e.Shift = x[2]
	}
	v, out := opkit.Tensor[T](&op.memory, tensor.Shape{g.n, g.o, g.oh, g.ow}, in)
	return v, convForward(&g, out, x[0], x[1], &e)
}

// WriteHash writes an identity: a convolution has memory, so no two are the same.
func (op *Conv2d) WriteHash(h hash.Hash) { fmt.Fprintf(h, "ftprop %v %p", op, op) }

// Hashcode is the hash of what WriteHash writes.
func (op *Conv2d) Hashcode() uint32 { return opkit.Hashcode(fmt.Sprintf("ftprop %v %p", op, op)) }

// DiffWRT is true for all inputs.
func (op *Conv2d) DiffWRT(n int) []bool { return opkit.AllTrue(n) }

// SymDiff returns the nodes of the inputs' gradients; gorgonia.Grad calls it.
func (op *Conv2d) SymDiff(in gorgonia.Nodes, out, grad *gorgonia.Node) (gorgonia.Nodes, error) {
	opkit.Bind(op, in, out)
	grads := make(gorgonia.Nodes, len(in))
	for i := range in {
		d := &convGrad{conv: op, input: i, shape: in[i].Shape()}
		if i == 0 {
			d.image = in[0]
		}
		var err error
		if grads[i], err = opkit.Apply(d, in[0], in[1], grad); err != nil {
			return nil, opkit.Differentiating(op, err)
		}
	}
	return grads, nil
}

// DoDiff adds to the inputs' gradients; the Lisp machine calls it.
func (op *Conv2d) DoDiff(_ gorgonia.ExecutionContext, in gorgonia.Nodes, out *gorgonia.Node) error {
	for i := range in {
		d := &convGrad{conv: op, input: i, shape: in[i].Shape()}
		err := opkit.Accumulate(op, in[i:i+1], out, func(g gorgonia.Value) (gorgonia.Value, error) {
			return d.Do(in[0].Value(), in[1].Value(), g)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// convGrad is the gradient of one input of a convolution: (image, filter, dy) to that input's shape.
type convGrad struct {
	conv  *Conv2d
	input int // 0 image, 1 filter, 2 bias
	shape tensor.Shape
	// image, if set, is the node whose gradient this is: where Grad found no use for it (a network's input) it has no
	// derivative, and nothing is computed.
	image *gorgonia.Node

	opkit.Gradient
	memory
}

func (d *convGrad) String() string {
	return fmt.Sprintf("gradient of input %d of %v", d.input, d.conv)
}
func (d *convGrad) Arity() int { return 3 }

func (d *convGrad) Type() hm.Type {
	a := hm.TypeVariable('a')
	t := gorgonia.TensorType{Dims: 4, Of: a}
	return hm.NewFnType(t, t, t, gorgonia.TensorType{Dims: len(d.shape), Of: a})
}

func (d *convGrad) InferShape(in ...gorgonia.DimSizer) (tensor.Shape, error) {
	return always(d, in, 3, d.shape)
}
func (d *convGrad) WriteHash(h hash.Hash) { fmt.Fprintf(h, "ftprop %v %p", d, d) }
func (d *convGrad) Hashcode() uint32      { return opkit.Hashcode(fmt.Sprintf("ftprop %v %p", d, d)) }

func (d *convGrad) UsePreallocDo(_ gorgonia.Value, in ...gorgonia.Value) (gorgonia.Value, error) {
	return d.Do(in...)
}

func (d *convGrad) Do(in ...gorgonia.Value) (gorgonia.Value, error) {
	return opkit.Dispatch(d, in, 3,
		func() (gorgonia.Value, error) { return convGradDo[float32](d, in) },
		func() (gorgonia.Value, error) { return convGradDo[float64](d, in) })
}

func convGradDo[T vec.Float](d *convGrad, in []gorgonia.Value) (gorgonia.Value, error) {
	plain := *d.conv
	plain.bias = false // the bias has no say in the sizes
	g, err := plain.geometry(valueShapes(in[:2]))
	if err != nil {
		return nil, err
	}
	v, out := opkit.Tensor[T](&d.memory, d.shape, in)
	if d.image != nil && d.image.Deriv() == nil {
		return v, nil
	}
	x, err := slices[T](in...)
	if err != nil {
		return nil, err
	}
	switch d.input {
	case 0:
		err = convInputGrad(&g, out, x[2], x[1])
	case 1:
		err = convFilterGrad(&g, out, x[2], x[0])
	default:
		err = convBiasGrad(&g, out, x[2])
	}
	return v, err
}
