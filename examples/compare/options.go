package main

import (
	"cmp"
	"flag"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/ftprop/ftprop/examples/command"
	"github.com/ftprop/ftprop/examples/compare/experiment"
	"github.com/ftprop/ftprop/examples/ranks"
	"github.com/ftprop/ftprop/examples/setup"
	"github.com/ftprop/ftprop/nodes"
	"github.com/ftprop/ftprop/ops"
	"github.com/ftprop/ftprop/train"
	"github.com/pkg/errors"
)

// options is the command line.
type options struct {
	recipe string
	given  map[string]bool

	data  setup.Data
	net   setup.Network // but for what is compared
	train setup.Training

	acts, rules, targets, weights, weightRules string
	reference                                  string
	seeds, first, workers                      int
	search, searchEpochs                       int

	set   *flag.FlagSet
	mpi   bool
	ranks ranks.Ranks

	out       string
	overwrite bool
	keep      bool
}

// Defaults of a multi-layer perceptron, on the digits and on other images.
const (
	digitsSettings = "-hidden 128,128 -epochs 30 -lr 1e-3 -wd 5e-4 -inspect 500 -eval-batch 500"
	imagesSettings = "-hidden 512,512 -epochs 10 -lr 2.5e-4 -wd 5e-4 -inspect 500 -eval-batch 500"
)

func (o *options) flags() *flag.FlagSet {
	f := flag.NewFlagSet("compare", flag.ContinueOnError)
	f.StringVar(&o.acts, "act", "sign,qrelu,relu,threshold-relu", "comma separated `activations`: "+strings.Join(nodes.ActivationNames(), ", "))
	f.StringVar(&o.rules, "rules", "SSTE,SoftHinge", "comma separated `rules` of threshold activations: "+strings.Join(ops.RuleNames(), ", "))
	f.StringVar(&o.targets, "targets", "", "comma separated target `setters` of threshold activations: "+strings.Join(ops.TargetNames(), ", ")+" (X: a number; default grad-sign); or behind a rule of -rules, as in SoftHinge+top-share0.25")
	f.StringVar(&o.weights, "weights", experiment.NoWeights, "comma separated `levels` of the weights of all layers but the first and the last: none (full precision), "+strings.Join(ops.WeightNames(), ", ")+" (N: 2 to 8 bits)")
	f.StringVar(&o.weightRules, "weight-rules", "SSTE", "comma separated `rules` of -weights, of those of -rules")
	f.StringVar(&o.reference, "reference", "", "`rule` that others are compared with, pair by pair (default SSTE, or else the first of -rules)")
	f.IntVar(&o.seeds, "seeds", 4, "`number` of seeds of each method")
	f.IntVar(&o.first, "seed", 1, "the first `seed`: it decides weights, order, augmentation and dropout, and which images -validation sets apart")
	f.StringVar(&o.recipe, "recipe", "", "`name` of a recipe of examples/train, whose settings are the defaults of the flags below; what it says of -act, -rule and -weights is left out")

	f.IntVar(&o.search, "search", 0, "look for the best `methods` of those that the flags above list, so many, by successive halving on the images of -validation (default 0: compare them all)")
	f.IntVar(&o.searchEpochs, "search-epochs", 0, "`epochs` of the first rung of -search; each of the next has twice as many, the last -epochs (default a quarter of -epochs)")
	o.set = f

	o.net.FrameFlags(f)
	o.data.Flags(f)
	o.train.Flags(f)
	f.Lookup("opt").Usage = "comma separated `solvers`: adam, adamw, sgd, rmsprop; bop, for sign weights only, flips them, and adam trains the rest"
	f.Lookup("checkpoint-every").Usage = "`steps` between checkpoints (default about 10 seconds)"
	for _, s := range setup.Settings(digitsSettings) {
		f.Lookup(s.Flag).DefValue = s.Value
	}
	f.Lookup("data").Usage += "; defaults below are for mlp on the digits, and for mlp on other images " + imagesSettings + ", for other networks those of examples/train"

	ranks.Flag(f, &o.mpi, "deal the runs to ranks, each of which has -workers of them at a time; -out is a folder that all of them see")
	f.IntVar(&o.workers, "workers", 0, "`runs` at a time; results do not depend on it (default 2 for mlp, else 1: a large network takes all processors)")
	f.StringVar(&o.out, "out", ".", "`folder` for compare.png, compare.csv and checkpoints")
	f.BoolVar(&o.overwrite, "overwrite", false, "do away with an earlier comparison in -out")
	f.BoolVar(&o.keep, "keep-weights", false, "keep the weights of each run, in "+experiment.WeightsFolder)
	return f
}

// parse reads the command line. Flags that are not given take the settings of the recipe, or of the perceptron.
func parse(f *flag.FlagSet, o *options, args []string) error {
	if err := command.Parse(f, args, f.Output()); err != nil {
		return err
	}
	o.given = setup.Given(f)
	defaults := setup.Recipe{Name: "for mlp"}
	switch {
	case o.recipe == "list":
		return nil
	case o.recipe != "":
		r, err := setup.RecipeByName(o.recipe)
		if err != nil {
			return err
		}
		defaults = r
	case o.net.Arch == "mlp" && o.data.Name == "digits":
		defaults.Settings = setup.Settings(digitsSettings)
	case o.net.Arch == "mlp":
		defaults.Settings = setup.Settings(imagesSettings)
	}
	compared := map[string]bool{"act": true, "rule": true, "weights": true, "weight-rule": true, "targets": true}
	defaults.Settings = slices.DeleteFunc(defaults.Settings, func(s setup.Setting) bool { return compared[s.Flag] })
	if err := defaults.Apply(f, o.given); err != nil {
		return err
	}
	if o.workers == 0 {
		o.workers = 1
		if o.net.Arch == "mlp" {
			o.workers = 2
		}
	}
	if rules := command.Fields(o.rules); o.reference == "" && len(rules) > 0 {
		o.reference = rules[0]
		for _, r := range rules {
			if strings.EqualFold(r, "SSTE") {
				o.reference = r
			}
		}
	}
	return nil
}

