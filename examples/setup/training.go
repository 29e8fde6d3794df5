package setup

import (
	"flag"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/ftprop/ftprop/data"
	"github.com/ftprop/ftprop/examples/command"
	"github.com/ftprop/ftprop/models"
	"github.com/ftprop/ftprop/nodes"
	"github.com/ftprop/ftprop/ops"
	"github.com/ftprop/ftprop/solvers"
	"github.com/ftprop/ftprop/train"
	"github.com/pkg/errors"
	"gorgonia.org/gorgonia"
	"gorgonia.org/tensor"
)

// Training is how a network is trained, as the command line says it. Flags sets the defaults.
type Training struct {
	Augment    bool
	Validation float64 // share of the training images

	Loss                string
	Opt                 string
	Rate, WD, Momentum  float64
	Nesterov            bool
	DecayAt             string
	Decay               float64
	Warmup              float64 // epochs
	PerRank             bool    // Rate is that of one rank
	Ranks               int     // that train together, each with Batch images a step; 0 means 1
	SyncBN              bool    // batch normalisation over all ranks
	Shard               bool    // the solver's step and what it remembers are shared out over the ranks
	Epochs, Batch       int
	Limit               int // of training images; 0 means all
	EvalBatch, Workers  int
	Inspect, Checkpoint int
	bop                 bop
}

// Flags defines the flags -augment, -validation, -loss, -opt, -lr, -wd, -momentum, -nesterov, -decay-at, -decay, -warmup, -epochs, -batch,
// -limit, -bop-threshold, -bop-gamma, -eval-batch, -inspect and -checkpoint-every.
func (t *Training) Flags(f *flag.FlagSet) {
	f.BoolVar(&t.Augment, "augment", false, "random crops out of 4 pixels of padding, and flips; a folder of images is always augmented")
	f.Float64Var(&t.Validation, "validation", 0, "`share` of the training images set apart to choose the best weights")
	f.StringVar(&t.Loss, "loss", "cross-entropy", "output `loss`: "+strings.Join(lossNames(), ", "))
	f.StringVar(&t.Opt, "opt", "adam", "`solver`: adam, adamw, sgd, rmsprop; bop flips the sign weights, and adam trains the rest")
	t.bop.flags(f)
	f.Float64Var(&t.Rate, "lr", 1e-3, "learning `rate`")
	f.Float64Var(&t.WD, "wd", 0, "weight `decay`: L2 in the gradient, but for adamw")
	f.Float64Var(&t.Momentum, "momentum", 0, "`momentum` of sgd and rmsprop")
	f.BoolVar(&t.Nesterov, "nesterov", false, "Nesterov momentum, with sgd")
	f.StringVar(&t.DecayAt, "decay-at", "", "`epochs`, counted from 1 and separated by commas, at whose start the learning rate is multiplied by -decay; or shares of the training, like 199/300, after which it is")
	f.Float64Var(&t.Decay, "decay", 0.1, "`factor` of the learning rate at -decay-at")
	f.Float64Var(&t.Warmup, "warmup", 0, "`epochs`, at the beginning, in which the learning rate climbs to what it is to be, step by step from near 0")
	f.IntVar(&t.Epochs, "epochs", 10, "`epochs`")
	f.IntVar(&t.Batch, "batch", 64, "`images` a step")
	f.IntVar(&t.Limit, "limit", 0, "use only so many training `images`, evenly spaced")
	f.IntVar(&t.EvalBatch, "eval-batch", 0, "`images` a batch in evaluation (default 50, of more than 64 pixels 25)")
	f.IntVar(&t.Inspect, "inspect", 200, "`images` on which the layers are looked at after each epoch; 0 for none")
	f.IntVar(&t.Checkpoint, "checkpoint-every", 0, "`steps` between checkpoints within an epoch (default only after each epoch)")
}

