package models_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/ftprop/ftprop/deploy"
	"github.com/ftprop/ftprop/internal/gtest"
	"github.com/ftprop/ftprop/models"
	"github.com/ftprop/ftprop/nodes"
	"github.com/ftprop/ftprop/ops"
	"github.com/ftprop/ftprop/ops/nn"
	"gorgonia.org/gorgonia"
	"gorgonia.org/tensor"
)

// inIntegers quantises a network.
func inIntegers(t testing.TB, net *models.Net, o deploy.QuantiseOptions) *deploy.Integer {
	t.Helper()
	in, err := net.Quantise(o)
	if err != nil {
		t.Fatal(err)
	}
	return in
}

// inputsOf returns inputs for a network, as it was trained on and as its integers take them: pixels, or real numbers that rounding does not change.
func inputsOf(net *models.Net, rng *rand.Rand, p *deploy.PixelInput) (x []float64, pixels []uint8, reals []float32) {
	shape := net.Input.Shape()
	for i := range shape.TotalSize() {
		if p == nil {
			v := float64(rng.IntN(161)-80) / 32
			x, reals = append(x, v), append(reals, float32(v))
			continue
		}
		c := i / shape[2:].TotalSize() % shape[1]
		v := uint8(rng.IntN(256))
		x, pixels = append(x, (float64(v)/255-p.Mean[c])/p.Std[c]), append(pixels, v)
	}
	return x, pixels, reals
}

func runIntegers(t testing.TB, in *deploy.Integer, n int, pixels []uint8, reals []float32) []float64 {
	t.Helper()
	out := make([]float32, n*in.Classes())
	var err error
	if pixels != nil {
		err = in.Run(out, pixels)
	} else {
		err = in.RunReal(out, reals)
	}
	if err != nil {
		t.Fatal(err)
	}
	return float64s(out)
}

// Networks whose weights are small integers times scales lose nothing: integers and Gorgonia's machine compute the same. Factors of normalisations are
// powers of two, some negative; what is added to sums is any number.
func TestQuantiseIsExact(t *testing.T) {
	for name, build := range exported {
		for _, a := range []ops.Activation{ops.Sign{}, ops.Step01{}, ops.Staircase{Steps: 3}, ops.Staircase{Steps: 5}, ops.Staircase{Steps: 5, Lo: -1, Hi: 1}} {
			const n = 6
			net, err := build(tensor.Float64, n, nodes.Act(a))
			net = must(t, net, err)
			rng := rand.New(rand.NewPCG(11, 12))
			for _, p := range net.Params() {
				shape, w := p.Shape(), p.Value().Data().([]float64)
				for i := range w {
					switch {
					case len(shape) > 1:
						fan := shape[1:].TotalSize()
						w[i] = math.Ldexp(float64(rng.IntN(7)-3), -int(math.Log2(float64(fan)))/2-i/fan%2)
					case strings.HasSuffix(p.Name(), ".weight"):
						w[i] = math.Ldexp(1-2*float64(rng.IntN(2)), rng.IntN(3)-1)
					default:
						w[i] = rng.NormFloat64() / 4
					}
				}
			}
			for _, node := range net.Input.Graph().AllNodes() {
				if op, ok := node.Op().(*nn.BatchNorm); ok {
					mean, variance := op.Running()
					for c := range mean {
						mean[c], variance[c] = rng.NormFloat64()/4, 1-op.Eps()
					}
					if err := op.SetRunning(mean, variance); err != nil {
						t.Fatal(err)
					}
				}
			}
			pixels := &deploy.PixelInput{Mean: []float64{0.2, 0.4, 0.6}[:net.Input.Shape()[1]], Std: []float64{0.25, 0.5, 0.25}[:net.Input.Shape()[1]]}
			for _, p := range []*deploy.PixelInput{nil, pixels} {
				for _, bits := range []int{8, 16} {
					in := inIntegers(t, net, deploy.QuantiseOptions{Bits: bits, Pixels: p})
					x, bytes, reals := inputsOf(net, rng, p)
					at, err := net.At(n)
					want := logits(t, must(t, at, err), x)
					got := runIntegers(t, in, n, bytes, reals)
					if d := largest(got, want); !(d <= 1e-5) {
						t.Errorf("%s, %v, %d bits, pixels %t: logits differ by %v: %v, want %v", name, a, bits, p != nil, d, got[:in.Classes()], want[:in.Classes()])
					}
					if same := largest(want, make([]float64, len(want))) == 0; same {
						t.Errorf("%s, %v: all logits are 0: the test has no force", name, a)
					}
				}
			}
		}
	}
}

