package ftprop_test

import (
	"fmt"
	"math"
	"testing"

	"github.com/ftprop/ftprop/internal/gtest"
	"github.com/ftprop/ftprop/nodes"
	"github.com/ftprop/ftprop/ops"
	"gorgonia.org/gorgonia"
	"gorgonia.org/tensor"
)

type params map[string][]float64

type optimiser struct {
	LR          float64 `json:"lr"`
	Beta1       float64 `json:"beta1"`
	Beta2       float64 `json:"beta2"`
	Eps         float64 `json:"eps"`
	Momentum    float64 `json:"momentum"`
	WeightDecay float64 `json:"weight_decay"`
	Steps       int     `json:"steps"`
}

type mlpFile struct {
	Sizes  []int          `json:"sizes"`
	Batch  int            `json:"batch_size"`
	Input  []float64      `json:"input"`
	Labels []int          `json:"labels"`
	Init   params         `json:"init"`
	Adam   optimiser      `json:"adam"`
	SGD    optimiser      `json:"sgd"`
	Config []goldenConfig `json:"configs"`
}

// goldenConfig is the reference's outcome with one activation and rule.
type goldenConfig struct {
	Name       string    `json:"name"`
	Activation string    `json:"activation"`
	Rule       string    `json:"rule"`
	Steps      int       `json:"nsteps"`
	Logits     []float64 `json:"logits"`
	Loss       float64   `json:"loss"`
	Grads      params    `json:"grads"`
	Adam5      params    `json:"adam5"`
	SGD5       params    `json:"sgd5"`
	AdamLosses []float64 `json:"adam5_losses"`
	SGDLosses  []float64 `json:"sgd5_losses"`
	// How far the reference's own float32 run is from its float64 run, which the numbers are from: of networks by
	// what is compared ("grads" among them), of a block in all.
	Float32Error any `json:"max_abs_diff_f32_vs_f64"`
	// Of networks with batch norm:
	BuffersAfter1     params `json:"buffers_after_1_forward"`
	BuffersAfterAdam5 params `json:"buffers_after_adam5"`
}

func (c goldenConfig) act(t *testing.T) nodes.Activation {
	switch c.Activation {
	case "relu":
		return gorgonia.Rectify
	case "threshrelu":
		return nodes.ThresholdReLU
	}
	rule, err := ops.RuleByName(c.Rule)
	if err != nil {
		t.Fatal(err)
	}
	if c.Activation == "staircase" {
		return nodes.Act(ops.Staircase{Steps: c.Steps, Rule: rule})
	}
	return nodes.Act(ops.Sign{Rule: rule})
}

// build makes the network with the weights p out of stock Gorgonia parts and our activation.
func (f *mlpFile) build(dt tensor.Dtype, act nodes.Activation, p params) (logits, cost *gorgonia.Node, weights gorgonia.Nodes) {
	must := gorgonia.Must
	g := gorgonia.NewGraph()
	x := gtest.Input(g, "x", dt, f.Input, f.Batch, f.Sizes[0])
	classes := f.Sizes[len(f.Sizes)-1]
	onehot := make([]float64, f.Batch*classes)
	for i, c := range f.Labels {
		onehot[i*classes+c] = 1
	}
	y := gtest.Input(g, "y", dt, onehot, f.Batch, classes)
	h := x
	for l := range len(f.Sizes) - 1 {
		// The file's weights are [out, in], as PyTorch stores them.
		w := gtest.Input(g, fmt.Sprintf("net.%d.weight", 2*l), dt, p[fmt.Sprintf("net.%d.weight", 2*l)], f.Sizes[l+1], f.Sizes[l])
		b := gtest.Input(g, fmt.Sprintf("net.%d.bias", 2*l), dt, p[fmt.Sprintf("net.%d.bias", 2*l)], 1, f.Sizes[l+1])
		weights = append(weights, w, b)
		h = must(gorgonia.BroadcastAdd(must(gorgonia.Mul(h, must(gorgonia.Transpose(w)))), b, nil, []byte{0}))
		if l < len(f.Sizes)-2 {
			h = must(act(h))
		}
	}
	return h, must(nodes.CrossEntropy(h, y)), weights
}

// run runs the network with the weights p forward and backward.
func (f *mlpFile) run(t *testing.T, m gtest.Machine, dt tensor.Dtype, act nodes.Activation, p params) (logits []float64, loss float64, grads params) {
	t.Helper()
	h, cost, weights := f.build(dt, act, p)
	v, d, err := gtest.Run(t, m, cost, weights, gorgonia.Nodes{h, cost})
	if err != nil {
		t.Fatal(err)
	}
	grads = params{}
	for i, w := range weights {
		grads[w.Name()] = d[i]
	}
	return v[0], v[1][0], grads
}

