package setup

import (
	"cmp"
	"flag"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/ftprop/ftprop/models"
	"github.com/ftprop/ftprop/ops"
	"github.com/pkg/errors"
	"gorgonia.org/gorgonia"
	"gorgonia.org/tensor"
)

// Given returns the flags that the command line has. Called before a recipe sets more, it tells what is asked for from what is
// a default.
func Given(f *flag.FlagSet) map[string]bool {
	given := map[string]bool{}
	f.Visit(func(g *flag.Flag) { given[g.Name] = true })
	return given
}

// Check returns an error for flags among those given that the network has no use for.
func (n *Network) Check(given map[string]bool) error {
	if given["bn"] && !n.BatchNorm && strings.HasPrefix(n.Arch, "resnet") {
		return errors.Errorf("-bn=false: %s always has batch normalisation", n.Arch)
	}
	if given["weight-rule"] && n.Weights == "" {
		return errors.New("-weight-rule is for -weights")
	}
	if n.AllWeights && n.Weights == "" {
		return errors.New("-all-weights is for -weights")
	}
	switch order, err := n.order(); {
	case err != nil:
		return err
	case order == models.BiReal && !strings.HasPrefix(n.Arch, "resnet"), order == models.XNOR && (n.Arch != "convnet4" || !n.BatchNorm):
		return errors.Errorf("-order %s: want bireal with a resnet, xnor with convnet4 and -bn, not %s", n.Order, n.Arch)
	}
	if _, err := ops.ActivationByName(n.Act); err != nil {
		for _, f := range []string{"rule", "unweighted", "targets"} {
			if given[f] {
				return errors.Errorf("-%s is for threshold activations, and -act %s is none", f, n.Act)
			}
		}
	}
	return nil
}

// Images is what a network takes, and how many classes it tells apart.
type Images struct {
	Batch   int
	Shape   []int // C, H, W
	Classes int
	Fixed   bool // they are as they are: what a file says of Shape and Classes does not replace them
}

// Load builds the network that a file of weights belongs to, and loads them. A file that says what that is needs none of the network's
// flags, and those that are given must agree with it; of others the flags say it.
func (n *Network) Load(f io.ReadSeeker, given map[string]bool, images Images) (*models.Net, error) {
	id, ok, err := models.ReadIdentity(f)
	if !ok {
		net, flagErr := n.build(given, images)
		if flagErr != nil { // before what is wrong with the file
			return nil, flagErr
		}
		return fill(net, f, err)
	}
	if err := n.agree(&id, given); err != nil {
		return nil, err
	}
	input := id.Input
	if images.Fixed || given["shape"] {
		id.Input = images.Shape
	}
	if (images.Fixed || given["classes"]) && id.Classes != images.Classes {
		return nil, errors.Errorf("the file's network has %d classes, want %d", id.Classes, images.Classes)
	}
	net, err := id.New(tensor.Float32, images.Batch)
	if err != nil && !slices.Equal(input, id.Input) {
		err = errors.WithMessagef(err, "images of %v, the file's are %v", id.Input, input)
	}
	return fill(net, f, err)
}

// fill loads weights unless there was an error before.
func fill(net *models.Net, f io.ReadSeeker, err error) (*models.Net, error) {
	if err != nil {
		return nil, err
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return nil, errors.WithStack(err)
	}
	return net, net.Load(f)
}

// build is Build for a file that does not say what it belongs to.
func (n *Network) build(given map[string]bool, images Images) (*models.Net, error) {
	if err := n.Check(given); err != nil {
		return nil, err
	}
	shape := append([]int{images.Batch}, images.Shape...)
	x := gorgonia.NewTensor(gorgonia.NewGraph(), tensor.Float32, len(shape), gorgonia.WithName("x"), gorgonia.WithShape(shape...))
	return n.Build(x, images.Classes, 0)
}

// agree returns an error for a given flag that contradicts what a file says.
func (n *Network) agree(id *models.Identity, given map[string]bool) error {
	rule, unweighted := strings.CutSuffix(id.Rule, ", unweighted")
	if id.Rule == "" {
		rule = "none"
	}
	arch := strings.Replace(strings.ToLower(id.Network), "imagenet", "-imagenet", 1)
	own, err := n.identity()
	if err != nil {
		return err
	}
	for _, c := range []struct {
		flag      string
		own, file any
	}{
		{"arch", n.Arch, arch}, {"act", own.Activation, id.Activation}, {"bn", n.BatchNorm, id.BatchNorm},
		{"hidden", fmt.Sprint(own.Widths), fmt.Sprint(id.Widths)}, {"rule", own.Rule, rule}, {"unweighted", n.Unweighted, unweighted},
		{"weights", cmp.Or(own.Weights, "none"), cmp.Or(id.Weights, "none")}, {"weight-rule", own.WeightsRule, cmp.Or(id.WeightsRule, "none")},
		{"all-weights", n.AllWeights, id.AllWeights}, {"order", own.Order, id.Order},
	} {
		if given[c.flag] && c.own != c.file {
			return errors.Errorf("-%s %v: the file says %v: leave the flag out, as others that describe the network", c.flag, c.own, c.file)
		}
	}
	return nil
}

// identity is what -act, -rule, -weights, -order and -hidden say, in the words of files.
func (n *Network) identity() (id models.Identity, err error) {
	act, err := n.Activation()
	if err != nil {
		return id, err
	}
	weighted := *n
	weighted.Weights = cmp.Or(n.Weights, "sign") // for the rule
	weights, err := weighted.Quantiser()
	if err != nil {
		return id, err
	}
	x := gorgonia.NewMatrix(gorgonia.NewGraph(), tensor.Float32, gorgonia.WithName("x"), gorgonia.WithShape(1, 1))
	net, err := models.MLP(x, models.Config{Act: act, Widths: []int{1}, Weights: weights, AllWeights: true})
	if err != nil {
		return id, err
	}
	id = net.Identity()
	if n.Weights == "" {
		id.Weights = ""
	}
	id.Rule, _ = strings.CutSuffix(id.Rule, ", unweighted")
	if id.Order, err = n.order(); err != nil {
		return id, err
	}
	id.Widths, err = Numbers("hidden", n.Hidden)
	return id, err
}
