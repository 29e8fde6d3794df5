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
	"github.com/ftprop/ftprop/infer"
	"github.com/ftprop/ftprop/internal/gtest"
	"github.com/ftprop/ftprop/internal/ort"
	"github.com/ftprop/ftprop/models"
	"github.com/ftprop/ftprop/nodes"
	"github.com/ftprop/ftprop/ops"
	"gorgonia.org/gorgonia"
	"gorgonia.org/tensor"
)

// quantisers are those of Config.Weights that Net.WithoutLatent has a file for.
func quantisers() []ops.WeightQuantiser {
	return []ops.WeightQuantiser{
		ops.SignWeights{}, ops.SignWeights{Scaled: true, Rule: ops.SoftHinge{}}, ops.TernaryWeights{}, ops.TernaryWeights{Axis: -1, Rule: ops.STE{}},
		ops.QuantWeights{Bits: 2}, ops.QuantWeights{Bits: 4, Axis: -1}, ops.QuantWeights{Bits: 8}, ops.QuantWeights{Bits: 2, Form: ops.DoReFa},
	}
}

// convNet4With is a small ConvNet4 with batch normalisation and quantised weights, conv2 and fc1.
func convNet4With(t testing.TB, dt tensor.Dtype, q ops.WeightQuantiser, all bool) *models.Net {
	t.Helper()
	net, err := models.ConvNet4(input(dt, 3, 1, 8, 8), models.Config{Widths: []int{5, 6, 7}, BatchNorm: true, Weights: q, AllWeights: all, Seed: 4})
	return must(t, net, err)
}

// All layers with weights are quantised but the first and the last.
func TestWeightsOfLayers(t *testing.T) {
	for name, build := range map[string]constructor{
		"MLP": models.MLP, "ConvNet4": models.ConvNet4, "ConvNet8": models.ConvNet8, "AlexNet": models.AlexNet,
		"ResNet18": models.ResNet18, "ResNet34": models.ResNet34, "ResNet18ImageNet": models.ResNet18ImageNet,
	} {
		widths, side := map[string]int{"MLP": 2, "ConvNet4": 3, "ConvNet8": 7, "AlexNet": 7}[name], 32
		if widths == 0 {
			widths = 4
		}
		if name == "AlexNet" {
			side = 68
		}
		cfg := models.Config{Widths: slices.Repeat([]int{3}, widths), Weights: ops.SignWeights{}}
		net, err := build(input(tensor.Float32, 2, 3, side, side), cfg)
		net = must(t, net, err)
		var want []string
		for i, p := range net.Params() {
			if p.Dims() > 1 {
				want = append(want, net.ParamNames()[i])
			}
		}
		if got := net.LatentNames(); len(want) < 3 || !slices.Equal(got, want[1:len(want)-1]) {
			t.Errorf("%s: %v are quantised, want all but the ends of %v", name, got, want)
		}
		at, err := net.At(3)
		if at = must(t, at, err); !slices.Equal(at.LatentNames(), net.LatentNames()) || len(at.WeightNodes()) != len(want)-2 {
			t.Errorf("%s: at another batch size %v", name, at.LatentNames())
		}
		cfg.AllWeights = true
		net, err = build(input(tensor.Float32, 2, 3, side, side), cfg)
		if got := must(t, net, err).LatentNames(); !slices.Equal(got, want) {
			t.Errorf("%s: %v are quantised, want %v", name, got, want)
		}
	}
	// Two layers that read the input, and two that are added up to the logits.
	net, err := models.Define(input(tensor.Float32, 2, 4), models.Config{Weights: ops.TernaryWeights{}}, func(b *models.Builder, x *gorgonia.Node) *gorgonia.Node {
		h := b.Act("act", b.Add("sum", b.Linear("a", x, models.Dense{Out: 5}), b.Linear("b", x, models.Dense{Out: 5})))
		h = b.Act("act2", b.Linear("middle", h, models.Dense{Out: 5}))
		return b.Add("logits", b.Linear("c", h, models.Dense{Out: 3}), b.Linear("d", x, models.Dense{Out: 3}))
	})
	if got := must(t, net, err).LatentNames(); !slices.Equal(got, []string{"middle.weight"}) {
		t.Errorf("%v are quantised", got)
	}
}

