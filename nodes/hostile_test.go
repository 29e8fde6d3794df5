package nodes_test

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"go/types"
	"math"
	"math/big"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ftprop/ftprop/internal/gtest"
	"github.com/ftprop/ftprop/nodes"
	"github.com/ftprop/ftprop/ops"
	"gorgonia.org/gorgonia"
	"gorgonia.org/tensor"
)

// hostile are sizes whose products overflow, some to small numbers, and sizes that are none.
var hostile = []int{math.MinInt, -1 << 32, -2, -1, 0, 1 << 31, 1<<32 + 1, 1 << 40, 1 << 61, 1 << 62, 1<<62 + 1, math.MaxInt - 1, math.MaxInt}

// sizes draws sizes and other parameters, most of them small, some hostile.
type sizes struct{ *rand.Rand }

func (s sizes) one() int {
	if s.IntN(6) > 0 {
		return 1 + s.IntN(3)
	}
	return hostile[s.IntN(len(hostile))]
}

func (s sizes) some(n int) []int {
	x := make([]int, n)
	for i := range x {
		x[i] = s.one()
	}
	return x
}

// node returns a node of a shape, of the usual number of dimensions or of another.
func (s sizes) node(g *gorgonia.ExprGraph, dims int) *gorgonia.Node {
	if s.IntN(8) == 0 {
		dims = s.IntN(6)
	}
	dt := gtest.Dtypes()[s.IntN(2)]
	name := fmt.Sprint("n", len(g.AllNodes()))
	if dims == 0 {
		return gorgonia.NewScalar(g, dt, gorgonia.WithName(name))
	}
	return gorgonia.NewTensor(g, dt, dims, gorgonia.WithShape(s.some(dims)...), gorgonia.WithName(name))
}

