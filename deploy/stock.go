package deploy

import (
	"fmt"
	"sort"
	"strings"

	"github.com/ftprop/ftprop/internal/opkit"
	"github.com/ftprop/ftprop/ops/nn"
	"github.com/pkg/errors"
	"gorgonia.org/gorgonia"
	"gorgonia.org/tensor"
)

// This file is the only place that knows Gorgonia's own operations. Their types are not exported: they are told by the names of their types and by what
// they print, as gorgonia v0.9.18 has them.

// typeName is the name of an operation's type.
func typeName(op gorgonia.Op) string { return fmt.Sprintf("%T", op) }

const (
	stockUnary     = "gorgonia.elemUnaryOp"
	stockBinary    = "gorgonia.elemBinOp"
	stockProduct   = "gorgonia.linAlgBinOp"
	stockSoftMax   = "*gorgonia.softmaxOp"
	stockTranspose = "gorgonia.transposeOp"
	stockConcat    = "gorgonia.concatOp"
	stockReshape   = "gorgonia.reshapeOp"
	stockRepeat    = "*gorgonia.repeatOp"
	stockSize      = "gorgonia.sizeOp"
	stockIm2Col    = "gorgonia.im2colOp"
	stockMaxPool   = "*gorgonia.maxPoolOp"
	stockMean      = "*gorgonia.globalAveragePoolOp"
	stockDropout   = "*gorgonia.dropoutOp"
	stockRandom    = "gorgonia.randomOp"
)

// stock returns what a stock operation computes, and what on.
func (t *tracer) stock(s step, in gorgonia.Nodes) (any, gorgonia.Nodes, error) {
	op := s.node.Op()
	printed := fmt.Sprint(op)
	if _, ok := op.(*gorgonia.BatchNormOp); ok {
		return nil, nil, s.unknown("use nodes.BatchNorm, which keeps its running statistics: every new machine resets those")
	}
	switch typeName(op) {
	case stockUnary:
		if u, ok := unaryOps()[printed]; ok {
			return unaryOp{printed, u}, in, nil
		}
	case stockBinary:
		if x := rectified(s.node, in); x != nil {
			return nn.ReLU(), gorgonia.Nodes{x}, nil
		}
		sign, same, _ := strings.Cut(printed, " ")
		if b, ok := binaryOps()[sign]; ok && (same == "true" || !b.comparison) {
			return binaryOp{b}, gorgonia.Nodes{repeated(in[0]), repeated(in[1])}, nil
		}
	case stockProduct:
		p := matMul{transA: strings.Contains(printed, "Aᵀ"), transB: strings.Contains(printed, "Bᵀ")}
		switch strings.NewReplacer("ᵀ", "").Replace(printed) {
		case "A × B":
			if t.g.isStatic(in[1]) && !p.transA && p.transB {
				return nn.NewLinear(false), in, nil
			}
			return p, in, nil
		case "A × b", "a ⋅ b", "A ××× B":
			return p, in, nil
		}
	case stockSoftMax:
		var axis int
		var log bool
		if _, err := fmt.Sscanf(printed, "Softmax{%d, %t}()", &axis, &log); err == nil {
			shape := in[0].Shape()
			if axis == -1 {
				axis = len(shape) - 1
				if shape.IsColVec() || len(shape) == 1 {
					axis = 0
				}
			}
			if axis >= 0 && axis < len(shape) {
				return softMax{axis, log}, in, nil
			}
		}
	case stockTranspose:
		if p := transposition(printed); len(p) == in[0].Dims() {
			if conv, of, ok := t.convolution(s.node, p); ok {
				return conv, of, nil
			}
			return transpose{p}, in, nil
		}
	case stockConcat:
		var axis int
		if _, err := fmt.Sscanf(printed, "Concat(axis=%d)", &axis); err == nil && axis >= 0 && axis < s.node.Dims() {
			return concat{axis}, in, nil
		}
	case stockReshape:
		r, err := nn.NewReshape(in[0].Shape(), s.node.Shape())
		return r, in, errors.WithMessage(err, s.where())
	case stockMaxPool:
		p, err := maxPool(op)
		return p, in, errors.WithMessage(err, s.where())
	case stockMean:
		return nn.GlobalAveragePool2D{}, in, nil
	case stockDropout:
		d, err := nn.NewDropout(0, 0) // which it is here
		return d, in, err
	case stockRepeat:
		return nil, nil, s.unknown("there is no form, but where elementwise operations read it,")
	case "gorgonia.letOp", "gorgonia.readOp":
		return nil, nil, s.unknown("there is no value")
	}
	if e, ok := op.(*expand); ok {
		return nil, nil, s.unknown("there is no form, but where elementwise operations read it, of " + e.String() + ",")
	}
	return nil, nil, s.unknown("there is no ONNX form")
}

