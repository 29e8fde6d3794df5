package search

import "math/rand/v2"

// Ignore as a target leaves a unit free on a sample.
const Ignore = -1

// Strategy searches for targets of one hidden layer such that the layer above becomes feasible. FullBatch holds one and
// asks it for a Proposer whenever FTPROP(d) has to propose T_{d-1}. Implementations are plain configuration: all that
// changes is in the Proposer.
//
// Strategies look at whole columns of targets on the whole data set, and learn what became of them; target setters of
// the mini-batch operations (ops.TargetSetter) decide each target once, from its own gradient, pre-activation and
// output, in the middle of a backward pass. So of the strategies here only GradientSign has a counterpart there, and that
// is ops' own default, ops.GradSign. LocalSearch, Beam and Exhaustive compare settings by fitting units to them, which
// a mini-batch step cannot do: its samples are gone with the next step. They are therefore no target setters.
type Strategy interface {
	Search(p Problem) (Proposer, error)
}

// Proposer is one search for targets: FullBatch calls Propose, tries the proposal and calls Outcome, in turn, until a
// setting is feasible, the budget is spent, or Propose returns false.
type Proposer interface {
	// Propose returns targets to try, or false if it has no more.
	Propose() (Proposal, bool)
	// Outcome tells what became of the last proposal.
	Outcome(o *Setting)
}

// Completer is a Proposer that may cover all targets there are: Complete reports whether it has, after Propose returned
// false. A search that says so without cause makes FullBatch call feasible problems Infeasible.
type Completer interface {
	Complete() bool
}

// Problem is what a Strategy starts from.
type Problem struct {
	Units, Samples int
	Steps          int // levels are 0 to Steps; sign units have 0 (-1) and 1 (+1)
	// Groups tells samples apart whose targets in the layer above differ: units of this layer must give samples of
	// different groups different levels, at least one unit for each two.
	Groups []int
	// Separable decides, exactly, whether a unit of this layer can reach a column of targets. nil where the layer's
	// inputs are searched for, too.
	Separable func(targets []int) (bool, error)
	Start     *Setting // the network as it is
	Rand      *rand.Rand
}

// Setting is a setting of one hidden layer's targets, and what became of it. All slices are (units, samples), to be
// read only.
type Setting struct {
	Reached  [][]int     // the levels that the layer emits
	Z        [][]float64 // its pre-activations
	Gradient [][]float64 // of Loss with respect to what it emits
	Loss     float64     // of the layer above, fitted to what the layer emits
	Missed   int         // targets that the layer above misses
	// Unreached is how many units do not reach all the targets they were asked for.
	Unreached int
	// Skipped is true for a Strict proposal that was not pursued: the rest is that of the setting it came from.
	Skipped bool

	state *state
}

// Proposal is targets to try.
type Proposal struct {
	// From is the setting that the proposal departs from: units whose targets equal From.Reached keep their weights.
	From    *Setting
	Targets [][]int     // (units, samples), each a level or Ignore
	Weights [][]float64 // importance of each target in its unit's fit, or nil for 1
	// Strict pursues the proposal only if the layer above can reach its targets from exactly these, which is decided exactly.
	Strict bool
}