// constructors are all of the package, on inputs and parameters that s draws. They return the inputs, too.
var constructors = map[string]func(s sizes, g *gorgonia.ExprGraph) (y *gorgonia.Node, in gorgonia.Nodes, err error){
	"Conv2d": func(s sizes, g *gorgonia.ExprGraph) (*gorgonia.Node, gorgonia.Nodes, error) {
		x, f := s.node(g, 4), s.node(g, 4)
		kernel := f.Shape()
		if len(kernel) == 4 {
			kernel = kernel[2:]
		}
		y, err := nodes.Conv2d(x, f, kernel, s.some(2), s.some(2), s.some(2))
		return y, gorgonia.Nodes{x, f}, err
	},
	"Conv2dBias": func(s sizes, g *gorgonia.ExprGraph) (*gorgonia.Node, gorgonia.Nodes, error) {
		x, f, b := s.node(g, 4), s.node(g, 4), s.node(g, 1)
		kernel := f.Shape()
		if len(kernel) == 4 {
			kernel = kernel[2:]
		}
		y, err := nodes.Conv2dBias(x, f, b, kernel, s.some(2), s.some(2), s.some(2))
		return y, gorgonia.Nodes{x, f, b}, err
	},
	"MaxPool2D": func(s sizes, g *gorgonia.ExprGraph) (*gorgonia.Node, gorgonia.Nodes, error) {
		x := s.node(g, 4)
		y, err := nodes.MaxPool2D(x, s.some(2), s.some(2+2*s.IntN(2)), s.some(2))
		return y, gorgonia.Nodes{x}, err
	},
	"AveragePool2D": func(s sizes, g *gorgonia.ExprGraph) (*gorgonia.Node, gorgonia.Nodes, error) {
		x := s.node(g, 4)
		y, err := nodes.AveragePool2D(x, s.some(2), s.some(2), s.some(2))
		return y, gorgonia.Nodes{x}, err
	},
	"Reshape": func(s sizes, g *gorgonia.ExprGraph) (*gorgonia.Node, gorgonia.Nodes, error) {
		x := s.node(g, 1+s.IntN(4))
		y, err := nodes.Reshape(x, s.some(s.IntN(5)))
		return y, gorgonia.Nodes{x}, err
	},
	"Linear": func(s sizes, g *gorgonia.ExprGraph) (*gorgonia.Node, gorgonia.Nodes, error) {
		in := gorgonia.Nodes{s.node(g, 2), s.node(g, 2), s.node(g, 1)}
		if s.IntN(2) == 0 {
			y, err := nodes.Linear(in[0], in[1], nil)
			return y, in[:2], err
		}
		y, err := nodes.Linear(in[0], in[1], in[2])
		return y, in, err
	},
	"BatchNorm": func(s sizes, g *gorgonia.ExprGraph) (*gorgonia.Node, gorgonia.Nodes, error) {
		var params [2]*gorgonia.Node
		x := s.node(g, 2+2*s.IntN(2))
		for i := range params {
			if s.IntN(2) == 0 {
				params[i] = s.node(g, []int{1, 2, 4}[s.IntN(3)])
			}
		}
		y, γ, β, _, err := nodes.BatchNorm(x, params[0], params[1], 0.1, 1e-5)
		return y, gorgonia.Nodes{x, γ, β}, err
	},
	"Add":     binary(nodes.Add),
	"Dropout": unary(func(x *gorgonia.Node) (*gorgonia.Node, error) { return nodes.Dropout(x, 0.5) }),
	"Dropout2D": unary(func(x *gorgonia.Node) (*gorgonia.Node, error) {
		return nodes.Dropout2D(x, 0.5)
	}),
	"GlobalAveragePool2D": unary(nodes.GlobalAveragePool2D),
	"Flatten":             unary(nodes.Flatten),
	"ReLU":                unary(nodes.ReLU),
	"LeakyReLU":           unary(func(x *gorgonia.Node) (*gorgonia.Node, error) { return nodes.LeakyReLU(x, 0.1) }),
	"Sign":                unary(nodes.Sign),
	"Step01":              unary(nodes.Step01),
	"ThresholdReLU":       unary(nodes.ThresholdReLU),
	"HardTanh":            unary(nodes.HardTanh),
	"HardSigmoid":         unary(nodes.HardSigmoid),
	"CAbs":                unary(nodes.CAbs),
	"Round":               unary(func(x *gorgonia.Node) (*gorgonia.Node, error) { return nodes.Round(x, 0.5, 4) }),
	"Act":                 unary(nodes.Act(ops.Sign{Rule: ops.SSTE{}})),
	"Staircase": func(s sizes, g *gorgonia.ExprGraph) (*gorgonia.Node, gorgonia.Nodes, error) {
		x := s.node(g, 2)
		y, err := nodes.Staircase(x, s.one())
		return y, gorgonia.Nodes{x}, err
	},
	"QReLU": func(s sizes, g *gorgonia.ExprGraph) (*gorgonia.Node, gorgonia.Nodes, error) {
		x := s.node(g, 2)
		y, err := nodes.QReLU(x, s.one())
		return y, gorgonia.Nodes{x}, err
	},
	"Component": component,
	"ComponentLoss": func(s sizes, g *gorgonia.ExprGraph) (*gorgonia.Node, gorgonia.Nodes, error) {
		y, in, err := component(s, g)
		if err != nil {
			return nil, in, err
		}
		label := s.node(g, 2)
		loss, err := nodes.ComponentLoss(y, label)
		return loss, append(in, label), err
	},
	"SignWeights":    unary(nodes.SignWeights),
	"TernaryWeights": unary(nodes.TernaryWeights),
	"Weights":        unary(nodes.Weights(ops.SignWeights{Scaled: true, Rule: ops.SoftHinge{}})),
	"QuantWeights": func(s sizes, g *gorgonia.ExprGraph) (*gorgonia.Node, gorgonia.Nodes, error) {
		w := s.node(g, 2)
		y, err := nodes.QuantWeights(w, s.one())
		return y, gorgonia.Nodes{w}, err
	},
	"LSQWeights": func(s sizes, g *gorgonia.ExprGraph) (*gorgonia.Node, gorgonia.Nodes, error) {
		w, step := s.node(g, 2), s.node(g, 1)
		y, err := nodes.LSQWeights(w, step, ops.LSQWeights{Bits: s.one()})
		return y, gorgonia.Nodes{w, step}, err
	},
	"CrossEntropy":      binary(nodes.CrossEntropy),
	"Hinge":             binary(nodes.Hinge),
	"SquaredHinge":      binary(nodes.SquaredHinge),
	"TruncHinge":        binary(nodes.TruncHinge),
	"HingeSoftmax":      binary(nodes.HingeSoftmax),
	"TruncHingeSoftmax": binary(nodes.TruncHingeSoftmax),
}