// RankFlags defines the flags -lr-per-rank, -shard and -sync-bn.
func (t *Training) RankFlags(f *flag.FlagSet) {
	f.Lookup("batch").Usage += "; with -mpi of each rank: n ranks take n times as many"
	f.Lookup("warmup").Usage += "; with -lr-per-rank from -lr"
	f.BoolVar(&t.PerRank, "lr-per-rank", false, "with -mpi: multiply -lr by the number of ranks (the linear scaling rule of Goyal et al., 2017, which goes with -warmup 5)")
	f.BoolVar(&t.Shard, "shard", true, "with -mpi: each rank takes the solver's step for its part of the weights, and remembers that part only")
	f.BoolVar(&t.SyncBN, "sync-bn", false, "with -mpi: batch normalisation over the images of all ranks, not over those of each")
}

// ranks is the number of them.
func (t *Training) ranks() int { return max(t.Ranks, 1) }

// rate is the learning rate before it decays.
func (t *Training) rate() float64 {
	if t.PerRank {
		return t.Rate * float64(t.ranks())
	}
	return t.Rate
}

// StepsOf returns the number of steps of an epoch of so many images.
func (t *Training) StepsOf(images int) int { return images / (t.Batch * t.ranks()) }

// Check returns an error for settings that no training can have.
func (t *Training) Check() error {
	switch {
	case !(t.Rate > 0) || math.IsInf(t.Rate, 0):
		return errors.Errorf("-lr %v: want a positive number", t.Rate)
	case !(t.WD >= 0) || math.IsInf(t.WD, 0):
		return errors.Errorf("-wd %v: want 0 or more", t.WD)
	case !(t.Momentum >= 0 && t.Momentum < 1):
		return errors.Errorf("-momentum %v: want 0 or more and less than 1", t.Momentum)
	case !(t.Decay > 0) || math.IsInf(t.Decay, 0):
		return errors.Errorf("-decay %v: want a positive number", t.Decay)
	case !(t.Validation >= 0 && t.Validation < 1):
		return errors.Errorf("-validation %v: want a share from 0 to less than 1", t.Validation)
	case !(t.Warmup >= 0 && t.Warmup <= MostEpochs):
		return errors.Errorf("-warmup %v: want epochs from 0 to a million", t.Warmup)
	}
	return command.Check(
		command.Count{Flag: "epochs", N: t.Epochs, Least: 1, Most: MostEpochs}, command.Count{Flag: "batch", N: t.Batch, Least: 1, Most: MostBatch},
		command.Count{Flag: "eval-batch", N: t.EvalBatch, Least: 0, Most: MostUnits}, command.Count{Flag: "inspect", N: t.Inspect, Least: 0, Most: MostUnits},
		command.Count{Flag: "limit", N: t.Limit, Least: 0, Most: 100_000_000}, command.Count{Flag: "checkpoint-every", N: t.Checkpoint, Least: 0, Most: 100_000_000},
	)
}

// Parts are the sources that training takes: normalised, the first of them augmented if asked.
type Parts struct{ Train, Validation, Test data.Source }

// Parts makes them of the images of d. The seed decides which are set apart for validation.
func (t *Training) Parts(d *Data, s Sets, seed uint64) (p Parts, err error) {
	p.Train, p.Test = s.Train, s.Test
	if t.Limit > 0 && t.Limit < p.Train.N() {
		if p.Train, err = data.Subset(p.Train, data.Spread(t.Limit, p.Train.N())); err != nil {
			return p, err
		}
	}
	if t.Validation > 0 {
		if p.Train, p.Validation, err = data.Split(p.Train, t.Validation, seed); err != nil {
			return p, err
		}
	}
	still := d.Still(s)
	moving := still
	if t.Augment {
		moving.Augment = data.AugmentCIFAR()
	}
	if p.Train, err = moving.Apply(p.Train); err != nil {
		return p, err
	}
	if p.Test, err = still.Apply(p.Test); err != nil {
		return p, err
	}
	if p.Validation != nil {
		p.Validation, err = still.Apply(p.Validation)
	}
	return p, err
}

