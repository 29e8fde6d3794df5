package experiment

import (
	"fmt"
	"io"
	"math"

	"github.com/ftprop/ftprop/examples/pictures"
)

// Plot writes a PNG with one panel for each task: units that do not reach their targets, in the best setting so far, over
// seconds, the mean of all seeds. Full-batch search is solid; mini-batch training, for whose hidden units no targets are kept,
// so that only outputs count, dashed.
func Plot(w io.Writer, c *Config, runs []*Run) error {
	var panels []pictures.Panel
	for _, t := range c.Tasks {
		names := methods(runs, t.Name)
		if len(names) == 0 {
			continue
		}
		p := pictures.Panel{Title: t.Name + ", " + t.Sizes(), X: "Seconds", Y: "Infeasible units", LogX: true}
		const from, grid = 1e-4, 120
		end := c.budget(t).Seconds()
		for _, m := range names {
			rs := of(runs, t.Name, m)
			s := pictures.Series{Name: m, Dashed: rs[0].Status == ""}
			for k := range grid + 1 {
				at := from * math.Pow(end/from, float64(k)/grid)
				sum := 0.0
				for _, r := range rs {
					sum += r.at(at)
				}
				y := sum / float64(len(rs))
				s.X, s.Y = append(s.X, at), append(s.Y, y)
				if y > p.YMax { // NaN is not
					p.YMax = y
				}
			}
			p.Lines = append(p.Lines, s)
		}
		p.YMax = 1.05 * max(p.YMax, 1)
		panels = append(panels, p)
	}
	title := "Units that are not feasible yet, by time"
	if c.Seeds > 1 {
		title += fmt.Sprintf(": mean of %d seeds", c.Seeds)
	}
	return pictures.Multiples(w, title, 3, panels...)
}

// at returns the infeasible units of a run at a time, NaN before its first setting is known. A run that was feasible before
// any setting was tried has none from the start.
func (r *Run) at(seconds float64) float64 {
	if r.Solved && (seconds >= r.Seconds || len(r.Curve) == 0) {
		return 0
	}
	infeasible := math.NaN()
	for _, p := range r.Curve {
		if p.Seconds <= seconds {
			infeasible = float64(p.Infeasible)
		}
	}
	return infeasible
}
