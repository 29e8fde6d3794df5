package experiment

import (
	"encoding/csv"
	"fmt"
	"io"
	"math"
	"strconv"
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

// Table writes the outcome in the shape of the paper's Table 1: a group of columns for each activation, in it
// a column for each rule; mean and 95 % interval over seeds of the test accuracy after the last epoch, the
// same of the best epoch (optimistic, since it is the test set that tells which that is), and the mean seconds
// that a run has trained.
func Table(w io.Writer, c *Config, runs []*Run) error {
	const columns = 6 // that fit beside each other
	ms := methods(c.Methods, runs)
	for len(ms) > 0 {
		part := ms[:min(columns, len(ms))]
		ms = ms[len(part):]
		t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
		var groups, names, last, best, seconds []string
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
			mean, half := interval(each(rs, func(r *Run) float64 { return r.Accuracy[len(r.Accuracy)-1] }))
			last = append(last, plusMinus(mean, half, 2))
			mean, half = interval(each(rs, func(r *Run) float64 { return maximum(r.Accuracy) }))
			best = append(best, plusMinus(mean, half, 2))
			mean, _ = interval(each(rs, func(r *Run) float64 { return r.Seconds }))
			seconds = append(seconds, fmt.Sprintf("%.1f", mean))
		}
		for _, row := range [][]string{
			append([]string{""}, groups...), append([]string{""}, names...),
			append([]string{"Test accuracy, %"}, last...), append([]string{"  best epoch (optimistic)"}, best...),
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

func maximum(x []float64) float64 {
	m := x[0]
	for _, v := range x {
		m = max(m, v)
	}
	return m
}

// AgreementTable writes, for every threshold method and hidden layer, the share of units whose sign(z) is their
// target after the last epoch: how far the targets that a layer is set are feasible for the weights below it.
func AgreementTable(w io.Writer, c *Config, runs []*Run) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	head := ""
	for l := range c.Hidden {
		head += fmt.Sprintf("\tlayer %d", l+1)
	}
	any := false
	for _, m := range methods(c.Methods, runs) {
		if !m.Hard {
			continue
		}
		if !any {
			fmt.Fprintln(t, "Target agreement, %"+head)
			any = true
		}
		row := m.String()
		rs := ofMethod(runs, m)
		for l := range c.Hidden {
			mean, half := interval(each(rs, func(r *Run) float64 { return 100 * r.Agreement[l] }))
			row += "\t" + plusMinus(mean, half, 1)
		}
		fmt.Fprintln(t, row)
	}
	return t.Flush()
}

// CSV writes one line for every run and epoch: activation, rule, seed, epoch, training loss, test accuracy in
// percent, and in a run's last line its seconds and each layer's target agreement.
func CSV(w io.Writer, c *Config, runs []*Run) error {
	out := csv.NewWriter(w)
	head := []string{"activation", "rule", "seed", "epoch", "train_loss", "test_accuracy_percent", "seconds"}
	for l := range c.Hidden {
		head = append(head, fmt.Sprintf("agreement_layer%d", l+1))
	}
	number := func(x float64) string { return strconv.FormatFloat(x, 'g', 7, 64) }
	if err := out.Write(head); err != nil {
		return err
	}
	for _, r := range runs {
		for e := range r.Accuracy {
			row := []string{r.Method.Group, r.Method.Name, strconv.Itoa(r.Seed), strconv.Itoa(e + 1), number(r.Loss[e]), number(r.Accuracy[e]), ""}
			row = append(row, make([]string, len(c.Hidden))...)
			if e == len(r.Accuracy)-1 {
				row[6] = number(r.Seconds)
				for l, a := range r.Agreement {
					row[7+l] = number(a)
				}
			}
			if err := out.Write(row); err != nil {
				return err
			}
		}
	}
	out.Flush()
	return out.Error()
}

// Difference returns by how much method a does better than b, in points of the test accuracy after the last epoch: the mean over
// the seeds that both have, and half the width of its 95 % interval by Student's t (NaN for fewer than two). It is the seeds'
// differences that are averaged: both methods begin with the same weights and see the images in the same order.
func Difference(runs []*Run, a, b Method) (mean, half float64) {
	var d []float64
	for _, r := range ofMethod(runs, a) {
		for _, s := range ofMethod(runs, b) {
			if r.Seed == s.Seed {
				d = append(d, r.Accuracy[len(r.Accuracy)-1]-s.Accuracy[len(s.Accuracy)-1])
			}
		}
	}
	return interval(d)
}