// A network with quantised weights computes what one without computes of the values that they have, and says so to what comes after training.
func TestWeightsCompute(t *testing.T) {
	images, alike := 0, 0
	for _, q := range append(quantisers(), ops.QuantWeights{Bits: 8, Form: ops.DoReFa}) {
		for _, dt := range gtest.Dtypes() {
			for _, all := range []bool{false, true} {
				what := fmt.Sprintf("%v, %v, all %t", q, dt, all)
				net := convNet4With(t, dt, q, all)
				x := normals(3 * 64)
				want := logits(t, net, x)
				plain := convNet4With(t, dt, nil, false)
				for i, name := range net.LatentNames() {
					v, err := q.Do(net.Param(name).Value())
					if err != nil {
						t.Fatal(err)
					}
					if !gorgonia.ValueEq(v, net.WeightNodes()[i].Value()) {
						t.Errorf("%s: %s is not what the quantiser makes of it", what, name)
					}
					if err := gorgonia.Let(plain.Param(name), v); err != nil {
						t.Fatal(err)
					}
				}
				if got := logits(t, plain, x); !slices.Equal(got, want) {
					t.Errorf("%s: logits %v, want %v", what, want, got)
				}
				at, err := net.At(3)
				want = logits(t, must(t, at, err), x)
				s, err := net.Summary()
				if err != nil {
					t.Fatal(err)
				}
				quantised := 0
				for _, l := range s.Layers {
					if l.WeightBits == q.Levels().Bits() {
						quantised++
					}
				}
				if quantised != len(net.LatentNames()) {
					t.Errorf("%s: %d layers of %d bits in\n%v", what, quantised, q.Levels().Bits(), s)
				}
				packed, err := net.PackWeights()
				if err != nil || len(packed) != len(net.LatentNames()) || packed[0].Width != q.Levels().Bits() {
					t.Errorf("%s: packed %v, %v", what, packed, err)
				}
				fixed := fixedPoint(t, net, deploy.FixedPointOptions{})
				if fixed.Config().Weights != nil || len(fixed.LatentNames()) > 0 || fixed.Identity().Weights != "" {
					t.Errorf("%s: in fixed point there are quantisers", what)
				}
				again := fixedPoint(t, convNet4With(t, dt, q, all), deploy.FixedPointOptions{})
				if err := again.Load(bytes.NewReader(saved(t, fixed))); err != nil {
					t.Errorf("%s: fixed point: %v", what, err)
				}
				got := logits(t, fixed, x)
				if !slices.Equal(logits(t, again, x), got) {
					t.Errorf("%s: in fixed point, loaded, logits are others", what)
				}
				for i := range 3 {
					if images++; largest(got[i*10:(i+1)*10], want[i*10:(i+1)*10]) < 1e-4 {
						alike++
					}
				}
			}
		}
	}
	if alike < images*9/10 { // some units are near their thresholds
		t.Errorf("of %d images only %d have the same logits in fixed point", images, alike)
	}
}

// The latent weights are trained, and those that are quantised only through their quantiser.
func TestWeightsTrain(t *testing.T) {
	net := convNet4With(t, tensor.Float64, ops.SignWeights{Scaled: true}, false)
	cost := gorgonia.Must(gorgonia.Mean(gorgonia.Must(gorgonia.Square(net.Logits))))
	if _, err := gorgonia.Grad(cost, net.Params()...); err != nil {
		t.Fatal(err)
	}
	vm := gorgonia.NewTapeMachine(net.Input.Graph(), gorgonia.BindDualValues(net.Params()...))
	defer vm.Close()
	if err := gorgonia.Let(net.Input, gtest.Dense(tensor.Float64, normals(3*64), 3, 1, 8, 8)); err != nil {
		t.Fatal(err)
	}
	if err := vm.RunAll(); err != nil {
		t.Fatal(err)
	}
	for _, name := range net.LatentNames() {
		g, err := net.Param(name).Grad()
		if err != nil {
			t.Fatal(err)
		}
		if !slices.ContainsFunc(gtest.Floats(t, g), func(v float64) bool { return v != 0 }) {
			t.Errorf("%s has no gradient", name)
		}
	}
}

