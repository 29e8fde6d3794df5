package main

import (
	"flag"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/ftprop/ftprop/examples/command"
	"github.com/ftprop/ftprop/examples/setup"
	"github.com/ftprop/ftprop/nodes"
	"github.com/ftprop/ftprop/ops"
	"github.com/ftprop/ftprop/solvers"
	"github.com/ftprop/ftprop/train"
	"github.com/pkg/errors"
	"gorgonia.org/gorgonia"
)

// options is the command line.
type options struct {
	recipe string
	given  map[string]bool // flags of the command line, not of a recipe

	data       setup.Data
	augment    bool
	validation float64
	workers    int

	net setup.Network

	loss                 string
	opt                  string
	lr, wd, momentum     float64
	nesterov             bool
	decayAt              string
	gamma                float64
	epochs, batch, limit int
	evalBatch            int
	seed                 uint64
	bop                  bop

	out     string
	resume  bool
	replace bool // -overwrite
	every   int
	inspect int
	eval    string
	fixed   setup.FixedPoint // of -eval
	integer bool             // -eval is of a network in integers

	tensorboard string
}

func (o *options) flags() *flag.FlagSet {
	f := flag.NewFlagSet("train", flag.ContinueOnError)
	f.StringVar(&o.recipe, "recipe", "", "`name` of a recipe, whose settings are the defaults of the flags below; \"list\" prints them all")

	o.data.Flags(f)
	f.BoolVar(&o.augment, "augment", false, "random crops out of 4 pixels of padding, and flips; a folder of images is always augmented")
	f.Float64Var(&o.validation, "validation", 0, "`share` of the training images set apart to choose the best weights")
	f.IntVar(&o.workers, "workers", 0, "`goroutines` that read images (default one fewer than processors)")

	o.net.Flags(f)

	f.StringVar(&o.loss, "loss", "cross-entropy", "output `loss`: "+strings.Join(lossNames(), ", "))
	f.StringVar(&o.opt, "opt", "adam", "`solver`: adam, adamw, sgd, rmsprop; bop flips the sign weights, and adam trains the rest")
	o.bop.flags(f)
	f.Float64Var(&o.lr, "lr", 1e-3, "learning `rate`")
	f.Float64Var(&o.wd, "wd", 0, "weight `decay`: L2 in the gradient, but for adamw")
	f.Float64Var(&o.momentum, "momentum", 0, "`momentum` of sgd and rmsprop")
	f.BoolVar(&o.nesterov, "nesterov", false, "Nesterov momentum, with sgd")
	f.StringVar(&o.decayAt, "decay-at", "", "`epochs`, counted from 1 and separated by commas, at whose start the learning rate is multiplied by -decay; or shares of the training, like 199/300, after which it is")
	f.Float64Var(&o.gamma, "decay", 0.1, "`factor` of the learning rate at -decay-at")
	f.IntVar(&o.epochs, "epochs", 10, "`epochs`")
	f.IntVar(&o.batch, "batch", 64, "`images` a step")
	f.IntVar(&o.limit, "limit", 0, "use only so many training `images`, evenly spaced")
	f.IntVar(&o.evalBatch, "eval-batch", 0, "`images` a batch in evaluation (default 50, of more than 64 pixels 25)")
	f.Uint64Var(&o.seed, "seed", 1, "`seed` of weights, order, augmentation and dropout")

	f.StringVar(&o.out, "out", "train-out", "`folder` for checkpoint, weights, log and curves")
	f.BoolVar(&o.resume, "resume", false, "go on from the checkpoint in -out")
	f.BoolVar(&o.replace, "overwrite", false, "do away with an earlier training in -out")
	f.IntVar(&o.every, "checkpoint-every", 0, "`steps` between checkpoints within an epoch (default only after each epoch)")
	f.IntVar(&o.inspect, "inspect", 200, "`images` on which the layers are looked at after each epoch; 0 for none")
	f.StringVar(&o.tensorboard, "tensorboard", "", "`folder` for TensorBoard's event files; with -resume they go on where the checkpoint stands")
	f.StringVar(&o.eval, "eval", "", "evaluate the weights in a `file` (safetensors) on the test set, and end")
	o.fixed.Flags(f)
	f.BoolVar(&o.integer, "integer", false, "the file of -eval is a network in integers (ONNX), as examples/export -integer writes it")
	return f
}

// parse reads the command line. Flags that are not given take the recipe's settings, if there is one.
func parse(f *flag.FlagSet, o *options, args []string) error {
	if err := command.Parse(f, args, f.Output()); err != nil {
		return err
	}
	o.given = setup.Given(f)
	if o.recipe == "" || o.recipe == "list" {
		return nil
	}
	r, err := recipeByName(o.recipe)
	if err != nil {
		return err
	}
	for _, s := range r.settings {
		if o.given[s.flag] {
			continue
		}
		if err := f.Set(s.flag, s.value); err != nil {
			return errors.Wrapf(err, "recipe %s: -%s %s", r.name, s.flag, s.value)
		}
	}
	return nil
}

