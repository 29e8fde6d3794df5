package main

import (
	"cmp"
	"context"
	"encoding/csv"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"

	"github.com/ftprop/ftprop/examples/compare/experiment"
	"github.com/ftprop/ftprop/internal/atomicfile"
	"github.com/pkg/errors"
	"gonum.org/v1/gonum/stat"
)

// searchFile has a line for each candidate of each rung of a search.
const searchFile = "search.csv"

// confirmFolder is made for the comparison that confirms what a search has found.
const confirmFolder = "confirm"

// A search is successive halving (Jamieson & Talwalkar, AISTATS 2016, arXiv:1502.07943): all candidates are trained for few epochs, the better half of
// them anew for twice as many, and so on until -epochs. Each training is one whole schedule in short, of the learning rate and of annealed rules, so
// what is compared is what a short training ends with. Candidates are ranked by the validation accuracy after the last epoch, mean over seeds; test
// images are not looked at: they are for the comparison that confirms the best.
//
// Each rung is a comparison in a folder of its own, so a search that was cut off goes on where it stood, and ranks alike.

// standing is a candidate and its validation accuracy, in percent, by rung.
type standing struct {
	method   experiment.Method
	accuracy []float64
}

// rungs returns the epochs of the rungs: first, twice as many, ..., last.
func rungs(first, last int) []int {
	var out []int
	for e := first; e < last; e *= 2 {
		out = append(out, e)
	}
	return append(out, last)
}

// checkSearch returns an error for flags that a search has no use for, or lacks.
func (o *options) checkSearch() error {
	if o.search == 0 {
		if o.given["search-epochs"] {
			return errors.New("-search-epochs is for -search")
		}
		return nil
	}
	if o.train.Validation == 0 {
		return errors.New("-search chooses by images set apart: give -validation, 0.1 for one")
	}
	for _, f := range []string{"keep-weights", "reference"} {
		if o.given[f] {
			return errors.Errorf("-%s is for a comparison, not for -search", f)
		}
	}
	if o.searchEpochs > o.train.Epochs {
		return errors.Errorf("-search-epochs %d: want at most -epochs %d", o.searchEpochs, o.train.Epochs)
	}
	return nil
}

// runSearch is the search among methods.
func (o *options) runSearch(ctx context.Context, t training, methods []experiment.Method, out, log io.Writer) error {
	all := make([]*standing, len(methods))
	for i, m := range methods {
		all[i] = &standing{method: m}
	}
	left := slices.Clone(all)
	steps := rungs(cmp.Or(o.searchEpochs, max(1, o.train.Epochs/4)), o.train.Epochs)
	for i, epochs := range steps {
		fmt.Fprintf(log, "Rung %d of %d: %d methods, %d epochs, %d seeds\n", i+1, len(steps), len(left), epochs, o.seeds)
		if err := o.rung(ctx, t, left, epochs, log); err != nil {
			return err
		}
		slices.SortStableFunc(left, func(a, b *standing) int { return cmp.Compare(b.accuracy[i], a.accuracy[i]) })
		var err error
		if o.ranks.First() {
			err = o.writeStandings(all, steps[:i+1])
		}
		if err := o.ranks.Check(ctx, err); err != nil {
			return err
		}
		keep := max((len(left)+1)/2, o.search)
		if i == len(steps)-1 {
			keep = o.search
		}
		left = left[:min(keep, len(left))]
	}
	// Those that got furthest come first, and among them the better.
	slices.SortStableFunc(all, func(a, b *standing) int {
		if c := cmp.Compare(len(b.accuracy), len(a.accuracy)); c != 0 {
			return c
		}
		last := len(a.accuracy) - 1
		return cmp.Compare(b.accuracy[last], a.accuracy[last])
	})
	if err := o.ranks.Check(ctx, printStandings(out, all, steps, o.seeds)); err != nil {
		return err
	}
	if err := o.ranks.Check(ctx, errors.Wrap(os.MkdirAll(filepath.Join(o.out, confirmFolder), 0o777), "-out")); err != nil {
		return err
	}
	_, err := fmt.Fprintf(out, "\nThe best %d, to be confirmed with fresh seeds, a longer schedule and the test images, of which the search has seen none:\n\n%s\n\nWrote %s.\n",
		len(left), o.confirmation(left), filepath.Join(o.out, searchFile))
	return o.ranks.Check(context.WithoutCancel(ctx), err)
}

