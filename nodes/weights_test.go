package nodes_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/ftprop/ftprop/internal/gtest"
	"github.com/ftprop/ftprop/nodes"
	"github.com/ftprop/ftprop/ops"
	"gorgonia.org/gorgonia"
	"gorgonia.org/tensor"
)

// A stock Gorgonia graph whose products read quantised weights trains with a stock solver: the loss of two classes that a line does not part
// falls, and the latent weights are what moves.
func TestQuantisedWeightsTrainInStockGraphs(t *testing.T) {
	const n, hidden = 64, 48
	rng := rand.New(rand.NewPCG(1, 2))
	var x, y []float64
	for range n {
		a, b := rng.Float64()*2-1, rng.Float64()*2-1
		x = append(x, a, b, 1)
		y = append(y, math.Copysign(1, a*b)) // exclusive or
	}
	for _, q := range []ops.WeightQuantiser{
		ops.SignWeights{Axis: 1}, ops.SignWeights{Scaled: true, Axis: 1}, ops.SignWeights{Scaled: true, Axis: 1, Rule: ops.SoftHinge{}}, ops.TernaryWeights{Axis: 1},
		ops.TernaryWeights{Axis: 1, Rule: ops.SoftHinge{}}, ops.QuantWeights{Bits: 2, Axis: 1}, ops.QuantWeights{Bits: 4, Axis: 1, Rule: ops.SoftHinge{}},
		ops.QuantWeights{Bits: 3, Form: ops.DoReFa}, ops.LSQWeights{Bits: 3, Axis: 1},
	} {
		for _, dt := range gtest.Dtypes() {
			g := gorgonia.NewGraph()
			xs, ys := gtest.Input(g, "x", dt, x, n, 3), gtest.Input(g, "y", dt, y, n, 1)
			var params gorgonia.Nodes
			var before [][]float64
			mul := func(name string, x *gorgonia.Node, in, out int) *gorgonia.Node {
				start := make([]float64, in*out)
				for i := range start {
					start[i] = rng.NormFloat64() / math.Sqrt(float64(in))
				}
				w := gtest.Input(g, name, dt, start, in, out)
				params, before = append(params, w), append(before, gtest.Floats(t, w.Value()))
				if q, ok := q.(ops.LSQWeights); ok {
					first, err := q.InitialStep(w.Value(), false)
					if err != nil {
						t.Fatal(err)
					}
					step := gorgonia.NewVector(g, dt, gorgonia.WithName(name+".step"), gorgonia.WithShape(1), gorgonia.WithValue(first))
					params, before = append(params, step), append(before, gtest.Floats(t, first))
					return gorgonia.Must(gorgonia.Mul(x, gorgonia.Must(nodes.LSQWeights(w, step, q))))
				}
				return gorgonia.Must(gorgonia.Mul(x, gorgonia.Must(nodes.Weights(q)(w))))
			}
			h := gorgonia.Must(gorgonia.Tanh(mul("w1", xs, 3, hidden)))
			out := gorgonia.Must(gorgonia.Tanh(mul("w2", h, hidden, 1)))
			cost := gorgonia.Must(gorgonia.Mean(gorgonia.Must(gorgonia.Square(gorgonia.Must(gorgonia.Sub(out, ys))))))
			if _, err := gorgonia.Grad(cost, params...); err != nil {
				t.Fatal(err)
			}
			var loss gorgonia.Value
			gorgonia.Read(cost, &loss)
			vm := gorgonia.NewTapeMachine(g, gorgonia.BindDualValues(params...))
			solver := gorgonia.NewAdamSolver(gorgonia.WithLearnRate(0.004))
			steps, last := 400, 50
			if gtest.Race { // that they train shows without it; there is one goroutine
				steps, last = 20, 10
			}
			first, mean := 0.0, 0.0
			for i := range steps {
				if err := vm.RunAll(); err != nil {
					t.Fatalf("%v, %v: %v", q, dt, err)
				}
				l := gtest.Floats(t, loss)[0]
				if i == 0 {
					first = l
				}
				if i >= steps-last {
					mean += l / float64(last)
				}
				if err := solver.Step(gorgonia.NodesToValueGrads(params)); err != nil {
					t.Fatal(err)
				}
				vm.Reset()
			}
			if err := vm.Close(); err != nil {
				t.Fatal(err)
			}
			if mean > 0.75*first && !gtest.Race {
				t.Errorf("%v, %v: the loss of %.3f falls to %.3f only", q, dt, first, mean)
			}
			for i, p := range params {
				if fmt.Sprint(gtest.Floats(t, p.Value())) == fmt.Sprint(before[i]) {
					t.Errorf("%v, %v: %s has not moved", q, dt, p.Name())
				}
			}
		}
	}
}

// Quantised weights may be read by the layers of this library: those of nn.Linear and filters have their output channels first.
func TestQuantisedWeightsInLayers(t *testing.T) {
	for _, dt := range gtest.Dtypes() {
		for _, m := range gtest.Machines() {
			g := gorgonia.NewGraph()
			x := gtest.Input(g, "x", dt, []float64{1, 2, 3}, 1, 3)
			w := gtest.Input(g, "w", dt, []float64{0.5, -0.25, 0.75, -1, 3, -2}, 2, 3) // means 0.5 and 2
			y := gorgonia.Must(nodes.Linear(x, gorgonia.Must(nodes.Weights(ops.SignWeights{Scaled: true})(w)), nil))
			up := gtest.Input(g, "up", dt, []float64{1, 1}, 1, 2)
			cost := gorgonia.Must(gorgonia.Sum(gorgonia.Must(gorgonia.HadamardProd(y, up))))
			v, d, err := gtest.Run(t, m, cost, gorgonia.Nodes{w}, gorgonia.Nodes{y})
			if err != nil {
				t.Fatal(err)
			}
			gtest.Compare(t, "outputs", v[0], []float64{0.5 * (1 - 2 + 3), 2 * (-1 + 2 - 3)})
			gtest.Compare(t, "dw", d[0], []float64{0.5, 1, 1.5, 2, 0, 0}) // x times the mean; beyond 1 nothing
		}
	}
}

// Quantisers work with Gorgonia's Lift1, as activations do.
func TestWeightsLift(t *testing.T) {
	g := gorgonia.NewGraph()
	w := gtest.Input(g, "w", tensor.Float64, []float64{1, -2, 0}, 3)
	lifted := gorgonia.Lift1(nodes.SignWeights)
	gtest.Compare(t, "signs", gtest.Floats(t, run(lifted(w).(*gorgonia.Node))), []float64{1, -1, -1})
}
