package experiment

import (
	"cmp"
	"fmt"
	"io"
	"math"
	"text/tabwriter"
)

// Difference returns by how much method a does better than b, in points of the test accuracy: the mean over the seeds that both have, and half the
// width of its 95 % interval by Student's t (NaN for fewer than two). It is the seeds' differences that are averaged: both methods begin with
// the same weights and see the same images in the same order, so that what they share does not count as noise.
func Difference(runs []*Run, a, b Method) (mean, half float64) {
	return interval(differences(runs, a, b))
}

func differences(runs []*Run, a, b Method) (d []float64) {
	for _, r := range ofMethod(runs, a) {
		for _, s := range ofMethod(runs, b) {
			if r.Seed == s.Seed {
				d = append(d, r.Test()-s.Test())
			}
		}
	}
	return d
}

// Differences writes how much better than a reference each method does, seed by seed, and whether that is beyond noise: whether its 95 % interval
// is without 0. A method's references are the methods that differ from it in one thing only, and in that are as one compares with: by the rule named
// reference, with the first of the weights, rules of weights, or solvers.
func Differences(w io.Writer, c *Config, runs []*Run, reference string) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	ms := methods(c.Methods, runs)
	as := Flags{Rule: reference, Weights: c.Methods[0].Flags.Weights, Opt: c.Methods[0].Flags.Opt}
	for _, m := range c.Methods {
		as.WeightRule = cmp.Or(as.WeightRule, m.Flags.WeightRule)
	}
	lines := 0
	for _, m := range ms {
		for _, ref := range ms {
			what, ok := contrast(m.Flags, ref.Flags, as)
			if !ok {
				continue
			}
			d := differences(runs, m, ref)
			if len(d) == 0 {
				continue
			}
			if lines == 0 {
				fmt.Fprintln(t, "Difference of pairs\tpoints\tseeds\t")
			}
			lines++
			mean, half := interval(d)
			fmt.Fprintf(t, "%v: %s\t%s\t%d\t%s\n", m, what, signed(mean, half), len(d), verdict(mean, half))
		}
	}
	return t.Flush()
}

// contrast says what is compared where m is compared with ref, if they differ in one thing, in which ref is as as; else ok is false.
func contrast(m, ref, as Flags) (what string, ok bool) {
	if m == ref || m.Act != ref.Act {
		return "", false
	}
	switch rest := ref; {
	case m.Rule != ref.Rule:
		rest.Rule = m.Rule
		return "against " + ref.Rule, rest == m && ref.Rule == as.Rule
	case m.Weights != ref.Weights:
		rest.Weights, rest.WeightRule = m.Weights, m.WeightRule
		return "against weights " + ref.Weights, rest == m && ref.Weights == as.Weights && (ref.WeightRule == "" || ref.WeightRule == m.WeightRule)
	case m.WeightRule != ref.WeightRule:
		rest.WeightRule = m.WeightRule
		return "against weights by " + ref.WeightRule, rest == m && ref.WeightRule == as.WeightRule
	case m.Opt != ref.Opt:
		rest.Opt = m.Opt
		return "against " + ref.Opt, rest == m && ref.Opt == as.Opt
	}
	return "", false
}

func signed(mean, half float64) string {
	if math.Abs(mean) < 0.005 {
		mean = 0 // no -0.00
	}
	if math.IsNaN(half) {
		return fmt.Sprintf("%+.2f", mean)
	}
	return fmt.Sprintf("%+.2f ± %.2f", mean, half)
}

// verdict says in words what an interval says.
func verdict(mean, half float64) string {
	switch {
	case math.IsNaN(half):
		return "one seed tells nothing"
	case mean-half > 0:
		return "beyond noise: better"
	case mean+half < 0:
		return "beyond noise: worse"
	}
	return "within noise"
}
