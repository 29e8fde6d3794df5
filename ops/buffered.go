package ops

import (
	"github.com/ftprop/ftprop/internal/opkit"
	"gorgonia.org/gorgonia"
)

// Buffered returns an activation that writes its output to the same memory in every run, where a plain one
// allocates a new tensor: package nodes makes its activations so. The result belongs to one node.
func Buffered(a Activation) Activation { return &buffered{Activation: a} }

type buffered struct {
	Activation
	out opkit.Buffer
}

// Do returns the levels.
func (b *buffered) Do(in ...gorgonia.Value) (gorgonia.Value, error) {
	return b.out.Do(b.Activation, in)
}

// UsePreallocDo is Do: the memory the machine offers may be shared with a node that is still read.
func (b *buffered) UsePreallocDo(_ gorgonia.Value, in ...gorgonia.Value) (gorgonia.Value, error) {
	return b.Do(in...)
}

// bufferedGrad is a LayerGrad that keeps its memory.
type bufferedGrad struct {
	LayerGrad
	out opkit.Buffer
}

func (b *bufferedGrad) Do(in ...gorgonia.Value) (gorgonia.Value, error) {
	return b.out.Do(b.LayerGrad, in)
}

func (b *bufferedGrad) UsePreallocDo(_ gorgonia.Value, in ...gorgonia.Value) (gorgonia.Value, error) {
	return b.Do(in...)
}
