package models_test

import (
	"bytes"
	"fmt"
	"math"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/ftprop/ftprop/deploy"
	"github.com/ftprop/ftprop/infer"
	"github.com/ftprop/ftprop/internal/gtest"
	"github.com/ftprop/ftprop/internal/ort"
	"github.com/ftprop/ftprop/models"
	"github.com/ftprop/ftprop/ops"
	"github.com/ftprop/ftprop/ops/nn"
	"github.com/ftprop/ftprop/solvers"
	"gorgonia.org/gorgonia"
	"gorgonia.org/tensor"
)

// biReal is a small residual network in Bi-Real Net's order with sign weights.
func biReal(t testing.TB, dt tensor.Dtype, batch int) *models.Net {
	t.Helper()
	net, err := models.ResNet18(input(dt, batch, 3, 8, 16), models.Config{Order: models.BiReal, Widths: []int{3, 3, 5, 4}, Weights: ops.SignWeights{Scaled: true}, Classes: 4, Seed: 3})
	return must(t, net, err)
}

// Each convolution of a block has an activation before it and a shortcut around it. Those of shortcuts have full weights, as have the ends.
func TestBiRealLayers(t *testing.T) {
	for name, c := range map[string]struct {
		build    constructor
		side     int
		blocks   [4]int
		shortcut string
	}{
		"ResNet18": {models.ResNet18, 8, [4]int{2, 2, 2, 2}, "shortcut"}, "ResNet34": {models.ResNet34, 8, [4]int{3, 4, 6, 3}, "shortcut"},
		"ResNet18ImageNet": {models.ResNet18ImageNet, 64, [4]int{2, 2, 2, 2}, "downsample"},
	} {
		for _, all := range []bool{false, true} {
			net, err := c.build(input(tensor.Float32, 2, 3, c.side, c.side), models.Config{Order: models.BiReal, Widths: []int{2, 3, 4, 5}, Weights: ops.SignWeights{}, AllWeights: all})
			net = must(t, net, err)
			fc := map[string]string{"shortcut": "linear.weight", "downsample": "fc.weight"}[c.shortcut]
			var layers, latent []string
			if all {
				latent = append(latent, "conv1.weight")
			}
			for stage, blocks := range c.blocks {
				for b := range blocks {
					p := fmt.Sprintf("layer%d.%d.", stage+1, b)
					if b == 0 && stage > 0 {
						layers = append(layers, p+c.shortcut+".0 AveragePool2D", p+c.shortcut+".1 Conv2d", p+c.shortcut+".2 BatchNorm")
					}
					for k := 1; k <= 2; k++ {
						layers = append(layers, fmt.Sprintf("%snonlin%d Sign|%[1]sconv%d Conv2d|%[1]sbn%[2]d BatchNorm|%[1]ssum%[2]d Add", p, k, k))
						latent = append(latent, fmt.Sprintf("%sconv%d.weight", p, k))
					}
				}
			}
			if all {
				latent = append(latent, fc)
			}
			var got []string
			for _, l := range net.Layers() {
				if strings.HasPrefix(l.Name, "layer") {
					got = append(got, l.Name+" "+l.Type)
				}
			}
			if want := strings.Join(layers, "|"); strings.Join(got, "|") != want {
				t.Errorf("%s: layers\n%v, want\n%s", name, got, want)
			}
			if !slices.Equal(net.LatentNames(), latent) {
				t.Errorf("%s, all %t: %v are quantised, want %v", name, all, net.LatentNames(), latent)
			}
			if len(net.Hidden) != len(net.LatentNames()) && !all || net.Config().Order != models.BiReal {
				t.Errorf("%s: %d activations", name, len(net.Hidden))
			}
		}
	}
}

// maps3 is one sample's, by channel, row and column.
type maps3 [][][]float64

// plainConv is the definition of a convolution without bias, then of a normalisation by initial statistics and parameters.
func plainConv(x maps3, w []float64, shape tensor.Shape, stride, pad int) maps3 {
	out, in, k := shape[0], shape[1], shape[2]
	y := make(maps3, out)
	for o := range out {
		for r := 0; r*stride+k <= len(x[0])+2*pad; r++ {
			var row []float64
			for c := 0; c*stride+k <= len(x[0][0])+2*pad; c++ {
				sum := 0.0
				for i := range in {
					for a := range k {
						for b := range k {
							if u, v := r*stride+a-pad, c*stride+b-pad; u >= 0 && v >= 0 && u < len(x[0]) && v < len(x[0][0]) {
								sum += x[i][u][v] * w[((o*in+i)*k+a)*k+b]
							}
						}
					}
				}
				row = append(row, sum/math.Sqrt(1+1e-5))
			}
			y[o] = append(y[o], row)
		}
	}
	return y
}

