package deploy_test

import (
	"bytes"
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/ftprop/ftprop/deploy"
	"github.com/ftprop/ftprop/internal/gtest"
	"github.com/ftprop/ftprop/internal/ort"
	"github.com/ftprop/ftprop/nodes"
	"gorgonia.org/gorgonia"
	"gorgonia.org/tensor"
)

// net makes nodes for a test; the first error ends it.
type net struct {
	t   testing.TB
	g   *gorgonia.ExprGraph
	dt  tensor.Dtype
	rng *rand.Rand
}

func (n net) must(x *gorgonia.Node, err error) *gorgonia.Node {
	n.t.Helper()
	if err != nil {
		n.t.Fatal(err)
	}
	return x
}

// param is a parameter with random elements.
func (n net) param(name string, shape ...int) *gorgonia.Node {
	x := make([]float64, tensor.Shape(shape).TotalSize())
	for i := range x {
		x[i] = n.rng.NormFloat64()
	}
	return gtest.Input(n.g, name, n.dt, x, shape...)
}

func (n net) constant(x float64) *gorgonia.Node {
	if n.dt == tensor.Float32 {
		return gorgonia.NewConstant(float32(x))
	}
	return gorgonia.NewConstant(x)
}

// A test of one operation, or a few.
type operation struct {
	shape []int
	build func(n net, x *gorgonia.Node) *gorgonia.Node
	tied  string // "", or a word of why there is no other batch size
	// positive inputs, for roots and logarithms
	positive bool
}

func one(shape []int, f func(x *gorgonia.Node) (*gorgonia.Node, error)) operation {
	return operation{shape: shape, build: func(n net, x *gorgonia.Node) *gorgonia.Node { return n.must(f(x)) }}
}

