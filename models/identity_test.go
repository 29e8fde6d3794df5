package models_test

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/ftprop/ftprop/deploy"
	"github.com/ftprop/ftprop/internal/gtest"
	"github.com/ftprop/ftprop/models"
	"github.com/ftprop/ftprop/nodes"
	"github.com/ftprop/ftprop/ops"
	"gorgonia.org/gorgonia"
	"gorgonia.org/tensor"
)

// saved is a file of a network's weights.
func saved(t testing.TB, net *models.Net) []byte {
	t.Helper()
	var file bytes.Buffer
	if err := net.Save(&file); err != nil {
		t.Fatal(err)
	}
	return file.Bytes()
}

// metadata returns a file's, as an independent reader of the format.
func metadata(t testing.TB, file []byte) map[string]string {
	t.Helper()
	var header struct {
		Metadata map[string]string `json:"__metadata__"`
	}
	if err := json.Unmarshal(file[8:8+binary.LittleEndian.Uint64(file)], &header); err != nil {
		t.Fatal(err)
	}
	return header.Metadata
}

// relabelled is a file with its metadata changed; nil leaves none.
func relabelled(t testing.TB, file []byte, change func(m map[string]string) map[string]string) []byte {
	t.Helper()
	n := 8 + binary.LittleEndian.Uint64(file)
	var header map[string]any
	if err := json.Unmarshal(file[8:n], &header); err != nil {
		t.Fatal(err)
	}
	m := change(metadata(t, file))
	delete(header, "__metadata__")
	if m != nil {
		header["__metadata__"] = m
	}
	b, err := json.Marshal(header)
	if err != nil {
		t.Fatal(err)
	}
	return slices.Concat(binary.LittleEndian.AppendUint64(nil, uint64(len(b))), b, file[n:])
}

// identified is activations by what identity says of them, those with a name that a network can be made of first.
func identified() (named, others map[string]nodes.Activation) {
	named = map[string]nodes.Activation{
		"Sign{}": nodes.Act(ops.Sign{Rule: ops.SSTE{}}), "Step01{}": nodes.Step01, "Staircase{Steps: 3, Lo: 0, Hi: 1}": func(x *gorgonia.Node) (*gorgonia.Node, error) { return nodes.QReLU(x, 2) },
		"Staircase{Steps: 5, Lo: -0.3, Hi: 1.7}": nodes.Act(ops.Staircase{Steps: 5, Lo: -0.3, Hi: 1.7, Unweighted: true}),
		"ReLU()":                                 nodes.ReLU, "LeakyReLU(0.1)": func(x *gorgonia.Node) (*gorgonia.Node, error) { return nodes.LeakyReLU(x, 0.1) },
		"ThresholdReLU(1)": nodes.ThresholdReLU, "ThresholdReLU(2.5)": func(x *gorgonia.Node) (*gorgonia.Node, error) { return gorgonia.ApplyOp(ops.ThresholdReLU(2.5), x) },
		"HardTanh()": nodes.HardTanh, "HardSigmoid()": nodes.HardSigmoid, "CAbs()": nodes.CAbs, "none": then(),
	}
	odd := false
	others = map[string]nodes.Activation{
		"tanh": gorgonia.Tanh, "HardTanh(), Sign{}": then(nodes.HardTanh, nodes.Sign),
		"nonlin1 Sign{}; nonlin2 ReLU(); ": func(x *gorgonia.Node) (*gorgonia.Node, error) {
			if odd = !odd; odd {
				return nodes.Sign(x)
			}
			return nodes.ReLU(x)
		},
	}
	return named, others
}

// A file loads into a network with its activation and into no other, whose error names both. Rules may differ.
func TestLoadComparesActivations(t *testing.T) {
	named, others := identified()
	all := maps.Clone(named)
	maps.Copy(all, others)
	build := func(act nodes.Activation) *models.Net {
		net, err := models.MLP(input(tensor.Float32, 2, 3), models.Config{Act: act, Widths: []int{2, 2}})
		return must(t, net, err)
	}
	for from, act := range all {
		file := saved(t, build(act))
		for to, other := range all {
			net := build(other)
			before := slices.Clone(net.Params()[0].Value().Data().([]float32))
			net.Params()[0].Value().Data().([]float32)[0]++
			if err := net.Load(bytes.NewReader(file)); from == to {
				if err != nil || !slices.Equal(before, net.Params()[0].Value().Data().([]float32)) {
					t.Errorf("%s into its own: %v", from, err)
				}
			} else {
				gtest.WantError(t, from+" into "+to, err, "models: loading MLP", "another network", "activation is "+from, "here "+to)
				if slices.Equal(before, net.Params()[0].Value().Data().([]float32)) {
					t.Errorf("%s into %s: the weights are loaded", from, to)
				}
			}
		}
	}
	if err := build(nodes.Act(ops.Sign{Rule: ops.STE{}, Unweighted: true})).Load(bytes.NewReader(saved(t, build(nodes.Sign)))); err != nil {
		t.Error("another rule:", err)
	}
}

