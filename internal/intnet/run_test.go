package intnet_test

import (
	"math"
	"slices"
	"testing"

	"github.com/ftprop/ftprop/internal/gtest"
	"github.com/ftprop/ftprop/internal/intnet"
	"github.com/ftprop/ftprop/internal/intnet/intnettest"
)

// one is a product of a single filter of 2x2 on images of one channel.
func one(from int, pad int, w ...int8) intnet.Term {
	return intnet.Term{From: from, Product: &intnet.Product{Out: 1, Kernel: [2]int{2, 2}, Stride: [2]int{1, 1}, Pad: [2]int{pad, pad}, Dilation: [2]int{1, 1}, Weights: w}}
}

// A network worked out by hand, layer by layer.
func TestByHand(t *testing.T) {
	net := &intnet.Network{Name: "Hand", Input: intnet.Input{Shape: intnet.Shape{C: 1, H: 2, W: 2}}}
	net.Layers = []intnet.Layer{
		// Differences of neighbours, x - right, over the padded image: rows (0 0 0 0), (0 10 20 0), (0 30 200 0), (0 0 0 0), taken from the second
		// row of the filter: -10 -10 20 / -30 -170 200 / 0 0 0.
		&intnet.Units{Name: "units", Sum: intnet.Sum{Terms: []intnet.Term{one(0, 1, 0, 0, 1, -1)}}, Steps: 1, Step: 2, Zero: 1, Thresholds: []int32{-10}},
		// Signs: + + + / - - + / + + +. Maxima of 2x2: + + / + +, as 2 2 / 2 2.
		&intnet.MaxPool{Name: "pool", Of: 1, Kernel: [2]int{2, 2}, Stride: [2]int{1, 1}},
		&intnet.Units{Name: "levels", Sum: intnet.Sum{Terms: []intnet.Term{
			{From: 2, Mul: []int32{3}},
			{From: 1, Product: &intnet.Product{Out: 1, Kernel: [2]int{2, 2}, Stride: [2]int{1, 1}, Dilation: [2]int{1, 1}, Weights: []int8{1, 1, 1, 1}}, Mul: []int32{-1}},
		}, Bias: []int32{0, 0, 0, 1}}, Steps: 3, Step: 1, Thresholds: []int32{1, 2, 3}},
		// Three times a maximum, which is 1, less the sum of the four signs: 3 - (1+1-1-1) = 3, 3 - (1+1-1+1) = 1, 3 - (-1-1+1+1) = 3, 3 - (-1+1+1+1) + 1 = 2: levels 3 1 3 2.
		&intnet.SumPool{Name: "mean", Of: 3, Kernel: [2]int{2, 1}, Stride: [2]int{1, 1}}, // 6 3
		&intnet.Logits{
			Name: "logits", Sum: intnet.Sum{Terms: []intnet.Term{{From: 4, Product: &intnet.Product{Out: 2, Kernel: [2]int{1, 2}, Stride: [2]int{1, 1}, Dilation: [2]int{1, 1}, Weights: []int8{1, 10, -2, 127}}}}},
			Scale: []float32{0.5, 1}, Offset: []float32{0.25, 0}, // 6 + 30 = 36, -12 + 381 = 369
		},
	}
	got := make([]float32, 2)
	if err := net.Run(got, []uint8{10, 20, 30, 200}); err != nil {
		t.Fatal(err)
	}
	if want := []float32{18.25, 369}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	if err := net.Run(got, []uint8{1, 2, 3}); err == nil {
		t.Error("three pixels of four")
	}
	if err := net.RunReal(got, []float32{1, 2, 3, 4}); err == nil {
		t.Error("real numbers for a network on pixels")
	}
}

func TestRounding(t *testing.T) {
	r := intnet.Rounding{Unit: 0.5, Max: 3}
	got := make([]uint8, 9)
	if at := r.Round(got, []float32{0, 0.25, 0.75, -0.25, -0.75, 1.6, -1e30, float32(math.Inf(1)), -0.5}); at != -1 {
		t.Errorf("element %d", at)
	}
	if want := []uint8{128, 128, 130, 128, 126, 131, 125, 131, 127}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	if at := r.Round(got, []float32{0, float32(math.NaN())}); at != 1 {
		t.Errorf("NaN at %d, want 1", at)
	}
}

// Random networks are valid, and of five of a kind one at least tells images apart.
func TestRandomNetworks(t *testing.T) {
	for _, k := range intnettest.Kinds() {
		differ := false
		for seed := uint64(0); seed < 5 && !differ; seed++ {
			n := intnettest.Network(k, seed)
			pixels, reals := intnettest.Images(n, 3, 1)
			logits, err := intnettest.Logits(n, pixels, reals)
			if err != nil {
				t.Fatalf("%v: %v", k, err)
			}
			c := n.Classes()
			differ = !slices.Equal(logits[:c], logits[c:2*c]) || !slices.Equal(logits[:c], logits[2*c:])
		}
		if !differ {
			t.Errorf("%v: three images have the same logits", k)
		}
	}
}

