package ops

import (
	"github.com/chewxy/hm"
	"github.com/ftprop/ftprop/internal/opkit"
	"github.com/pkg/errors"
	"gorgonia.org/gorgonia"
	"gorgonia.org/tensor"
)

// Annealed is a rule that changes while a network trains: it says the family and the schedule, and how far training has come says which
// of the family it is. EDE, AnnealedReSTE and AnnealedSoftHinge are annealed; any rule of one's own with an At is, too.
//
// How far training has come, the progress, is data of the graph: the value of the node that Progress returns, which the backward passes of
// all annealed rules of that graph read, those of activations and of weights. So two networks, a clone and its original, and an evaluation
// beside training have each its own. A train.Trainer moves it before each step, and SetProgress does in a loop of one's own. Where nothing
// moves it, it is 0, and an annealed rule is a plain one that stays as it begins. That is no error: graphs that only evaluate, or are
// exported, have no training to be told of. Loss is that of At(0), too.
//
// The schedule is a part of the hash by which Gorgonia tells nodes apart, the progress is not: like any value of a node it changes from
// run to run.
type Annealed interface {
	Rule

	// At returns the rule at a progress from 0, where training begins, to 1, where it ends. Any other progress, NaN too, is an error.
	At(progress float64) (Rule, error)
}

// checkProgress returns an error unless a progress is from 0 to 1.
func checkProgress(progress float64) error {
	if !(progress >= 0 && progress <= 1) {
		return opkit.Errorf("ops", "progress %v of an annealed rule, want a number from 0 (training begins) to 1 (it ends)", progress)
	}
	return nil
}

// At returns the layer with its rule at a progress: itself, if the rule is not annealed.
func (t Threshold) At(progress float64) (at Threshold, err error) {
	if err := checkProgress(progress); err != nil {
		return t, err
	}
	r, ok := t.Rule.(Annealed)
	if !ok {
		return t, nil
	}
	defer opkit.Guard(t, &err) // rules may be written elsewhere
	at = t
	if at.Rule, err = r.At(progress); err != nil {
		return t, opkit.In("ops", err)
	}
	if at.Rule == nil {
		return t, opkit.Errorf("ops", "rule %s at progress %v: At returned neither a rule nor an error", printed(r), progress)
	}
	return at, nil
}

// progressType is the type of a progress: Gorgonia's inference has the name b for something else.
const progressType = hm.TypeVariable('c')

// checkProgressShape returns an error unless what is the progress, if anything is, is a number.
func checkProgressShape(in []tensor.Shape) error {
	for _, s := range in {
		if !s.IsScalar() {
			return errors.Errorf("a progress of shape %v, want a number", s)
		}
	}
	return nil
}

func (t Threshold) annealed() bool { return isAnnealed(t.Rule) }

func isAnnealed(r Rule) bool {
	_, ok := r.(Annealed)
	return ok
}

// progressName is no name that a program would give to a node of its own.
const progressName = "progress of annealed rules"

// Progress returns the node whose value is the progress of a graph's annealed rules, a scalar of float64: 0, until SetProgress or
// gorgonia.Let sets another. A graph that has none gets it: gorgonia.Grad calls this, and so can who computes something else of it.
func Progress(g *gorgonia.ExprGraph) (*gorgonia.Node, error) {
	n, err := findProgress(g)
	if err != nil || n != nil {
		return n, err
	}
	return gorgonia.NewScalar(g, tensor.Float64, gorgonia.WithName(progressName), gorgonia.WithValue(0.0)), nil
}

// findProgress is Progress for a graph that may have none: then it is nil.
func findProgress(g *gorgonia.ExprGraph) (*gorgonia.Node, error) {
	if g == nil {
		return nil, opkit.Errorf("ops", "progress of a nil graph")
	}
	named := g.ByName(progressName)
	if len(named) == 0 {
		return nil, nil
	}
	if n := named[0]; n.Op() != nil || !n.IsScalar() || n.Dtype() != tensor.Float64 {
		return nil, opkit.Errorf("ops", "the graph's node %q is no variable of a float64 number: that name is for annealed rules", progressName)
	}
	return named[0], nil
}

// SetProgress says how far the training of a graph has come, from 0, before its first step, to 1: from the next run on all annealed rules
// in it are as they are then, on both machines. It is for loops of one's own, before each step; for step k of n, from 0, a train.Trainer
// sets k/n. A graph without annealed rules is left alone. Call it between runs, and after the activations have been put in the graph.
//
// It returns an error for a progress that is NaN or outside of [0, 1].
func SetProgress(g *gorgonia.ExprGraph, progress float64) error {
	if err := checkProgress(progress); err != nil {
		return err
	}
	n, err := findProgress(g)
	if err != nil {
		return err
	}
	if n == nil {
		if !Anneals(g) {
			return nil
		}
		if n, err = Progress(g); err != nil {
			return err
		}
	}
	return opkit.In("ops", gorgonia.Let(n, progress))
}

// Anneals reports whether a graph has an operation with an annealed rule.
func Anneals(g *gorgonia.ExprGraph) bool {
	for _, n := range g.AllNodes() {
		switch op := n.Op().(type) {
		case Activation:
			if op.Threshold().annealed() {
				return true
			}
		case WeightQuantiser:
			if isAnnealed(op.weights().units.rule) {
				return true
			}
		case LayerGrad:
			if op.Anneal && op.Threshold.annealed() {
				return true
			}
		case LayerLoss:
			if op.Anneal && op.Threshold.annealed() {
				return true
			}
		}
	}
	return false
}

// progressOf returns the progress that is the value of an input.
func progressOf(v gorgonia.Value) (float64, error) {
	x, err := opkit.Floats(v)
	if err != nil || len(x) != 1 {
		return 0, errors.Errorf("the progress is a %v of shape %v, want a number", v.Dtype(), v.Shape())
	}
	return x[0], checkProgress(x[0])
}

// of returns the layer at the progress of a graph as it is: for the Lisp machine, which differentiates without nodes.
func (t Threshold) of(g *gorgonia.ExprGraph) (Threshold, error) {
	if !t.annealed() {
		return t, nil
	}
	n, err := findProgress(g)
	if err != nil || n == nil {
		return t, err
	}
	p, err := progressOf(n.Value())
	if err != nil {
		return t, err
	}
	return t.At(p)
}

// moved takes the progress from the end of the inputs of an operation that has it there, and returns the layer at it and the other inputs.
func (t Threshold) moved(anneal bool, in []gorgonia.Value) (Threshold, []gorgonia.Value, error) {
	if !anneal || len(in) == 0 {
		return t, in, nil
	}
	last := len(in) - 1
	if in[last] == nil {
		return t, nil, errors.Errorf("input %d, the progress, has no value", last)
	}
	p, err := progressOf(in[last])
	if err != nil {
		return t, nil, err
	}
	t, err = t.At(p)
	return t, in[:last], err
}

// withProgress adds the progress of their graph to the inputs of an operation's node, if the rule is annealed.
func withProgress(r Rule, in ...*gorgonia.Node) (gorgonia.Nodes, error) {
	if !isAnnealed(r) {
		return in, nil
	}
	p, err := Progress(in[0].Graph())
	return append(in, p), err
}
