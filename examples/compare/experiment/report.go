package experiment

import (
	"fmt"
	"io"
	"math"
	"slices"
	"strings"
	"text/tabwriter"

	"gonum.org/v1/gonum/stat"
	"gonum.org/v1/gonum/stat/distuv"
)

// ofMethod returns the runs of a method.
func ofMethod(runs []*Run, m Method) []*Run {
	var out []*Run
	for _, r := range runs {
		if r.Method.Group == m.Group && r.Method.Name == m.Name {
			out = append(out, r)
		}
	}
	return out
}

// methods returns the methods that have runs, in order.
func methods(all []Method, runs []*Run) []Method {
	var out []Method
	for _, m := range all {
		if len(ofMethod(runs, m)) > 0 {
			out = append(out, m)
		}
	}
	return out
}

// interval returns the mean of x and half the width of its 95 % confidence interval by Student's t, NaN for
// fewer than two values.
func interval(x []float64) (mean, half float64) {
	if len(x) < 2 {
		return stat.Mean(x, nil), math.NaN()
	}
	mean, sd := stat.MeanStdDev(x, nil)
	t := distuv.StudentsT{Mu: 0, Sigma: 1, Nu: float64(len(x) - 1)}.Quantile(0.975)
	return mean, t * sd / math.Sqrt(float64(len(x)))
}

// each collects a number of every run.
func each(runs []*Run, f func(*Run) float64) []float64 {
	x := make([]float64, len(runs))
	for i, r := range runs {
		x[i] = f(r)
	}
	return x
}

func plusMinus(mean, half float64, digits int) string {
	if math.IsNaN(half) {
		return fmt.Sprintf("%.*f", digits, mean)
	}
	return fmt.Sprintf("%.*f ± %.*f", digits, mean, digits, half)
}

// secondsOf is the mean of those runs of which the seconds are known.
func secondsOf(runs []*Run) string {
	known := slices.DeleteFunc(each(runs, func(r *Run) float64 { return r.Seconds }), math.IsNaN)
	if len(known) == 0 {
		return "not known"
	}
	mean, _ := interval(known)
	return fmt.Sprintf("%.1f", mean)
}

// Table writes the outcome in the shape of the paper's Table 1: a group of columns for each activation, in it
// a column for each rule; mean and 95 % interval over seeds of the test accuracy, and the mean seconds that a run has
// trained. With validation the accuracy is that of the epoch that validation has chosen, with that of the last epoch below it. Without, it is that of
// the last epoch, and below it stands that of the best (optimistic, since it is the test set that tells which that is).
func Table(w io.Writer, c *Config, runs []*Run) error {
	const columns = 6 // that fit beside each other
	what, second, other := "Test accuracy, %", "  best epoch (optimistic)", func(r *Run) float64 { return slices.Max(r.Accuracy) }
	if slices.ContainsFunc(runs, func(r *Run) bool { return r.Validation != nil }) {
		what, second, other = "Test accuracy, %, by validation", "  last epoch", func(r *Run) float64 { return r.Accuracy[len(r.Accuracy)-1] }
	}
	ms := methods(c.Methods, runs)
	for len(ms) > 0 {
		part := ms[:min(columns, len(ms))]
		ms = ms[len(part):]
		t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
		var groups, names, last, below, seconds []string
		previous := ""
		for _, m := range part {
			rs := ofMethod(runs, m)
			if m.Group != previous {
				groups = append(groups, m.Group)
			} else {
				groups = append(groups, "")
			}
			previous = m.Group
			names = append(names, m.Name)
			mean, half := interval(each(rs, (*Run).Test))
			last = append(last, plusMinus(mean, half, 2))
			mean, half = interval(each(rs, other))
			below = append(below, plusMinus(mean, half, 2))
			seconds = append(seconds, secondsOf(rs))
		}
		for _, row := range [][]string{
			append([]string{""}, groups...), append([]string{""}, names...),
			append([]string{what}, last...), append([]string{second}, below...),
			append([]string{"Seconds a run"}, seconds...),
		} {
			fmt.Fprintln(t, strings.Join(row, "\t"))
		}
		if err := t.Flush(); err != nil {
			return err
		}
		if len(ms) > 0 {
			fmt.Fprintln(w)
		}
	}
	return nil
}

// AgreementTable writes, for every threshold method and hidden layer, the share of units whose sign(z) is their
// target after the last epoch: how far the targets that a layer is set are feasible for the weights below it.
func AgreementTable(w io.Writer, c *Config, runs []*Run) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	any := false
	for _, m := range methods(c.Methods, runs) {
		rs := ofMethod(runs, m)
		if len(rs[0].Agreement) == 0 {
			continue
		}
		if !any {
			head := "Target agreement, %"
			for l := range rs[0].Agreement {
				head += fmt.Sprintf("\tlayer %d", l+1)
			}
			fmt.Fprintln(t, head)
			any = true
		}
		row := m.String()
		for l := range rs[0].Agreement {
			mean, half := interval(each(rs, func(r *Run) float64 { return 100 * r.Agreement[l] }))
			row += "\t" + plusMinus(mean, half, 1)
		}
		fmt.Fprintln(t, row)
	}
	return t.Flush()
}
