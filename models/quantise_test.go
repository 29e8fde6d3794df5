package models_test

import (
	"bytes"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/ftprop/ftprop/deploy"
	"github.com/ftprop/ftprop/internal/gtest"
	"github.com/ftprop/ftprop/internal/intnet"
	"github.com/ftprop/ftprop/internal/ort"
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

// randomise sets all numbers of a network: weights, of rows of fan elements, and factors of normalisations to given ones, biases, shifts and means to
// small ones.
func randomise(t testing.TB, net *models.Net, rng *rand.Rand, weight func(fan, row int) float64, factor func() float64) {
	t.Helper()
	for _, p := range net.Params() {
		shape, w := p.Shape(), p.Value().Data().([]float64)
		for i := range w {
			switch {
			case len(shape) > 1:
				fan := shape[1:].TotalSize()
				w[i] = weight(fan, i/fan)
			case strings.HasSuffix(p.Name(), ".weight"):
				w[i] = factor()
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
}

// Networks whose weights are small integers times scales lose nothing: integers and Gorgonia's machine compute the same. Factors of normalisations are
// powers of two, some negative; what is added to sums is any number.
func TestQuantiseIsExact(t *testing.T) {
	if gtest.Race {
		t.Skip("SKIPPED: numbers, not goroutines, are what this is about")
	}
	images, differ := 0, 0
	for name, build := range exported {
		for _, a := range []ops.Activation{ops.Sign{}, ops.Step01{}, ops.Staircase{Steps: 3}, ops.Staircase{Steps: 5}, ops.Staircase{Steps: 5, Lo: -1, Hi: 1}} {
			const n = 6
			net, err := build(tensor.Float64, n, nodes.Act(a))
			net = must(t, net, err)
			rng := rand.New(rand.NewPCG(11, 12))
			randomise(t, net, rng, func(fan, row int) float64 {
				return math.Ldexp(float64(rng.IntN(7)-3), -int(math.Log2(float64(fan)))/2-row%2)
			}, func() float64 { return math.Ldexp(1-2*float64(rng.IntN(2)), rng.IntN(3)-1) })
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
					for i := range n - 1 {
						k := in.Classes()
						if images++; largest(want[:k], want[(i+1)*k:(i+2)*k]) > 1e-3 {
							differ++
						}
					}
				}
			}
		}
	}
	if differ < images/2 {
		t.Errorf("of %d images only %d have logits unlike the first: the test has no force", images, differ)
	}
}

// Random weights of 16 bits: nearly all images have the logits of the float network, which says that all of their units have its levels (669 of
// 672 when this was written); of 8 bits most have its class (597: untrained networks are near many thresholds).
func TestQuantiseIsClose(t *testing.T) {
	if gtest.Race {
		t.Skip("SKIPPED: numbers, not goroutines, are what this is about")
	}
	images, differ, sameLogits, sameClasses := 0, 0, 0, 0
	for _, build := range exported {
		for _, a := range []ops.Activation{ops.Sign{}, ops.Step01{}, ops.Staircase{Steps: 3}, ops.Staircase{Steps: 5, Lo: -1, Hi: 1}} {
			const n = 12
			net, err := build(tensor.Float64, n, nodes.Act(a))
			net = must(t, net, err)
			rng := rand.New(rand.NewPCG(13, 14))
			randomise(t, net, rng, func(fan, _ int) float64 { return rng.NormFloat64() * 1.5 / math.Sqrt(float64(fan)) },
				func() float64 { return rng.NormFloat64() + 1 })
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
					if largest(want[i*k:(i+1)*k], want[:k]) > 1e-2 {
						differ++
					}
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
	t.Logf("of %d images, %d of them unlike the first, %d have the same logits with 16 bits, %d the same class with 8", images, differ, sameLogits, sameClasses)
	if differ < images/2 {
		t.Errorf("of %d images only %d have logits unlike the first: the test has no force", images, differ)
	}
	if sameLogits < images*95/100 || sameClasses < images*80/100 {
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

// The file of a network is the network: read back it is equal, and ONNX Runtime computes equal bits from it.
func TestIntegerFiles(t *testing.T) {
	const n = 3
	type computed struct {
		job  ort.Job
		want []float64
	}
	var all []computed
	for name, build := range exported {
		for i, a := range []ops.Activation{ops.Sign{}, ops.Step01{}, ops.Staircase{Steps: 3}, ops.Staircase{Steps: 5, Lo: -1, Hi: 1}} {
			net, err := build(tensor.Float64, n, nodes.Act(a))
			net = must(t, net, err)
			rng := rand.New(rand.NewPCG(13, 14))
			randomise(t, net, rng, func(fan, _ int) float64 { return rng.NormFloat64() * 1.5 / math.Sqrt(float64(fan)) },
				func() float64 { return rng.NormFloat64() + 1 })
			o := deploy.QuantiseOptions{Bits: []int{8, 16, 4, 2}[i]}
			if i%2 == 0 {
				o.Pixels = &deploy.PixelInput{Mean: []float64{0.45, 0.41, 0.5}[:net.Input.Shape()[1]], Std: []float64{0.22, 0.24, 0.2}[:net.Input.Shape()[1]]}
			}
			in := inIntegers(t, net, o)
			var file bytes.Buffer
			if size, err := in.WriteTo(&file); err != nil || size != int64(file.Len()) {
				t.Fatalf("%s, %v: %d bytes, %v", name, a, size, err)
			}
			read, err := intnet.ReadONNX(bytes.NewReader(file.Bytes()))
			if err != nil {
				t.Fatalf("%s, %v: %v", name, a, err)
			}
			var again bytes.Buffer
			if err := read.WriteONNX(&again); err != nil || !bytes.Equal(again.Bytes(), file.Bytes()) {
				t.Errorf("%s, %v: read back it is another network (%v)", name, a, err)
			}
			_, pixels, reals := inputsOf(net, rng, o.Pixels)
			all = append(all, computed{
				ort.Job{Name: fmt.Sprint(name, a), Model: file.Bytes(), Pixels: pixels, Reals: reals, Shape: net.Input.Shape(), Batch: 2}, runIntegers(t, in, n, pixels, reals),
			})
		}
	}
	net, err := models.MLP(input(tensor.Float32, 1, 4), models.Config{Widths: []int{3}})
	_, err = inIntegers(t, must(t, net, err), deploy.QuantiseOptions{}).WriteTo(refuses{})
	gtest.WantError(t, "a full disk", err, "deploy: writing MLP in integers", "no room")

	rt := ort.Find(t)
	var jobs []ort.Job
	for _, c := range all {
		jobs = append(jobs, c.job)
	}
	for i, out := range rt.RunAll(t, jobs) {
		if got := float64s(out[0].Data); !slices.Equal(got, all[i].want) {
			t.Errorf("%s in ONNX Runtime: %v, want %v", jobs[i].Name, got, all[i].want)
		}
	}
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