// check returns an error for settings that no comparison can have.
func (o *options) check() error {
	frame := o.net
	frame.Weights = "any" // what is compared has been looked at
	if o.weights == experiment.NoWeights {
		frame.Weights = ""
	}
	for i, act := range command.Fields(o.acts) {
		if _, err := ops.ActivationByName(act); err == nil || i == 0 {
			frame.Act = act // one with thresholds, if there is any
		}
	}
	if err := frame.Check(o.given); err != nil {
		return err
	}
	if err := o.data.Check(); err != nil {
		return err
	}
	if err := o.train.Check(); err != nil {
		return err
	}
	if err := o.checkSearch(); err != nil {
		return err
	}
	return command.Check(
		command.Count{Flag: "search", N: o.search, Least: 0, Most: 10_000}, command.Count{Flag: "search-epochs", N: o.searchEpochs, Least: 0, Most: setup.MostEpochs},
		command.Count{Flag: "seeds", N: o.seeds, Least: 1, Most: 10_000}, command.Count{Flag: "seed", N: o.first, Least: 1, Most: 1_000_000},
		command.Count{Flag: "workers", N: o.workers, Least: 1, Most: 1024},
	)
}

// methods combines what is compared.
func (o *options) methods() ([]experiment.Method, error) {
	ms, err := experiment.Choices{
		Acts: command.Fields(o.acts), Rules: command.Fields(o.rules), Targets: command.Fields(o.targets), Weights: command.Fields(o.weights),
		WeightRules: command.Fields(o.weightRules), Opts: command.Fields(o.train.Opt),
	}.Methods()
	if err != nil {
		return nil, err
	}
	if !slices.ContainsFunc(ms, func(m experiment.Method) bool { return strings.EqualFold(m.Flags.Rule, o.reference) }) && o.given["reference"] {
		return nil, errors.Errorf("-reference %s: want one of -rules %s", o.reference, o.rules)
	}
	if !slices.ContainsFunc(ms, func(m experiment.Method) bool { return m.Flags.WeightRule != "" }) && o.given["weight-rules"] {
		return nil, errors.Errorf("-weight-rules is for -weights, and -weights %s has none", o.weights)
	}
	var opts []string
	for _, m := range ms {
		opts = append(opts, m.Flags.Opt)
	}
	slices.Sort(opts)
	if err := o.train.CheckOpt(slices.Compact(opts), "sign", o.given); err != nil { // methods with bop have sign weights
		return nil, err
	}
	for _, m := range ms {
		if strings.EqualFold(m.Flags.Rule, o.reference) {
			o.reference = m.Flags.Rule
		}
	}
	return ms, nil
}

// training trains the methods, as package experiment asks for it.
type training struct {
	o      *options
	sets   setup.Sets
	images string // their fingerprint
}

var _ experiment.Training = training{}

// of returns network and training of a method.
func (t training) of(m experiment.Method) (setup.Network, setup.Training) {
	n, tr := t.o.net, t.o.train
	n.Act = m.Flags.Act
	n.Rule, n.Targets = experiment.SplitRule(cmp.Or(m.Flags.Rule, "SoftHinge"))
	n.Weights, n.WeightRule = m.Flags.Weights, cmp.Or(m.Flags.WeightRule, "SSTE")
	if n.Weights == experiment.NoWeights {
		n.Weights, n.AllWeights = "", false
	}
	tr.Opt = m.Flags.Opt
	return n, tr
}

// Config returns the training of a method, which is that of examples/train with the same flags and the same seed.
func (t training) Config(m experiment.Method, seed int) (c train.Config, err error) {
	n, tr := t.of(m)
	p, err := tr.Parts(&t.o.data, t.sets, uint64(seed))
	if err != nil {
		return c, err
	}
	if c, err = tr.Config(&n, p, uint64(seed)); err != nil {
		return c, err
	}
	if t.o.search > 0 {
		c.Test = c.Validation // test images are for what confirms the best
	}
	c.Setup = tr.Words(&t.o.data, t.images, &n, uint64(seed)) + t.more()
	if n.Arch == "mlp" {
		c.Workers = 1 // goroutines that read images: there are several runs at a time
	}
	if c.Every == 0 {
		c.Interval = 10 * time.Second
	}
	return c, nil
}

// more is what lines of the table depend on besides what weights do.
func (t training) more() string {
	s := fmt.Sprintf(" -epochs %d -inspect %d", t.o.train.Epochs, t.o.train.Inspect)
	if t.o.search > 0 {
		s += " -search (tested on the images of -validation)"
	}
	return s
}

// settings says what all runs have in common.
func (t training) settings() string {
	n, tr := t.o.net, t.o.train
	n.WeightRule, tr.Opt = "SSTE", ""
	return tr.Words(&t.o.data, t.images, &n, 0, "act", "rule", "opt", "seed") + t.more()
}