func operations() map[string]operation {
	matrix, image := []int{3, 4}, []int{2, 3, 5, 6}
	out := map[string]operation{}
	for name, f := range map[string]func(*gorgonia.Node) (*gorgonia.Node, error){
		"Abs": gorgonia.Abs, "Sign": gorgonia.Sign, "Ceil": gorgonia.Ceil, "Floor": gorgonia.Floor, "Sin": gorgonia.Sin, "Cos": gorgonia.Cos, "Exp": gorgonia.Exp,
		"Neg": gorgonia.Neg, "Square": gorgonia.Square, "Cube": gorgonia.Cube, "Tanh": gorgonia.Tanh, "Sigmoid": gorgonia.Sigmoid, "Expm1": gorgonia.Expm1,
		"Softplus": gorgonia.Softplus, "Rectify": gorgonia.Rectify, "Mish": gorgonia.Mish, "Inverse": gorgonia.Inverse,
		"LeakyRelu":      func(x *gorgonia.Node) (*gorgonia.Node, error) { return gorgonia.LeakyRelu(x, 0.1) },
		"nodes.ReLU":     nodes.ReLU,
		"nodes.HardTanh": nodes.HardTanh, "nodes.HardSigmoid": nodes.HardSigmoid, "nodes.CAbs": nodes.CAbs, "nodes.ThresholdReLU": nodes.ThresholdReLU,
		"nodes.LeakyReLU": func(x *gorgonia.Node) (*gorgonia.Node, error) { return nodes.LeakyReLU(x, 0.1) },
		"nodes.Round":     func(x *gorgonia.Node) (*gorgonia.Node, error) { return nodes.Round(x, 0.25, 1) },
	} {
		out[name] = one(matrix, f)
	}
	for name, f := range map[string]func(*gorgonia.Node) (*gorgonia.Node, error){
		"Log": gorgonia.Log, "Log2": gorgonia.Log2, "Log1p": gorgonia.Log1p, "Sqrt": gorgonia.Sqrt, "InverseSqrt": gorgonia.InverseSqrt,
	} {
		c := one(matrix, f)
		c.positive = true
		out[name] = c
	}
	for _, a := range thresholds() {
		out[fmt.Sprint(a)] = one(matrix, nodes.Act(a))
	}
	for name, f := range map[string]func(a, b *gorgonia.Node) (*gorgonia.Node, error){
		"Add": gorgonia.Add, "Sub": gorgonia.Sub, "HadamardProd": gorgonia.HadamardProd, "HadamardDiv": gorgonia.HadamardDiv,
	} {
		out[name+" of two"] = operation{shape: matrix, build: func(n net, x *gorgonia.Node) *gorgonia.Node {
			return n.must(f(n.must(gorgonia.Sin(x)), n.must(gorgonia.Exp(x))))
		}}
		out[name+" of a number"] = operation{shape: matrix, build: func(n net, x *gorgonia.Node) *gorgonia.Node { return n.must(f(x, n.constant(1.5))) }}
		out[name+" to a number"] = operation{shape: matrix, positive: true, build: func(n net, x *gorgonia.Node) *gorgonia.Node { return n.must(f(n.constant(1.5), x)) }}
		out[name+" of a parameter of the batch's shape"] = operation{shape: matrix, tied: "samples", build: func(n net, x *gorgonia.Node) *gorgonia.Node {
			return n.must(f(x, n.param("p", 3, 4)))
		}}
	}
	for name, f := range map[string]func(a, b *gorgonia.Node, left, right []byte) (*gorgonia.Node, error){
		"BroadcastAdd": gorgonia.BroadcastAdd, "BroadcastSub": gorgonia.BroadcastSub, "BroadcastHadamardProd": gorgonia.BroadcastHadamardProd,
		"BroadcastHadamardDiv": gorgonia.BroadcastHadamardDiv,
	} {
		out[name+" vector"] = operation{shape: matrix, build: func(n net, x *gorgonia.Node) *gorgonia.Node { return n.must(f(x, n.param("b", 4), nil, []byte{0})) }}
		out[name+" row"] = operation{shape: matrix, build: func(n net, x *gorgonia.Node) *gorgonia.Node { return n.must(f(x, n.param("b", 1, 4), nil, []byte{0})) }}
		out[name+" from the left"] = operation{shape: matrix, positive: true, build: func(n net, x *gorgonia.Node) *gorgonia.Node {
			return n.must(f(n.param("b", 1, 4), x, []byte{0}, nil))
		}}
		out[name+" channels"] = operation{shape: image, build: func(n net, x *gorgonia.Node) *gorgonia.Node {
			return n.must(f(x, n.param("b", 1, 3, 1, 1), nil, []byte{0, 2, 3}))
		}}
		out[name+" column"] = operation{shape: []int{3, 1}, build: func(n net, x *gorgonia.Node) *gorgonia.Node {
			return n.must(f(n.must(gorgonia.Mul(x, n.param("w", 1, 4))), n.must(gorgonia.Exp(x)), nil, []byte{1}))
		}}
	}
	for name, f := range map[string]func(a, b *gorgonia.Node, same bool) (*gorgonia.Node, error){
		"Lt": gorgonia.Lt, "Gt": gorgonia.Gt, "Lte": gorgonia.Lte, "Gte": gorgonia.Gte, "Eq": gorgonia.Eq, "Ne": gorgonia.Ne,
	} {
		out[name] = operation{shape: matrix, build: func(n net, x *gorgonia.Node) *gorgonia.Node {
			return n.must(f(n.must(gorgonia.Ceil(x)), n.constant(1), true))
		}}
	}
	out["Pow"] = operation{shape: matrix, positive: true, build: func(n net, x *gorgonia.Node) *gorgonia.Node { return n.must(gorgonia.Pow(x, n.constant(3))) }}
	mul := func(f func(n net, x *gorgonia.Node) (a, b *gorgonia.Node), shape []int, tied string) operation {
		return operation{shape: shape, tied: tied, build: func(n net, x *gorgonia.Node) *gorgonia.Node {
			a, b := f(n, x)
			return n.must(gorgonia.Mul(a, b))
		}}
	}
	out["Mul by weights"] = mul(func(n net, x *gorgonia.Node) (a, b *gorgonia.Node) { return x, n.param("w", 4, 5) }, matrix, "")
	out["Mul of weights"] = mul(func(n net, x *gorgonia.Node) (a, b *gorgonia.Node) { return n.param("w", 5, 3), x }, matrix, "A × B")
	out["Mul of weights and transposed"] = operation{shape: matrix, build: func(n net, x *gorgonia.Node) *gorgonia.Node {
		y := n.must(gorgonia.Mul(n.param("w", 5, 4), n.must(gorgonia.Transpose(x))))
		return n.must(gorgonia.Transpose(y))
	}}
	out["Mul by transposed weights"] = mul(func(n net, x *gorgonia.Node) (a, b *gorgonia.Node) {
		return x, n.must(gorgonia.Transpose(n.param("w", 5, 4), 1, 0))
	}, matrix, "")
	out["Mul by a vector"] = mul(func(n net, x *gorgonia.Node) (a, b *gorgonia.Node) { return x, n.param("w", 4) }, matrix, "")
	out["Mul of a vector"] = mul(func(n net, x *gorgonia.Node) (a, b *gorgonia.Node) { return n.param("w", 3), x }, matrix, "Aᵀ × b")
	out["Mul of one sample"] = mul(func(n net, x *gorgonia.Node) (a, b *gorgonia.Node) { return x, n.param("w", 4, 5) }, []int{4}, "")
	out["Mul of one sample"] = operation{shape: []int{4}, tied: "b", build: out["Mul of one sample"].build}
	out["Mul by itself"] = mul(func(n net, x *gorgonia.Node) (a, b *gorgonia.Node) { return x, n.must(gorgonia.Transpose(x)) }, matrix, "A × B")
	for name, trans := range map[string][]bool{"": nil, " transposed": {true}, " by transposed": {false, true}} {
		out["BatchedMatMul"+name] = operation{shape: []int{2, 3, 3}, build: func(n net, x *gorgonia.Node) *gorgonia.Node {
			return n.must(gorgonia.BatchedMatMul(x, n.must(gorgonia.Sin(x)), trans...))
		}}
	}
	out["SoftMax"] = one(matrix, func(x *gorgonia.Node) (*gorgonia.Node, error) { return gorgonia.SoftMax(x) })
	out["SoftMax 1"] = one(matrix, func(x *gorgonia.Node) (*gorgonia.Node, error) { return gorgonia.SoftMax(x, 1) })
	out["LogSoftMax"] = one(matrix, func(x *gorgonia.Node) (*gorgonia.Node, error) { return gorgonia.LogSoftMax(x) })
	out["SoftMax 0"] = operation{shape: matrix, tied: "Softmax", build: func(n net, x *gorgonia.Node) *gorgonia.Node { return n.must(gorgonia.SoftMax(x, 0)) }}
	out["a size"] = operation{shape: matrix, tied: "a size of", build: func(n net, x *gorgonia.Node) *gorgonia.Node {
		return n.must(gorgonia.HadamardDiv(x, n.must(gorgonia.SizeOf(0, x))))
	}}
	out["a constant tensor"] = operation{shape: matrix, build: func(n net, x *gorgonia.Node) *gorgonia.Node {
		return n.must(gorgonia.Mul(x, gorgonia.NewConstant(gtest.Dense(n.dt, []float64{1, 2, 3, 4, 5, 6, 7, 8}, 4, 2))))
	}}
	out["Transpose"] = one(image, func(x *gorgonia.Node) (*gorgonia.Node, error) { return gorgonia.Transpose(x, 0, 2, 3, 1) })
	out["Transpose of samples"] = one([]int{2, 3, 4}, func(x *gorgonia.Node) (*gorgonia.Node, error) {
		y, err := gorgonia.Transpose(x, 1, 2, 0)
		if err != nil {
			return nil, err
		}
		if y, err = gorgonia.Exp(y); err != nil {
			return nil, err
		}
		return gorgonia.Transpose(y, 2, 0, 1)
	})
	out["Reshape"] = one(image, func(x *gorgonia.Node) (*gorgonia.Node, error) { return gorgonia.Reshape(x, tensor.Shape{2, 90}) })
	out["Reshape to 3"] = one(image, func(x *gorgonia.Node) (*gorgonia.Node, error) { return gorgonia.Reshape(x, tensor.Shape{2, 9, 10}) })
	out["Reshape of samples"] = operation{shape: []int{4, 3}, tied: "Reshape", build: func(n net, x *gorgonia.Node) *gorgonia.Node {
		return n.must(gorgonia.Reshape(x, tensor.Shape{2, 6}))
	}}
	out["nodes.Flatten"] = one(image, nodes.Flatten)
	out["nodes.Reshape"] = one(image, func(x *gorgonia.Node) (*gorgonia.Node, error) { return nodes.Reshape(x, tensor.Shape{2, 3, 30}) })
	out["Concat"] = operation{shape: image, build: func(n net, x *gorgonia.Node) *gorgonia.Node {
		return n.must(gorgonia.Concat(1, x, n.must(gorgonia.Abs(x))))
	}}
	out["Concat of samples"] = operation{shape: matrix, tied: "Concat", build: func(n net, x *gorgonia.Node) *gorgonia.Node {
		return n.must(gorgonia.Concat(0, x, n.must(gorgonia.Abs(x))))
	}}
	for i, c := range []struct{ kernel, pad, stride, dilation []int }{
		{[]int{3, 3}, []int{1, 1}, []int{1, 1}, []int{1, 1}}, {[]int{2, 3}, []int{0, 1}, []int{2, 1}, []int{1, 1}}, {[]int{2, 2}, []int{1, 1}, []int{1, 2}, []int{2, 2}},
		{[]int{1, 1}, []int{0, 0}, []int{1, 1}, []int{1, 1}},
	} {
		for name, conv := range map[string]func(im, filter *gorgonia.Node, kernel tensor.Shape, pad, stride, dilation []int) (*gorgonia.Node, error){
			"Conv2d": gorgonia.Conv2d, "nodes.Conv2d": nodes.Conv2d,
		} {
			out[fmt.Sprint(name, " ", i)] = operation{shape: image, build: func(n net, x *gorgonia.Node) *gorgonia.Node {
				return n.must(conv(x, n.param("w", 4, 3, c.kernel[0], c.kernel[1]), c.kernel, c.pad, c.stride, c.dilation))
			}}
		}
	}
	out["Conv1d"] = operation{shape: []int{2, 3, 1, 7}, build: func(n net, x *gorgonia.Node) *gorgonia.Node {
		return n.must(gorgonia.Conv1d(x, n.param("w", 4, 3, 1, 3), 3, 1, 2, 1))
	}}
	out["nodes.Conv2dBias"] = operation{shape: image, build: func(n net, x *gorgonia.Node) *gorgonia.Node {
		return n.must(nodes.Conv2dBias(x, n.param("w", 4, 3, 3, 3), n.param("b", 4), []int{3, 3}, []int{1, 1}, []int{2, 2}, []int{1, 1}))
	}}
	out["Conv2d and bias"] = operation{shape: image, build: func(n net, x *gorgonia.Node) *gorgonia.Node {
		y := n.must(gorgonia.Conv2d(x, n.param("w", 4, 3, 3, 3), tensor.Shape{3, 3}, []int{1, 1}, []int{1, 1}, []int{1, 1}))
		return n.must(gorgonia.BroadcastAdd(y, n.param("b", 1, 4, 1, 1), nil, []byte{0, 2, 3}))
	}}
	out["nodes.Linear"] = operation{shape: matrix, build: func(n net, x *gorgonia.Node) *gorgonia.Node {
		return n.must(nodes.Linear(x, n.param("w", 5, 4), n.param("b", 5)))
	}}
	out["nodes.Linear of signs"] = operation{shape: matrix, build: func(n net, x *gorgonia.Node) *gorgonia.Node {
		return n.must(nodes.Linear(x, n.must(nodes.Sign(n.param("w", 5, 4))), nil))
	}}
	out["weights computed from two"] = operation{shape: matrix, build: func(n net, x *gorgonia.Node) *gorgonia.Node {
		signs := n.must(nodes.Sign(n.param("w", 4, 5)))
		return n.must(gorgonia.Mul(x, n.must(gorgonia.BroadcastHadamardProd(signs, n.param("a", 1, 5), nil, []byte{0}))))
	}}
	for i, c := range []struct{ kernel, pad, stride []int }{
		{[]int{2, 2}, []int{0, 0}, []int{2, 2}}, {[]int{3, 2}, []int{1, 0}, []int{2, 1}}, {[]int{3, 3}, []int{1, 1}, []int{3, 3}}, {[]int{2, 2}, []int{1, 1, 1, 1}, []int{1, 1}},
		{[]int{2, 3}, []int{1, 0, 1, 0}, []int{2, 2}}, {[]int{2, 3}, []int{0, 1, 0, 2}, []int{2, 2}}, {[]int{3, 3}, []int{2, 1, 0, 1}, []int{1, 2}},
	} {
		for name, pool := range map[string]func(x *gorgonia.Node, kernel tensor.Shape, pad, stride []int) (*gorgonia.Node, error){
			"MaxPool2D": gorgonia.MaxPool2D, "nodes.MaxPool2D": nodes.MaxPool2D,
		} {
			out[fmt.Sprint(name, " ", i)] = one(image, func(x *gorgonia.Node) (*gorgonia.Node, error) { return pool(x, c.kernel, c.pad, c.stride) })
		}
	}
	out["nodes.AveragePool2D"] = one(image, func(x *gorgonia.Node) (*gorgonia.Node, error) {
		return nodes.AveragePool2D(x, tensor.Shape{2, 3}, []int{1, 1}, []int{2, 1})
	})
	out["GlobalAveragePool2D"] = one(image, gorgonia.GlobalAveragePool2D)
	out["nodes.GlobalAveragePool2D"] = one(image, nodes.GlobalAveragePool2D)
	out["Dropout"] = one(matrix, func(x *gorgonia.Node) (*gorgonia.Node, error) { return gorgonia.Dropout(x, 0.5) })
	out["nodes.Dropout"] = one(matrix, func(x *gorgonia.Node) (*gorgonia.Node, error) { return nodes.Dropout(x, 0.5) })
	out["nodes.Dropout2D"] = one(image, func(x *gorgonia.Node) (*gorgonia.Node, error) { return nodes.Dropout2D(x, 0.5) })
	out["nodes.Add"] = operation{shape: matrix, build: func(n net, x *gorgonia.Node) *gorgonia.Node { return n.must(nodes.Add(x, n.must(gorgonia.Tanh(x)))) }}
	for name, shape := range map[string][]int{"(C)": {3}, "(1, C, 1, 1)": {1, 3, 1, 1}} {
		out["nodes.BatchNorm "+name] = operation{shape: image, build: func(n net, x *gorgonia.Node) *gorgonia.Node {
			y, _, _, op, err := nodes.BatchNorm(x, n.param("scale", shape...), n.param("shift", shape...), 0.1, 1e-3)
			if err == nil {
				err = op.SetRunning([]float64{0.5, -1, 0}, []float64{0.5, 2, 1})
			}
			return n.must(y, err)
		}}
	}
	return out
}