func (x maps3) each(f func(c, r, k int) float64) maps3 {
	y := make(maps3, len(x))
	for c := range x {
		for r := range x[c] {
			var row []float64
			for k := range x[c][r] {
				row = append(row, f(c, r, k))
			}
			y[c] = append(y[c], row)
		}
	}
	return y
}

// The network computes x + norm(conv(sign x)) by the definitions of its parts.
func TestBiRealComputes(t *testing.T) {
	net := biReal(t, tensor.Float64, 2)
	at, err := net.At(1)
	at = must(t, at, err)
	data := normals(3 * 8 * 16)
	got := logits(t, at, data)

	weights := map[string][]float64{}
	for _, name := range net.LatentNames() {
		v, err := ops.SignWeights{Scaled: true}.Do(net.Param(name).Value())
		if err != nil {
			t.Fatal(err)
		}
		weights[name] = gtest.Floats(t, v)
	}
	conv := func(name string, x maps3, stride, pad int) maps3 {
		w, ok := weights[name]
		if !ok {
			w = gtest.Floats(t, net.Param(name).Value())
		}
		return plainConv(x, w, net.Param(name).Shape(), stride, pad)
	}
	x := make(maps3, 3)
	for c := range x {
		for r := range 8 {
			x[c] = append(x[c], data[(c*8+r)*16:(c*8+r+1)*16])
		}
	}
	x = conv("conv1.weight", x, 1, 1)
	for stage := range 4 {
		for block := range 2 {
			for k := 1; k <= 2; k++ {
				p, stride, short := fmt.Sprintf("layer%d.%d.", stage+1, block), 1, x
				if stage > 0 && block == 0 && k == 1 {
					stride = 2
					half := make(maps3, len(x))
					for c := range x {
						for r := range len(x[c]) / 2 {
							var row []float64
							for i := range len(x[c][0]) / 2 {
								row = append(row, (x[c][2*r][2*i]+x[c][2*r+1][2*i]+x[c][2*r][2*i+1]+x[c][2*r+1][2*i+1])/4)
							}
							half[c] = append(half[c], row)
						}
					}
					short = conv(p+"shortcut.1.weight", half, 1, 0)
				}
				sign := x.each(func(c, r, i int) float64 {
					if x[c][r][i] > 0 {
						return 1
					}
					return -1
				})
				y := conv(fmt.Sprintf("%sconv%d.weight", p, k), sign, stride, 1)
				x = y.each(func(c, r, i int) float64 { return y[c][r][i] + short[c][r][i] })
			}
		}
	}
	w, want := gtest.Floats(t, net.Param("linear.weight").Value()), gtest.Floats(t, net.Param("linear.bias").Value())
	for o := range want {
		for c := range x {
			for _, row := range x[c] {
				for _, v := range row {
					want[o] += v * w[o*len(x)+c] / float64(len(x[c])*len(row))
				}
			}
		}
	}
	gtest.Compare(t, "logits", got, want)
}

// Both machines compute the same gradients, and every parameter has one.
func TestBiRealOnBothMachines(t *testing.T) {
	for _, dt := range gtest.Dtypes() {
		var all [][][]float64
		for _, m := range gtest.Machines() {
			net := biReal(t, dt, 3)
			if err := gorgonia.Let(net.Input, gtest.Dense(dt, normals(net.Input.Shape().TotalSize()), net.Input.Shape()...)); err != nil {
				t.Fatal(err)
			}
			cost := gorgonia.Must(gorgonia.Mean(gorgonia.Must(gorgonia.Square(net.Logits))))
			values, grads, err := gtest.Run(t, m, cost, net.Params(), gorgonia.Nodes{net.Logits})
			if err != nil {
				t.Fatal(m, err)
			}
			for i, g := range grads {
				if !slices.ContainsFunc(g, func(v float64) bool { return v != 0 }) {
					t.Errorf("%s, %v: %s has no gradient", m, dt, net.ParamNames()[i])
				}
			}
			all = append(all, append(grads, values...))
		}
		for i := range all[0] {
			gtest.Compare(t, fmt.Sprint(dt, " gradient ", i), all[1][i], all[0][i])
		}
	}
}

