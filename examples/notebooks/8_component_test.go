//go:build !race

package notebooks_test

import (
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"slices"

	"github.com/ftprop/ftprop/data"
	"github.com/ftprop/ftprop/examples/notebooks"
	"github.com/ftprop/ftprop/examples/pictures"
	"github.com/ftprop/ftprop/nodes"
	"github.com/ftprop/ftprop/ops"
	"github.com/ftprop/ftprop/solvers"
	"gorgonia.org/gorgonia"
	"gorgonia.org/tensor"
)

/*
# 8. A component: learning through a Go function

A component is an ordinary Go function inside a network. It has no derivative, and needs none: in front of it are threshold units, so what each of them
should have been can be found by calling the function with other levels. A searcher does that, and gives each unit a number d in place of the
derivative: the target is -sign(d), its weight |d|.

By hand, for two units with pre-activations 0.5 and -2. They emit 1 and -1, which the function reads as the binary number 10 = 2; right would be 1 = 01.
To get there both units must change.

| levels | answer | loss \|y - 1\| | probability |
| --- | --- | --- | --- |
| -1 -1 | 0 | 1 | 0.38 · 0.88 |
| -1 +1 | 1 | 0 | 0.38 · 0.12 |
| +1 -1, now | 2 | 1 | 0.62 · 0.88 |
| +1 +1 | 3 | 2 | 0.62 · 0.12 |

`Flip` changes one unit at a time: the first makes no difference, (1 - 1)/2, the second is better off where it is, (2 - 1)/2. It is stuck. `Posterior` takes units for
bits that are 1 with probability sigmoid(z), here 0.62 and 0.12, and asks how probable that is if the loss is lower than now, which is in one line only: 0 and 1.
So d is 2 (0.62 - 0) and 2 (0.12 - 1); 2 is the range of the losses.
*/

func Example_componentByHand() {
	for _, searcher := range []ops.Searcher{ops.Flip{}, ops.Posterior{}} {
		number := notebooks.Must(ops.NewComponent(ops.ComponentConfig{
			Name: "number", Outputs: 1, Budget: 3, Searcher: searcher,
			Call: func(units, _ [][]float64) ([]float64, error) { return []float64{float64(ops.Number(units[0]))}, nil },
			Loss: func(y, label []float64) float64 { return math.Abs(y[0] - label[0]) },
		}))
		g := gorgonia.NewGraph()
		row := func(name string, v ...float64) *gorgonia.Node {
			return gorgonia.NewMatrix(g, tensor.Float64, gorgonia.WithName(name), gorgonia.WithShape(1, len(v)),
				gorgonia.WithValue(tensor.New(tensor.WithShape(1, len(v)), tensor.WithBacking(v))))
		}
		z := row("z", 0.5, -2)
		h := gorgonia.Must(nodes.Act(ops.Sign{Rule: ops.STE{}})(z)) // STE passes d on as it is
		loss := gorgonia.Must(nodes.ComponentLoss(gorgonia.Must(nodes.Component(number, gorgonia.Nodes{h})), row("label", 1)))
		d := notebooks.Must(gorgonia.Grad(loss, z))[0]
		var at gorgonia.Value
		gorgonia.Read(d, &at)
		vm := gorgonia.NewTapeMachine(g)
		notebooks.Check(vm.RunAll())
		notebooks.Check(vm.Close())
		fmt.Printf("%-11v d = %.2f, calls %d\n", searcher, at.Data(), number.Calls().Backward)
	}
	// Output:
	// Flip{}      d = [0.00 0.50], calls 2
	// Posterior{} d = [1.24 -1.76], calls 3
}

/*
## Sums of digits

Now two images and one network, 64-128-3, that emits three bits for each. The function adds the two numbers. All that is known of a pair of images is the sum of
their digits, from 0 to 7 here; no image's own digit is ever told. The function:
*/

// adder returns the component. Flip needs a loss in which single units count: how far off the sum is.
func adder(searcher ops.Searcher, samples int) *ops.Component {
	_, graded := searcher.(ops.Flip)
	return notebooks.Must(ops.NewComponent(ops.ComponentConfig{
		Name: "adder", Outputs: 1, Searcher: searcher, Concurrent: true,
		Budget: 63 * samples, // calls a step: all other levels of six units
		Call: func(units, _ [][]float64) ([]float64, error) {
			return []float64{float64(ops.Number(units[0]) + ops.Number(units[1]))}, nil
		},
		Loss: func(y, label []float64) float64 {
			if graded {
				return math.Abs(y[0] - label[0])
			}
			return math.Min(1, math.Abs(y[0]-label[0])) // right or wrong
		},
	}))
}