func round(dt tensor.Dtype, x float64) float64 {
	if dt == tensor.Float32 {
		return float64(float32(x))
	}
	return x
}

// A network of stock Gorgonia parts has the reference's logits, loss and gradients, and after 5 steps of
// Adam and of SGD its weights, on both machines and in both dtypes.
//
// The optimisers are local to the test, PyTorch's formulas written out: Gorgonia's own Momentum, asked for
// L2 regularisation, adds a multiple of its velocity to the gradient where PyTorch adds one of the weights.
// Its Adam agrees with PyTorch's; see TestStockAdam.
func TestGoldenMLP(t *testing.T) {
	var f mlpFile
	gtest.Golden(t, "testdata/mlp_numeric.json.gz", &f)
	if len(f.Config) != 6 {
		t.Fatalf("%d configurations, want 6", len(f.Config))
	}
	for _, c := range f.Config {
		for _, m := range gtest.Machines() {
			for _, dt := range gtest.Dtypes() {
				t.Run(fmt.Sprintf("%s/%v/%v", c.Name, m, dt), func(t *testing.T) {
					act := c.act(t)
					logits, loss, grads := f.run(t, m, dt, act, f.Init)
					gtest.Compare(t, "logits", logits, c.Logits)
					gtest.Compare(t, "loss", []float64{loss}, []float64{c.Loss})
					for name, want := range c.Grads {
						gtest.Compare(t, "gradient of "+name, grads[name], want)
					}
					step := func(opt string, n int, wantLosses []float64, want params, update func(p, g float64, state []float64, step int) float64) {
						p, state := params{}, map[string][][2]float64{}
						for name, x := range f.Init {
							p[name] = append([]float64(nil), x...)
							state[name] = make([][2]float64, len(x))
						}
						for s := 1; s <= n; s++ {
							_, loss, grads := f.run(t, m, dt, act, p)
							gtest.Compare(t, fmt.Sprintf("%s: loss before step %d", opt, s), []float64{loss}, wantLosses[s-1:s])
							for name, x := range p {
								for i := range x {
									x[i] = round(dt, update(x[i], grads[name][i], state[name][i][:], s))
								}
							}
						}
						for name, w := range want {
							gtest.Compare(t, opt+": "+name, p[name], w)
						}
					}
					step("Adam", f.Adam.Steps, c.AdamLosses, c.Adam5, f.Adam.adam)
					step("SGD", f.SGD.Steps, c.SGDLosses, c.SGD5, f.SGD.sgd)
				})
			}
		}
	}
}

// adam is one element's step of Adam with L2 weight decay, as PyTorch 1.13 computes it.
func (o optimiser) adam(p, g float64, state []float64, step int) float64 {
	g += o.WeightDecay * p
	state[0] = o.Beta1*state[0] + (1-o.Beta1)*g
	state[1] = o.Beta2*state[1] + (1-o.Beta2)*g*g
	c1, c2 := 1-math.Pow(o.Beta1, float64(step)), 1-math.Pow(o.Beta2, float64(step))
	return p - o.LR/c1*state[0]/(math.Sqrt(state[1])/math.Sqrt(c2)+o.Eps)
}

// sgd is one element's step of SGD with momentum and L2 weight decay, as PyTorch computes it.
func (o optimiser) sgd(p, g float64, state []float64, step int) float64 {
	g += o.WeightDecay * p
	if step == 1 {
		state[0] = g
	} else {
		state[0] = o.Momentum*state[0] + g
	}
	return p - o.LR*state[0]
}

// Gorgonia's own Adam, with L2 regularisation, takes the reference's steps.
func TestStockAdam(t *testing.T) {
	var f mlpFile
	gtest.Golden(t, "testdata/mlp_numeric.json.gz", &f)
	for _, c := range f.Config {
		for _, dt := range gtest.Dtypes() {
			_, cost, weights := f.build(dt, c.act(t), f.Init)
			if _, err := gorgonia.Grad(cost, weights...); err != nil {
				t.Fatal(err)
			}
			vm := gorgonia.NewTapeMachine(cost.Graph(), gorgonia.BindDualValues(weights...))
			solver := gorgonia.NewAdamSolver(gorgonia.WithLearnRate(f.Adam.LR), gorgonia.WithL2Reg(f.Adam.WeightDecay))
			for range f.Adam.Steps {
				if err := vm.RunAll(); err != nil {
					t.Fatal(err)
				}
				if err := solver.Step(gorgonia.NodesToValueGrads(weights)); err != nil {
					t.Fatal(err)
				}
				vm.Reset()
			}
			vm.Close()
			for _, w := range weights {
				gtest.Compare(t, fmt.Sprintf("%s %v %s", c.Name, dt, w.Name()), gtest.Floats(t, w.Value()), c.Adam5[w.Name()])
			}
		}
	}
}
