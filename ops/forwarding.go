package ops

import (
	"hash"

	"gorgonia.org/gorgonia"
	"gorgonia.org/tensor"
)

// The activations as Gorgonia operations. Each hands its calls to a thresholdOp, method by method: a struct that they embedded could
// not see their fields, and to embed the fields themselves would end literals such as Sign{Rule: SSTE{}}.

func (op Sign) InferShape(in ...gorgonia.DimSizer) (tensor.Shape, error) {
	return op.operation().InferShape(in...)
}
func (op Sign) Do(in ...gorgonia.Value) (gorgonia.Value, error) { return op.operation().Do(in...) }
func (op Sign) UsePreallocDo(to gorgonia.Value, in ...gorgonia.Value) (gorgonia.Value, error) {
	return op.operation().UsePreallocDo(to, in...)
}
func (op Sign) SymDiff(in gorgonia.Nodes, out, grad *gorgonia.Node) (gorgonia.Nodes, error) {
	return op.operation().SymDiff(in, out, grad)
}
func (op Sign) DoDiff(ctx gorgonia.ExecutionContext, in gorgonia.Nodes, out *gorgonia.Node) error {
	return op.operation().DoDiff(ctx, in, out)
}
func (op Sign) WriteHash(h hash.Hash) { op.operation().WriteHash(h) }
func (op Sign) Hashcode() uint32      { return op.operation().Hashcode() }
func (op Sign) String() string        { return op.operation().String() }

func (op Step01) InferShape(in ...gorgonia.DimSizer) (tensor.Shape, error) {
	return op.operation().InferShape(in...)
}
func (op Step01) Do(in ...gorgonia.Value) (gorgonia.Value, error) { return op.operation().Do(in...) }
func (op Step01) UsePreallocDo(to gorgonia.Value, in ...gorgonia.Value) (gorgonia.Value, error) {
	return op.operation().UsePreallocDo(to, in...)
}
func (op Step01) SymDiff(in gorgonia.Nodes, out, grad *gorgonia.Node) (gorgonia.Nodes, error) {
	return op.operation().SymDiff(in, out, grad)
}
func (op Step01) DoDiff(ctx gorgonia.ExecutionContext, in gorgonia.Nodes, out *gorgonia.Node) error {
	return op.operation().DoDiff(ctx, in, out)
}
func (op Step01) WriteHash(h hash.Hash) { op.operation().WriteHash(h) }
func (op Step01) Hashcode() uint32      { return op.operation().Hashcode() }
func (op Step01) String() string        { return op.operation().String() }

func (op Staircase) InferShape(in ...gorgonia.DimSizer) (tensor.Shape, error) {
	return op.operation().InferShape(in...)
}
func (op Staircase) Do(in ...gorgonia.Value) (gorgonia.Value, error) { return op.operation().Do(in...) }
func (op Staircase) UsePreallocDo(to gorgonia.Value, in ...gorgonia.Value) (gorgonia.Value, error) {
	return op.operation().UsePreallocDo(to, in...)
}
func (op Staircase) SymDiff(in gorgonia.Nodes, out, grad *gorgonia.Node) (gorgonia.Nodes, error) {
	return op.operation().SymDiff(in, out, grad)
}
func (op Staircase) DoDiff(ctx gorgonia.ExecutionContext, in gorgonia.Nodes, out *gorgonia.Node) error {
	return op.operation().DoDiff(ctx, in, out)
}
func (op Staircase) WriteHash(h hash.Hash) { op.operation().WriteHash(h) }
func (op Staircase) Hashcode() uint32      { return op.operation().Hashcode() }
func (op Staircase) String() string        { return op.operation().String() }