// component is a component of one or two threshold activations, and at times of data.
func component(s sizes, g *gorgonia.ExprGraph) (*gorgonia.Node, gorgonia.Nodes, error) {
	var in gorgonia.Nodes
	for range 1 + s.IntN(2) {
		u, err := nodes.Step01(s.node(g, 2)) // zeros are levels
		if err != nil {
			return nil, nil, err
		}
		in = append(in, u)
	}
	units := len(in)
	if s.IntN(2) == 0 {
		in = append(in, s.node(g, 2))
	}
	outputs := s.one()
	c, err := ops.NewComponent(ops.ComponentConfig{
		Name: "f", Outputs: outputs, Budget: s.one() * 64,
		Call: func(units, _ [][]float64) ([]float64, error) { return make([]float64, outputs), nil },
		Loss: func(_, _ []float64) float64 { return 0 },
	})
	if err != nil {
		return nil, in, err
	}
	y, err := nodes.Component(c, in[:units], in[units:]...)
	return y, in, err
}

// The table has every exported function that makes a node; those that look at a backward pass (inspect.go) want one.
func TestHostileSizesOfAllConstructors(t *testing.T) {
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	found := 0
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") || name == "inspect.go" {
			continue
		}
		f, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range f.Decls {
			fn, ok := d.(*ast.FuncDecl)
			if !ok || fn.Recv != nil || !fn.Name.IsExported() || fn.Type.Results == nil {
				continue
			}
			first := types.ExprString(fn.Type.Results.List[0].Type)
			if first != "*gorgonia.Node" && first != "Activation" || fn.Name.Name == "ActivationByName" {
				continue
			}
			found++
			if constructors[fn.Name.Name] == nil {
				t.Errorf("%s is not in the table of constructors", fn.Name.Name)
			}
		}
	}
	if found != len(constructors) {
		t.Errorf("%d constructors in the package, %d in the table", found, len(constructors))
	}
}

func unary(f nodes.Activation) func(s sizes, g *gorgonia.ExprGraph) (*gorgonia.Node, gorgonia.Nodes, error) {
	return func(s sizes, g *gorgonia.ExprGraph) (*gorgonia.Node, gorgonia.Nodes, error) {
		x := s.node(g, 4)
		y, err := f(x)
		return y, gorgonia.Nodes{x}, err
	}
}

func binary(f func(a, b *gorgonia.Node) (*gorgonia.Node, error)) func(s sizes, g *gorgonia.ExprGraph) (*gorgonia.Node, gorgonia.Nodes, error) {
	return func(s sizes, g *gorgonia.ExprGraph) (*gorgonia.Node, gorgonia.Nodes, error) {
		a := s.node(g, 2)
		b := a
		switch s.IntN(4) {
		case 0:
			b = s.node(g, 2)
		case 1, 2:
			if len(a.Shape()) > 0 {
				b = gorgonia.NewTensor(g, a.Dtype(), a.Dims(), gorgonia.WithShape(a.Shape()...), gorgonia.WithName("b"))
			}
		}
		y, err := f(a, b)
		return y, gorgonia.Nodes{a, b}, err
	}
}

// elements is the number of elements of a shape, without overflow.
func elements(s tensor.Shape) *big.Int {
	n := big.NewInt(1)
	for _, size := range s {
		n.Mul(n, big.NewInt(int64(size)))
	}
	return n
}

