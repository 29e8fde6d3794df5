package experiment

import (
	"encoding/csv"
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"

	"github.com/ftprop/ftprop/examples/pictures"
	"gonum.org/v1/gonum/stat"
	"gonum.org/v1/gonum/stat/distuv"
)

// group is the runs of one task by one method.
type group struct {
	task   *Task
	method Method
	runs   []*Run
}

// groups returns the tasks and methods that have runs, in order.
func groups(tasks []*Task, runs []*Run) []group {
	var out []group
	for _, t := range tasks {
		for _, m := range t.methods() {
			g := group{task: t, method: m}
			for _, r := range runs {
				if r.Task == t && r.Method.Name == m.Name {
					g.runs = append(g.runs, r)
				}
			}
			if len(g.runs) > 0 {
				out = append(out, g)
			}
		}
	}
	return out
}

func (g group) each(f func(*Run) float64) []float64 {
	x := make([]float64, len(g.runs))
	for i, r := range g.runs {
		x[i] = f(r)
	}
	return x
}

// last is the share of right answers after the last epoch.
func last(r *Run) float64 { return r.Right[len(r.Right)-1] }

// interval prints the mean of x and half the width of its 95 % confidence interval by Student's t.
func interval(x []float64) string {
	mean, sd := stat.MeanStdDev(x, nil)
	if len(x) < 2 {
		return fmt.Sprintf("%.1f", mean)
	}
	t := distuv.StudentsT{Mu: 0, Sigma: 1, Nu: float64(len(x) - 1)}.Quantile(0.975)
	return fmt.Sprintf("%.1f ± %.1f", mean, t*sd/math.Sqrt(float64(len(x))))
}

// Table writes a line for every task and method: the share of right answers in the test after the last epoch, mean and 95 % interval over seeds, the
// lowest of a seed, the most calls of a sample and step that the searcher may make, those of a run that it made, and the seconds of a run.
func Table(w io.Writer, tasks []*Task, runs []*Run) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "Task\tMethod\tRight, %\tLowest\tCalls a sample\tCalls made\tSeconds")
	previous := ""
	for _, g := range groups(tasks, runs) {
		name := ""
		if g.task.Name != previous {
			name, previous = g.task.Name, g.task.Name
		}
		right := g.each(last)
		most, made := "", ""
		if g.method.searcher != nil {
			most = "up to " + strconv.Itoa(g.task.Calls)
			made = fmt.Sprintf("%.0f", stat.Mean(g.each(func(r *Run) float64 { return float64(r.Calls.Backward) }), nil))
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%.1f\t%s\t%s\t%.1f\n", name, g.method.Name, interval(right), slices.Min(right), most, made,
			stat.Mean(g.each(func(r *Run) float64 { return r.Seconds }), nil))
	}
	return t.Flush()
}

// Plot writes a PNG of the share of right answers after each epoch, a panel for each task: the mean over seeds, in a band from the lowest to the highest.
func Plot(w io.Writer, tasks []*Task, runs []*Run, title string) error {
	var panels []pictures.Panel
	for _, g := range groups(tasks, runs) {
		if n := len(panels); n == 0 || panels[n-1].Title != g.task.Name {
			panels = append(panels, pictures.Panel{Title: g.task.Name, X: "Epoch", Y: "Right answers in the test (%)", YMin: 0, YMax: 100})
		}
		s := pictures.Series{Name: g.method.Name, Dashed: !g.method.ours()}
		for e := range g.task.Epochs {
			x := g.each(func(r *Run) float64 { return r.Right[e] })
			s.Y, s.Lo, s.Hi = append(s.Y, stat.Mean(x, nil)), append(s.Lo, slices.Min(x)), append(s.Hi, slices.Max(x))
		}
		p := &panels[len(panels)-1]
		p.Lines = append(p.Lines, s)
	}
	return pictures.Multiples(w, title, 2, panels...)
}

// ours says whether the method is one of the library's searchers.
func (m Method) ours() bool {
	_, theirs := m.searcher.(Reinforce)
	return m.searcher != nil && !theirs
}

// CSV writes one line for every run and epoch: task, method, seed, epoch, training loss, right answers in percent, and in a run's last line
// the calls of both passes and its seconds.
func CSV(w io.Writer, runs []*Run) error {
	out := csv.NewWriter(w)
	number := func(x float64) string { return strconv.FormatFloat(x, 'g', 7, 64) }
	if err := out.Write(strings.Split("task,method,seed,epoch,train_loss,right_percent,forward_calls,backward_calls,seconds", ",")); err != nil {
		return err
	}
	for _, r := range runs {
		for e := range r.Right {
			row := []string{r.Task.Key, r.Method.Name, strconv.Itoa(r.Seed), strconv.Itoa(e + 1), number(r.Loss[e]), number(r.Right[e]), "", "", ""}
			if e == len(r.Right)-1 {
				row[6], row[7], row[8] = strconv.FormatUint(r.Calls.Forward, 10), strconv.FormatUint(r.Calls.Backward, 10), number(r.Seconds)
			}
			if err := out.Write(row); err != nil {
				return err
			}
		}
	}
	out.Flush()
	return out.Error()
}