// repeated returns what an elementwise operation reads: where that is repeated along dimensions of size 1, what is repeated.
func repeated(x *gorgonia.Node) *gorgonia.Node {
	for {
		in, err := opkit.InputsOf(x)
		if err != nil || len(in) == 0 {
			return x
		}
		switch op := x.Op().(type) {
		case *expand:
			x = in[0]
			continue
		default:
			if from, to := in[0].Shape(), x.Shape(); typeName(op) == stockReshape && sameShape(from, to) {
				x = in[0]
				continue
			}
			if typeName(op) != stockRepeat {
				return x
			}
		}
		var axis int
		from := in[0].Shape()
		if _, err := fmt.Sscanf(fmt.Sprint(x.Op()), "Repeat%d", &axis); err != nil || axis < 0 || axis >= len(from) || len(from) != x.Dims() || from[axis] != 1 {
			return x
		}
		x = in[0]
	}
}

// sameShape compares shapes number by number: tensor.Shape.Eq takes (5, 1) for (5).
func sameShape(a, b tensor.Shape) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if a[i] != b[i] {
			return false
		}
	}
	return true
}

// checkBroadcast returns an error unless the inputs of an elementwise operation, with dimensions of size 1 repeated, have its shape.
func checkBroadcast(s step) error {
	out := s.node.Shape()
	shape := make(tensor.Shape, len(out))
	for i := range shape {
		shape[i] = 1
	}
	ok := true
	for _, x := range s.in {
		from := x.Shape()
		if len(from) == 0 {
			continue
		}
		if len(from) != len(out) {
			ok = false
			break
		}
		for i, d := range from {
			ok = ok && (d == 1 || d == out[i])
			shape[i] = max(shape[i], d)
		}
	}
	if !ok || !sameShape(shape, out) {
		return errors.Errorf("%s: %v (%T) of shapes %v and %v to %v: want the same shape, or repetitions of dimensions of size 1; reshape one",
			s.where(), s.node.Op(), s.node.Op(), s.in[0].Shape(), s.in[1].Shape(), out)
	}
	return nil
}

// rectified returns x of x ⊙ (x >= 0), which is what gorgonia.Rectify makes.
func rectified(n *gorgonia.Node, in gorgonia.Nodes) *gorgonia.Node {
	if fmt.Sprint(n.Op()) != "⊙ false" || typeName(in[1].Op()) != stockBinary || fmt.Sprint(in[1].Op()) != ">= true" {
		return nil
	}
	compared, err := opkit.InputsOf(in[1])
	if err != nil || compared[0] != in[0] || compared[1].Op() == nil || compared[1].Op().Arity() != 0 || compared[1].Dims() > 0 {
		return nil
	}
	if zero, err := opkit.Floats(compared[1].Value()); err != nil || zero[0] != 0 {
		return nil
	}
	return in[0]
}

// transposition returns the permutation that a stock transpose prints.
func transposition(printed string) []int {
	list := strings.TrimSuffix(strings.TrimPrefix(printed, "Aᵀ{"), "}")
	var p []int
	for _, s := range strings.Split(list, ", ") {
		var axis int
		if _, err := fmt.Sscanf(s, "%d", &axis); err != nil {
			return nil
		}
		p = append(p, axis)
	}
	return p
}

