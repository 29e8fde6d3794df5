package ftprop_test

import (
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/ftprop/ftprop/internal/gtest"
	"github.com/ftprop/ftprop/nodes"
	"github.com/ftprop/ftprop/ops/nn"
	"gorgonia.org/gorgonia"
	"gorgonia.org/tensor"
)

// The paper's convolutional networks, small, built of the drop-in layers, against the reference's numbers.

type convFile struct {
	Batch       int            `json:"batch_size"`
	Shape       []int          `json:"input_shape"`
	Classes     int            `json:"num_classes"`
	Input       []float64      `json:"input"`
	GradOutput  []float64      `json:"grad_output"`
	OutputShape []int          `json:"output_shape"`
	Labels      []int          `json:"labels"`
	Params      [][2]any       `json:"params"`
	Init        params         `json:"init"`
	Adam        optimiser      `json:"adam"`
	SGD         *optimiser     `json:"sgd"`
	Stride      int            `json:"stride"`
	Config      []goldenConfig `json:"configs"`
}

// convModel is a network under construction: parameters by their names in the reference.
type convModel struct {
	t      *testing.T
	g      *gorgonia.ExprGraph
	dt     tensor.Dtype
	file   *convFile
	values params
	params gorgonia.Nodes
	norms  map[string]*nn.BatchNorm
}

func (m *convModel) must(n *gorgonia.Node, err error) *gorgonia.Node {
	m.t.Helper()
	if err != nil {
		m.t.Fatal(err)
	}
	return n
}

func (m *convModel) param(name string) *gorgonia.Node {
	for _, p := range m.file.Params {
		if p[0] == name {
			var shape []int
			for _, d := range p[1].([]any) {
				shape = append(shape, int(d.(float64)))
			}
			n := gtest.Input(m.g, name, m.dt, m.values[name], shape...)
			m.params = append(m.params, n)
			return n
		}
	}
	m.t.Fatalf("no parameter %q", name)
	return nil
}

func (m *convModel) conv(x *gorgonia.Node, name string, bias bool, pad, stride int) *gorgonia.Node {
	f := m.param(name + ".weight")
	k, p, s, d := f.Shape()[2:], []int{pad, pad}, []int{stride, stride}, []int{1, 1}
	if bias {
		return m.must(nodes.Conv2dBias(x, f, m.param(name+".bias"), k, p, s, d))
	}
	return m.must(nodes.Conv2d(x, f, k, p, s, d))
}

func (m *convModel) pool(x *gorgonia.Node) *gorgonia.Node {
	return m.must(nodes.MaxPool2D(x, tensor.Shape{2, 2}, []int{0, 0}, []int{2, 2}))
}

func (m *convModel) norm(x *gorgonia.Node, name string, eps float64) *gorgonia.Node {
	y, _, _, op, err := nodes.BatchNorm(x, m.param(name+".weight"), m.param(name+".bias"), 0.1, eps)
	m.norms[name] = op
	return m.must(y, err)
}

func (m *convModel) flat(x *gorgonia.Node) *gorgonia.Node {
	return m.must(nodes.Flatten(x))
}

func (m *convModel) linear(x *gorgonia.Node, name string) *gorgonia.Node {
	return m.must(nodes.Linear(x, m.param(name+".weight"), m.param(name+".bias")))
}

func (m *convModel) convNet4(x *gorgonia.Node, act nodes.Activation) *gorgonia.Node {
	const p = "all_modules."
	h := m.must(act(m.pool(m.conv(x, p+"block1.conv1", true, 3, 1))))
	h = m.must(act(m.pool(m.conv(h, p+"block2.conv2", true, 2, 1))))
	h = m.must(act(m.linear(m.flat(h), p+"block3.fc1")))
	return m.linear(h, p+"block4.fc2")
}

