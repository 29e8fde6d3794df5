package pictures

import (
	"image/color"
	"io"
	"math"
	"slices"

	"github.com/pkg/errors"
	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
)

// Series is a line of a panel.
type Series struct {
	Name   string
	X      []float64 // nil means 1, 2, ...
	Y      []float64 // NaN has no point
	Lo, Hi []float64 // a pale band around the line, for each Y its ends; nil means none
	Dashed bool      // thinner too: what the others are compared with
}

// Panel is one plot of a picture.
type Panel struct {
	Title      string  // "" means none
	X, Y       string  // labels of the axes, with their units
	YMin, YMax float64 // the range of the vertical axis, beyond which lines are cut off; both 0 mean all that there is
	LogX       bool    // a logarithmic horizontal axis
	Lines      []Series
}

// Lines draws panels two in a row, of an odd number the last alone in its own. Each has its legend above it.
func Lines(w io.Writer, title string, panels ...Panel) error {
	cells := make([]cell, len(panels))
	for i, p := range panels {
		var err error
		if cells[i], err = newCell(p, func(_ Series, i int) int { return i }); err != nil {
			return err
		}
	}
	return write(w, title, nil, cells, 2, 300*pixel)
}

// Multiples draws many panels of the same kind, that many in a row, below one legend: a series has the same colour in
// each panel that it is in, by its name.
func Multiples(w io.Writer, title string, columns int, panels ...Panel) error {
	at := map[string]int{}
	for _, p := range panels {
		for _, s := range p.Lines {
			if _, ok := at[s.Name]; !ok {
				at[s.Name] = len(at)
			}
		}
	}
	legend := make([]entry, len(at))
	cells := make([]cell, len(panels))
	for i, p := range panels {
		var err error
		if cells[i], err = newCell(p, func(s Series, _ int) int { return at[s.Name] }); err != nil {
			return err
		}
		for _, e := range cells[i].legend {
			legend[at[e.name]] = e
		}
		cells[i].legend = nil
	}
	legend = slices.DeleteFunc(legend, func(e entry) bool { return e.name == "" }) // no point of it in any panel
	height := 300 * pixel
	if columns > 2 {
		height = 180 * pixel
	}
	return write(w, title, legend, cells, columns, height)
}

// newCell draws the lines of a panel, in the colours of numbers.
func newCell(p Panel, number func(s Series, i int) int) (c cell, err error) {
	c.plot, c.title = newPlot(p.X, p.Y), p.Title
	whole := true
	for i, s := range p.Lines { // bands first, so that no line lies under one
		whole = whole && s.X == nil
		if n := len(s.Y); s.X != nil && len(s.X) != n || s.Lo != nil && len(s.Lo) != n || len(s.Lo) != len(s.Hi) {
			return c, errors.Errorf("pictures: %s: %d values Y with %d X, %d Lo and %d Hi", s.Name, n, len(s.X), len(s.Lo), len(s.Hi))
		}
		if err := p.addBand(c.plot, s, Color(number(s, i))); err != nil {
			return c, errors.Wrapf(err, "pictures: %s", s.Name)
		}
	}
	for i, s := range p.Lines {
		e, err := addLine(c.plot, s, number(s, i))
		if err != nil {
			return c, errors.Wrapf(err, "pictures: %s", s.Name)
		}
		if e.name != "" {
			c.legend = append(c.legend, e)
		}
	}
	if p.YMin != p.YMax {
		c.plot.Y.Min, c.plot.Y.Max = p.YMin, p.YMax
	}
	switch {
	case len(c.legend) == 0: // nothing was drawn, so there are no ends to set
	case p.LogX:
		if !(c.plot.X.Min > 0) {
			return c, errors.Errorf("pictures: panel %q: %v on a logarithmic axis, want numbers above 0", p.Title, c.plot.X.Min)
		}
		c.plot.X.Scale, c.plot.X.Tick.Marker = plot.LogScale{}, plot.LogTicks{}
	case whole:
		c.plot.X.Tick.Marker = plot.TickerFunc(wholeTicks)
		c.plot.X.Min, c.plot.X.Max = 1, max(c.plot.X.Max, 2)
	}
	return c, nil
}

// x is where the i-th point of a series is.
func (s Series) x(i int) float64 {
	if s.X != nil {
		return s.X[i]
	}
	return float64(i + 1)
}

// addBand adds the band of a series.
func (p Panel) addBand(to *plot.Plot, s Series, c color.RGBA) error {
	if len(s.Lo) < 2 {
		return nil
	}
	within := func(y float64) float64 { // polygons are not cut off by themselves
		if p.YMin != p.YMax {
			return min(max(y, p.YMin), p.YMax)
		}
		return y
	}
	var outline plotter.XYs
	for i := range s.Lo {
		outline = append(outline, plotter.XY{X: s.x(i), Y: within(s.Lo[i])})
	}
	for i := len(s.Hi) - 1; i >= 0; i-- {
		outline = append(outline, plotter.XY{X: s.x(i), Y: within(s.Hi[i])})
	}
	band, err := plotter.NewPolygon(outline)
	if err != nil {
		return err
	}
	band.Color, band.LineStyle.Width = color.NRGBA{c.R, c.G, c.B, 45}, 0
	to.Add(band)
	return nil
}

// addLine adds the line of a series: the colours in turn, then again in dashes.
func addLine(p *plot.Plot, s Series, number int) (entry, error) {
	var xy plotter.XYs
	for i, y := range s.Y {
		if !math.IsNaN(y) {
			xy = append(xy, plotter.XY{X: s.x(i), Y: y})
		}
	}
	if len(xy) == 0 {
		return entry{}, nil
	}
	line, points, err := plotter.NewLinePoints(xy)
	if err != nil {
		return entry{}, err
	}
	line.Color, line.Width = Color(number), vg.Points(1.6)
	if s.Dashed || number/colors%2 == 1 {
		line.Dashes = []vg.Length{vg.Points(5), vg.Points(3)}
	}
	if s.Dashed {
		line.Width = vg.Points(1.2)
	}
	p.Add(line)
	if len(xy) == 1 || len(xy) <= 30 && s.Lo == nil && !s.Dashed {
		points.Color, points.Shape, points.Radius = line.Color, draw.CircleGlyph{}, vg.Points(1.8)
		p.Add(points)
	}
	return entry{name: s.Name, line: line.LineStyle}, nil
}
