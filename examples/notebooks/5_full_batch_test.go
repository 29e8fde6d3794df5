//go:build !race

package notebooks_test

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"

	"github.com/ftprop/ftprop/examples/notebooks"
	"github.com/ftprop/ftprop/examples/pictures"
	"github.com/ftprop/ftprop/search"
	"gorgonia.org/tensor"
)

/*
# 5. Algorithm 1 and certificates

With targets for every hidden unit, training a threshold network falls apart into one small problem for each unit: are its targets
linearly separable from its inputs? Algorithm 1 (`search.FullBatch`) searches for targets that all units can reach, on the
whole data set. And whether a unit can reach its targets is not a matter of opinion: a certificate shows it, in exact arithmetic.

The exclusive or of two inputs: no single sign unit has it. The proof is a positive multiplier for each sample, with which the
constraints add up to 0 > 0.
*/

// matrix makes a tensor.
func matrix(rows, cols int, v ...float64) *tensor.Dense {
	return tensor.New(tensor.WithShape(rows, cols), tensor.WithBacking(v))
}

// vector makes one, too.
func vector(v ...float64) *tensor.Dense {
	return tensor.New(tensor.WithShape(len(v)), tensor.WithBacking(v))
}

func Example_fullBatchCertify() {
	x := matrix(4, 2, -1, -1, +1, -1, -1, +1, +1, +1)
	for _, t := range []*tensor.Dense{vector(-1, +1, +1, -1), vector(-1, +1, +1, +1)} {
		c := notebooks.Must(search.Certify(context.Background(), search.Layer{}, x, t))
		fmt.Println("targets", t.Data(), "are", c)
		fmt.Println("verified:", c.Verify(x, t) == nil)
	}
	// Output:
	// targets [-1 1 1 -1] are layer 1, unit 1: inseparable: 1 x sample 0 + 1 x sample 1 + 1 x sample 2 + 1 x sample 3 cancel
	// verified: true
	// targets [-1 1 1 1] are layer 1, unit 1: separable
	// verified: true
}

/*
Now a problem that needs a search: the parity of 5 inputs, 32 samples, with a hidden layer of 8 sign units. The network starts
from random weights.
*/

// parity returns all inputs of n bits, and +1 where an odd number of them is +1.
func parity(n int) (x, y *tensor.Dense) {
	var bits, labels []float64
	for i := range 1 << n {
		label := -1.0
		for b := range n {
			v := float64(i>>b&1)*2 - 1
			bits = append(bits, v)
			label *= -v
		}
		if n%2 == 0 {
			label = -label
		}
		labels = append(labels, label)
	}
	return matrix(1<<n, n, bits...), vector(labels...)
}

// layers makes a network of random weights.
func layers(sizes ...int) (out []search.Layer) {
	rng := rand.New(rand.NewPCG(1, 2))
	for l := range len(sizes) - 1 {
		w := make([]float64, sizes[l]*sizes[l+1])
		for i := range w {
			w[i] = rng.NormFloat64()
		}
		out = append(out, search.Layer{W: matrix(sizes[l+1], sizes[l], w...), B: vector(make([]float64, sizes[l+1])...)})
	}
	return out
}

func Example_fullBatchParity() {
	x, y := parity(5)
	net := layers(5, 8, 1)
	var missed pictures.Series
	best := len(y.Float64s())
	fit := search.FullBatch{Seed: 1, Progress: func(p search.Progress) {
		best = min(best, p.Missed)
		missed.Y = append(missed.Y, float64(best))
	}}
	result := notebooks.Must(fit.Fit(net, x, y))
	fmt.Println(result.Status, "labels missed:", result.Missed, "all certificates verified:", result.Verify() == nil)
	for l, r := range result.Layers {
		fmt.Printf("layer %d: %d of %d units separable\n", l+1, r.Separable, r.Units)
	}
	say("%d settings of the hidden targets, %d starts, %v", result.Settings, result.Starts, result.Elapsed.Round(1e6))
	show(func(w io.Writer) error {
		return pictures.Lines(w, "Parity of 5 inputs, 5-8-1 sign units", pictures.Panel{X: "Setting of the hidden layer's targets", Y: "Labels missed by the best so far (of 32)", Lines: []pictures.Series{missed}})
	})
	z := notebooks.Must(search.Forward(net, x)).Float64s()
	wrong := 0
	for i, t := range y.Float64s() {
		if (z[i] > 0) != (t > 0) {
			wrong++
		}
	}
	fmt.Println("wrong labels, counted anew:", wrong)
	// Output:
	// Feasible labels missed: 0 all certificates verified: true
	// layer 1: 8 of 8 units separable
	// layer 2: 1 of 1 units separable
	// wrong labels, counted anew: 0
}

/*
And what no network can do: two samples with the same inputs and different labels. The certificate names them.
*/

func Example_fullBatchInfeasible() {
	x, y := matrix(3, 1, 0, 0.5, 0.5), vector(-1, +1, -1)
	result := notebooks.Must(search.FullBatch{Seed: 1}.Fit(layers(1, 2, 1), x, y))
	fmt.Println(result.Status)
	fmt.Println(result.Layers[1].Certificates[0])
	// Output:
	// Infeasible
	// layer 2, unit 1: inseparable: 1 x sample 1 + 1 x sample 2 cancel; samples 1 and 2 have the same inputs and different targets
}