func (m *convModel) convNet8(x *gorgonia.Node, act nodes.Activation) *gorgonia.Node {
	const p = "all_modules."
	h := m.must(act(m.pool(m.conv(x, p+"block0.conv0", true, 2, 1))))
	for i, pad := range []int{1, 1, 0, 1, 0, 0} {
		n := i + 1
		h = m.norm(m.conv(h, fmt.Sprintf("%sblock%d.conv%[2]d", p, n), false, pad, 1), fmt.Sprintf("%sblock%d.batchnorm%[2]d", p, n), 1e-4)
		if n == 2 {
			h = m.pool(h)
		}
		h = m.must(act(h))
	}
	return m.linear(m.flat(h), p+"block7.fc1")
}

func (m *convModel) basicBlock(x *gorgonia.Node, act nodes.Activation) *gorgonia.Node {
	h := m.must(act(m.norm(m.conv(x, "conv1", false, 1, m.file.Stride), "bn1", 1e-5)))
	h = m.norm(m.conv(h, "conv2", false, 1, 1), "bn2", 1e-5)
	short := m.norm(m.conv(x, "shortcut.0", false, 0, m.file.Stride), "shortcut.1", 1e-5)
	return m.must(act(m.must(gorgonia.Add(h, short))))
}

// buffers returns the running statistics under the reference's names.
func (m *convModel) buffers() params {
	p := params{}
	for name, op := range m.norms {
		p[name+".running_mean"], p[name+".running_var"] = op.Running()
	}
	return p
}

// step runs the network with the values p forward and backward on machine mach. Batch norms start with the running
// statistics of stats.
func (f *convFile) step(t *testing.T, mach gtest.Machine, dt tensor.Dtype, c goldenConfig, p, stats params) (logits []float64, loss float64, grads, after params) {
	t.Helper()
	m := &convModel{t: t, g: gorgonia.NewGraph(), dt: dt, file: f, values: p, norms: map[string]*nn.BatchNorm{}}
	x := gtest.Input(m.g, "x", dt, f.Input, append([]int{f.Batch}, f.Shape...)...)
	var out *gorgonia.Node
	if strings.Contains(fmt.Sprint(f.Params[0][0]), "block0") {
		out = m.convNet8(x, c.act(t))
	} else {
		out = m.convNet4(x, c.act(t))
	}
	for name, op := range m.norms {
		if stats != nil {
			if err := op.SetRunning(stats[name+".running_mean"], stats[name+".running_var"]); err != nil {
				t.Fatal(err)
			}
		}
	}
	onehot := make([]float64, f.Batch*f.Classes)
	for i, c := range f.Labels {
		onehot[i*f.Classes+c] = 1
	}
	cost := m.must(nodes.CrossEntropy(out, gtest.Input(m.g, "y", dt, onehot, f.Batch, f.Classes)))
	v, d, err := gtest.Run(t, mach, cost, m.params, gorgonia.Nodes{out, cost})
	if err != nil {
		t.Fatal(err)
	}
	grads = params{}
	for i, p := range m.params {
		grads[p.Name()] = d[i]
	}
	return v[0], v[1][0], grads, m.buffers()
}

func TestGoldenConvNets(t *testing.T) {
	for _, file := range []string{"convnet4_mnist_small", "convnet4_cifar_small", "convnet8_bn_small"} {
		var f convFile
		gtest.Golden(t, "testdata/"+file+".json.gz", &f)
		for _, c := range f.Config {
			for _, m := range gtest.Machines() {
				for _, dt := range gtest.Dtypes() {
					t.Run(fmt.Sprintf("%s/%s/%v/%v", file, c.Name, m, dt), func(t *testing.T) {
						logits, loss, grads, after := f.step(t, m, dt, c, f.Init, nil)
						gtest.Compare(t, "logits", logits, c.Logits)
						gtest.Compare(t, "loss", []float64{loss}, []float64{c.Loss})
						float32Error := c.Float32Error.(map[string]any)["grads"].(float64)
						for name, want := range c.Grads {
							// Where the reference in float32 is further off than the tolerance, so may we be.
							var near []int
							for i, w := range want {
								if d := math.Abs(grads[name][i] - w); dt == tensor.Float32 && d < float32Error {
									near = append(near, i)
								}
							}
							gtest.Compare(t, "gradient of "+name, grads[name], want, near...)
						}
						for name, got := range after {
							gtest.Compare(t, name, got, c.BuffersAfter1[name])
						}
						f.train(t, m, dt, c, "Adam", f.Adam, c.AdamLosses, c.Adam5, c.BuffersAfterAdam5, f.Adam.adam)
						if f.SGD != nil {
							f.train(t, m, dt, c, "SGD", *f.SGD, c.SGDLosses, c.SGD5, nil, f.SGD.sgd)
						}
					})
				}
			}
		}
	}
}