// Config returns what package train needs to train a network of n on the images of p from the given seed: all but where to, and whom to tell.
func (t *Training) Config(n *Network, p Parts, seed uint64) (c train.Config, err error) {
	net, err := t.network(n, p, seed)
	if err != nil {
		return c, err
	}
	loss, err := t.LossFunc()
	if err != nil {
		return c, err
	}
	solver, err := t.solver(n, net.LatentNames(), t.StepsOf(p.Train.N()))
	if err != nil {
		return c, err
	}
	return train.Config{
		Net: net, Loss: loss, Solver: solver, Train: p.Train, Validation: p.Validation, Test: p.Test, Epochs: t.Epochs, Seed: seed,
		EvalBatch: t.EvalBatchFor(net), Workers: t.Workers, Inspect: t.Inspect, Every: t.Checkpoint, Lean: true,
	}, nil
}

// network builds the network for the images of p.
func (t *Training) network(n *Network, p Parts, seed uint64) (*models.Net, error) {
	if t.StepsOf(p.Train.N()) == 0 {
		if n := t.ranks(); n > 1 {
			return nil, errors.Errorf("-batch %d on each of %d ranks: there are only %d training images", t.Batch, n, p.Train.N())
		}
		return nil, errors.Errorf("-batch %d: there are only %d training images", t.Batch, p.Train.N())
	}
	c, h, w := p.Train.Shape()
	const most = 1 << 28 // values, 1 GiB, and the network's first layers take many times as much
	if v := float64(t.Batch) * float64(c) * float64(h) * float64(w); v > most {
		return nil, errors.Errorf("-batch %d images of %dx%dx%d (-channels, -size, -crop): %.3g values a step, want at most %d", t.Batch, c, h, w, v, most)
	}
	x := gorgonia.NewTensor(gorgonia.NewGraph(), tensor.Float32, 4, gorgonia.WithName("x"), gorgonia.WithShape(t.Batch, c, h, w))
	return n.Build(x, p.Train.NumClasses(), seed)
}

// EvalBatchFor is the number of images a batch in evaluation.
func (t *Training) EvalBatchFor(net *models.Net) int {
	if t.EvalBatch == 0 && net.Input.Shape()[2] > 64 {
		return 25
	}
	return t.EvalBatch
}

