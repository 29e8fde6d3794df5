package deploy_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/ftprop/ftprop/deploy"
	"github.com/ftprop/ftprop/internal/gtest"
	"github.com/ftprop/ftprop/nodes"
	"github.com/ftprop/ftprop/ops/nn"
	"gorgonia.org/gorgonia"
	"gorgonia.org/tensor"
)

// builder lays layers on an input of two images of 3 channels and 6x6 pixels; every one has 3 channels as well.
type builder struct {
	t     *testing.T
	g     *gorgonia.ExprGraph
	dt    tensor.Dtype // float32 if not set
	count int
}

func (b *builder) param(shape ...int) *gorgonia.Node {
	b.count++
	if b.dt.Type == nil {
		b.dt = tensor.Float32
	}
	return gtest.Input(b.g, fmt.Sprint("p", b.count), b.dt, gtest.Normals(tensor.Shape(shape).TotalSize(), uint64(b.count)), shape...)
}

func (b *builder) must(n *gorgonia.Node, err error) *gorgonia.Node {
	b.t.Helper()
	if err != nil {
		b.t.Fatal(err)
	}
	return n
}

func (b *builder) conv(x *gorgonia.Node, bias bool) *gorgonia.Node {
	k, pad, one := tensor.Shape{3, 3}, []int{1, 1}, []int{1, 1}
	if bias {
		return b.must(nodes.Conv2dBias(x, b.param(3, 3, 3, 3), b.param(3), k, pad, one, one))
	}
	return b.must(nodes.Conv2d(x, b.param(3, 3, 3, 3), k, pad, one, one))
}

func (b *builder) norm(x *gorgonia.Node) *gorgonia.Node {
	y, _, _, op, err := nodes.BatchNorm(x, b.param(3), b.param(3), 0.1, 1e-5)
	if err == nil {
		err = op.SetRunning([]float64{0.1, -2, 30}, []float64{2, 0.25, 0})
	}
	return b.must(y, err)
}

func (b *builder) add(x, y *gorgonia.Node) *gorgonia.Node { return b.must(nodes.Add(x, y)) }
func (b *builder) relu(x *gorgonia.Node) *gorgonia.Node   { return b.must(nodes.ReLU(x)) }

