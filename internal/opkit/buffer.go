package opkit

import (
	"fmt"
	"slices"
	"unsafe"

	"github.com/ftprop/ftprop/internal/hugepages"
	"github.com/ftprop/ftprop/internal/vec"
	"github.com/pkg/errors"
	"gonum.org/v1/gonum/graph"
	"gorgonia.org/gorgonia"
	"gorgonia.org/tensor"
)

// Buffer is the memory that an operation keeps for its results: the tape machine forgets its registers between runs, and
// without buffers every step would allocate every tensor anew.
//
// Two memories take turns, so that a result is intact until the run after the next begins, in which it may be overwritten.
// New memory in each run, to live as long as somebody holds it, is for
//
//   - what a network returns: a node that nothing but gorgonia.Read reads, and a matrix of which a number is made, a loss;
//     and whatever is small
//   - an operation that runs elsewhere than on its node (in a clone of the graph, on a second node), or whose node is not
//     known, since it was applied without Apply and never differentiated
//   - runs in which the memory whose turn it is has become the value of an input of the graph: results can be fed back
//
// Gradients of nodes between the layers, which take as much memory as all else together, have one memory and live until the next run.
// Economise says what is different where one machine has the graph for itself.
type Buffer struct {
	in     gorgonia.Nodes // the inputs of the node it belongs to
	out    *gorgonia.Node // that node
	kept   [2]*tensor.Dense
	turn   int            // the one written in the last run
	nodes  int            // of the graph, when the fields below were set
	leaves gorgonia.Nodes // of the graph: nodes without an operation, whose values are the user's
	result bool           // of a network: never kept
	single bool           // one memory: the gradient of a node between layers, and with oneRun a layer
	small  uintptr        // the number of bytes up to which a result is never kept

	alone  bool    // see RunAlone
	oneRun bool    // see Economise
	lent   *lent   // the memory of a gradient that shares it
	reads  []*lent // of the node's inputs
}

// Its methods are unexported, and what other packages need is functions, so that operations that embed a Buffer have no methods of
// its kind to show.

// bind makes the memory that of a node and its inputs. The first call counts. An operation without memory has none.
func (b *Buffer) bind(in gorgonia.Nodes, out *gorgonia.Node) {
	if b != nil && b.out == nil {
		b.in, b.out = slices.Clone(in), out
	}
}

// Bind gives an operation that embeds a Buffer to the node on the inputs. The first call counts; other operations are left alone.
func Bind(op any, in gorgonia.Nodes, out *gorgonia.Node) {
	if b, ok := op.(interface {
		bind(in gorgonia.Nodes, out *gorgonia.Node)
	}); ok {
		b.bind(in, out)
	}
}

// buffer returns the memory that belongs to a node, nil where it is another's.
func (b *Buffer) buffer(n *gorgonia.Node) *Buffer {
	if b == nil || b.out != n {
		return nil
	}
	return b
}

// bufferOf returns the memory of a node's operation, nil if it has none or belongs to another node.
func bufferOf(n *gorgonia.Node) *Buffer {
	if op, ok := n.Op().(interface {
		buffer(n *gorgonia.Node) *Buffer
	}); ok {
		return op.buffer(n)
	}
	return nil
}

// haveRun gives back the memory of inputs that nothing else reads.
func (b *Buffer) haveRun() {
	if b != nil {
		for _, l := range b.reads {
			l.readBy(b)
		}
	}
}

// Inputs returns the inputs of the node that a Buffer belongs to, nil before it has one.
func Inputs(b *Buffer) gorgonia.Nodes { return b.in }

// Apply is gorgonia.ApplyOp, and gives an operation with a Buffer to the node that it makes. An error of the operation's own comes
// without the words that Gorgonia puts before it.
func Apply(op gorgonia.Op, in ...*gorgonia.Node) (*gorgonia.Node, error) {
	n, err := gorgonia.ApplyOp(op, in...)
	if err != nil {
		var own *packageError
		if errors.As(err, &own) {
			return nil, own
		}
		return nil, err
	}
	Bind(op, in, n)
	return n, nil
}

// atHome says whether an operation runs on the node it belongs to: there, and nowhere else, its inputs are the values
// of that node's inputs. Where it is doubtful (a machine that traces copies them) the answer is false.
func (b *Buffer) atHome(in []gorgonia.Value) bool {
	return b.out != nil && len(in) == len(b.in) && (b.alone || !b.differ(in, func(*gorgonia.Node) bool { return true }))
}

// RunAlone is for who calls the operations of a graph without a machine, each on its node's inputs and nowhere else: values of nodes, which only
// machines set, are not asked any more.
func RunAlone(g *gorgonia.ExprGraph) {
	for _, n := range g.AllNodes() {
		if b := bufferOf(n); b != nil {
			b.alone = true
		}
	}
}

// Elsewhere says whether an operation with state certainly runs on another node than the one it belongs to: values that
// users set, such as parameters, are not those of its node's inputs. (A clone has copies of all values.)
func Elsewhere(b *Buffer, in []gorgonia.Value) bool {
	return b.out != nil && !b.alone && b.differ(in, func(n *gorgonia.Node) bool { return n.Op() == nil })
}

// differ says whether one of the inputs for which f is true has another value than in.
func (b *Buffer) differ(in []gorgonia.Value, f func(*gorgonia.Node) bool) bool {
	for i, n := range b.in {
		if f(n) && n.Value() != in[i] {
			return true
		}
	}
	return false
}

