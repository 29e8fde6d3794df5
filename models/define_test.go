package models_test

import (
	"bytes"
	"math/rand/v2"
	"slices"
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

// convNet4 lays the layers of ConvNet4, with its names.
func convNet4(b *models.Builder, h *gorgonia.Node) *gorgonia.Node {
	const p = "all_modules."
	c := b.Config()
	h = b.Conv2d(p+"block1.conv1", h, models.Conv{Out: c.Widths[0], Kernel: 5, Pad: 3})
	h = b.Act(p+"block1.nonlin1", b.MaxPool2d(p+"block1.maxpool1", h, 2, 0, 2))
	h = b.Conv2d(p+"block2.conv2", h, models.Conv{Out: c.Widths[1], Kernel: 5, Pad: 2})
	h = b.Act(p+"block2.nonlin2", b.MaxPool2d(p+"block2.maxpool2", h, 2, 0, 2))
	h = b.Linear(p+"block3.fc1", b.Flatten(p+"block3.reshape1", h), models.Dense{Out: c.Widths[2]})
	h = b.Act(p+"block3.nonlin3", h)
	return b.Linear(p+"block4.fc2", h, models.Dense{Out: c.Classes})
}

// residual has what the paper's optional parts have: dropout, batch normalisation, a shortcut, activations of two kinds, a mean, and a layer
// and a parameter of its own.
func residual(b *models.Builder, h *gorgonia.Node) *gorgonia.Node {
	h = b.Conv2d("in", h, models.Conv{Out: 4, Kernel: 3, Pad: 1, NoBias: true})
	h = b.Act("act1", b.BatchNorm("norm1", h, 1e-5))
	y := b.BatchNorm("norm2", b.Conv2d("conv", h, models.Conv{Out: 4, Kernel: 3, Pad: 1, NoBias: true}), 1e-5)
	h = b.Dropout2d("drop", b.Activation("act2", b.Add("sum", h, y), nodes.Act(ops.Staircase{Steps: 3})))
	h = b.Flatten("flat", b.GlobalAvgPool2d("mean", h))
	scale := b.Param("scale", func(*rand.Rand) float64 { return 2 }, 1, 4)
	h = b.Layer("scaled", h, func() (*gorgonia.Node, error) { return gorgonia.BroadcastHadamardProd(h, scale, nil, []byte{0}) })
	return b.Linear("out", b.Dropout("drop2", h), models.Dense{Out: 3, NoBias: true})
}

// A network that Define lays as one of the paper's is that network: weights, logits, files.
func TestDefineIsTheConstructors(t *testing.T) {
	cfg := models.Config{Widths: []int{3, 4, 5}, Classes: 7, Seed: 3}
	paper, err := models.ConvNet4(input(tensor.Float32, 2, 1, 12, 12), cfg)
	paper = must(t, paper, err)
	own, err := models.Define(input(tensor.Float32, 2, 1, 12, 12), cfg, convNet4)
	own = must(t, own, err)
	x := normals(2 * 12 * 12)
	if got, want := logits(t, own, x), logits(t, paper, x); !slices.Equal(got, want) {
		t.Errorf("logits %v, want %v", got, want)
	}
	if got, want := own.ParamNames(), paper.ParamNames(); !slices.Equal(got, want) {
		t.Errorf("parameters %v, want %v", got, want)
	}
	if got, want := own.HiddenNames(), paper.HiddenNames(); !slices.Equal(got, want) {
		t.Errorf("activations %v, want %v", got, want)
	}
	var fixed [2][]float64
	for i, n := range []*models.Net{own, paper} {
		f, err := n.FixedPoint(deploy.FixedPointOptions{InputMax: 4})
		fixed[i] = logits(t, must(t, f, err), x)
	}
	if !slices.Equal(fixed[0], fixed[1]) {
		t.Errorf("in fixed point: logits %v, want %v", fixed[0], fixed[1])
	}
	if own.Name() != "Network" || own.Config().Classes != 7 {
		t.Errorf("it is %s with %d classes", own.Name(), own.Config().Classes)
	}
}

// At, Save and Load serve a network of Define, with all that it may have.
func TestDefineHasWhatNetworksHave(t *testing.T) {
	for _, dt := range gtest.Dtypes() {
		define := func(seed uint64) *models.Net {
			net, err := models.Define(input(dt, 4, 2, 6, 6), models.Config{Name: "Residual", Dropout: 0.25, Seed: seed}, residual)
			return must(t, net, err)
		}
		a, b := define(1), define(2)
		x := normals(4 * 2 * 6 * 6)
		logits(t, a, x) // running statistics move
		var file bytes.Buffer
		if err := a.Save(&file); err != nil {
			t.Fatal(err)
		}
		saved := file.Bytes()
		if err := b.Load(&file); err != nil {
			t.Fatal(err)
		}
		atA, err := a.At(4)
		atA = must(t, atA, err)
		atB, err := b.At(2)
		atB = must(t, atB, err)
		all, part := logits(t, atA, x), logits(t, atB, x[:len(x)/2])
		if !slices.Equal(all[:len(part)], part) {
			t.Errorf("%v: loaded, at another batch size: %v, want %v", dt, part, all[:len(part)])
		}
		if len(a.Buffers()) != 6 || len(a.Hidden) != 2 || a.Param("scale") == nil {
			t.Errorf("buffers %v, %d activations", a.Buffers(), len(a.Hidden))
		}
		other, err := models.Define(input(dt, 4, 2, 6, 6), models.Config{Name: "Another", Dropout: 0.25}, residual)
		other = must(t, other, err)
		gtest.WantError(t, "another name", other.Load(bytes.NewReader(saved)), "network is Residual, here Another")
		id, ok, err := models.ReadIdentity(bytes.NewReader(saved))
		if err != nil || !ok || id.Network != "Residual" {
			t.Errorf("identity %+v, %v, %v", id, ok, err)
		}
		_, err = id.New(dt, 1)
		gtest.WantError(t, "New of a network of Define", err, "Residual", "Define")
	}
}

// A threshold that the builder has not made is none that the fixed-point network would have rounded.
func TestDefineFixedPointRejects(t *testing.T) {
	net, err := models.Define(input(tensor.Float32, 2, 4), models.Config{}, func(b *models.Builder, h *gorgonia.Node) *gorgonia.Node {
		h = b.Linear("fc1", h, models.Dense{Out: 3})
		h = b.Layer("mine", h, func() (*gorgonia.Node, error) { return nodes.Sign(h) })
		return b.Linear("fc2", h, models.Dense{Out: 3})
	})
	net = must(t, net, err)
	_, err = net.FixedPoint(deploy.FixedPointOptions{InputMax: 4})
	gtest.WantError(t, "activation of Layer", err, "models: Network", "Builder.Act")
}

// Whatever is laid wrongly is an error of Define, not of a machine, and never a panic.
func TestDefineRejects(t *testing.T) {
	calls := 0
	type lay = func(b *models.Builder, x *gorgonia.Node) *gorgonia.Node
	out := func(b *models.Builder, h *gorgonia.Node) *gorgonia.Node {
		return b.Linear("out", b.Flatten("flat", h), models.Dense{Out: 3})
	}
	for name, c := range map[string]struct {
		cfg  models.Config
		lay  lay
		want []string
	}{
		"no function":    {lay: nil, want: []string{"no function"}},
		"no node":        {lay: func(*models.Builder, *gorgonia.Node) *gorgonia.Node { return nil }, want: []string{"logits"}},
		"the input":      {lay: func(_ *models.Builder, x *gorgonia.Node) *gorgonia.Node { return x }, want: []string{"logits of shape (2, 1, 8, 8)"}},
		"other graph":    {lay: func(*models.Builder, *gorgonia.Node) *gorgonia.Node { return input(tensor.Float32, 2, 3) }, want: []string{"logits", "graph"}},
		"layer of nil":   {lay: func(b *models.Builder, _ *gorgonia.Node) *gorgonia.Node { return b.Act("act", nil) }, want: []string{"layer act", "no node"}},
		"norm of nil":    {lay: func(b *models.Builder, _ *gorgonia.Node) *gorgonia.Node { return b.BatchNorm("n", nil, 1e-5) }, want: []string{"layer n", "no node"}},
		"one name twice": {lay: func(b *models.Builder, x *gorgonia.Node) *gorgonia.Node { return b.Act("a", b.Act("a", x)) }, want: []string{"layer a", "names another layer"}},
		"no name":        {lay: func(b *models.Builder, x *gorgonia.Node) *gorgonia.Node { return b.Act("", x) }, want: []string{"name"}},
		"not flat": {lay: func(b *models.Builder, x *gorgonia.Node) *gorgonia.Node {
			return b.Linear("fc", x, models.Dense{Out: 3})
		}, want: []string{"layer fc", "Flatten"}},
		"no units": {lay: func(b *models.Builder, x *gorgonia.Node) *gorgonia.Node {
			return b.Linear("fc", b.Flatten("f", x), models.Dense{})
		}, want: []string{"layer fc", "fc.weight"}},
		"no filters": {lay: func(b *models.Builder, x *gorgonia.Node) *gorgonia.Node {
			return b.Conv2d("c", x, models.Conv{Kernel: 3})
		}, want: []string{"layer c", "0 filters"}},
		"huge kernel": {lay: func(b *models.Builder, x *gorgonia.Node) *gorgonia.Node {
			return b.Conv2d("c", x, models.Conv{Out: 1, Kernel: 1 << 62})
		}, want: []string{"layer c", "filters"}},
		"flat images": {lay: func(b *models.Builder, x *gorgonia.Node) *gorgonia.Node {
			return b.Conv2d("c", b.Flatten("f", x), models.Conv{Out: 1, Kernel: 1})
		}, want: []string{"layer c", "images"}},
		"no activation":   {lay: func(b *models.Builder, x *gorgonia.Node) *gorgonia.Node { return b.Activation("a", x, nil) }, want: []string{"layer a", "nil"}},
		"shortcut":        {lay: func(b *models.Builder, x *gorgonia.Node) *gorgonia.Node { return b.Add("sum", x, b.Flatten("f", x)) }, want: []string{"layer sum"}},
		"unused dropout":  {cfg: models.Config{Dropout: 0.5}, lay: out, want: []string{"dropout"}},
		"unused norm":     {cfg: models.Config{BatchNorm: true}, lay: out, want: []string{"batch normalisation"}},
		"classes":         {cfg: models.Config{Classes: 4}, lay: out, want: []string{"4 classes"}},
		"negative widths": {cfg: models.Config{Widths: []int{-1}}, lay: out, want: []string{"Widths[0]"}},
		"a paper's name":  {cfg: models.Config{Name: "MLP"}, lay: out, want: []string{"MLP"}},
		"foreign parameter": {lay: func(b *models.Builder, x *gorgonia.Node) *gorgonia.Node {
			w := gorgonia.NewMatrix(x.Graph(), tensor.Float32, gorgonia.WithName("w"), gorgonia.WithShape(64, 3), gorgonia.WithInit(gorgonia.Zeroes()))
			return gorgonia.Must(gorgonia.Mul(b.Flatten("f", x), w))
		}, want: []string{`"w"`, "Builder.Param"}},
		"foreign state": {lay: func(b *models.Builder, x *gorgonia.Node) *gorgonia.Node {
			y, _, _, _, err := nodes.BatchNorm(x, nil, nil, 0.1, 1e-5)
			gorgonia.Must(y, err)
			return out(b, y)
		}, want: []string{"state", "Builder.BatchNorm"}},
		"foreign dropout": {lay: func(b *models.Builder, x *gorgonia.Node) *gorgonia.Node {
			op, err := nn.NewDropout(0.5, 1)
			if err != nil {
				t.Fatal(err)
			}
			return out(b, gorgonia.Must(gorgonia.ApplyOp(op, x)))
		}, want: []string{"state"}},
		"nothing after an error": {lay: func(b *models.Builder, x *gorgonia.Node) *gorgonia.Node {
			h := b.Linear("first", x, models.Dense{Out: 3})
			if b.Err() == nil || b.Param("p", nil, 2) != nil {
				t.Error("no error yet")
			}
			return b.Layer("second", h, func() (*gorgonia.Node, error) { calls++; return h, nil })
		}, want: []string{"layer first"}},
	} {
		_, err := models.Define(input(tensor.Float32, 2, 1, 8, 8), c.cfg, c.lay)
		gtest.WantError(t, name, err, append(c.want, "models: ")...)
	}
	if calls > 0 {
		t.Error("layers go on after an error")
	}
	_, err := models.Define(nil, models.Config{}, out)
	gtest.WantError(t, "no input", err, "models: Network", "input")
}

// Layers that depend on more than the node they are given do not go unnoticed at another batch size.
func TestDefineAnewRejects(t *testing.T) {
	for name, lay := range map[string]func(b *models.Builder, x *gorgonia.Node, second bool) *gorgonia.Node{
		"another shape": func(b *models.Builder, x *gorgonia.Node, _ bool) *gorgonia.Node {
			return b.Linear("fc", x, models.Dense{Out: 2 + x.Shape()[0]})
		},
		"another name": func(b *models.Builder, x *gorgonia.Node, second bool) *gorgonia.Node {
			if second {
				return b.Linear("other", x, models.Dense{Out: 2})
			}
			return b.Linear("fc", x, models.Dense{Out: 2})
		},
		"fewer layers": func(b *models.Builder, x *gorgonia.Node, second bool) *gorgonia.Node {
			if !second {
				x = b.Linear("more", x, models.Dense{Out: 4})
			}
			return b.Linear("fc", x, models.Dense{Out: 2})
		},
		"another norm": func(b *models.Builder, x *gorgonia.Node, second bool) *gorgonia.Node {
			if second {
				return b.BatchNorm("b", b.Linear("fc", x, models.Dense{Out: 2}), 1e-5)
			}
			return b.BatchNorm("a", b.Linear("fc", x, models.Dense{Out: 2}), 1e-5)
		},
	} {
		second := false
		net, err := models.Define(input(tensor.Float64, 2, 4), models.Config{}, func(b *models.Builder, x *gorgonia.Node) *gorgonia.Node { return lay(b, x, second) })
		net = must(t, net, err)
		second = true
		_, err = net.At(3)
		gtest.WantError(t, name, err, "models: Network", "depend")
	}
}