// rung trains the candidates for so many epochs.
func (o *options) rung(ctx context.Context, t training, left []*standing, epochs int, log io.Writer) (err error) {
	short := *o
	short.train.Epochs = epochs
	t.o = &short
	dir := filepath.Join(o.out, fmt.Sprintf("search-%d-epochs", epochs))
	if err := o.ranks.Check(ctx, errors.Wrap(os.MkdirAll(dir, 0o777), "-out")); err != nil {
		return err
	}
	c := &experiment.Config{Seeds: o.seeds, First: o.first, Workers: o.workers, Training: t, Comm: o.ranks.Comm}
	for _, s := range left {
		c.Methods = append(c.Methods, s.method)
	}
	first, err := t.Config(c.Methods[0], o.first)
	if err := o.ranks.Check(ctx, err); err != nil {
		return err
	}
	if c.Store, err = short.store(ctx, dir, t, false); err != nil {
		return err
	}
	defer c.Store.Close()
	runs, err := experiment.Compare(ctx, c, newProgress(log, epochs*(first.Train.N()/o.train.Batch)*c.Missing()))
	if err != nil {
		if errors.Is(err, context.Canceled) {
			fmt.Fprintf(log, "%d of %d runs of this rung are complete: the same command goes on.\n", len(runs), len(c.Methods)*c.Seeds)
		}
		return err
	}
	for _, s := range left {
		var x []float64
		for _, r := range runs {
			if r.Method.Flags == s.method.Flags {
				x = append(x, r.Validation[len(r.Validation)-1])
			}
		}
		s.accuracy = append(s.accuracy, stat.Mean(x, nil))
	}
	return nil
}

// writeStandings writes what the rungs so far have found, in the order of the flags.
func (o *options) writeStandings(all []*standing, steps []int) error {
	return atomicfile.Write(filepath.Join(o.out, searchFile), func(w io.Writer) error {
		lines := [][]string{{"activation", "rule", "weights", "weight_rule", "solver", "epochs", "seeds", "validation_accuracy"}}
		for i, epochs := range steps {
			for _, s := range all {
				if i < len(s.accuracy) {
					f := s.method.Flags
					lines = append(lines, []string{f.Act, f.Rule, f.Weights, f.WeightRule, f.Opt, strconv.Itoa(epochs), strconv.Itoa(o.seeds), strconv.FormatFloat(s.accuracy[i], 'g', -1, 64)})
				}
			}
		}
		return csv.NewWriter(w).WriteAll(lines)
	})
}

// printStandings prints the candidates, the best first, with their accuracy at each rung that they have reached.
func printStandings(w io.Writer, all []*standing, steps []int, seeds int) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintf(t, "Validation accuracy, %%, mean of %d seeds, after epochs:", seeds)
	for _, e := range steps {
		fmt.Fprintf(t, "\t%d", e)
	}
	fmt.Fprintln(t)
	for i, s := range all {
		fmt.Fprintf(t, "%d. %v", i+1, s.method)
		for k := range steps {
			if k < len(s.accuracy) {
				fmt.Fprintf(t, "\t%.2f", s.accuracy[k])
			} else {
				fmt.Fprint(t, "\t")
			}
		}
		fmt.Fprintln(t)
	}
	return t.Flush()
}

// confirmation is the command that compares the best with SSTE: on all training images, twice the epochs, seeds that the search has not had.
func (o *options) confirmation(best []*standing) string {
	var acts, rules, weights, weightRules, opts []string
	add := func(to *[]string, s string) {
		if s != "" && !slices.Contains(*to, s) {
			*to = append(*to, s)
		}
	}
	for _, s := range best {
		f := s.method.Flags
		add(&acts, f.Act)
		add(&rules, f.Rule)
		add(&weights, f.Weights)
		add(&weightRules, f.WeightRule)
		add(&opts, f.Opt)
	}
	if len(rules) > 0 {
		add(&rules, "SSTE")
	}
	words := []string{"go run ./examples/compare"}
	ours := map[string]bool{"search": true, "search-epochs": true, "validation": true, "overwrite": true, "mpi": true, "epochs": true, "seed": true, "seeds": true, "out": true,
		"act": true, "rules": true, "targets": true, "weights": true, "weight-rules": true, "opt": true}
	var given []string
	for f := range o.given {
		if !ours[f] {
			given = append(given, f)
		}
	}
	slices.Sort(given)
	for _, f := range given {
		words = append(words, "-"+f+"="+quoted(o.set.Lookup(f).Value.String()))
	}
	for _, f := range []struct {
		name   string
		values []string
	}{
		{"act", acts}, {"rules", rules}, {"weights", weights}, {"weight-rules", weightRules}, {"opt", opts}, {"epochs", []string{strconv.Itoa(2 * o.train.Epochs)}},
		{"seed", []string{strconv.Itoa(o.first + o.seeds)}}, {"seeds", []string{strconv.Itoa(max(o.seeds, 4))}}, {"out", []string{filepath.Join(o.out, confirmFolder)}},
	} {
		if len(f.values) > 0 {
			words = append(words, "-"+f.name, quoted(strings.Join(f.values, ",")))
		}
	}
	return strings.Join(words, " ")
}

// quoted is a word for the shell.
func quoted(s string) string {
	if s != "" && strings.Trim(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_./,:=+-") == "" {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}
