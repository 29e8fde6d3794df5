package experiment

import (
	"fmt"
	"math"
	"math/rand/v2"

	"github.com/ftprop/ftprop/nodes"
	"github.com/ftprop/ftprop/ops"
	"gorgonia.org/gorgonia"
	"gorgonia.org/tensor"
)

// weights are those of a multi-layer perceptron of sign units, shared by all graphs and inputs that it is put on.
type weights struct {
	names  []string
	values []*tensor.Dense
}

// newWeights draws weights and biases of layers with the given widths, uniformly within 1/sqrt(inputs), as PyTorch does.
func newWeights(rng *rand.Rand, widths []int) *weights {
	w := new(weights)
	add := func(name string, limit float64, shape ...int) {
		x := make([]float32, tensor.Shape(shape).TotalSize())
		for i := range x {
			x[i] = float32((2*rng.Float64() - 1) * limit)
		}
		w.names = append(w.names, name)
		w.values = append(w.values, tensor.New(tensor.WithShape(shape...), tensor.WithBacking(x)))
	}
	for l := 1; l < len(widths); l++ {
		limit := 1 / math.Sqrt(float64(widths[l-1]))
		add(fmt.Sprintf("fc%d.weight", l), limit, widths[l], widths[l-1])
		add(fmt.Sprintf("fc%d.bias", l), limit, widths[l])
	}
	return w
}

// in returns the weights as nodes of a graph.
func (w *weights) in(g *gorgonia.ExprGraph) gorgonia.Nodes {
	params := make(gorgonia.Nodes, len(w.names))
	for i, v := range w.values {
		params[i] = gorgonia.NewTensor(g, tensor.Float32, v.Dims(), gorgonia.WithName(w.names[i]), gorgonia.WithShape(v.Shape()...), gorgonia.WithValue(v))
	}
	return params
}

// perceptron returns the pre-activations of the last layer.
func perceptron(x *gorgonia.Node, params gorgonia.Nodes) (*gorgonia.Node, error) {
	hidden := nodes.Act(ops.Sign{Rule: ops.SSTE{}})
	for l := 0; ; l += 2 {
		z, err := nodes.Linear(x, params[l], params[l+1])
		if err != nil || l+2 == len(params) {
			return z, err
		}
		if x, err = hidden(z); err != nil {
			return nil, err
		}
	}
}

// input is a node (n, width) of a graph, and its elements, to be written before each run.
func input(g *gorgonia.ExprGraph, name string, n, width int) (*gorgonia.Node, []float32) {
	x := make([]float32, n*width)
	v := tensor.New(tensor.WithShape(n, width), tensor.WithBacking(x))
	return gorgonia.NewMatrix(g, tensor.Float32, gorgonia.WithName(name), gorgonia.WithShape(n, width), gorgonia.WithValue(v)), x
}

// reader says which numbers a network emits for some inputs, with the weights of the moment.
type reader struct {
	vm    gorgonia.VM
	z     gorgonia.Value
	units int
}

func newReader(w *weights, x []float32, width int) (*reader, error) {
	g := gorgonia.NewGraph()
	in, to := input(g, "x", len(x)/width, width)
	copy(to, x)
	z, err := perceptron(in, w.in(g))
	if err != nil {
		return nil, err
	}
	r := &reader{units: z.Shape()[1]}
	gorgonia.Read(z, &r.z)
	r.vm = gorgonia.NewTapeMachine(g)
	return r, nil
}

func (r *reader) numbers() ([]int, error) {
	defer r.vm.Reset()
	if err := r.vm.RunAll(); err != nil {
		return nil, err
	}
	z := r.z.Data().([]float32)
	out, bits := make([]int, len(z)/r.units), make([]float64, r.units)
	for i := range out {
		for u := range bits {
			bits[u] = float64(z[i*r.units+u])
		}
		out[i] = ops.Number(bits) // sign(z) is above 0 where z is
	}
	return out, nil
}