// Two trainings of one seed have the same weights, to the bit.
func TestBiRealDeterministic(t *testing.T) {
	train := func() []byte {
		net := biReal(t, tensor.Float32, 4)
		cost := gorgonia.Must(gorgonia.Mean(gorgonia.Must(gorgonia.Square(net.Logits))))
		if _, err := gorgonia.Grad(cost, net.Params()...); err != nil {
			t.Fatal(err)
		}
		if err := gorgonia.Let(net.Input, gtest.Dense(tensor.Float32, normals(net.Input.Shape().TotalSize()), net.Input.Shape()...)); err != nil {
			t.Fatal(err)
		}
		vm := gorgonia.NewTapeMachine(net.Input.Graph(), gorgonia.BindDualValues(net.Params()...))
		defer vm.Close()
		solver := &solvers.Clip{Solver: &solvers.Adam{LearnRate: 0.1}, Names: net.LatentNames()}
		for range 3 {
			if err := vm.RunAll(); err != nil {
				t.Fatal(err)
			}
			if err := solver.Step(gorgonia.NodesToValueGrads(net.Params())); err != nil {
				t.Fatal(err)
			}
			vm.Reset()
		}
		return saved(t, net)
	}
	first := train()
	if bytes.Equal(first, saved(t, biReal(t, tensor.Float32, 4))) {
		t.Error("training changes nothing")
	}
	if !bytes.Equal(first, train()) {
		t.Error("another run, other weights")
	}
}

// Files say the order, and load into no network of another. Those that say none are of the paper's.
func TestOrderOfFiles(t *testing.T) {
	for _, dt := range gtest.Dtypes() {
		net := biReal(t, dt, 2)
		x := normals(net.Input.Shape().TotalSize())
		logits(t, net, x) // statistics
		file := saved(t, net)
		id, ok, err := models.ReadIdentity(bytes.NewReader(file))
		if err != nil || !ok || id.Order != models.BiReal || metadata(t, file)["ftprop.order"] != "BiReal" {
			t.Fatalf("identity %+v, %v, %v", id, ok, err)
		}
		again, err := id.New(dt, 2)
		if err := must(t, again, err).Load(bytes.NewReader(file)); err != nil {
			t.Fatal(err)
		}
		at, err := net.At(2)
		if !bytes.Equal(saved(t, again), file) || !slices.Equal(logits(t, again, x), logits(t, must(t, at, err), x)) {
			t.Error("another network")
		}
		bare, err := net.WithoutLatent()
		if id := must(t, bare, err).Identity(); id.Order != models.BiReal || !id.Quantised {
			t.Errorf("without latent weights: %+v", id)
		}
		cfg := net.Config()
		cfg.Order = models.PaperOrder
		paper, err := models.ResNet18(input(dt, 2, 3, 8, 16), cfg)
		paper = must(t, paper, err)
		if m := metadata(t, saved(t, paper)); m["ftprop.order"] != "" {
			t.Errorf("metadata %v", m)
		}
		gtest.WantError(t, "other order", paper.Load(bytes.NewReader(file)), "order is BiReal, here PaperOrder")
		gtest.WantError(t, "other order", net.Load(bytes.NewReader(saved(t, paper))), "order is PaperOrder, here BiReal")
		for _, name := range []string{"PaperOrder", "bireal", "2"} {
			_, _, err = models.ReadIdentity(bytes.NewReader(relabelled(t, file, func(m map[string]string) map[string]string { m["ftprop.order"] = name; return m })))
			gtest.WantError(t, name, err, "ftprop.order", name)
		}
	}
}

func TestOrderRejects(t *testing.T) {
	img := func(side int) *gorgonia.Node { return input(tensor.Float32, 2, 3, side, side) }
	for _, c := range []struct {
		build constructor
		x     *gorgonia.Node
		order models.Order
		words []string
	}{
		{models.ConvNet8, img(32), models.BiReal, []string{"ConvNet8", "order BiReal", "residual blocks"}},
		{models.ConvNet4, img(8), models.BiReal, []string{"ConvNet4", "order BiReal", "residual blocks"}},
		{models.ResNet18, img(8), models.XNOR, []string{"ResNet18", "order XNOR", "ConvNet4"}},
		{models.ConvNet4, img(8), models.XNOR, []string{"ConvNet4", "order XNOR", "BatchNorm"}},
		{models.ResNet18, img(12), models.BiReal, []string{"layer layer4.0.shortcut.0", "3x3", "even"}},
		{models.ResNet18ImageNet, img(48), models.BiReal, []string{"layer layer4.0.downsample.0", "even"}},
		{models.ResNet18, img(8), 3, []string{"Order 3", "BiReal"}},
		{models.ResNet18, img(8), -1, []string{"Order -1"}},
	} {
		_, err := c.build(c.x, models.Config{Order: c.order})
		gtest.WantError(t, fmt.Sprint(c.words), err, append(c.words, "models: ")...)
	}
	_, err := models.Define(img(8), models.Config{Order: models.BiReal}, func(b *models.Builder, x *gorgonia.Node) *gorgonia.Node {
		return b.Linear("fc", b.Flatten("flat", x), models.Dense{Out: 2})
	})
	gtest.WantError(t, "Define", err, "order BiReal")
	if s := fmt.Sprint(models.PaperOrder, models.BiReal, models.XNOR, models.Order(7)); s != "PaperOrder BiReal XNOR Order(7)" {
		t.Error(s)
	}
}