func (o *options) check() error {
	switch {
	case !(o.lr > 0) || math.IsInf(o.lr, 0):
		return errors.Errorf("-lr %v: want a positive number", o.lr)
	case !(o.wd >= 0) || math.IsInf(o.wd, 0):
		return errors.Errorf("-wd %v: want 0 or more", o.wd)
	case !(o.momentum >= 0 && o.momentum < 1):
		return errors.Errorf("-momentum %v: want 0 or more and less than 1", o.momentum)
	case !(o.gamma > 0) || math.IsInf(o.gamma, 0):
		return errors.Errorf("-decay %v: want a positive number", o.gamma)
	case !(o.validation >= 0 && o.validation < 1):
		return errors.Errorf("-validation %v: want a share from 0 to less than 1", o.validation)
	case o.fixed != (setup.FixedPoint{}) && o.eval == "":
		return errors.New("-fixed-point is for -eval: what is trained are full weights")
	case o.resume && o.replace:
		return errors.New("-resume goes on with the training in -out, -overwrite does away with it: give one of them")
	case o.nesterov && o.opt != "sgd":
		return errors.Errorf("-nesterov is for -opt sgd, not %s", o.opt)
	}
	if o.eval == "" { // else it is the file that says what the weights are
		if err := o.bop.check(o.opt == "bop", o.net.Weights, o.given); err != nil {
			return err
		}
	}
	if err := o.checkInteger(); err != nil {
		return err
	}
	if err := o.data.Check(); err != nil {
		return err
	}
	return command.Check(
		command.Count{Flag: "epochs", N: o.epochs, Least: 1, Most: mostEpochs}, command.Count{Flag: "batch", N: o.batch, Least: 1, Most: setup.MostBatch},
		command.Count{Flag: "eval-batch", N: o.evalBatch, Least: 0, Most: setup.MostUnits}, command.Count{Flag: "inspect", N: o.inspect, Least: 0, Most: setup.MostUnits},
		command.Count{Flag: "limit", N: o.limit, Least: 0, Most: 100_000_000}, command.Count{Flag: "checkpoint-every", N: o.every, Least: 0, Most: 100_000_000},
		command.Count{Flag: "workers", N: o.workers, Least: 0, Most: 1024},
	)
}

func losses() map[string]train.LossFunc {
	return map[string]train.LossFunc{
		"cross-entropy": nodes.CrossEntropy, "hinge": nodes.Hinge, "squared-hinge": nodes.SquaredHinge, "trunc-hinge": nodes.TruncHinge,
		"hinge-softmax": nodes.HingeSoftmax, "trunc-hinge-softmax": nodes.TruncHingeSoftmax,
	}
}

func lossNames() []string {
	var names []string
	for n := range losses() {
		names = append(names, n)
	}
	slices.Sort(names)
	return names
}

// solver makes the solver with its schedule, for epochs of the given number of steps. Of sign weights it keeps the latent ones in [-1, 1]: beyond, a
// straight-through estimator that saturates trains them no more.
func (o *options) solver(steps int, latent []string) (gorgonia.Solver, error) {
	at, err := decaySteps(o.decayAt, o.epochs, steps)
	if err != nil {
		return nil, err
	}
	s := &solvers.Scheduled{Schedule: solvers.StepDecay(o.lr, o.gamma, at...)}
	switch o.opt {
	case "bop":
		s.Solver = o.bop.solver(latent, &solvers.Adam{LearnRate: o.lr, WeightDecay: o.wd}, o.gamma, at)
		return s, nil
	case "adam", "adamw":
		s.Solver = &solvers.Adam{LearnRate: o.lr, WeightDecay: o.wd, Decoupled: o.opt == "adamw"}
	case "sgd":
		s.Solver = &solvers.SGD{LearnRate: o.lr, WeightDecay: o.wd, Momentum: o.momentum, Nesterov: o.nesterov}
	case "rmsprop":
		s.Solver = &solvers.RMSProp{LearnRate: o.lr, WeightDecay: o.wd, Momentum: o.momentum}
	default:
		return nil, errors.Errorf("-opt %q: want adam, adamw, sgd, rmsprop or bop", o.opt)
	}
	q, err := o.net.Quantiser()
	if err != nil {
		return nil, err
	}
	if _, signs := q.(ops.SignWeights); signs {
		s.Solver = &solvers.Clip{Solver: s.Solver, Names: latent}
	}
	return s, nil
}

// setup says what a checkpoint must have in common with the training that goes on from it: all that the weights depend on. Where the
// images are does not matter, only what they are, for which their fingerprint stands.
func (o *options) setup(images string) string {
	decay := o.decayAt
	if strings.Contains(decay, "/") { // what the shares are of
		decay += fmt.Sprintf(" of %d epochs", o.epochs)
	}
	weights := ""
	if o.net.Weights != "" || o.net.WeightRule != "SSTE" { // checkpoints of before there were these flags stay what they are
		weights = fmt.Sprintf(" -weights %s -weight-rule %s", o.net.Weights, o.net.WeightRule)
	}
	if o.net.AllWeights {
		weights += " -all-weights"
	}
	if o.net.Order != "paper" {
		weights += " -order " + o.net.Order
	}
	return fmt.Sprintf("-data %s (images %s) -size %d -crop %d -channels %d -augment=%v -validation %v -limit %d -arch %s -act %s -rule %s -unweighted=%v -bn=%v -dropout %v -hidden %q "+
		"-loss %s -opt %s -lr %v -wd %v -momentum %v -nesterov=%v -decay-at %q -decay %v -batch %d -seed %d",
		o.data.Name, images, o.data.Size, o.data.Crop, o.data.Channels, o.augment, o.validation, o.limit, o.net.Arch, o.net.Act, o.net.Rule, o.net.Unweighted, o.net.BatchNorm, o.net.Dropout, o.net.Hidden,
		o.loss, o.opt, o.lr, o.wd, o.momentum, o.nesterov, decay, o.gamma, o.batch, o.seed) + weights + o.bop.setup(o.opt == "bop")
}
