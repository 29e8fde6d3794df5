package deploy_test

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/ftprop/ftprop/deploy"
	"github.com/ftprop/ftprop/nodes"
	"gorgonia.org/gorgonia"
	"gorgonia.org/tensor"
)

// Weights of all sizes, and none at all, in a network with pooling, a projection and a shortcut: a network of integers
// whose logits are numbers, or where weights are not finite or huge an error.
func FuzzQuantise(f *testing.F) {
	f.Add(uint64(1), 0.1, 1.0, 8, false)
	f.Add(uint64(2), 1e-20, 0.0, 2, true)
	f.Add(uint64(3), 1e15, 1e-9, 16, false)
	f.Add(uint64(4), 0.0, 0.0, 8, true)
	f.Add(uint64(5), 1e-300, 1e30, 9, false)
	f.Add(uint64(6), 1e38, 1e38, 8, true)
	n := newNet(f, tensor.Float64)
	x := n.param("x", 1, 1, 4, 4)
	norm := func(name string, x *gorgonia.Node) *gorgonia.Node {
		return n.norm(name, x, []float64{1, 1}, []float64{0, 0})
	}
	z := n.conv("w1", x, 2, 3, 1, 1, make([]float64, 18)...)
	z = norm("norm1", n.must(nodes.MaxPool2D(norm("norm0", z), tensor.Shape{2, 2}, []int{0, 0}, []int{2, 2})))
	h := n.must(nodes.QReLU(z, 2))
	z = n.must(nodes.Add(n.must(nodes.Add(norm("norm2", n.conv("w2", h, 2, 1, 0, 1, make([]float64, 4)...)), n.conv("w3", h, 2, 3, 1, 1, make([]float64, 36)...))), h))
	h = n.must(nodes.Flatten(n.must(nodes.Sign(z))))
	g := traced(f, x, n.must(nodes.Linear(h, n.param("w4", 2, 8), n.param("b4", 2))))
	f.Fuzz(func(t *testing.T, seed uint64, weights, others float64, bits int, pixels bool) {
		rng := rand.New(rand.NewPCG(seed, 0))
		for _, p := range g.Params() {
			by := weights
			if p.Node.Dims() == 1 {
				by = others
			}
			for i, v := 0, p.Node.Value().Data().([]float64); i < len(v); i++ {
				if v[i] = (rng.Float64() - 0.5) * by; rng.IntN(4) == 0 {
					v[i] = math.RoundToEven(8*v[i]) / 8
				}
			}
		}
		o := deploy.QuantiseOptions{Bits: bits}
		if pixels {
			o.Pixels = &deploy.PixelInput{Mean: []float64{rng.Float64()}, Std: []float64{0.1 + rng.Float64()}}
		}
		in, err := g.Quantise(o)
		if err != nil {
			if size := max(math.Abs(weights), math.Abs(others)); bits >= 2 && bits <= 16 && size < 1e6 {
				t.Error(err)
			}
			return
		}
		logits := make([]float32, 2)
		if pixels {
			err = in.Run(logits, []uint8{0, 255, 1, 2, 3, 128, 127, 64, 200, 100, 50, 25, 12, 6, 3, 1})
		} else {
			err = in.RunReal(logits, []float32{0, 1, -1, 1e30, -1e30, 0.5, 0.25, 1. / 32, 1. / 64, 3. / 64, 2, -2, -3, -4, -5, 4})
		}
		if err != nil || logits[0] != logits[0] || logits[1] != logits[1] {
			t.Errorf("logits %v, %v:\n%v", logits, err, in)
		}
	})
}
