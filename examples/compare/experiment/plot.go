package experiment

import (
	"io"
	"slices"

	"github.com/ftprop/ftprop/examples/pictures"
	"gonum.org/v1/gonum/stat"
)

// curve is a method's accuracy by epoch: the mean over seeds, in a band from the lowest to the highest for a threshold activation.
func curve(runs []*Run, m Method) pictures.Series {
	s := pictures.Series{Name: m.Name, Dashed: !m.Hard}
	rs := ofMethod(runs, m)
	for e := range rs[0].Accuracy {
		x := each(rs, func(r *Run) float64 { return r.Accuracy[e] })
		s.Y = append(s.Y, stat.Mean(x, nil))
		s.Lo = append(s.Lo, slices.Min(x))
		s.Hi = append(s.Hi, slices.Max(x))
	}
	return s
}

// Plot writes a PNG of the test accuracy after each epoch. Each threshold activation has a panel with its
// rules, solid, the mean over seeds in a band from the lowest to the highest; the baselines stand dashed
// in every panel, for comparison, those with quantised weights where such weights are. All panels have the same scale.
func Plot(w io.Writer, c *Config, runs []*Run, title string) error {
	var panels []pictures.Panel
	var weights []string // of each panel
	type baseline struct {
		line    pictures.Series
		weights string
	}
	var base []baseline
	floor, top := 100.0, 0.0
	for _, m := range methods(c.Methods, runs) {
		s := curve(runs, m)
		// The first fifth of the epochs may fall out of the picture: the end is what is compared.
		floor = min(floor, slices.Min(s.Lo[len(s.Lo)/5:]))
		top = max(top, slices.Max(s.Hi))
		if !m.Hard {
			s.Lo, s.Hi = nil, nil
			base = append(base, baseline{s, m.Flags.Weights})
			continue
		}
		if last := len(panels) - 1; last < 0 || panels[last].Title != m.Group {
			panels, weights = append(panels, pictures.Panel{Title: m.Group}), append(weights, m.Flags.Weights)
		}
		last := &panels[len(panels)-1]
		last.Lines = append(last.Lines, s)
	}
	if len(panels) == 0 {
		panels = []pictures.Panel{{}}
	}
	margin := max(0.05*(top-floor), 0.1)
	for i := range panels {
		p := &panels[i]
		p.X, p.Y = "Epoch", "Test accuracy (%)"
		p.YMin, p.YMax = max(floor-margin, 0), min(top+margin, 100)
		for _, b := range base {
			if weights == nil || b.weights == weights[i] || b.weights == NoWeights {
				p.Lines = append(p.Lines, b.line)
			}
		}
	}
	return pictures.Multiples(w, title, 2, panels...)
}