// run computes a node for an input, in evaluation mode.
func run(t testing.TB, input, output *gorgonia.Node, x []float64) []float64 {
	t.Helper()
	if err := gorgonia.Let(input, gtest.Dense(input.Dtype(), x, input.Shape()...)); err != nil {
		t.Fatal(err)
	}
	var v gorgonia.Value
	gorgonia.Read(output, &v)
	vm := gorgonia.NewTapeMachine(input.Graph(), gorgonia.EvalMode())
	defer vm.Close()
	if err := vm.RunAll(); err != nil {
		t.Fatal(err)
	}
	return gtest.Floats(t, v)
}

func exportOf(t testing.TB, g *deploy.Graph, o deploy.ONNXOptions) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := g.ExportONNX(&b, o); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func traced(t testing.TB, input, output *gorgonia.Node) *deploy.Graph {
	t.Helper()
	g, err := deploy.Trace(input, output)
	if err != nil {
		t.Fatal(err)
	}
	return g
}

func worst(t testing.TB, what string, got, want []float64) {
	t.Helper()
	if len(got) != len(want) {
		t.Errorf("%s: %d elements, want %d", what, len(got), len(want))
		return
	}
	for i := range want {
		if !(math.Abs(got[i]-want[i]) <= 2e-5*(1+math.Abs(want[i]))) {
			t.Errorf("%s: element %d is %v, want %v: %v, want %v", what, i, got[i], want[i], got, want)
			return
		}
	}
}

