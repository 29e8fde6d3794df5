package pictures

import (
	"fmt"
	"image/color"
	"io"
	"strings"

	"github.com/ftprop/ftprop/diagnostics"
	"github.com/pkg/errors"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
)

// Agreement draws the share of units on the side of zero that their target asks for, layer by layer, over looks at a
// network: one a epoch, the first after epoch 1.
func Agreement(w io.Writer, looks [][]diagnostics.LayerStats, title string) error {
	panel, err := AgreementPanel(looks)
	if err != nil {
		return err
	}
	return Lines(w, title, panel)
}

// AgreementPanel is the picture of Agreement as a part of another. Of more than eight layers every third is in it, and the last.
func AgreementPanel(looks [][]diagnostics.LayerStats) (Panel, error) {
	p := Panel{X: "Epoch", Y: "Units that agree with their target (%)"}
	if len(looks) == 0 || len(looks[0]) == 0 {
		return p, errors.New("pictures: no threshold layers to draw")
	}
	prefix := commonPrefix(looks[0])
	for l, layer := range looks[0] {
		if len(looks[0]) > 8 && l%3 > 0 && l < len(looks[0])-1 {
			continue
		}
		s := Series{Name: strings.TrimPrefix(layer.Name, prefix)}
		for _, look := range looks {
			if len(look) != len(looks[0]) {
				return p, errors.Errorf("pictures: looks at %d and at %d layers", len(looks[0]), len(look))
			}
			s.Y = append(s.Y, 100*look[l].Agreement)
		}
		p.Lines = append(p.Lines, s)
	}
	return p, nil
}

// commonPrefix is what all names begin with, up to a dot.
func commonPrefix(layers []diagnostics.LayerStats) string {
	prefix := layers[0].Name
	for _, l := range layers {
		for !strings.HasPrefix(l.Name, prefix) {
			prefix = prefix[:len(prefix)-1]
		}
	}
	return prefix[:strings.LastIndexByte(prefix, '.')+1]
}

// Histograms draws the pre-activations of threshold layers, with the thresholds at which their units step.
func Histograms(w io.Writer, layers []diagnostics.LayerStats, title string) error {
	if len(layers) == 0 {
		return errors.New("pictures: no threshold layers to draw")
	}
	prefix := commonPrefix(layers)
	bar := Color(5)
	mark := draw.LineStyle{Color: Color(1), Width: vg.Points(1.5), Dashes: []vg.Length{vg.Points(4), vg.Points(2)}}
	cells := make([]cell, len(layers))
	for i, l := range layers {
		p := newPlot("Pre-activation z", "Units in the bin (%)")
		c := &cells[i]
		c.plot, c.title = p, fmt.Sprintf("%s: %.0f %% saturated, %.0f %% dead", strings.TrimPrefix(l.Name, prefix), 100*l.Saturated, 100*l.Dead)
		bars, top := bars(l.Z)
		poly, err := plotter.NewPolygon(bars)
		if err != nil {
			return errors.Wrapf(err, "pictures: layer %s", l.Name)
		}
		poly.Color, poly.LineStyle.Width = bar, 0
		p.Add(poly)
		p.Y.Min, p.Y.Max = 0, 1.06*top
		for _, t := range l.Thresholds {
			line, err := plotter.NewLine(plotter.XYs{{X: t, Y: 0}, {X: t, Y: 1.06 * top}})
			if err != nil {
				return errors.Wrapf(err, "pictures: layer %s", l.Name)
			}
			line.LineStyle = mark
			p.Add(line)
		}
	}
	legend := []entry{{name: "units, of all samples", fill: color.Color(bar)}, {name: "threshold: the output steps here", line: mark}}
	return write(w, title, legend, cells, 2, 220*pixel)
}

// bars returns the outline of a histogram in percent, and its height.
func bars(h diagnostics.Histogram) (outline plotter.XYs, top float64) {
	sum := 0
	for _, n := range h.Counts {
		sum += n
	}
	lo, hi := h.Min, h.Max
	if hi <= lo { // all in one bin: give it a width to be seen
		lo, hi = lo-0.5, lo+0.5
	}
	step := (hi - lo) / float64(len(h.Counts))
	outline = append(outline, plotter.XY{X: lo})
	for i, n := range h.Counts {
		y := 100 * float64(n) / float64(max(sum, 1))
		top = max(top, y)
		outline = append(outline, plotter.XY{X: lo + float64(i)*step, Y: y}, plotter.XY{X: lo + float64(i+1)*step, Y: y})
	}
	return append(outline, plotter.XY{X: hi}), max(top, 1e-3)
}