// ONNX has the network. Integers and fixed point do not, and say at which layer.
func TestBiRealDeploys(t *testing.T) {
	net := biReal(t, tensor.Float32, 2)
	_, err := net.Quantise(deploy.QuantiseOptions{})
	gtest.WantError(t, "integers", err, "models: ResNet18 in integers", "layer layer2.0.shortcut.0", "threshold activation")
	_, err = net.FixedPoint(deploy.FixedPointOptions{})
	gtest.WantError(t, "fixed point", err, "models: ResNet18 in fixed point", "order BiReal", "PaperOrder")
	s, err := net.Summary()
	if err != nil {
		t.Fatal(err)
	}
	signs := 0
	for _, l := range s.Layers {
		if l.WeightBits == 1 {
			signs++
		}
	}
	if signs != 16 {
		t.Errorf("%d layers with sign weights in\n%v", signs, s)
	}
}

func TestBiRealONNXRuntime(t *testing.T) {
	rt := ort.Find(t)
	net := biReal(t, tensor.Float32, 2)
	x := make([]float32, net.Input.Shape().TotalSize())
	for i, v := range normals(len(x)) {
		x[i] = float32(v)
	}
	logits(t, net, float64s(x)) // statistics
	at, err := net.At(2)
	want := logits(t, must(t, at, err), float64s(x))
	got := rt.Run(t, onnxOf(t, net, deploy.ONNXOptions{}), x, net.Input.Shape(), 2)
	for i, v := range got[0].Data {
		if math.Abs(float64(v)-want[i]) > 1e-4 {
			t.Errorf("logit %d is %v, here %v", i, v, want[i])
		}
	}
}

// In XNOR-Net's order ConvNet4's thresholds read normalised maps. It has the parameters of the paper's order, integers that are equal to the bit, and
// files of its own.
func TestXNOR(t *testing.T) {
	cfg := models.Config{Order: models.XNOR, BatchNorm: true, Widths: []int{4, 5, 6}, Seed: 3, Weights: ops.SignWeights{}}
	net, err := models.ConvNet4(input(tensor.Float64, 8, 1, 9, 9), cfg)
	net = must(t, net, err)
	for _, h := range net.Hidden[1:] {
		from := h.Graph().From(h.ID())
		from.Next()
		if op := from.Node().(*gorgonia.Node).Op(); reflect.TypeOf(op) != reflect.TypeFor[*nn.BatchNorm]() {
			t.Errorf("%v reads %v", h, op)
		}
	}
	cfg.Order = models.PaperOrder
	paper, err := models.ConvNet4(input(tensor.Float64, 8, 1, 9, 9), cfg)
	paper = must(t, paper, err)
	for i, p := range paper.Params() {
		if q := net.Params()[i]; p.Name() != q.Name() || !p.Shape().Eq(q.Shape()) {
			t.Errorf("parameter %v %v, in the paper's order %v %v", q, q.Shape(), p, p.Shape())
		}
	}
	file := saved(t, net)
	gtest.WantError(t, "other order", paper.Load(bytes.NewReader(file)), "order is XNOR, here PaperOrder")
	id, _, err := models.ReadIdentity(bytes.NewReader(file))
	if err != nil || id.Order != models.XNOR {
		t.Errorf("identity %+v, %v", id, err)
	}
	logits(t, net, normals(net.Input.Shape().TotalSize())) // statistics
	x, _, reals := inputsOf(net, rand.New(rand.NewPCG(25, 26)), nil)
	want, binary := byDefinition(t, inIntegers(t, net, deploy.QuantiseOptions{Bits: 16}), 8, nil, reals)
	for _, kernels := range infer.Kernels() {
		if got, _ := inInfer(t, binary, kernels, nil, reals); !sameBits(got, want) {
			t.Errorf("%s: %v, want %v", kernels, got, want)
		}
	}
	at, err := net.At(8)
	trained, near := logits(t, must(t, at, err), x), 0
	for i, v := range trained {
		if math.Abs(v-float64(want[i])) < 1e-3 {
			near++
		}
	}
	if near < 70 { // a unit at its threshold may differ
		t.Errorf("of 80 logits only %d are as in training: %v, %v", near, want, trained)
	}
	if unlike(want, 10) < 6 {
		t.Error("images have the same logits: the test has no force")
	}
}