// train takes steps from the initial weights and compares losses, weights and running statistics.
func (f *convFile) train(t *testing.T, m gtest.Machine, dt tensor.Dtype, c goldenConfig, name string, o optimiser, losses []float64, want, buffers params,
	update func(p, g float64, state []float64, step int) float64) {
	t.Helper()
	p, state := params{}, map[string][][2]float64{}
	for name, x := range f.Init {
		p[name] = append([]float64(nil), x...)
		state[name] = make([][2]float64, len(x))
	}
	var stats params
	for s := 1; s <= o.Steps; s++ {
		_, loss, grads, after := f.step(t, m, dt, c, p, stats)
		stats = after
		gtest.Compare(t, fmt.Sprintf("%s: loss before step %d", name, s), []float64{loss}, losses[s-1:s])
		for name, x := range p {
			for i := range x {
				x[i] = round(dt, update(x[i], grads[name][i], state[name][i][:], s))
			}
		}
	}
	for n, w := range want {
		// With batch norm Adam's steps along gradients of almost 0 depend on rounding: 2e-5, as for the reference
		// itself in float32.
		var near []int
		for i := range w {
			if buffers != nil && math.Abs(p[n][i]-w[i]) < 2e-5 {
				near = append(near, i)
			}
		}
		gtest.Compare(t, name+": "+n, p[n], w, near...)
	}
	for n, got := range stats {
		if buffers != nil {
			gtest.Compare(t, name+": "+n, got, buffers[n])
		}
	}
}

// A residual block with a strided convolution and a 1x1 shortcut: output, gradients of input and parameters,
// running statistics.
func TestGoldenResidualBlock(t *testing.T) {
	var f struct {
		convFile
		Config []struct {
			goldenConfig
			Output    []float64 `json:"output"`
			GradInput []float64 `json:"grad_input"`
			Buffers   params    `json:"buffers_after"`
		} `json:"configs"`
	}
	gtest.Golden(t, "testdata/resnet_block.json.gz", &f)
	if len(f.Config) != 4 {
		t.Fatalf("%d configurations, want 4", len(f.Config))
	}
	for _, c := range f.Config {
		for _, mach := range gtest.Machines() {
			for _, dt := range gtest.Dtypes() {
				t.Run(fmt.Sprintf("%s/%v/%v", c.Name, mach, dt), func(t *testing.T) {
					m := &convModel{t: t, g: gorgonia.NewGraph(), dt: dt, file: &f.convFile, values: f.Init, norms: map[string]*nn.BatchNorm{}}
					x := gtest.Input(m.g, "x", dt, f.Input, f.Shape...)
					out := m.basicBlock(x, c.act(t))
					up := gtest.Input(m.g, "g", dt, f.GradOutput, f.OutputShape...)
					cost := m.must(gorgonia.Sum(m.must(gorgonia.HadamardProd(out, up))))
					v, d, err := gtest.Run(t, mach, cost, append(gorgonia.Nodes{x}, m.params...), gorgonia.Nodes{out})
					if err != nil {
						t.Fatal(err)
					}
					gtest.Compare(t, "output", v[0], c.Output)
					gtest.Compare(t, "gradient of the input", d[0], c.GradInput)
					for i, p := range m.params {
						gtest.Compare(t, "gradient of "+p.Name(), d[i+1], c.Grads[p.Name()])
					}
					for name, got := range m.buffers() {
						gtest.Compare(t, name, got, c.Buffers[name])
					}
				})
			}
		}
	}
}