func TestErrors(t *testing.T) {
	for name, c := range map[string]struct {
		change func(n *intnet.Network)
		words  []string
	}{
		"no layers":     {func(n *intnet.Network) { n.Layers = nil }, []string{"without layers"}},
		"no logits":     {func(n *intnet.Network) { n.Layers = n.Layers[:1] }, []string{"units", "logits as the last layer"}},
		"a later value": {func(n *intnet.Network) { n.Layers[0].(*intnet.Units).Sum.Terms[0].From = 1 }, []string{"units", "value 1, want 0 to 0"}},
		"weights":       {func(n *intnet.Network) { n.Layers[0].(*intnet.Units).Sum.Terms[0].Product.Out = 2 }, []string{"4 weights, want 2x1x2x2"}},
		"thresholds":    {func(n *intnet.Network) { n.Layers[0].(*intnet.Units).Thresholds = nil }, []string{"0 thresholds for 1 channels"}},
		"order":         {func(n *intnet.Network) { l := n.Layers[0].(*intnet.Units); l.Steps, l.Thresholds = 2, []int32{1, 0} }, []string{"threshold 1 is above 0"}},
		"levels": {func(n *intnet.Network) {
			l := n.Layers[0].(*intnet.Units)
			l.Steps, l.Step, l.Thresholds = 2, 128, []int32{0, 1}
		}, []string{"up to 255"}},
		"nothing":           {func(n *intnet.Network) { n.Layers[0].(*intnet.Units).Sum.Terms = nil }, []string{"a sum of nothing"}},
		"multiplier":        {func(n *intnet.Network) { n.Layers[0].(*intnet.Units).Sum.Terms[0].Mul = []int32{1 << 30} }, []string{"channel 0", "32 bits"}},
		"multipliers":       {func(n *intnet.Network) { n.Layers[0].(*intnet.Units).Sum.Terms[0].Mul = []int32{1, 2} }, []string{"2 multipliers"}},
		"bias":              {func(n *intnet.Network) { n.Layers[0].(*intnet.Units).Sum.Bias = []int32{1, 2} }, []string{"2 elements for a sum of 1"}},
		"a large bias":      {func(n *intnet.Network) { n.Layers[0].(*intnet.Units).Sum.Bias = []int32{math.MinInt32} }, []string{"32 bits"}},
		"a large filter":    {func(n *intnet.Network) { n.Layers[0].(*intnet.Units).Sum.Terms[0].Product.Kernel[0] = 3 }, []string{"do not fit into 2"}},
		"no stride":         {func(n *intnet.Network) { n.Layers[0].(*intnet.Units).Sum.Terms[0].Product.Stride[1] = 0 }, []string{"stride 0"}},
		"huge padding":      {func(n *intnet.Network) { n.Layers[0].(*intnet.Units).Sum.Terms[0].Product.Pad[1] = 1 << 27 }, []string{"at most"}},
		"empty images":      {func(n *intnet.Network) { n.Input.Shape.W = 0 }, []string{"input", "sizes of 1 and more"}},
		"huge images":       {func(n *intnet.Network) { n.Input.Shape.W = math.MaxInt }, []string{"input", "at most"}},
		"features of maps":  {func(n *intnet.Network) { n.Input.Flat = true }, []string{"features of 2x2"}},
		"a unit":            {func(n *intnet.Network) { n.Input.Real = &intnet.Rounding{Unit: 0.3, Max: 1} }, []string{"power of two"}},
		"no range":          {func(n *intnet.Network) { n.Input.Real = &intnet.Rounding{Unit: 0.5} }, []string{"1 to 127"}},
		"an infinite scale": {func(n *intnet.Network) { n.Layers[1].(*intnet.Logits).Scale[0] = float32(math.Inf(1)) }, []string{"class 0", "finite"}},
		"classes":           {func(n *intnet.Network) { n.Layers[1].(*intnet.Logits).Scale = nil }, []string{"0 scales"}},
	} {
		n := &intnet.Network{Name: "N", Input: intnet.Input{Shape: intnet.Shape{C: 1, H: 2, W: 2}}}
		n.Layers = []intnet.Layer{
			&intnet.Units{Name: "units", Sum: intnet.Sum{Terms: []intnet.Term{one(0, 0, 1, 2, 3, 4)}}, Steps: 1, Step: 2, Zero: 1, Thresholds: []int32{0}},
			&intnet.Logits{Name: "logits", Sum: intnet.Sum{Terms: []intnet.Term{{From: 1}}}, Scale: []float32{1}, Offset: []float32{0}},
		}
		if _, err := n.Values(); err != nil {
			t.Fatal(err)
		}
		c.change(n)
		_, err := n.Values()
		gtest.WantError(t, name, err, c.words...)
	}
}