// convolution recognises what gorgonia.Conv2d makes, from its last operation: transpose(reshape(reshape(im2col(image)) reshape(filter)ᵀ)).
func (t *tracer) convolution(n *gorgonia.Node, p []int) (*nn.Conv2d, gorgonia.Nodes, bool) {
	if fmt.Sprint(p) != "[0 3 1 2]" {
		return nil, nil, false
	}
	one := func(x *gorgonia.Node, kind string) *gorgonia.Node { // the input of an operation of a kind
		if x == nil || typeName(x.Op()) != kind {
			return nil
		}
		in, err := opkit.InputsOf(x)
		if err != nil || len(in) == 0 {
			return nil
		}
		return in[0]
	}
	product := one(one(n, stockTranspose), stockReshape)
	if product == nil || typeName(product.Op()) != stockProduct || fmt.Sprint(product.Op()) != "A × Bᵀ" {
		return nil, nil, false
	}
	factors, err := opkit.InputsOf(product)
	if err != nil || len(factors) != 2 {
		return nil, nil, false
	}
	columns, filter := one(factors[0], stockReshape), one(factors[1], stockReshape)
	image := one(columns, stockIm2Col)
	if image == nil || filter == nil || filter.Dims() != 4 || image.Dims() != 4 || !t.g.isStatic(filter) {
		return nil, nil, false
	}
	var kernel, pad, stride, dilation [2]int
	if _, err := fmt.Sscanf(fmt.Sprint(columns.Op()), "im2col<(%d,%d), (%d, %d), (%d,%d) (%d, %d)>", &kernel[0], &kernel[1], &pad[0], &pad[1],
		&stride[0], &stride[1], &dilation[0], &dilation[1]); err != nil {
		return nil, nil, false
	}
	conv, err := nn.NewConv2d(pad[:], stride[:], dilation[:], false)
	if err != nil || filter.Shape()[2] != kernel[0] || filter.Shape()[3] != kernel[1] {
		return nil, nil, false
	}
	shape, err := conv.InferShape(image.Shape(), filter.Shape())
	if err != nil || !sameShape(shape, n.Shape()) {
		return nil, nil, false
	}
	return conv, gorgonia.Nodes{image, filter}, true
}

// maxPool returns a stock pooling as this library's. It prints the first of two pads for each dimension, which is below or to the right (Gorgonia's
// documentation says above or to the left); their sum shows in the shape that it infers.
func maxPool(op gorgonia.Op) (*nn.MaxPool2D, error) {
	var of [4]int
	var kernel, first, stride [2]int
	if _, err := fmt.Sscanf(fmt.Sprint(op), "MaxPool{%d, %d, %d, %d}(kernel: (%d, %d), pad: (%d, %d), stride: (%d, %d))",
		&of[0], &of[1], &of[2], &of[3], &kernel[0], &kernel[1], &first[0], &first[1], &stride[0], &stride[1]); err != nil {
		return nil, errors.Errorf("the parameters of %v (%T) cannot be told", op, op)
	}
	var pads [4]int
	for i := range 2 {
		windows := func(size int) int { // along dimension i
			shape := tensor.Shape{1, 1, kernel[0] + stride[0], kernel[1] + stride[1]}
			shape[2+i] = size
			out, err := op.InferShape(shape)
			if err != nil || len(out) != 4 {
				return -1
			}
			return out[2+i]
		}
		// The size at which another window begins to fit: there nothing is left over.
		size := kernel[i] + stride[i]
		last := windows(size)
		size += 1 + sort.Search(stride[i], func(more int) bool { return windows(size+1+more) > last })
		total := last*stride[i] + kernel[i] - size
		if last < 0 || windows(size) != last+1 {
			return nil, errors.Errorf("the padding of %v (%T) cannot be told", op, op)
		}
		pads[2*i], pads[2*i+1] = first[i], total-first[i]
	}
	return nn.NewMaxPool2D(kernel[:], pads[:], stride[:])
}

// TypeOf names the operation of a node as Summary and ExportONNX do, without its parameters: "Conv2d", "Sign", and of Gorgonia's own "Tanh", or
// "ReLU" for what gorgonia.Rectify makes. It is "" for nil and for variables.
func TypeOf(n *gorgonia.Node) string {
	if n == nil || n.Op() == nil {
		return ""
	}
	if typeName(n.Op()) == stockBinary {
		if in, err := opkit.InputsOf(n); err == nil && rectified(n, in) != nil {
			return opkit.Kind(nn.ReLU())
		}
	}
	return stockKind(n.Op())
}

// stockKind names a stock operation for files.
func stockKind(op gorgonia.Op) string {
	printed := fmt.Sprint(op)
	switch typeName(op) {
	case stockUnary:
		return unaryOp{name: printed}.String()
	case stockBinary:
		sign, _, _ := strings.Cut(printed, " ")
		if b, ok := binaryOps()[sign]; ok {
			return b.name
		}
	case stockProduct:
		return "MatMul"
	case stockTranspose:
		return "Transpose"
	case stockReshape:
		return "Reshape"
	}
	return opkit.Kind(op)
}

// isStock says whether an operation is Gorgonia's own.
func isStock(op gorgonia.Op) bool {
	return strings.HasPrefix(strings.TrimPrefix(typeName(op), "*"), "gorgonia.")
}

func isDropout(op any) bool {
	_, ok := op.(*nn.Dropout)
	return ok
}
