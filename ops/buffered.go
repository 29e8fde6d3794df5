package ops

import (
	"github.com/ftprop/ftprop/internal/opkit"
	"gorgonia.org/gorgonia"
)

// Buffered returns an activation that keeps memory for its output from run to run, where a plain one allocates a new
// tensor: package nodes makes its activations so. The result belongs to one node.
func Buffered(a Activation) Activation { return &buffered{Activation: a} }

type buffered struct {
	Activation
	out opkit.Buffer
}

// Bind gives the memory to the node on the inputs.
func (b *buffered) Bind(in gorgonia.Nodes, out *gorgonia.Node) { b.out.Bind(in, out) }

// SymDiff is the activation's.
func (b *buffered) SymDiff(in gorgonia.Nodes, out, grad *gorgonia.Node) (gorgonia.Nodes, error) {
	b.Bind(in, out)
	return b.Activation.SymDiff(in, out, grad)
}

// Do returns the levels.
func (b *buffered) Do(in ...gorgonia.Value) (v gorgonia.Value, err error) {
	defer opkit.Guard(b, &err)
	return b.out.Do(b.Activation, in)
}

// UsePreallocDo is Do: the memory the machine offers may be shared with a node that is still read.
func (b *buffered) UsePreallocDo(_ gorgonia.Value, in ...gorgonia.Value) (gorgonia.Value, error) {
	return b.Do(in...)
}

// bufferedGrad is a LayerGrad that keeps its memory.
type bufferedGrad struct {
	LayerGrad
	opkit.Gradient // of the node: a LayerGrad that users apply is a constant
	out            opkit.Buffer
}

func (b *bufferedGrad) Bind(in gorgonia.Nodes, out *gorgonia.Node) { b.out.Bind(in, out) }

func (b *bufferedGrad) Do(in ...gorgonia.Value) (gorgonia.Value, error) {
	return b.out.Do(b.LayerGrad, in)
}

func (b *bufferedGrad) UsePreallocDo(_ gorgonia.Value, in ...gorgonia.Value) (gorgonia.Value, error) {
	return b.Do(in...)
}