// look looks at the graph, again where it has grown.
func (b *Buffer) look() {
	g := b.out.Graph()
	all := g.AllNodes()
	if len(all) == b.nodes {
		return
	}
	b.nodes, b.leaves = len(all), b.leaves[:0]
	for _, n := range all {
		if n.Op() == nil {
			b.leaves = append(b.leaves, n)
		}
	}
	b.result, b.single, b.small = false, false, 0
	if isGradient(b.out) {
		b.single = !isDerivative(b.out)
		return
	}
	b.small = 4 << 10 // logits of 100 samples and 10 classes
	b.result = true
	b.single = b.oneRun
	for _, n := range readersOf(b.out) {
		if n.IsScalar() && differentiable(g, n) && b.out.Dims() <= 2 {
			b.result = true
			return
		}
		if fmt.Sprintf("%T", n.Op()) != "gorgonia.readOp" {
			b.result = false
		}
	}
}

// readersOf returns the nodes that a node is an input of.
func readersOf(n *gorgonia.Node) (readers gorgonia.Nodes) {
	for _, r := range graph.NodesOf(n.Graph().To(n.ID())) {
		readers = append(readers, r.(*gorgonia.Node))
	}
	return readers
}

// differentiable counts the inputs in the graph: the Arity of an operation on any number of them is -1.
func differentiable(g *gorgonia.ExprGraph, n *gorgonia.Node) bool {
	op, ok := n.Op().(gorgonia.SDOp)
	return ok && slices.Contains(op.DiffWRT(g.From(n.ID()).Len()), true)
}

// fedBack says whether memory is in use as the value of an input of the graph.
func (b *Buffer) fedBack(d *tensor.Dense) bool {
	start, size := d.Uintptr(), d.MemSize()
	for _, n := range b.leaves {
		if l, ok := n.Value().(*tensor.Dense); ok {
			if p := l.Uintptr(); p < start+size && start < p+l.MemSize() {
				return true
			}
		}
	}
	return false
}

// Tensor returns a tensor of the shape for the result of an operation on the inputs, and its elements, to be written: they
// hold anything.
func Tensor[T vec.Float](b *Buffer, shape tensor.Shape, in []gorgonia.Value) (gorgonia.Value, []T) {
	var zero T
	n := shape.TotalSize()
	keep := b.atHome(in)
	if keep {
		b.look()
		keep = !b.result && uintptr(n)*unsafe.Sizeof(zero) > b.small
	}
	if keep {
		if !b.single {
			b.turn = 1 - b.turn
		}
		if b.lent != nil {
			return borrowed[T](b, shape, n)
		}
		if d := b.kept[b.turn]; asMade(d, shape) {
			if data, ok := d.Data().([]T); ok && len(data) == n && !b.fedBack(d) {
				return d, data
			}
		}
	}
	if !keep {
		data := make([]T, n)
		return tensorOf(shape, data), data
	}
	data := hugepages.Make[T](n)
	b.kept[b.turn] = tensorOf(shape, data)
	return b.kept[b.turn], data
}

// asMade says whether a tensor is as tensorOf makes it: a user who had it may have reshaped or transposed it.
func asMade(d *tensor.Dense, shape tensor.Shape) bool {
	return d != nil && d.Shape().Eq(shape) && !d.RequiresIterator() && !d.DataOrder().IsColMajor() && !d.IsMasked()
}

func tensorOf[T vec.Float](shape tensor.Shape, data []T) *tensor.Dense {
	return tensor.New(tensor.WithShape(shape.Clone()...), tensor.WithBacking(data))
}

// borrowed is Tensor in memory that is shared.
func borrowed[T vec.Float](b *Buffer, shape tensor.Shape, n int) (gorgonia.Value, []T) {
	for {
		data := borrow[T](b.lent, n)
		if d := b.kept[0]; asMade(d, shape) {
			if kept, ok := d.Data().([]T); ok && len(kept) == n && &kept[0] == &data[0] && !b.fedBack(d) {
				return d, data
			}
		}
		b.kept[0] = tensorOf(shape, data)
		if !b.fedBack(b.kept[0]) {
			return b.kept[0], data
		}
		b.lent.leave()
	}
}

// PreallocDoer is an operation that can write its result to memory it is given.
type PreallocDoer interface {
	Do(...gorgonia.Value) (gorgonia.Value, error)
	gorgonia.UsePreallocDoer
}

// DoInto runs op, whose result has the shape and dtype of its first input, with its result in the buffer. An error names the node that
// the first input is.
func DoInto(b *Buffer, op PreallocDoer, in []gorgonia.Value) (gorgonia.Value, error) {
	v, err := doInto(b, op, in)
	if err == nil {
		b.haveRun()
	} else if b.out != nil {
		err = OnNode(b.in[0], err)
	}
	return v, err
}

func doInto(b *Buffer, op PreallocDoer, in []gorgonia.Value) (gorgonia.Value, error) {
	if len(in) > 0 {
		if d, ok := in[0].(*tensor.Dense); ok && d != nil && !d.Shape().IsScalar() && d.Shape().TotalSize() > 0 {
			switch d.Dtype() {
			case tensor.Float32:
				v, _ := Tensor[float32](b, d.Shape(), in)
				return op.UsePreallocDo(v, in...)
			case tensor.Float64:
				v, _ := Tensor[float64](b, d.Shape(), in)
				return op.UsePreallocDo(v, in...)
			}
		}
	}
	return op.Do(in...) // a scalar, or an error that it returns
}
