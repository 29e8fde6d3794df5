package search_test

import (
	"context"
	"fmt"

	"github.com/ftprop/ftprop/search"
	"gorgonia.org/tensor"
)

func matrix(rows, cols int, v ...float64) *tensor.Dense {
	return tensor.New(tensor.WithShape(rows, cols), tensor.WithBacking(v))
}

func vector(v ...float64) *tensor.Dense {
	return tensor.New(tensor.WithShape(len(v)), tensor.WithBacking(v))
}

// The exclusive or, as in the package documentation: the proof that no sign unit has it, and targets that hidden units can reach.
func ExampleCertify() {
	x := matrix(4, 2,
		-1, -1,
		+1, -1,
		-1, +1,
		+1, +1)
	for _, t := range []*tensor.Dense{
		vector(-1, +1, +1, -1), // the labels
		vector(-1, +1, +1, +1), // targets of hidden unit 1
		vector(+1, +1, +1, -1), // and 2
	} {
		c, err := search.Certify(context.Background(), search.Layer{}, x, t)
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Println(c.Verdict, c.Verify(x, t) == nil)
		// -1 (-1 -1 1) + 1 (1 -1 1) + 1 (-1 1 1) - 1 (1 1 1) = 0
		for _, m := range c.Proof {
			fmt.Printf("  %v times sample %d\n", m.Lambda, m.Sample)
		}
	}
	// Output:
	// Inseparable true
	//   1 times sample 0
	//   1 times sample 1
	//   1 times sample 2
	//   1 times sample 3
	// Separable true
	// Separable true
}

// Search finds such targets. The start is useless: all weights are zero.
func ExampleFullBatch() {
	x, y := matrix(4, 2, -1, -1, +1, -1, -1, +1, +1, +1), vector(-1, +1, +1, -1)
	layers := []search.Layer{
		{W: matrix(2, 2, 0, 0, 0, 0), B: vector(0, 0)},
		{W: matrix(1, 2, 0, 0), B: vector(0)},
	}
	result, err := search.FullBatch{Seed: 1}.Fit(layers, x, y)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(result.Status, result.Missed, result.Verify() == nil)
	for d, l := range result.Layers {
		fmt.Printf("layer %d: %d of %d units separable\n", d+1, l.Separable, l.Units)
	}
	z, err := search.Forward(layers, x)
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, v := range z.Float64s() {
		fmt.Print(v > 0, " ")
	}
	// Output:
	// Feasible 0 true
	// layer 1: 2 of 2 units separable
	// layer 2: 1 of 1 units separable
	// false true true false
}

// Two samples with the same inputs and different labels: no network has both, and the certificate says which.
func ExampleCertificate_Pair() {
	x, y := matrix(3, 1, 0, 0.5, 0.5), vector(-1, +1, -1)
	layers := []search.Layer{
		{W: matrix(2, 1, 1, -1), B: vector(0, 0)},
		{W: matrix(1, 2, 1, 1), B: vector(0)},
	}
	result, err := search.FullBatch{}.Fit(layers, x, y)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(result.Status)
	fmt.Println(result.Layers[1].Certificates[0])
	// Output:
	// Infeasible
	// layer 2, unit 1: inseparable: 1 x sample 1 + 1 x sample 2 cancel; samples 1 and 2 have the same inputs and different targets
}