// Files without metadata, of PyTorch or of an earlier version, are taken at their tensors.
func TestLoadWithoutMetadata(t *testing.T) {
	build := func(act nodes.Activation) *models.Net {
		net, err := models.MLP(input(tensor.Float32, 2, 3), models.Config{Act: act, Widths: []int{2}, BatchNorm: true})
		return must(t, net, err)
	}
	file := saved(t, build(nodes.Sign))
	for name, m := range map[string]map[string]string{
		"none": nil, "PyTorch": {"format": "pt"}, "earlier": {"format": "pt", "ftprop.network": "MLP"}, "strange": {"ftprop.activation": "ReLU()"},
	} {
		b := relabelled(t, file, func(map[string]string) map[string]string { return m })
		if err := build(nodes.ReLU).Load(bytes.NewReader(b)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if _, ok, err := models.ReadIdentity(bytes.NewReader(b)); ok || err != nil {
			t.Errorf("%s: identity %v, %v", name, ok, err)
		}
	}
}

// A network in fixed point and an ordinary one do not load each other's files, and the errors say what to do.
func TestLoadFixedPoint(t *testing.T) {
	build := func() *models.Net {
		net, err := models.MLP(input(tensor.Float32, 2, 3), models.Config{Widths: []int{2, 2}, BatchNorm: true})
		return must(t, net, err)
	}
	net := build()
	fixed := fixedPoint(t, net, deploy.FixedPointOptions{})
	gtest.WantError(t, "fixed into ordinary", build().Load(bytes.NewReader(saved(t, fixed))), "in fixed point", "Net.FixedPoint", "Identity.New")
	gtest.WantError(t, "ordinary into fixed", fixed.Load(bytes.NewReader(saved(t, net))), "is in fixed point, the file's is not", "Net.FixedPoint")
	other := fixedPoint(t, build(), deploy.FixedPointOptions{InputMax: 2})
	gtest.WantError(t, "other rounding", other.Load(bytes.NewReader(saved(t, fixed))), "fixed_point is Round{Unit: 0.0078125, Max: 4}", "Max: 2}")
	if err := fixedPoint(t, build(), deploy.FixedPointOptions{}).Load(bytes.NewReader(saved(t, fixed))); err != nil {
		t.Error(err)
	}
}

// Where tensors differ, the error says what it comes of, too.
func TestLoadSaysWhatDiffers(t *testing.T) {
	net, err := small["ConvNet4"](tensor.Float32, 2)
	file := saved(t, must(t, net, err))
	for _, c := range []struct {
		cfg   models.Config
		x     *gorgonia.Node
		words []string
	}{
		{models.Config{Widths: []int{3, 4, 7}, BatchNorm: true, Classes: 4}, input(tensor.Float32, 1, 2, 9, 8), []string{"widths is 3,4,6, here 3,4,7"}},
		{models.Config{Widths: []int{3, 4, 6}, Classes: 4}, input(tensor.Float32, 1, 2, 9, 8), []string{"batch_norm is true, here false"}},
		{models.Config{Widths: []int{3, 4, 6}, BatchNorm: true}, input(tensor.Float32, 1, 2, 9, 8), []string{"classes is 4, here 10"}},
		{models.Config{Widths: []int{3, 4, 6}, BatchNorm: true, Classes: 4}, input(tensor.Float32, 1, 2, 20, 20), []string{"input is 2,9,8, here 2,20,20"}},
	} {
		net, err := models.ConvNet4(c.x, c.cfg)
		gtest.WantError(t, c.words[0], must(t, net, err).Load(bytes.NewReader(file)), append(c.words, "all_modules.")...)
	}
}

// What a file says is enough to build its network and to load it, in fixed point too; an activation of several operations is an error.
func TestIdentity(t *testing.T) {
	if gtest.Race {
		t.Skip("many networks, one after the other")
	}
	check := func(name string, net *models.Net, x []float64) {
		t.Helper()
		file := saved(t, net)
		id, ok, err := models.ReadIdentity(bytes.NewReader(file))
		if err != nil || !ok {
			t.Fatalf("%s: %v, %v", name, ok, err)
		}
		if fmt.Sprint(id.Input, id.Widths, id.Classes, id.BatchNorm) != fmt.Sprint([]int(net.Input.Shape()[1:]), net.Config().Widths, net.Config().Classes, net.Config().BatchNorm) ||
			id.Network != net.Name() || id.Activation != net.Identity().Activation || id.Rule != net.Identity().Rule || id.Levels != net.Identity().Levels {
			t.Errorf("%s: the file says %+v", name, id)
		}
		again, err := id.New(net.Input.Dtype(), net.Input.Shape()[0])
		again = must(t, again, err)
		if err := again.Load(bytes.NewReader(file)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if !bytes.Equal(saved(t, again), file) {
			t.Errorf("%s: saved again it is another file", name)
		}
		at, err := net.At(net.Input.Shape()[0])
		if got, want := logits(t, again, x), logits(t, must(t, at, err), x); !slices.Equal(got, want) {
			t.Errorf("%s: logits %v, want %v", name, got, want)
		}
	}
	for name, build := range small {
		for _, dt := range gtest.Dtypes() {
			net, err := build(dt, 3)
			net = must(t, net, err)
			check(name, net, normals(net.Input.Shape().TotalSize()))
		}
	}
	for name := range exported {
		for _, a := range thresholds() {
			net, x := normalised(t, name, 3, nodes.Act(a))
			check(fmt.Sprint(name, ", ", a), net, x)
			check(fmt.Sprint(name, ", ", a, " in fixed point"), fixedPoint(t, net, deploy.FixedPointOptions{}), x)
		}
	}
	named, others := identified()
	for name, act := range named {
		net, err := models.MLP(input(tensor.Float32, 2, 3), models.Config{Act: act, Widths: []int{2, 2}})
		net = must(t, net, err)
		if id := net.Identity(); id.Activation != name {
			t.Errorf("%s is called %s", name, id.Activation)
		}
		check(name, net, normals(6))
	}
	for name, act := range others {
		net, err := models.MLP(input(tensor.Float32, 2, 3), models.Config{Act: act, Widths: []int{2, 2}})
		id, _, err2 := models.ReadIdentity(bytes.NewReader(saved(t, must(t, net, err))))
		if err2 != nil {
			t.Fatal(err2)
		}
		_, err = id.New(tensor.Float32, 1)
		gtest.WantError(t, name, err, "MLP", name, "Config.Act")
	}
	sste, err := models.MLP(input(tensor.Float32, 2, 3), models.Config{Act: nodes.Act(ops.Staircase{Steps: 5, Rule: ops.SSTE{}, Unweighted: true}), Widths: []int{2}})
	if m := metadata(t, saved(t, must(t, sste, err))); !maps.Equal(m, map[string]string{
		"format": "pt", "ftprop.network": "MLP", "ftprop.input": "3", "ftprop.widths": "2", "ftprop.classes": "10", "ftprop.batch_norm": "false",
		"ftprop.activation": "Staircase{Steps: 5, Lo: 0, Hi: 1}", "ftprop.levels": "6 from 0 to 1", "ftprop.rule": "SSTE{}, unweighted",
	}) {
		t.Errorf("metadata %v", m)
	}
}

// Files that ask for what cannot be, or for more memory than they have themselves, are errors.
func TestIdentityRejects(t *testing.T) {
	net, err := small["ConvNet4"](tensor.Float32, 2)
	file := saved(t, must(t, net, err))
	for key, values := range map[string][]string{
		"ftprop.network": {"VGG", "mlp"}, "ftprop.input": {"", "2,9", "x", "0,9,8", "2,9,8,1", "2,268435456,268435456", "2,100000,100000"},
		"ftprop.widths": {"", "3,4", "3,4,0", "3,4,99999999", "268435456,268435456,268435456", "9223372036854775807,4,6"}, "ftprop.classes": {"", "-1", "268435456", "1e9"},
		"ftprop.batch_norm": {"", "maybe"}, "ftprop.activation": {"Sign{} ", "Staircase{Steps: 1, Lo: 0, Hi: 1}", "Staircase{Steps: 3, Lo: 1, Hi: 0}", "LeakyReLU(NaN)", "ThresholdReLU(-1)"},
		"ftprop.fixed_point": {"Round{}", "Round{Unit: 3, Max: 4}", "Round{Unit: NaN, Max: 4}", "4"},
	} {
		for _, v := range values {
			b := relabelled(t, file, func(m map[string]string) map[string]string { m[key] = v; return m })
			id, ok, err := models.ReadIdentity(bytes.NewReader(b))
			if err == nil && ok {
				_, err = id.New(tensor.Float32, 1)
			}
			gtest.WantError(t, key+" "+v, err, "models: ")
		}
	}
	long := relabelled(t, file, func(m map[string]string) map[string]string { m["more"] = strings.Repeat("m", 2<<20); return m })
	_, _, err = models.ReadIdentity(bytes.NewReader(long))
	gtest.WantError(t, "header", err, "header", "262144")
	gtest.WantError(t, "header", net.Load(bytes.NewReader(long)), "models: loading", "header", "want 6") // 64 KiB and some
	id := net.Identity()
	_, err = id.New(tensor.Int, 1)
	gtest.WantError(t, "dtype", err, "float32 or float64")
	_, err = id.New(tensor.Float32, 0)
	gtest.WantError(t, "batch", err, "batch size 0")
}
