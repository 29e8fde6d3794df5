package setup_test

import (
	"bytes"
	"flag"
	"slices"
	"strings"
	"testing"

	"github.com/ftprop/ftprop/deploy"
	"github.com/ftprop/ftprop/examples/setup"
	"github.com/ftprop/ftprop/internal/gtest"
	"github.com/ftprop/ftprop/models"
	"gorgonia.org/gorgonia"
	"gorgonia.org/tensor"
)

// parsed is a network as a command line describes it.
func parsed(t *testing.T, args string) (*setup.Network, map[string]bool) {
	t.Helper()
	n := new(setup.Network)
	f := flag.NewFlagSet("test", flag.ContinueOnError)
	n.Flags(f)
	if err := f.Parse(strings.Fields(args)); err != nil {
		t.Fatal(err)
	}
	return n, setup.Given(f)
}

// Flags that a network ignores are refused.
func TestCheck(t *testing.T) {
	for args, words := range map[string][]string{
		"": nil, "-bn=false": nil, "-bn -arch resnet18": nil, "-act qrelu -rule SSTE -unweighted": nil, "-act relu": nil,
		"-arch resnet18 -bn=false":          {"-bn=false", "resnet18 always has"},
		"-arch resnet18-imagenet -bn=false": {"-bn=false", "always"},
		"-act relu -rule SSTE":              {"-rule", "-act relu"},
		"-act cabs -unweighted":             {"-unweighted", "-act cabs"},
		"-arch resnet34 -order bireal":      nil, "-weights sign -all-weights": nil,
		"-arch convnet8 -order bireal": {"-order bireal", "resnet", "convnet8"}, "-arch convnet4 -order xnor": {"-order xnor", "-bn"}, "-arch convnet4 -bn -order xnor": nil,
		"-order other": {"-order", "other", "paper, bireal or xnor"},
		"-all-weights": {"-all-weights", "-weights"},
	} {
		n, given := parsed(t, args)
		if err := n.Check(given); words == nil && err != nil {
			t.Errorf("%s: %v", args, err)
		} else if words != nil {
			gtest.WantError(t, args, err, words...)
		}
	}
}

// Load needs no flags for files that say what they belong to; those that are given must agree.
func TestLoad(t *testing.T) {
	images := setup.Images{Batch: 2, Shape: []int{1, 8, 8}, Classes: 10}
	file := func(args string, change func(*models.Net) (*models.Net, error)) []byte {
		n, _ := parsed(t, args)
		x := gorgonia.NewTensor(gorgonia.NewGraph(), tensor.Float32, 4, gorgonia.WithName("x"), gorgonia.WithShape(3, 1, 8, 8))
		net, err := n.Build(x, 10, 1)
		if err == nil && change != nil {
			net, err = change(net)
		}
		if err != nil {
			t.Fatal(err)
		}
		var b bytes.Buffer
		if err := net.Save(&b); err != nil {
			t.Fatal(err)
		}
		return b.Bytes()
	}
	load := func(b []byte, args string, images setup.Images) (*models.Net, error) {
		n, given := parsed(t, args)
		return n.Load(bytes.NewReader(b), given, images)
	}
	const of = "-arch convnet4 -hidden 3,4,5 -act qrelu3 -rule SSTE -unweighted -bn"
	b := file(of, nil)
	for _, args := range append([]string{"", of}, "-arch convnet4", "-hidden 3,4,5", "-act qrelu3", "-rule SSTE", "-unweighted", "-bn") {
		net, err := load(b, args, images)
		if err != nil {
			t.Errorf("%s: %v", args, err)
			continue
		}
		var again bytes.Buffer
		if err := net.Save(&again); err != nil || !bytes.Equal(again.Bytes(), b) || net.Input.Shape()[0] != 2 {
			t.Errorf("%s: another network, of %v (%v)", args, net.Input.Shape(), err)
		}
	}
	for args, says := range map[string]string{
		"-arch mlp": "convnet4", "-hidden 3,4,6": "[3 4 5]", "-act qrelu": "Staircase{Steps: 7, Lo: 0, Hi: 1}", "-act relu": "Staircase{Steps: 7, Lo: 0, Hi: 1}",
		"-rule SoftHinge": "SSTE{}", "-unweighted=false": "true", "-bn=false": "true",
	} {
		_, err := load(b, args, images)
		gtest.WantError(t, args, err, strings.Fields(strings.ReplaceAll(args, "=", " "))[0], "the file says "+says, "leave the flag out")
	}
	for name, arch := range map[string]string{"resnet18": "2,3,4,5", "resnet34": "2,3,4,5"} {
		b := file("-arch "+name+" -hidden "+arch, nil)
		if _, err := load(b, "-arch "+name, images); err != nil {
			t.Error(err)
		}
	}
	real := file("-arch resnet18 -order bireal -hidden 2,3,4,5", nil)
	for _, args := range []string{"", "-order bireal"} {
		if net, err := load(real, args, images); err != nil || net.Config().Order != models.BiReal {
			t.Errorf("%q: %v", args, err)
		}
	}
	_, err := load(real, "-order paper", images)
	gtest.WantError(t, "order", err, "-order PaperOrder: the file says BiReal")
	larger := setup.Images{Batch: 2, Shape: []int{1, 9, 20}, Classes: 10}
	if net, err := load(b, "", larger); err != nil || !slices.Equal(net.Input.Shape(), []int{2, 1, 8, 8}) {
		t.Errorf("defaults are not what the file says: %v", err)
	}
	larger.Fixed = true
	_, err = load(b, "", larger)
	gtest.WantError(t, "images", err, "input is 1,8,8, here 1,9,20")
	_, err = load(b, "", setup.Images{Batch: 2, Shape: images.Shape, Classes: 100, Fixed: true})
	gtest.WantError(t, "classes", err, "10 classes, want 100")
	fixed := file("-hidden 4,3", func(n *models.Net) (*models.Net, error) { return n.FixedPoint(deploy.FixedPointOptions{}) })
	net, err := load(fixed, "", images)
	if err != nil || net.Identity().FixedPoint == nil {
		t.Errorf("in fixed point: %v", err)
	}
	_, err = (&setup.FixedPoint{On: true}).Apply(net)
	gtest.WantError(t, "twice", err, "already")
	// PyTorch's files do not say what they belong to: the flags do.
	anonymous := bytes.Replace(file("-hidden 4,3 -act relu", nil), []byte(`"ftprop.activation"`), []byte(`"others.activation"`), 1)
	if _, err := load(anonymous, "-hidden 4,3 -act relu", images); err != nil {
		t.Error(err)
	}
	_, err = load(anonymous, "-hidden 4,5 -act relu", images)
	gtest.WantError(t, "flags", err, "fc2.weight")
	_, err = load(anonymous, "-hidden 4,3 -act relu -rule SSTE", images)
	gtest.WantError(t, "flags", err, "-rule")
}
