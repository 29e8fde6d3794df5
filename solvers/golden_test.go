package solvers

import (
	"fmt"
	"testing"

	"github.com/ftprop/ftprop/internal/gtest"
	"github.com/ftprop/ftprop/nodes"
	"github.com/ftprop/ftprop/ops"
	"gorgonia.org/gorgonia"
	"gorgonia.org/tensor"
)

type mlpFile struct {
	Sizes  []int                `json:"sizes"`
	Batch  int                  `json:"batch_size"`
	Input  []float64            `json:"input"`
	Labels []int                `json:"labels"`
	Init   map[string][]float64 `json:"init"`
	Adam   optimiser            `json:"adam"`
	SGD    optimiser            `json:"sgd"`
	Config []struct {
		Name       string               `json:"name"`
		Activation string               `json:"activation"`
		Rule       string               `json:"rule"`
		Steps      int                  `json:"nsteps"`
		Adam5      map[string][]float64 `json:"adam5"`
		SGD5       map[string][]float64 `json:"sgd5"`
	} `json:"configs"`
}

type optimiser struct {
	LR          float64 `json:"lr"`
	Beta1       float64 `json:"beta1"`
	Beta2       float64 `json:"beta2"`
	Eps         float64 `json:"eps"`
	Momentum    float64 `json:"momentum"`
	WeightDecay float64 `json:"weight_decay"`
	Steps       int     `json:"steps"`
}

func (f *mlpFile) build(dt tensor.Dtype, act nodes.Activation) (cost *gorgonia.Node, weights gorgonia.Nodes) {
	must := gorgonia.Must
	g := gorgonia.NewGraph()
	h := gtest.Input(g, "x", dt, f.Input, f.Batch, f.Sizes[0])
	classes := f.Sizes[len(f.Sizes)-1]
	onehot := make([]float64, f.Batch*classes)
	for i, c := range f.Labels {
		onehot[i*classes+c] = 1
	}
	y := gtest.Input(g, "y", dt, onehot, f.Batch, classes)
	for l := range len(f.Sizes) - 1 {
		wname, bname := fmt.Sprintf("net.%d.weight", 2*l), fmt.Sprintf("net.%d.bias", 2*l)
		w := gtest.Input(g, wname, dt, f.Init[wname], f.Sizes[l+1], f.Sizes[l])
		b := gtest.Input(g, bname, dt, f.Init[bname], 1, f.Sizes[l+1])
		weights = append(weights, w, b)
		h = must(gorgonia.BroadcastAdd(must(gorgonia.Mul(h, must(gorgonia.Transpose(w)))), b, nil, []byte{0}))
		if l < len(f.Sizes)-2 {
			h = must(act(h))
		}
	}
	return must(nodes.CrossEntropy(h, y)), weights
}

// In a training loop, on the tape machine, Adam and SGD take the reference's steps.
func TestGoldenMLP(t *testing.T) {
	var f mlpFile
	gtest.Golden(t, "testdata/mlp_numeric.json.gz", &f)
	for _, c := range f.Config {
		act := gorgonia.Rectify
		if rule, err := ops.RuleByName(c.Rule); c.Activation != "relu" && c.Activation != "threshrelu" && err != nil {
			t.Fatal(err)
		} else if c.Activation == "staircase" {
			act = nodes.Act(ops.Staircase{Steps: c.Steps, Rule: rule})
		} else if c.Activation == "threshrelu" {
			act = nodes.ThresholdReLU
		} else if c.Activation != "relu" {
			act = nodes.Act(ops.Sign{Rule: rule})
		}
		for _, dt := range gtest.Dtypes() {
			for _, o := range []struct {
				name   string
				solver gorgonia.Solver
				steps  int
				want   map[string][]float64
			}{
				{"Adam", &Adam{LearnRate: f.Adam.LR, Beta1: f.Adam.Beta1, Beta2: f.Adam.Beta2, Eps: f.Adam.Eps, WeightDecay: f.Adam.WeightDecay}, f.Adam.Steps, c.Adam5},
				{"SGD", &SGD{LearnRate: f.SGD.LR, Momentum: f.SGD.Momentum, WeightDecay: f.SGD.WeightDecay}, f.SGD.Steps, c.SGD5},
			} {
				t.Run(fmt.Sprintf("%s/%v/%s", c.Name, dt, o.name), func(t *testing.T) {
					cost, weights := f.build(dt, act)
					if _, err := gorgonia.Grad(cost, weights...); err != nil {
						t.Fatal(err)
					}
					vm := gorgonia.NewTapeMachine(cost.Graph(), gorgonia.BindDualValues(weights...))
					defer vm.Close()
					for range o.steps {
						if err := vm.RunAll(); err != nil {
							t.Fatal(err)
						}
						if err := o.solver.Step(gorgonia.NodesToValueGrads(weights)); err != nil {
							t.Fatal(err)
						}
						vm.Reset()
					}
					if o.steps == 0 || len(o.want) != len(weights) {
						t.Fatalf("%d steps, %d weights in the file", o.steps, len(o.want))
					}
					for _, w := range weights {
						gtest.Compare(t, w.Name(), gtest.Floats(t, w.Value()), o.want[w.Name()])
					}
				})
			}
		}
	}
}
