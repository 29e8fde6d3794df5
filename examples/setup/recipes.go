package setup

import (
	"flag"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/pkg/errors"
)

// Setting is a flag and its value.
type Setting struct{ Flag, Value string }

// Recipe is a named list of settings.
type Recipe struct {
	Name, About string
	Settings    []Setting
}

// Settings reads flags and values that alternate.
func Settings(list string) []Setting {
	f := strings.Fields(list)
	var out []Setting
	for i := 0; i+1 < len(f); i += 2 {
		out = append(out, Setting{strings.TrimPrefix(f[i], "-"), f[i+1]})
	}
	return out
}

// Recipes are the paper's trainings, as its authors' program has them by default, for each of their activations:
// the settings of the network and data set, then those of the activation. Where the authors give none for a data set
// (Fashion-MNIST), those of its sister do.
//
// The learning rate falls at the start of the epochs that the authors list, here as shares of the training, so that a recipe with
// fewer -epochs is the whole schedule in short. -decay-at= keeps the rate as it is.
func Recipes() []Recipe {
	type base struct {
		name, about, settings string
		// Weight decay of sign, of quantised ReLU and of the rectifiers; "" leaves what settings say.
		decay [3]string
	}
	bases := []base{
		{"convnet4-mnist", "4 layers, MNIST", "-arch convnet4 -data mnist -opt adam -lr 2.5e-4 -wd 5e-4 -batch 64 -epochs 300 -decay-at 199/300,249/300", [3]string{}},
		{"convnet4-fashion", "4 layers, Fashion-MNIST", "-arch convnet4 -data fashion-mnist -opt adam -lr 2.5e-4 -wd 5e-4 -batch 64 -epochs 300 -decay-at 199/300,249/300", [3]string{}},
		{"convnet4-cifar10", "4 layers, CIFAR-10", "-arch convnet4 -data cifar10 -augment true -opt adam -lr 2.5e-4 -wd 5e-4 -batch 64 -epochs 300 -decay-at 199/300,249/300", [3]string{}},
		{"convnet8-cifar10", "8 layers, CIFAR-10", "-arch convnet8 -bn true -dropout 0.5 -data cifar10 -augment true -opt adam -lr 1e-3 -wd 5e-4 -batch 64 -epochs 300 -decay-at 199/300,249/300", [3]string{}},
		{"convnet8-fashion", "8 layers, Fashion-MNIST padded to 32 pixels, 3 channels", "-arch convnet8 -bn true -dropout 0.5 -data fashion-mnist -size 32 -channels 3 -opt adam -lr 1e-3 -wd 5e-4 -batch 64 -epochs 300 -decay-at 199/300,249/300", [3]string{}},
		{"convnet8-svhn", "8 layers, SVHN at 40 pixels", "-arch convnet8 -bn true -dropout 0.5 -data svhn -size 40 -opt adam -lr 1e-3 -wd 5e-4 -batch 64 -epochs 300 -decay-at 199/300,249/300", [3]string{}},
		{"alexnet-imagenet", "AlexNet (DoReFa), ImageNet at 224 pixels", "-arch alexnet -bn true -data folder -max-pixels 67108864 -opt adam -lr 1e-4 -batch 128 -epochs 80 -decay-at 55/80,63/80", [3]string{"5e-6", "5e-5", "5e-4"}},
		{"resnet18-cifar10", "ResNet-18, CIFAR-10", "-arch resnet18 -data cifar10 -augment true -opt sgd -lr 0.1 -momentum 0.9 -batch 256 -epochs 90 -decay-at 29/90,59/90", [3]string{"5e-7", "1e-5", "1e-4"}},
		{"resnet18-cifar100", "ResNet-18, CIFAR-100", "-arch resnet18 -data cifar100 -augment true -opt sgd -lr 0.1 -momentum 0.9 -batch 256 -epochs 90 -decay-at 29/90,59/90", [3]string{"5e-7", "1e-5", "1e-4"}},
		{"resnet18-fashion", "ResNet-18, Fashion-MNIST padded to 32 pixels, 3 channels", "-arch resnet18 -data fashion-mnist -size 32 -channels 3 -opt sgd -lr 0.1 -momentum 0.9 -batch 256 -epochs 90 -decay-at 29/90,59/90", [3]string{"5e-7", "1e-5", "1e-4"}},
		{"resnet18-imagenet", "ResNet-18, ImageNet at 224 pixels", "-arch resnet18-imagenet -data folder -max-pixels 67108864 -opt sgd -lr 0.1 -momentum 0.9 -batch 256 -epochs 90 -decay-at 29/90,59/90", [3]string{"5e-7", "1e-5", "1e-4"}},
	}
	activations := []struct {
		name, about, settings string
		decay                 int
	}{
		{"sign", "sign, SoftHinge (FTP-SH)", "-act sign -rule SoftHinge", 0},
		{"sign-sste", "sign, saturating straight-through", "-act sign -rule SSTE", 0},
		{"qrelu", "2-bit quantised ReLU, SoftHinge (FTP-SH)", "-act qrelu -rule SoftHinge", 1},
		{"qrelu-sste", "2-bit quantised ReLU, saturating straight-through", "-act qrelu -rule SSTE", 1},
		{"relu", "ReLU, full precision", "-act relu", 2},
		{"trelu", "threshold ReLU, full precision", "-act trelu", 2},
	}
	out := []Recipe{
		{"digits", "embedded digits, for a first look: seconds", Settings("-data digits -arch mlp -hidden 64,64 -act sign -rule SoftHinge -opt adam -lr 1e-3 -epochs 20 -batch 32")},
	}
	for _, b := range bases {
		for _, a := range activations {
			list := b.settings + " " + a.settings
			if d := b.decay[a.decay]; d != "" {
				list += " -wd " + d
			}
			out = append(out, Recipe{b.name + "-" + a.name, b.about + "; " + a.about, Settings(list)})
		}
	}
	return append(out, binaryRecipes()...)
}