// LossFunc returns the output loss.
func (t *Training) LossFunc() (train.LossFunc, error) {
	loss, ok := losses()[t.Loss]
	if !ok {
		return nil, errors.Errorf("-loss %q: want one of %v", t.Loss, lossNames())
	}
	return loss, nil
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
func (t *Training) solver(n *Network, latent []string, steps int) (gorgonia.Solver, error) {
	at, err := decaySteps(t.DecayAt, t.Epochs, steps)
	if err != nil {
		return nil, err
	}
	from := 0.0
	if t.PerRank {
		from = t.Rate
	}
	s := &solvers.Scheduled{Schedule: warmup(from, int(math.Round(t.Warmup*float64(steps))), solvers.StepDecay(t.rate(), t.Decay, at...))}
	switch t.Opt {
	case "bop":
		s.Solver = t.bop.solver(latent, &solvers.Adam{LearnRate: t.Rate, WeightDecay: t.WD}, t.Decay, at)
		return s, nil
	case "adam", "adamw":
		s.Solver = &solvers.Adam{LearnRate: t.Rate, WeightDecay: t.WD, Decoupled: t.Opt == "adamw"}
	case "sgd":
		s.Solver = &solvers.SGD{LearnRate: t.Rate, WeightDecay: t.WD, Momentum: t.Momentum, Nesterov: t.Nesterov}
	case "rmsprop":
		s.Solver = &solvers.RMSProp{LearnRate: t.Rate, WeightDecay: t.WD, Momentum: t.Momentum}
	default:
		return nil, errors.Errorf("-opt %q: want adam, adamw, sgd, rmsprop or bop", t.Opt)
	}
	q, err := n.Quantiser()
	if err != nil {
		return nil, err
	}
	if _, signs := q.(ops.SignWeights); signs {
		s.Solver = &solvers.Clip{Solver: s.Solver, Names: latent}
	}
	return s, nil
}

// Words says in flags all that the weights of a training depend on: what a checkpoint must have in common with the training that goes on from
// it. Where the images are does not matter, only what they are, for which their fingerprint stands. Flags named in but are left out.
func (t *Training) Words(d *Data, images string, n *Network, seed uint64, but ...string) string {
	decay := t.DecayAt
	if strings.Contains(decay, "/") { // what the shares are of
		decay += fmt.Sprintf(" of %d epochs", t.Epochs)
	}
	type word struct{ flag, words string }
	words := []word{
		{"data", fmt.Sprintf("-data %s (images %s)", d.Name, images)}, {"size", fmt.Sprintf("-size %d", d.Size)}, {"crop", fmt.Sprintf("-crop %d", d.Crop)},
		{"channels", fmt.Sprintf("-channels %d", d.Channels)}, {"augment", fmt.Sprintf("-augment=%v", t.Augment)},
		{"validation", fmt.Sprintf("-validation %v", t.Validation)}, {"limit", fmt.Sprintf("-limit %d", t.Limit)},
		{"arch", "-arch " + n.Arch}, {"act", "-act " + n.Act}, {"rule", "-rule " + n.Rule}, {"unweighted", fmt.Sprintf("-unweighted=%v", n.Unweighted)},
		{"bn", fmt.Sprintf("-bn=%v", n.BatchNorm)}, {"dropout", fmt.Sprintf("-dropout %v", n.Dropout)}, {"hidden", fmt.Sprintf("-hidden %q", n.Hidden)},
		{"loss", "-loss " + t.Loss}, {"opt", "-opt " + t.Opt}, {"lr", fmt.Sprintf("-lr %v", t.Rate)}, {"wd", fmt.Sprintf("-wd %v", t.WD)},
		{"momentum", fmt.Sprintf("-momentum %v", t.Momentum)}, {"nesterov", fmt.Sprintf("-nesterov=%v", t.Nesterov)},
		{"decay-at", fmt.Sprintf("-decay-at %q", decay)}, {"decay", fmt.Sprintf("-decay %v", t.Decay)}, {"batch", fmt.Sprintf("-batch %d", t.Batch)},
		{"seed", fmt.Sprintf("-seed %d", seed)},
	}
	if n.Weights != "" || n.WeightRule != "SSTE" { // checkpoints of before there were these flags stay what they are
		words = append(words, word{"weights", fmt.Sprintf("-weights %s -weight-rule %s", n.Weights, n.WeightRule)})
	}
	if n.Targets != "" && n.Targets != "grad-sign" { // as for weights
		words = append(words, word{"targets", "-targets " + n.Targets})
	}
	if n.AllWeights {
		words = append(words, word{"all-weights", "-all-weights"})
	}
	if n.Order != "paper" {
		words = append(words, word{"order", "-order " + n.Order})
	}
	if w := t.bop.words(t.Opt == "bop"); w != "" {
		words = append(words, word{"bop", w})
	}
	if t.Warmup != 0 {
		words = append(words, word{"warmup", fmt.Sprintf("-warmup %v", t.Warmup)})
	}
	if t.PerRank {
		words = append(words, word{"lr-per-rank", "-lr-per-rank"})
	}
	if t.SyncBN {
		words = append(words, word{"sync-bn", "-sync-bn"})
	}
	var out []string
	for _, w := range words {
		if !slices.Contains(but, w.flag) {
			out = append(out, w.words)
		}
	}
	return strings.Join(out, " ")
}