// Random weights of 16 bits: nearly all images have the logits of the float network, which says that all of their units have its levels; of 8 bits
// most have its class.
func TestQuantiseIsClose(t *testing.T) {
	images, sameLogits, sameClasses := 0, 0, 0
	for name := range exported {
		for _, a := range []ops.Activation{ops.Sign{}, ops.Step01{}, ops.Staircase{Steps: 3}, ops.Staircase{Steps: 5, Lo: -1, Hi: 1}} {
			const n = 12
			net, _ := normalised(t, name, n, nodes.Act(a))
			rng := rand.New(rand.NewPCG(13, 14))
			pixels := &deploy.PixelInput{Mean: []float64{0.45, 0.41, 0.5}[:net.Input.Shape()[1]], Std: []float64{0.22, 0.24, 0.2}[:net.Input.Shape()[1]]}
			for _, p := range []*deploy.PixelInput{nil, pixels} {
				x, bytes, reals := inputsOf(net, rng, p)
				at, err := net.At(n)
				want := logits(t, must(t, at, err), x)
				fine := runIntegers(t, inIntegers(t, net, deploy.QuantiseOptions{Bits: 16, Pixels: p}), n, bytes, reals)
				coarse := runIntegers(t, inIntegers(t, net, deploy.QuantiseOptions{Pixels: p}), n, bytes, reals)
				k := len(want) / n
				for i := range n {
					images++
					if largest(fine[i*k:(i+1)*k], want[i*k:(i+1)*k]) < 1e-3 {
						sameLogits++
					}
					if first(coarse[i*k:(i+1)*k]) == first(want[i*k:(i+1)*k]) {
						sameClasses++
					}
				}
			}
		}
	}
	t.Logf("of %d images %d have the same logits with 16 bits, %d the same class with 8", images, sameLogits, sameClasses)
	if sameLogits < images*9/10 || sameClasses < images*85/100 {
		t.Errorf("of %d images only %d have the same logits with 16 bits, %d the same class with 8", images, sameLogits, sameClasses)
	}
}

// first is the index of the largest.
func first(x []float64) int {
	best := 0
	for i, v := range x {
		if v > x[best] {
			best = i
		}
	}
	return best
}

func TestQuantiseErrors(t *testing.T) {
	build := func(act nodes.Activation) *models.Net {
		net, err := models.ConvNet4(input(tensor.Float64, 2, 1, 8, 8), models.Config{Act: act, Widths: []int{2, 2, 3}})
		return must(t, net, err)
	}
	for what, c := range map[string]struct {
		act   nodes.Activation
		o     deploy.QuantiseOptions
		words []string
	}{
		"ReLU":    {nodes.ReLU, deploy.QuantiseOptions{}, []string{"layer all_modules.block1.nonlin1", "ReLU", "integer form"}},
		"stock":   {gorgonia.Tanh, deploy.QuantiseOptions{}, []string{"layer all_modules.block1.nonlin1", "tanh"}},
		"nothing": {func(x *gorgonia.Node) (*gorgonia.Node, error) { return x, nil }, deploy.QuantiseOptions{}, []string{"block2.conv2", "without a threshold activation"}},
		"layer":   {nodes.Sign, deploy.QuantiseOptions{LayerBits: map[string]int{"conv1": 4}}, []string{`"conv1"`, `"all_modules.block1.conv1"`}},
	} {
		_, err := build(c.act).Quantise(c.o)
		gtest.WantError(t, what, err, append(c.words, "models: ConvNet4 in integers")...)
		if err != nil && strings.Contains(err.Error(), "deploy:") {
			t.Errorf("%s: two prefixes: %v", what, err)
		}
	}
	in := inIntegers(t, build(nodes.Sign), deploy.QuantiseOptions{LayerBits: map[string]int{"all_modules.block1.conv1": 3}})
	if s := in.String(); !strings.Contains(s, "all_modules.block1.conv1") || !strings.Contains(s, "ConvNet4: inputs") {
		t.Errorf("the table:\n%s", s)
	}
}

// Weights of all sizes, and none at all: an error, or a network whose logits are numbers.
func FuzzQuantise(f *testing.F) {
	f.Add(uint64(1), 0.1, 1.0, 8, false)
	f.Add(uint64(2), 1e-20, 0.0, 2, true)
	f.Add(uint64(3), 1e15, 1e-9, 16, false)
	f.Add(uint64(4), 0.0, 0.0, 8, true)
	f.Add(uint64(5), 1e-300, 1e30, 9, false)
	f.Add(uint64(6), 1e38, 1e38, 8, true)
	const n = 2
	net, err := models.ResNet18(input(tensor.Float64, n, 1, 8, 8), models.Config{Widths: []int{2, 2, 1, 2}, Classes: 2, Act: nodes.Act(ops.Staircase{Steps: 2})})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, seed uint64, weights, biases float64, bits int, pixels bool) {
		rng := rand.New(rand.NewPCG(seed, 0))
		for _, p := range net.Params() {
			by := weights
			if strings.HasSuffix(p.Name(), ".bias") {
				by = biases
			}
			for i, x := 0, p.Value().Data().([]float64); i < len(x); i++ {
				x[i] = (rng.Float64() - 0.5) * by
				if rng.IntN(4) == 0 {
					x[i] = math.RoundToEven(8*x[i]) / 8
				}
			}
		}
		var p *deploy.PixelInput
		if pixels {
			p = &deploy.PixelInput{Mean: []float64{0.3}, Std: []float64{0.5}}
		}
		in, err := net.Quantise(deploy.QuantiseOptions{Bits: bits, Pixels: p})
		if err != nil {
			return
		}
		_, bytes, reals := inputsOf(net, rng, p)
		for i, v := range runIntegers(t, in, n, bytes, reals) {
			if v != v {
				t.Errorf("logit %d is not a number: %v", i, fmt.Sprint(in))
			}
		}
	})
}
