package opkit

import (
	"slices"

	"gorgonia.org/gorgonia"
)

// Gradient is the part that operations share which gorgonia.Grad puts in the graph: there are no second derivatives, and to ask
// for one is an error. That is said in SymDiff and not by DiffWRT, since Gorgonia takes what is not differentiable for a
// constant, and would leave its part of a second derivative out without a word; and since an operation that has neither makes a
// second Grad fail anywhere in the graph. To be embedded.
type Gradient struct{ Pure }

// DiffWRT is true: see SymDiff.
func (Gradient) DiffWRT(n int) []bool { return AllTrue(n) }

// AllTrue is the DiffWRT of an operation that is differentiable in all of its n inputs.
func AllTrue(n int) []bool { return slices.Repeat([]bool{true}, n) }

// SymDiff returns an error.
func (Gradient) SymDiff(gorgonia.Nodes, *gorgonia.Node, *gorgonia.Node) (gorgonia.Nodes, error) {
	return nil, Errorf("ops", "second derivatives are not supported: a gradient, and what is computed from it, cannot be differentiated")
}

func (Gradient) isGradient() {}

// KeepsGradient reports whether a node is a gradient whose operation writes it to memory of its own, so that nothing else in the graph does.
func KeepsGradient(n *gorgonia.Node) bool {
	return isGradient(n) && bufferOf(n) != nil
}

func isGradient(n *gorgonia.Node) bool {
	_, ok := n.Op().(interface{ isGradient() })
	return ok
}
