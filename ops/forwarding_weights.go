package ops

import (
	"hash"

	"github.com/chewxy/hm"
	"gorgonia.org/gorgonia"
	"gorgonia.org/tensor"
)

// The weight quantisers as Gorgonia operations, as in forwarding.go.

func (op SignWeights) InferShape(in ...gorgonia.DimSizer) (tensor.Shape, error) {
	return op.weights().InferShape(in...)
}
func (op SignWeights) Do(in ...gorgonia.Value) (gorgonia.Value, error) { return op.weights().Do(in...) }
func (op SignWeights) UsePreallocDo(to gorgonia.Value, in ...gorgonia.Value) (gorgonia.Value, error) {
	return op.weights().UsePreallocDo(to, in...)
}
func (op SignWeights) SymDiff(in gorgonia.Nodes, out, grad *gorgonia.Node) (gorgonia.Nodes, error) {
	return op.weights().SymDiff(in, out, grad)
}
func (op SignWeights) DoDiff(ctx gorgonia.ExecutionContext, in gorgonia.Nodes, out *gorgonia.Node) error {
	return op.weights().DoDiff(ctx, in, out)
}
func (op SignWeights) WriteHash(h hash.Hash) { op.weights().WriteHash(h) }
func (op SignWeights) Hashcode() uint32      { return op.weights().Hashcode() }
func (op SignWeights) String() string        { return op.weights().String() }

// Levels implements WeightQuantiser.
func (op SignWeights) Levels() Levels { return op.weights().Levels() }

// Scales implements WeightQuantiser.
func (op SignWeights) Scales(in ...gorgonia.Value) (*tensor.Dense, error) {
	return op.weights().Scales(in...)
}

func (op TernaryWeights) InferShape(in ...gorgonia.DimSizer) (tensor.Shape, error) {
	return op.weights().InferShape(in...)
}
func (op TernaryWeights) Do(in ...gorgonia.Value) (gorgonia.Value, error) {
	return op.weights().Do(in...)
}
func (op TernaryWeights) UsePreallocDo(to gorgonia.Value, in ...gorgonia.Value) (gorgonia.Value, error) {
	return op.weights().UsePreallocDo(to, in...)
}
func (op TernaryWeights) SymDiff(in gorgonia.Nodes, out, grad *gorgonia.Node) (gorgonia.Nodes, error) {
	return op.weights().SymDiff(in, out, grad)
}
func (op TernaryWeights) DoDiff(ctx gorgonia.ExecutionContext, in gorgonia.Nodes, out *gorgonia.Node) error {
	return op.weights().DoDiff(ctx, in, out)
}
func (op TernaryWeights) WriteHash(h hash.Hash) { op.weights().WriteHash(h) }
func (op TernaryWeights) Hashcode() uint32      { return op.weights().Hashcode() }
func (op TernaryWeights) String() string        { return op.weights().String() }

// Levels implements WeightQuantiser.
func (op TernaryWeights) Levels() Levels { return op.weights().Levels() }

// Scales implements WeightQuantiser.
func (op TernaryWeights) Scales(in ...gorgonia.Value) (*tensor.Dense, error) {
	return op.weights().Scales(in...)
}

func (op QuantWeights) InferShape(in ...gorgonia.DimSizer) (tensor.Shape, error) {
	return op.weights().InferShape(in...)
}
func (op QuantWeights) Do(in ...gorgonia.Value) (gorgonia.Value, error) {
	return op.weights().Do(in...)
}
func (op QuantWeights) UsePreallocDo(to gorgonia.Value, in ...gorgonia.Value) (gorgonia.Value, error) {
	return op.weights().UsePreallocDo(to, in...)
}
func (op QuantWeights) SymDiff(in gorgonia.Nodes, out, grad *gorgonia.Node) (gorgonia.Nodes, error) {
	return op.weights().SymDiff(in, out, grad)
}
func (op QuantWeights) DoDiff(ctx gorgonia.ExecutionContext, in gorgonia.Nodes, out *gorgonia.Node) error {
	return op.weights().DoDiff(ctx, in, out)
}
func (op QuantWeights) WriteHash(h hash.Hash) { op.weights().WriteHash(h) }
func (op QuantWeights) Hashcode() uint32      { return op.weights().Hashcode() }
func (op QuantWeights) String() string        { return op.weights().String() }

// Levels implements WeightQuantiser.
func (op QuantWeights) Levels() Levels { return op.weights().Levels() }

// Scales implements WeightQuantiser.
func (op QuantWeights) Scales(in ...gorgonia.Value) (*tensor.Dense, error) {
	return op.weights().Scales(in...)
}

func (op LSQWeights) InferShape(in ...gorgonia.DimSizer) (tensor.Shape, error) {
	return op.weights().InferShape(in...)
}
func (op LSQWeights) Do(in ...gorgonia.Value) (gorgonia.Value, error) { return op.weights().Do(in...) }
func (op LSQWeights) UsePreallocDo(to gorgonia.Value, in ...gorgonia.Value) (gorgonia.Value, error) {
	return op.weights().UsePreallocDo(to, in...)
}
func (op LSQWeights) SymDiff(in gorgonia.Nodes, out, grad *gorgonia.Node) (gorgonia.Nodes, error) {
	return op.weights().SymDiff(in, out, grad)
}
func (op LSQWeights) DoDiff(ctx gorgonia.ExecutionContext, in gorgonia.Nodes, out *gorgonia.Node) error {
	return op.weights().DoDiff(ctx, in, out)
}
func (op LSQWeights) WriteHash(h hash.Hash) { op.weights().WriteHash(h) }
func (op LSQWeights) Hashcode() uint32      { return op.weights().Hashcode() }
func (op LSQWeights) String() string        { return op.weights().String() }

// Levels implements WeightQuantiser.
func (op LSQWeights) Levels() Levels { return op.weights().Levels() }

// Scales implements WeightQuantiser.
func (op LSQWeights) Scales(in ...gorgonia.Value) (*tensor.Dense, error) {
	return op.weights().Scales(in...)
}

func (op LSQWeights) Arity() int           { return op.weights().Arity() }
func (op LSQWeights) Type() hm.Type        { return op.weights().Type() }
func (op LSQWeights) DiffWRT(n int) []bool { return op.weights().DiffWRT(n) }
