package main

import (
	"flag"

	"github.com/ftprop/ftprop/examples/command"
	"github.com/ftprop/ftprop/examples/ranks"
	"github.com/ftprop/ftprop/examples/setup"
	"github.com/pkg/errors"
)

// options is the command line.
type options struct {
	recipe string
	given  map[string]bool // flags of the command line, not of a recipe

	data  setup.Data
	net   setup.Network
	train setup.Training
	seed  uint64
	mpi   bool

	out     string
	resume  bool
	replace bool // -overwrite
	eval    string
	fixed   setup.FixedPoint // of -eval
	integer bool             // -eval is of a network in integers

	tensorboard string
}

func (o *options) flags() *flag.FlagSet {
	f := flag.NewFlagSet("train", flag.ContinueOnError)
	f.StringVar(&o.recipe, "recipe", "", "`name` of a recipe, whose settings are the defaults of the flags below; \"list\" prints them all")

	o.data.Flags(f)
	f.IntVar(&o.train.Workers, "workers", 0, "`goroutines` that read images (default one fewer than processors)")

	o.net.Flags(f)
	o.train.Flags(f)
	o.train.RankFlags(f)
	f.Uint64Var(&o.seed, "seed", 1, "`seed` of weights, order, augmentation and dropout")

	ranks.Flag(f, &o.mpi, "train as one of several ranks, each on its share of the images")
	f.StringVar(&o.out, "out", "train-out", "`folder` for checkpoint, weights, log and curves")
	f.BoolVar(&o.resume, "resume", false, "go on from the checkpoint in -out")
	f.BoolVar(&o.replace, "overwrite", false, "do away with an earlier training in -out")
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
	r, err := setup.RecipeByName(o.recipe)
	if err != nil {
		return err
	}
	return r.Apply(f, o.given)
}

func (o *options) check() error {
	switch {
	case o.fixed != (setup.FixedPoint{}) && o.eval == "":
		return errors.New("-fixed-point is for -eval: what is trained are full weights")
	case o.mpi && o.eval != "":
		return errors.New("-mpi is for training: -eval takes one process")
	case o.train.PerRank && !o.mpi:
		return errors.New("-lr-per-rank is for -mpi")
	case o.given["shard"] && !o.mpi:
		return errors.New("-shard is for -mpi")
	case o.train.SyncBN && !o.mpi:
		return errors.New("-sync-bn is for -mpi")
	case o.resume && o.replace:
		return errors.New("-resume goes on with the training in -out, -overwrite does away with it: give one of them")
	}
	if err := o.checkInteger(); err != nil {
		return err
	}
	if err := o.data.Check(); err != nil {
		return err
	}
	if err := o.train.Check(); err != nil {
		return err
	}
	if o.eval == "" { // else it is the file that says what the weights are
		if err := o.train.CheckOpt([]string{o.train.Opt}, o.net.Weights, o.given); err != nil {
			return err
		}
	}
	return command.Check(command.Count{Flag: "workers", N: o.train.Workers, Least: 0, Most: 1024})
}