/*
And the network: its weights are shared by both images, and by a graph of its own for the test.
*/

// weights draws those of a linear layer, uniformly within 1/sqrt(in), and biases of 0.
func weights(rng *rand.Rand, out, in int) (w, b *tensor.Dense) {
	x := make([]float32, out*in)
	for i := range x {
		x[i] = float32((2*rng.Float64() - 1) / math.Sqrt(float64(in)))
	}
	return tensor.New(tensor.WithShape(out, in), tensor.WithBacking(x)), tensor.New(tensor.Of(tensor.Float32), tensor.WithShape(out))
}

// params are values as nodes of a graph.
func params(g *gorgonia.ExprGraph, values []*tensor.Dense) (all gorgonia.Nodes) {
	for i, v := range values {
		all = append(all, gorgonia.NewTensor(g, tensor.Float32, v.Dims(), gorgonia.WithName(fmt.Sprint("param", i)), gorgonia.WithShape(v.Shape()...), gorgonia.WithValue(v)))
	}
	return all
}

// images is an input for n images, and where to write their pixels.
func images(g *gorgonia.ExprGraph, name string, n, width int) (*gorgonia.Node, []float32) {
	x := make([]float32, n*width)
	return gorgonia.NewMatrix(g, tensor.Float32, gorgonia.WithName(name), gorgonia.WithShape(n, width),
		gorgonia.WithValue(tensor.New(tensor.WithShape(n, width), tensor.WithBacking(x)))), x
}

// perceptron returns three pre-activations for each image.
func perceptron(x *gorgonia.Node, p gorgonia.Nodes) *gorgonia.Node {
	hidden := gorgonia.Must(nodes.Act(ops.Sign{Rule: ops.SSTE{}})(gorgonia.Must(nodes.Linear(x, p[0], p[1]))))
	return gorgonia.Must(nodes.Linear(hidden, p[2], p[3]))
}

// small returns the digits from 0 to 7.
func small(all *data.Set) *data.Set {
	var keep []int
	for i, digit := range all.Y {
		if digit < 8 {
			keep = append(keep, i)
		}
	}
	return notebooks.Must(all.Subset(keep))
}

// learn trains with sums, and returns after each epoch the shares of test images that are read right, and of their pairs whose sum is, in percent.
func learn(searcher ops.Searcher, rule ops.Rule, seed uint64, epochs int) (digits, sums []float64, calls uint64) {
	all, others, err := notebooks.Digits()
	notebooks.Check(err)
	training, test := small(all), small(others)
	const batch = 16
	rng := rand.New(rand.NewPCG(seed, 1))
	w1, b1 := weights(rng, 128, 64)
	w2, b2 := weights(rng, 3, 128)
	values := []*tensor.Dense{w1, b1, w2, b2}

	g := gorgonia.NewGraph()
	p, bits := params(g, values), nodes.Act(ops.Sign{Rule: rule})
	first, x1 := images(g, "first", batch, 64)
	second, x2 := images(g, "second", batch, 64)
	label, sum := images(g, "sum", batch, 1)
	add := adder(searcher, batch)
	y := gorgonia.Must(nodes.Component(add, gorgonia.Nodes{gorgonia.Must(bits(perceptron(first, p))), gorgonia.Must(bits(perceptron(second, p)))}))
	notebooks.Must(gorgonia.Grad(gorgonia.Must(nodes.ComponentLoss(y, label)), p...))
	vm := gorgonia.NewTapeMachine(g, gorgonia.BindDualValues(p...))
	defer vm.Close()

	look := gorgonia.NewGraph()
	in, pixels := images(look, "test", test.N(), 64)
	copy(pixels, test.X)
	var z gorgonia.Value
	gorgonia.Read(perceptron(in, params(look, values)), &z)
	reader := gorgonia.NewTapeMachine(look)
	defer reader.Close()

	solver, model := &solvers.Adam{LearnRate: 3e-3}, gorgonia.NodesToValueGrads(p)
	for epoch := range epochs {
		for range training.N() / batch {
			for i := range batch {
				// The first epoch has only sums that few pairs of digits have: see docs/components.md.
				a, b := rng.IntN(training.N()), rng.IntN(training.N())
				for s := training.Y[a] + training.Y[b]; epoch == 0 && s > 3 && s < 11; s = training.Y[a] + training.Y[b] {
					a, b = rng.IntN(training.N()), rng.IntN(training.N())
				}
				copy(x1[64*i:], training.Image(a))
				copy(x2[64*i:], training.Image(b))
				sum[i] = float32(training.Y[a] + training.Y[b])
			}
			notebooks.Check(vm.RunAll())
			notebooks.Check(solver.Step(model))
			vm.Reset()
		}
		notebooks.Check(reader.RunAll())
		d, s := right(z.Data().([]float32), test.Y)
		reader.Reset()
		digits, sums = append(digits, d), append(sums, s)
	}
	return digits, sums, add.Calls().Backward
}