// Weights that are deployed compute what latent ones do, and files tell which they are.
func TestWithoutLatent(t *testing.T) {
	for _, q := range quantisers() {
		for _, dt := range gtest.Dtypes() {
			what := fmt.Sprintf("%v, %v", q, dt)
			build := func() *models.Net { return convNet4With(t, dt, q, false) }
			net := build()
			x := normals(3 * 64)
			logits(t, net, x) // statistics
			at, err := net.At(3)
			want := logits(t, must(t, at, err), x)
			latent := saved(t, net)
			bare, err := net.WithoutLatent()
			bare = must(t, bare, err)
			near := func(what string, net *models.Net) {
				t.Helper()
				tolerance := 0.0
				if dt == tensor.Float64 {
					tolerance = 1e-9 // the mean of n equal numbers may be another
				}
				if got := logits(t, net, x); !(largest(got, want) <= tolerance) {
					t.Errorf("%s: logits %v, want %v", what, got, want)
				}
			}
			near(what, bare)
			if !bytes.Equal(saved(t, net), latent) {
				t.Errorf("%s: the network has changed", what)
			}
			for i, name := range bare.LatentNames() {
				v, err := q.Do(net.Param(name).Value())
				if err != nil || largest(gtest.Floats(t, v), gtest.Floats(t, bare.Param(name).Value())) > 1e-12 || i > 2 {
					t.Errorf("%s: %s is not quantised, %v", what, name, err)
				}
			}
			file := saved(t, bare)
			gtest.WantError(t, what+": into latent", build().Load(bytes.NewReader(file)), "weights are quantised", "WithoutLatent", "Identity.New")
			gtest.WantError(t, what+": latent", bare.Load(bytes.NewReader(latent)), "file's are latent", "WithoutLatent")
			gtest.WantError(t, what+": full precision", convNet4With(t, dt, nil, false).Load(bytes.NewReader(latent)), "weights is "+metadata(t, latent)["ftprop.weights"]+", here none")
			gtest.WantError(t, what+": of full precision", build().Load(bytes.NewReader(saved(t, convNet4With(t, dt, nil, false)))), "weights is none, here")
			other := convNet4With(t, dt, q, true)
			gtest.WantError(t, what+": all", other.Load(bytes.NewReader(latent)), "all_weights is false, here true")
			for _, b := range [][]byte{file, latent} {
				id, ok, err := models.ReadIdentity(bytes.NewReader(b))
				if err != nil || !ok {
					t.Fatal(ok, err)
				}
				again, err := id.New(dt, 3)
				again = must(t, again, err)
				if err := again.Load(bytes.NewReader(b)); err != nil {
					t.Fatal(err)
				}
				near(what+": of its file", again)
				if !bytes.Equal(saved(t, again), b) || again.Config().Weights.String() != q.String() {
					t.Errorf("%s: the file says %v, and its network another", what, again.Config().Weights)
				}
			}
			again, err := build().WithoutLatent()
			if again = must(t, again, err); again.Load(bytes.NewReader(file)) != nil {
				t.Errorf("%s: does not load its own", what)
			}
			_, err = bare.WithoutLatent()
			gtest.WantError(t, what+": twice", err, "quantised already")
		}
	}
	_, err := convNet4With(t, tensor.Float32, nil, false).WithoutLatent()
	gtest.WantError(t, "full precision", err, "models: ConvNet4 without latent weights", "Config.Weights")
	_, err = convNet4With(t, tensor.Float32, ops.QuantWeights{Bits: 8, Form: ops.DoReFa}, false).WithoutLatent()
	gtest.WantError(t, "tanh twice", err, "block2.conv2.weight", "quantised again")
}

// A file whose header says other weights than there are is refused.
func TestWeightsIdentityRejects(t *testing.T) {
	file := saved(t, convNet4With(t, tensor.Float32, ops.SignWeights{}, false))
	for key, value := range map[string]string{"ftprop.weights": "QuantWeights{Bits: 9}", "ftprop.all_weights": "perhaps", "ftprop.quantised": "7"} {
		b := relabelled(t, file, func(m map[string]string) map[string]string {
			m[key] = value
			return m
		})
		id, _, err := models.ReadIdentity(bytes.NewReader(b))
		if err == nil {
			_, err = id.New(tensor.Float32, 1)
		}
		gtest.WantError(t, key, err, "models: ", value)
		gtest.WantError(t, key, convNet4With(t, tensor.Float32, ops.SignWeights{}, false).Load(bytes.NewReader(b)), value)
	}
}