// Each operation alone: Gorgonia's machine on the graph itself, the exported file by the definitions of ONNX's operators and in ONNX Runtime, the graph at
// other batch sizes and a Predictor compute the same.
func TestOperations(t *testing.T) {
	var jobs []ort.Job // for ONNX Runtime, last
	var wanted [][]float64
	for name, c := range operations() {
		for _, dt := range gtest.Dtypes() {
			t.Run(fmt.Sprint(name, " ", dt), func(t *testing.T) {
				n := net{t, gorgonia.NewGraph(), dt, rand.New(rand.NewPCG(1, 2))}
				x := make([]float64, tensor.Shape(c.shape).TotalSize())
				for i := range x {
					x[i] = float64(float32(n.rng.NormFloat64()))
					if c.positive {
						x[i] = math.Abs(x[i]) + 0.25
					}
				}
				in := gtest.Input(n.g, "x", dt, x, c.shape...)
				y := c.build(n, in)
				g := traced(t, in, y)
				want := run(t, in, y, x)
				model := exportOf(t, g, deploy.ONNXOptions{Output: "y"})
				worst(t, "as ONNX", evaluate(t, model, array{c.shape, x})["y"].data, want)
				if dt == tensor.Float32 && c.tied == "" { // package ort wants outputs sample by sample
					single := make([]float32, len(x))
					for i, v := range x {
						single[i] = float32(v)
					}
					jobs, wanted = append(jobs, ort.Job{Name: name, Model: model, Reals: single, Shape: c.shape, Batch: c.shape[0]}), append(wanted, want)
				}
				same, err := g.At(c.shape[0])
				if err != nil {
					t.Fatal(err)
				}
				worst(t, "at the same batch size", run(t, same.Input, same.Output, x), want)
				evaluates(t, g, x, want)
				if c.tied != "" {
					_, err := g.At(c.shape[0] + 1)
					gtest.WantError(t, "another batch size", err, "deploy: ", "batch size", c.tied)
					return
				}
				for i := range c.shape[0] {
					alone, err := g.At(1)
					if err != nil {
						t.Fatal(err)
					}
					k, m := len(x)/c.shape[0], len(want)/c.shape[0]
					worst(t, "a sample alone", run(t, alone.Input, alone.Output, x[i*k:(i+1)*k]), want[i*m:(i+1)*m])
					worst(t, "a sample alone as ONNX", evaluate(t, model, array{append([]int{1}, c.shape[1:]...), x[i*k : (i+1)*k]})["y"].data, want[i*m:(i+1)*m])
				}
				if _, err := g.Summary(); err != nil {
					t.Error(err)
				}
			})
		}
	}
	t.Run("in ONNX Runtime", func(t *testing.T) {
		rt := ort.Find(t)
		for i, out := range rt.RunAll(t, jobs) {
			var got []float64
			for _, v := range out[0].Data {
				got = append(got, float64(v))
			}
			worst(t, jobs[i].Name, got, wanted[i])
		}
	})
}