// right returns the shares of images that three units each read right, and of pairs.
func right(z []float32, labels []int) (digits, sums float64) {
	var wrong []int // how much too large each number is
	for i, digit := range labels {
		n := 0
		for _, v := range z[3*i : 3*i+3] {
			n *= 2
			if v > 0 {
				n++
			}
		}
		wrong = append(wrong, n-digit)
	}
	for _, a := range wrong {
		if a == 0 {
			digits++
		}
		for _, b := range wrong {
			if a+b == 0 {
				sums++
			}
		}
	}
	n := float64(len(labels))
	return 100 * digits / n, 100 * sums / (n * n)
}

/*
Two searchers, three seeds each. Below a loss of right and wrong, `Posterior` returns the derivative of -log P(right answer), which `STE` passes on as it is. The bands go from
the lowest seed to the highest.
*/

func Example_componentSums() {
	const seeds, epochs = 3, 12
	digits, sums := pictures.Panel{X: "Epoch", Y: "Digits that are read right (%)", YMax: 100}, pictures.Panel{X: "Epoch", Y: "Pairs with the right sum (%)", YMax: 100}
	// band is the mean of seeds, from the lowest to the highest.
	band := func(name string, runs [][]float64) pictures.Series {
		s := pictures.Series{Name: name}
		for e := range epochs {
			var all []float64
			mean := 0.0
			for _, r := range runs {
				all, mean = append(all, r[e]), mean+r[e]/float64(len(runs))
			}
			s.Y, s.Lo, s.Hi = append(s.Y, mean), append(s.Lo, slices.Min(all)), append(s.Hi, slices.Max(all))
		}
		return s
	}
	last := map[string]pictures.Series{}
	for _, m := range []struct {
		name     string
		searcher ops.Searcher
		rule     ops.Rule
	}{{"Posterior", ops.Posterior{}, ops.STE{}}, {"Flip", ops.Flip{}, ops.SSTE{}}} {
		var d, s [][]float64
		for seed := range uint64(seeds) {
			read, added, calls := learn(m.searcher, m.rule, seed+1, epochs)
			say("%-9s seed %d: %5.1f %% of the digits, %5.1f %% of the sums, %d calls", m.name, seed+1, read[epochs-1], added[epochs-1], calls)
			d, s = append(d, read), append(s, added)
		}
		last[m.name] = band(m.name, s)
		digits.Lines, sums.Lines = append(digits.Lines, band(m.name, d)), append(sums.Lines, last[m.name])
	}
	show(func(w io.Writer) error {
		return pictures.Lines(w, "Test images, after training with sums alone: mean and range of 3 seeds", digits, sums)
	})
	p, f := last["Posterior"], last["Flip"]
	fmt.Println("Posterior: more than 85 % of the sums with every seed:", p.Lo[epochs-1] > 85)
	fmt.Println("Flip: fewer on average:", f.Y[epochs-1] < p.Y[epochs-1])
	// Output:
	// Posterior: more than 85 % of the sums with every seed: true
	// Flip: fewer on average: true
}

/*
No label ever named a digit, and yet `Posterior` has them: there is one way only to read numbers so that all sums are right. Some seeds of `Flip` get stuck where two bits must change
together, as between 1 = 001 and 2 = 010.

What it costs: 63 calls a sample and step for six units, twice as many for each further one; what to do beyond that, `Search`, searchers of one's own, and larger
experiments with REINFORCE beside them are in docs/components.md and `go run ./examples/component`.
*/
