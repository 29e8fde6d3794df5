package models

import (
	"math"

	"github.com/ftprop/ftprop/internal/opkit"
	"github.com/ftprop/ftprop/nodes"
	"github.com/ftprop/ftprop/ops"
	"github.com/pkg/errors"
	"gorgonia.org/gorgonia"
	"gorgonia.org/tensor"
)

// Config is what a network leaves open. Its zero value is the paper's network with sign activations, without batch
// normalisation where that is optional, and without dropout.
type Config struct {
	Name    string // of a network of Define, which its files say; "" means Network. Other constructors have names of their own
	Classes int    // 0 means 10, for AlexNet and ResNet18ImageNet 1000
	// Act comes after each hidden layer; nil means nodes.Sign. What it puts on a node may not have parameters or, but for dropout, a state
	// of its own.
	Act nodes.Activation
	// BatchNorm adds batch normalisation where the reference makes it an option (ConvNet4, ConvNet8, AlexNet), and to the hidden
	// layers of an MLP, before the activation. ResNets always have it, false or true, and Net.Config says true.
	BatchNorm bool
	Widths    []int   // of the hidden layers, for a smaller or larger network; nil means the paper's. Each constructor says how many
	Dropout   float64 // probability, in [0, 1), of the channel dropout of ConvNet8 (the reference has 0.5); 0 means none, and all that other networks take
	Seed      uint64  // of the weights, and of dropout
	Order     Order   // of the layers: BiReal in ResNets, XNOR in ConvNet4

	// Weights quantises the weights of all layers of Builder.Conv2d and Builder.Linear but the first and the last, as the papers on quantised
	// weights have it; nil means none. The parameters are then latent weights: see package ops. First are those that depend on no other such
	// layer, last those that no other depends on. A network without any in between is an error; so are ops.LSQWeights, which take a step size.
	Weights ops.WeightQuantiser
	// AllWeights includes the first and the last, but no convolution with Conv.FullPrecision.
	AllWeights bool

	elements int // that all parameters together may have, where a file asks for the network; 0 means any number
}

// Sizes beyond these are mistakes, to be named before memory is asked for: units of a layer, channels and classes, and the numbers of
// one parameter (4 GiB of float32).
const (
	maxUnits     = 1 << 24
	maxParameter = 1 << 30
)

// checkParameter returns an error unless a parameter of that shape can be made.
func checkParameter(name string, shape tensor.Shape) error {
	n, err := opkit.Volume(shape)
	if err == nil && n > maxParameter {
		err = errors.Errorf("%d numbers, want at most %d", n, maxParameter)
	}
	return errors.WithMessagef(err, "parameter %s %v", name, shape)
}

// with returns the configuration with defaults in place, or an error that says what is wrong with it for a network whose hidden
// layers have the given widths by default.
func (c Config) with(classes int, widths ...int) (Config, error) {
	if c.Classes == 0 {
		c.Classes = classes
	}
	if c.Act == nil {
		c.Act = nodes.Sign
	}
	if c.Widths == nil {
		c.Widths = widths
	}
	if len(c.Widths) != len(widths) {
		return c, errors.Errorf("widths %v, want %d of them as in %v", c.Widths, len(widths), widths)
	}
	return c, c.check()
}

// check returns an error for numbers that no network can have.
func (c Config) check() error {
	if c.Classes < 0 || c.Classes > maxUnits {
		return errors.Errorf("Classes: %d classes, want 1 to %d", c.Classes, maxUnits)
	}
	for i, w := range c.Widths {
		if w < 1 || w > maxUnits {
			return errors.Errorf("Widths[%d] of widths %v, want positive ones up to %d", i, c.Widths, maxUnits)
		}
	}
	if !(c.Dropout >= 0 && c.Dropout < 1) {
		return errors.Errorf("dropout %v, want a probability from 0 to less than 1", c.Dropout)
	}
	if err := c.Order.check(); err != nil {
		return err
	}
	return c.checkWeights()
}

// checkInput returns an error unless x is an input node of floating-point images (N, C, H, W) with positive sizes.
func checkInput(x *gorgonia.Node) error {
	if x == nil {
		return errors.New("no input node")
	}
	if x.Op() != nil {
		return errors.Errorf("input %q is the result of %v, want a variable: preprocess before", x.Name(), x.Op())
	}
	if t, ok := x.Type().(gorgonia.TensorType); !ok || t.Of != tensor.Float32 && t.Of != tensor.Float64 {
		return errors.Errorf("input of type %v, want a tensor of float32 or float64", x.Type())
	}
	if x.Dims() != 4 && x.Dims() != 2 {
		return errors.Errorf("input %v, want (N, C, H, W) or (N, features)", x.Shape())
	}
	for _, n := range x.Shape() {
		if n < 1 {
			return errors.Errorf("input %v is empty", x.Shape())
		}
	}
	if _, err := opkit.Volume(x.Shape()); err != nil {
		return errors.WithMessage(err, "input")
	}
	if c := x.Shape()[1]; c > maxUnits {
		return errors.Errorf("input %v has %d channels or features, want at most %d", x.Shape(), c, maxUnits)
	}
	return nil
}

// checkImages is checkInput for networks of images with at least the given side, and channels unless that is 0.
func checkImages(x *gorgonia.Node, channels, side int) error {
	if err := checkInput(x); err != nil {
		return err
	}
	if x.Dims() != 4 {
		return errors.Errorf("input %v, want images (N, C, H, W)", x.Shape())
	}
	s := x.Shape()
	if channels > 0 && s[1] != channels {
		return errors.Errorf("input %v has %d channels, want %d", s, s[1], channels)
	}
	if s[2] < side || s[3] < side {
		return errors.Errorf("input %v, want images of %dx%d pixels at least", s, side, side)
	}
	return nil
}

// bound is the half width of PyTorch's default initialisation of weights and biases: kaiming_uniform_ with a = sqrt(5).
func bound(fanIn int) float64 { return 1 / math.Sqrt(float64(fanIn)) }