// Chains are fused where nothing else reads what is between, and nowhere else. The bits are the same, and so is the graph that Trace reads.
func TestFused(t *testing.T) {
	for name, c := range map[string]struct {
		layers func(b *builder, x *gorgonia.Node) (out, hidden *gorgonia.Node)
		fused  []string // what each operation stands for
	}{
		"all": {func(b *builder, x *gorgonia.Node) (out, hidden *gorgonia.Node) {
			return b.relu(b.add(b.norm(b.conv(x, false)), x)), nil
		}, []string{"Conv2d BatchNorm Add ReLU"}},
		"sum the other way": {func(b *builder, x *gorgonia.Node) (out, hidden *gorgonia.Node) {
			return b.add(x, b.conv(x, true)), nil
		}, []string{"Conv2d Add"}},
		"two branches": {func(b *builder, x *gorgonia.Node) (out, hidden *gorgonia.Node) {
			return b.relu(b.add(b.norm(b.conv(x, false)), b.norm(b.conv(x, false)))), nil
		}, []string{"Conv2d BatchNorm", "Conv2d BatchNorm Add ReLU"}},
		"one behind the other in a sum": {func(b *builder, x *gorgonia.Node) (out, hidden *gorgonia.Node) {
			y := b.relu(b.conv(x, true))
			return b.add(y, b.conv(y, false)), nil
		}, []string{"Conv2d Add", "Conv2d ReLU"}},
		"a norm of sums with bias": {func(b *builder, x *gorgonia.Node) (out, hidden *gorgonia.Node) {
			return b.relu(b.norm(b.conv(x, true))), nil
		}, nil},
		"a second reader": {func(b *builder, x *gorgonia.Node) (out, hidden *gorgonia.Node) {
			y := b.conv(x, false)
			return b.add(b.norm(y), b.relu(y)), nil
		}, nil},
		"a reader that reads twice": {func(b *builder, x *gorgonia.Node) (out, hidden *gorgonia.Node) {
			y := b.conv(x, false)
			return b.add(y, y), nil
		}, nil},
		"a hidden layer between": {func(b *builder, x *gorgonia.Node) (out, hidden *gorgonia.Node) {
			y := b.norm(b.conv(x, false))
			return b.relu(b.add(y, x)), y
		}, []string{"Conv2d BatchNorm"}},
		"the output between": {func(b *builder, x *gorgonia.Node) (out, hidden *gorgonia.Node) {
			y := b.conv(x, false)
			b.relu(y)
			return y, nil
		}, nil},
		"a slope": {func(b *builder, x *gorgonia.Node) (out, hidden *gorgonia.Node) {
			return b.must(nodes.LeakyReLU(b.conv(x, true), 0.1)), nil
		}, nil},
		"stock layers": {func(b *builder, x *gorgonia.Node) (out, hidden *gorgonia.Node) {
			y := b.must(gorgonia.Conv2d(x, b.param(3, 3, 3, 3), tensor.Shape{3, 3}, []int{1, 1}, []int{1, 1}, []int{1, 1}))
			return b.must(gorgonia.Rectify(y)), nil
		}, []string{"Conv2d ReLU"}},
	} {
		t.Run(name, func(t *testing.T) {
			b := &builder{t: t, g: gorgonia.NewGraph()}
			x := gtest.Input(b.g, "x", tensor.Float32, gtest.Normals(2*3*36, 77), 2, 3, 6, 6)
			y, hidden := c.layers(b, x)
			gorgonia.WithName("last")(y)
			g, err := deploy.Trace(x, y)
			if err != nil {
				t.Fatal(err)
			}
			if hidden != nil {
				g.Hidden = []deploy.Named{{Name: "between", Node: hidden}}
			}
			f, err := g.Fused()
			if err != nil {
				t.Fatal(err)
			}
			var fused []string
			for _, n := range f.Output.Graph().AllNodes() {
				if op, ok := n.Op().(*nn.FusedConv2d); ok {
					var parts []string
					for _, p := range op.Parts() {
						name, _, _ := strings.Cut(strings.ReplaceAll(fmt.Sprint(p.Op()), "(", "{"), "{")
						parts = append(parts, name)
					}
					fused = append(fused, strings.Join(parts, " "))
				}
			}
			slices.Sort(fused)
			if !slices.Equal(fused, c.fused) {
				t.Errorf("%q are one operation, want %q", fused, c.fused)
			}
			plain, err := g.At(2)
			if err != nil {
				t.Fatal(err)
			}
			if hidden != nil && (len(f.Hidden) != 1 || f.Hidden[0].Name != "between") {
				t.Errorf("hidden: %v", f.Hidden)
			}
			if f.Output.Name() != "last" {
				t.Errorf("the output is called %q", f.Output.Name())
			}
			if got, want := ran(t, f, x.Value()), ran(t, plain, x.Value()); !slices.Equal(got, want) {
				t.Errorf("%v, want %v", got, want)
			}
			var files [2]strings.Builder
			for i, g := range []*deploy.Graph{f, plain} {
				if err := g.ExportONNX(&files[i], deploy.ONNXOptions{}); err != nil {
					t.Fatal(err)
				}
			}
			if files[0].String() != files[1].String() {
				t.Error("as ONNX it is another graph")
			}
			other, err := f.At(5)
			if err != nil {
				t.Fatal(err)
			}
			if s := other.Output.Shape(); !s.Eq(tensor.Shape{5, 3, 6, 6}) {
				t.Errorf("at another batch size: %v", s)
			}
		})
	}
}

// ran returns what a graph computes.
func ran(t *testing.T, g *deploy.Graph, x gorgonia.Value) []float64 {
	t.Helper()
	if err := gorgonia.Let(g.Input, x); err != nil {
		t.Fatal(err)
	}
	var y gorgonia.Value
	gorgonia.Read(g.Output, &y)
	vm := gorgonia.NewTapeMachine(g.Input.Graph())
	defer vm.Close()
	if err := vm.RunAll(); err != nil {
		t.Fatal(err)
	}
	return gtest.Floats(t, y)
}

func TestFusedErrors(t *testing.T) {
	var none *deploy.Graph
	_, err := none.Fused()
	gtest.WantError(t, "nil", err, "want one of Trace")
	_, err = new(deploy.Graph).Fused()
	gtest.WantError(t, "zero", err, "want one of Trace")
}
