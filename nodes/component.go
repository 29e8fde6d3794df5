package nodes

import (
	"github.com/ftprop/ftprop/ops"
	"gorgonia.org/gorgonia"
)

// Component puts a Go function without a derivative in a graph: y = f(levels of the units, data), a row (N, Outputs) for each sample.
//
//	sum, err := ops.NewComponent(ops.ComponentConfig{Name: "sum", Outputs: 1, Budget: 64 * 8,
//		Call: func(units, _ [][]float64) ([]float64, error) {
//			return []float64{float64(ops.Number(units[0]) + ops.Number(units[1]))}, nil
//		}})
//	...
//	y, err := nodes.Component(sum, gorgonia.Nodes{a, b}) // a and b are outputs of Sign
//
// The units are outputs of threshold activations, (N, ...): what each of them should have been is searched. Data are any nodes (N, ...) that
// the function reads beside them, without a gradient. Errors are: no units, or units that are not from a threshold activation; inputs of different
// dtypes or numbers of samples; another component of the same name in the graph; and, when the graph is differentiated, a budget that is too
// small, and levels that the searcher cannot serve. See ops.Component.
func Component(c *ops.Component, units gorgonia.Nodes, data ...*gorgonia.Node) (y *gorgonia.Node, err error) {
	defer ours(&err)
	return c.Apply(units, data...)
}

// ComponentLoss returns the mean of the component's own Loss over the samples, of the answer y that Component returned and of labels (N, ...): a
// scalar. Searches below it know the true loss of every answer, where others take the layers above y to be linear. Its gradient reaches the
// units, not y.
func ComponentLoss(y, label *gorgonia.Node) (loss *gorgonia.Node, err error) {
	defer ours(&err)
	return ops.ApplyLoss(y, label)
}
