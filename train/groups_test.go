package train

import (
	"bytes"
	"context"
	"errors"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/ftprop/ftprop/internal/gtest"
	"github.com/ftprop/ftprop/nodes"
	"github.com/ftprop/ftprop/solvers"
	"gorgonia.org/gorgonia"
)

// grouped gives a training solvers within solvers: binary weights by Bop between clipped ones and such with a schedule of their own.
func grouped(c Config) Config {
	var inner, norms []string
	for _, p := range c.Net.Params() {
		switch name := p.Name(); {
		case strings.HasSuffix(name, "bias"):
			norms = append(norms, name)
		case p.Dims() == 2 && len(inner) == 0:
			inner = append(inner, name)
		}
	}
	c.Solver = &solvers.Clip{Limit: 0.5, Names: norms, Solver: &solvers.Scheduled{
		Solver: &solvers.Groups{
			List: []solvers.Group{
				{Names: inner, Solver: &solvers.Bop{Gamma: 0.1, Threshold: 1e-5}},
				{Names: norms, Solver: &solvers.Scheduled{Solver: &solvers.SGD{Momentum: 0.9}, Schedule: solvers.Cosine(0.1, 0, 60)}},
			},
			Default: &solvers.Clip{Solver: &solvers.Adam{WeightDecay: 1e-4}},
		},
		Schedule: solvers.StepDecay(1e-2, 0.5, 30),
	}}
	return c
}

// A training that stops within an epoch and goes on from its checkpoint, in another process as it were, ends with the same weights
// and the same state of all solvers, to the bit, as one that does not stop.
func TestGroupsResume(t *testing.T) {
	end := func(tr *Trainer) ([]byte, solvers.State) {
		var file bytes.Buffer
		if err := tr.c.Net.Save(&file); err != nil {
			t.Fatal(err)
		}
		return file.Bytes(), tr.stateful.State()
	}
	fresh := func() Config {
		c := grouped(digits(t, nodes.Sign))
		c.Epochs, c.Inspect = 2, 0
		return c
	}
	whole := trained(t, fresh())
	if err := whole.Run(context.Background()); err != nil {
		t.Fatal(err)
	}
	weights, state := end(whole)
	if rate := whole.History()[1].LearnRate; rate != 5e-3 {
		t.Errorf("the last learning rate is %v, want that of the schedule in Clip, 0.005", rate)
	}

	c := fresh()
	c.Dir = t.TempDir()
	ctx, stop := context.WithCancel(context.Background())
	c.OnStep = func(s Step) {
		if s.Epoch == 1 && s.Step == 7 {
			stop()
		}
	}
	first := trained(t, c)
	if err := first.Run(ctx); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	first.Close()
	second := trained(t, fresh())
	if err := second.Resume(filepath.Join(c.Dir, CheckpointFile)); err != nil {
		t.Fatal(err)
	}
	if epoch, step := second.Position(); epoch != 1 || step == 0 {
		t.Fatalf("at epoch %d, step %d: the test has no force", epoch, step)
	}
	if err := second.Run(context.Background()); err != nil {
		t.Fatal(err)
	}
	again, stateAgain := end(second)
	if !bytes.Equal(weights, again) {
		t.Error("other weights than without a stop")
	}
	if !reflect.DeepEqual(state, stateAgain) {
		t.Error("another state of the solvers than without a stop")
	}

	other := digits(t, nodes.Sign)
	other.Epochs = 2
	gtest.WantError(t, "without groups", trained(t, other).Resume(filepath.Join(c.Dir, CheckpointFile)), "solver", `"Clip"`)
	other = fresh()
	other.Solver.(*solvers.Clip).Solver.(*solvers.Scheduled).Solver.(*solvers.Groups).List[1].Names = []string{other.Net.Params()[1].Name()}
	gtest.WantError(t, "other groups", trained(t, other).Resume(filepath.Join(c.Dir, CheckpointFile)), "solver", "group 1")
}

// Whatever a file says of solvers within solvers, it is taken whole, or refused and nothing has changed.
func TestGroupsHostile(t *testing.T) {
	tr := trained(t, grouped(small(t)))
	if err := tr.Run(context.Background()); err != nil {
		t.Fatal(err)
	}
	good := must(t, tr)
	checkRestored(t, tr, good)
	names := []string{}
	for _, p := range tr.c.Net.Params() {
		names = append(names, p.Name())
	}
	// Clip, Scheduled, Groups, Bop, Scheduled, SGD, Clip, Adam
	if len(good.Solver) != 8 || good.Solver[2].Groups != 3 || good.Solver[5].Solver != "SGD" {
		t.Fatalf("%d states: %+v", len(good.Solver), good.Solver)
	}
	for name, c := range map[string]struct {
		change func(s []solverState) []solverState
		words  string
	}{
		"fewer groups":      {func(s []solverState) []solverState { s[2].Groups = 2; return s }, "belongs to none"},
		"more groups":       {func(s []solverState) []solverState { s[2].Groups = 1 << 40; return s }, "lacks the state"},
		"negative groups":   {func(s []solverState) []solverState { s[2].Groups = -1; return s }, "-1 groups"},
		"short":             {func(s []solverState) []solverState { return s[:5] }, "lacks the state"},
		"no inner":          {func(s []solverState) []solverState { s[0].Inner = false; return s }, "belongs to none"},
		"unknown parameter": {func(s []solverState) []solverState { s[3].Params = []string{"\x1b[2J"}; return s }, `"\x1b[2J"`},
		"many parameters":   {func(s []solverState) []solverState { s[3].Params = slices.Repeat(names, 2); return s }, "a group of"},
		"other parameters":  {func(s []solverState) []solverState { s[3].Params = names[:2]; return s }, "for 1 parameters, of the network it has 2"},
		"groups in Adam":    {func(s []solverState) []solverState { s[7].Groups = 1; return append(s, s[7]) }, "for 2 parameters, of the network it has 0"},
		"one more": {func(s []solverState) []solverState {
			s[7].Groups = 1
			return append(s, solverState{Solver: "Adam", Params: s[6].Params})
		}, "Adam: the state has an inner"},
		"other solver": {func(s []solverState) []solverState { s[5].Solver = "RMSProp"; return s }, `group 1: Scheduled: SGD: the state is one of "RMSProp"`},
		"deep": {func(s []solverState) []solverState {
			return slices.Repeat([]solverState{{Solver: "Clip", Inner: true}}, 1<<17)
		}, "lacks the state"},
		"deep and whole": {func(s []solverState) []solverState {
			return append(slices.Repeat([]solverState{{Solver: "Clip", Inner: true}}, 1<<17), solverState{Solver: "Adam"})
		}, "the state is one of"},
	} {
		ck := *good
		ck.Solver = c.change(slices.Clone(good.Solver))
		err := tr.restore(&ck)
		gtest.WantError(t, name, err, c.words)
		if strings.ContainsAny(err.Error(), "\r\x1b") {
			t.Errorf("%s: %q moves the cursor", name, err)
		}
		if !same(t, payload(t, good), payload(t, must(t, tr))) {
			t.Errorf("%s: refused, and training stands elsewhere than before", name)
		}
	}
}

// A solver within others that cannot save its state is found.
func TestGroupsWithoutState(t *testing.T) {
	c := digits(t, nodes.Sign)
	c.Dir = t.TempDir()
	c.Solver = &solvers.Clip{Solver: &solvers.Groups{Default: &solvers.Scheduled{Solver: gorgonia.NewVanillaSolver()}}}
	_, err := New(c)
	gtest.WantError(t, "stock solver within", err, "train: ", "VanillaSolver cannot save its state", "Dir")
}