func TestWeightsReject(t *testing.T) {
	var missing *ops.SignWeights
	for name, c := range map[string]struct {
		q     ops.WeightQuantiser
		words []string
	}{
		"learned steps": {ops.LSQWeights{Bits: 4}, []string{"LSQWeights", "step size", "Builder.Layer"}},
		"bits":          {ops.QuantWeights{Bits: 9}, []string{"layer all_modules.block2.conv2", "9 bits"}},
		"axis":          {ops.SignWeights{Axis: 5}, []string{"axis 5"}},
		"nil pointer":   {missing, []string{"nil"}},
		"rule":          {ops.TernaryWeights{Rule: ops.SoftHinge{Slope: -1}}, []string{"SoftHinge", "-1"}},
	} {
		_, err := models.ConvNet4(input(tensor.Float32, 1, 1, 8, 8), models.Config{Widths: []int{2, 2, 2}, Weights: c.q})
		gtest.WantError(t, name, err, append(c.words, "models: ConvNet4")...)
	}
	_, err := models.MLP(input(tensor.Float32, 1, 3), models.Config{Widths: []int{2}, Weights: ops.SignWeights{}})
	gtest.WantError(t, "two layers", err, "models: MLP", "but the first and the last, of 2", "AllWeights")
	net, err := models.MLP(input(tensor.Float32, 1, 3), models.Config{Widths: []int{2}, Weights: ops.SignWeights{}, AllWeights: true})
	must(t, net, err)
}

// Trained sign weights and sign activations are products of bits in integers, and ONNX Runtime computes what Gorgonia does.
func TestWeightsDeploy(t *testing.T) {
	const n = 3
	for _, q := range []ops.WeightQuantiser{ops.SignWeights{}, ops.SignWeights{Scaled: true}} {
		net, err := models.ResNet18(input(tensor.Float32, n, 3, 16, 16), models.Config{Widths: []int{16, 24, 32, 40}, Seed: 3, Weights: q})
		net = must(t, net, err)
		logits(t, net, normals(n*3*256))
		bare, err := net.WithoutLatent()
		bare = must(t, bare, err)
		p := &deploy.PixelInput{Mean: []float64{0.45, 0.41, 0.5}, Std: []float64{0.22, 0.24, 0.2}}
		_, pixels, _ := inputsOf(net, rand.New(rand.NewPCG(23, 24)), p)
		want, file := byDefinition(t, inIntegers(t, bare, deploy.QuantiseOptions{Pixels: p}), n, pixels, nil)
		if other, _ := byDefinition(t, inIntegers(t, net, deploy.QuantiseOptions{Pixels: p}), n, pixels, nil); !sameBits(other, want) {
			t.Errorf("%v: integers of latent weights are others", q)
		}
		for _, kernels := range infer.Kernels() {
			got, table := inInfer(t, file, kernels, pixels, nil)
			if !sameBits(got, want) || strings.Count(table, "bits ") < 16 {
				t.Errorf("%v, %s: %v, want %v\n%s", q, kernels, got, want, table)
			}
		}
	}
}

func TestWeightsONNXRuntime(t *testing.T) {
	rt := ort.Find(t)
	for _, q := range quantisers() {
		net := convNet4With(t, tensor.Float32, q, false)
		x := make([]float32, 3*64)
		for i, v := range normals(len(x)) {
			x[i] = float32(v)
		}
		at, err := net.At(3)
		want := logits(t, must(t, at, err), float64s(x))
		got := rt.Run(t, onnxOf(t, net, deploy.ONNXOptions{}), x, net.Input.Shape(), 3)
		for i, v := range got[0].Data {
			if math.Abs(float64(v)-want[i]) > 1e-4 {
				t.Errorf("%v: logit %d is %v, here %v", q, i, v, want[i])
			}
		}
	}
	net, err := models.MLP(input(tensor.Float32, 1, 3), models.Config{Act: nodes.ReLU, Widths: []int{4, 4}, Weights: ops.SignWeights{}})
	net = must(t, net, err)
	if m := onnxOf(t, net, deploy.ONNXOptions{Thresholds: deploy.Quant}); !bytes.Contains(m, []byte("BipolarQuant")) {
		t.Error("no weights of BipolarQuant")
	}
}