// Every constructor, on whatever sizes: an error when the graph is built, or a node whose sizes are possible and which can be
// differentiated, and, where it is small, run. Nothing panics, not even where the panic would be caught.
func TestHostileSizes(t *testing.T) {
	seeds := uint64(4000)
	if gtest.Race { // what runs is small: few have two goroutines
		seeds /= 8
	}
	for name, build := range constructors {
		t.Run(name, func(t *testing.T) {
			built, ran := 0, 0
			for seed := range seeds {
				s := sizes{rand.New(rand.NewPCG(seed, 12))}
				g := gorgonia.NewGraph()
				what := fmt.Sprintf("seed %d", seed)
				noPanic := func(err error) bool {
					if err != nil && strings.Contains(err.Error(), "panic") {
						t.Fatalf("%s: %v", what, err)
					}
					return err == nil
				}
				y, in, err := build(s, g)
				for _, x := range in {
					if x != nil {
						what += fmt.Sprint(" ", x.Shape())
					}
				}
				if !noPanic(err) {
					if y != nil {
						t.Fatalf("%s: a node with an error: %v", what, err)
					}
					continue
				}
				built++
				small := true
				for _, x := range append(gorgonia.Nodes{y}, in...) {
					for _, size := range x.Shape() {
						if size < 1 {
							t.Fatalf("%s: %v accepted, to %v", what, x.Shape(), y.Shape())
						}
					}
					n := elements(x.Shape())
					if n.BitLen() > 46 {
						t.Fatalf("%s: %v accepted, to %v", what, x.Shape(), y.Shape())
					}
					small = small && n.BitLen() < 12
				}
				if name == "Reshape" && elements(in[0].Shape()).Cmp(elements(y.Shape())) != 0 {
					t.Fatalf("%s: reshaped to %v", what, y.Shape())
				}
				dy := gorgonia.NewScalar(g, y.Dtype(), gorgonia.WithName("dy"))
				if y.Dims() > 0 {
					dy = gorgonia.NewTensor(g, y.Dtype(), y.Dims(), gorgonia.WithShape(y.Shape()...), gorgonia.WithName("dy"))
				}
				op, ok := y.Op().(gorgonia.SDOp)
				if !ok {
					t.Fatalf("%s: %v has no derivative", what, y.Op())
				}
				d, err := op.SymDiff(in, y, dy)
				noPanic(err)
				for _, n := range append(gorgonia.Nodes{y}, d...) {
					if built <= 50 && n != nil && n.Op() != nil {
						badInputs(t, what, n.Op())
					}
				}
				if !small {
					continue
				}
				ran++
				values := map[*gorgonia.Node]gorgonia.Value{dy: zeros(dy)}
				for _, x := range in {
					values[x] = zeros(x)
				}
				v, err := y.Op().Do(value(values, in)...)
				if !noPanic(err) {
					continue // one value a channel, labels that are none, ...
				}
				if !v.Shape().Eq(y.Shape()) {
					t.Fatalf("%s: a value of shape %v, want %v", what, v.Shape(), y.Shape())
				}
				values[y] = v
				for i, dx := range d {
					if dx == nil || dx.Op() == nil {
						continue
					}
					var children gorgonia.Nodes
					for it := g.From(dx.ID()); it.Next(); {
						children = append(children, it.Node().(*gorgonia.Node))
					}
					dv, err := dx.Op().Do(value(values, children)...)
					if noPanic(err) && !dv.Shape().Eq(in[i].Shape()) {
						t.Fatalf("%s: a gradient of shape %v, want %v", what, dv.Shape(), in[i].Shape())
					}
				}
			}
			if (built < 8 || ran < 5) && !gtest.Race {
				t.Errorf("%d of %d built, %d run: the test shows little", built, seeds, ran)
			}
		})
	}
}

// badInputs calls InferShape with what no graph would.
func badInputs(t *testing.T, what string, op gorgonia.Op) {
	t.Helper()
	defer func() {
		if r := recover(); r != nil {
			t.Fatalf("%s: InferShape of %v panics: %v", what, op, r)
		}
	}()
	for _, in := range [][]gorgonia.DimSizer{{}, {nil}, {tensor.Shape{0, 3}, nil, nil}, {tensor.Shape{}, tensor.Shape{}, tensor.Shape{}, tensor.Shape{}, tensor.Shape{}}} {
		if s, err := op.InferShape(in...); err == nil {
			t.Errorf("%s: InferShape of %v, for %v: %v", what, op, in, s)
		}
	}
}

func value(of map[*gorgonia.Node]gorgonia.Value, ns gorgonia.Nodes) []gorgonia.Value {
	out := make([]gorgonia.Value, len(ns))
	for i, n := range ns {
		out[i] = of[n]
	}
	return out
}

func zeros(n *gorgonia.Node) gorgonia.Value {
	if n.Dims() == 0 {
		if n.Dtype() == tensor.Float32 {
			return gorgonia.NewF32(0)
		}
		return gorgonia.NewF64(0)
	}
	return tensor.New(tensor.Of(n.Dtype()), tensor.WithShape(n.Shape()...))
}