// binaryRecipes are trainings with sign weights in all layers but the first and the last. Their settings are ours, with parts of others: no
// weight decay, which draws latent weights to where their signs are decided by chance; Adam, and latent weights in [-1, 1], as Courbariaux et al. (2016),
// arXiv:1602.02830, have them; for the residual network scales as in XNOR-Net. The rest is of the paper's trainings with sign activations.
func binaryRecipes() []Recipe {
	return []Recipe{
		{"convnet4-fashion-binary", "4 layers, Fashion-MNIST; sign weights and activations, settings of ours", Settings(
			"-arch convnet4 -bn true -data fashion-mnist -act sign -rule SSTE -weights sign -weight-rule SSTE -opt adam -lr 1e-3 -batch 64 -epochs 300 -decay-at 199/300,249/300")},
		{"convnet8-cifar10-binary", "8 layers, CIFAR-10; sign weights and activations, settings of ours", Settings(
			"-arch convnet8 -bn true -data cifar10 -augment true -act sign -rule SSTE -weights sign -weight-rule SSTE -opt adam -lr 1e-3 -batch 64 -epochs 300 -decay-at 199/300,249/300")},
		{"resnet18-cifar10-binary", "ResNet-18, CIFAR-10; scaled sign weights, sign activations, settings of ours", Settings(
			"-arch resnet18 -data cifar10 -augment true -act sign -rule SSTE -weights sign-scaled -weight-rule SSTE -opt adam -lr 1e-3 -batch 128 -epochs 300 -decay-at 199/300,249/300")},
	}
}

// RecipeByName returns the recipe of a name.
func RecipeByName(name string) (Recipe, error) {
	all := Recipes()
	names := make([]string, len(all))
	for i, r := range all {
		if r.Name == name {
			return r, nil
		}
		names[i] = r.Name
	}
	return Recipe{}, errors.Errorf("no recipe %q: want list, or one of %s", name, strings.Join(names, ", "))
}

// Apply sets the recipe's flags, but for those that are given.
func (r Recipe) Apply(f *flag.FlagSet, given map[string]bool) error {
	for _, s := range r.Settings {
		if given[s.Flag] {
			continue
		}
		if err := f.Set(s.Flag, s.Value); err != nil {
			return errors.Wrapf(err, "recipe %s: -%s %s", r.Name, s.Flag, s.Value)
		}
	}
	return nil
}

// ListRecipes prints every recipe with its settings.
func ListRecipes(w io.Writer) error {
	tab := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, r := range Recipes() {
		var list strings.Builder
		for _, s := range r.Settings {
			fmt.Fprintf(&list, " -%s=%s", s.Flag, s.Value)
		}
		fmt.Fprintf(tab, "%s\t%s\t%s\n", r.Name, r.About, strings.TrimSpace(list.String()))
	}
	return tab.Flush()
}
