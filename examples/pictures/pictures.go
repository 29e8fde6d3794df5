// Package pictures draws what training a threshold network looks like: curves, pre-activations and their thresholds, agreement
// with targets, rules. Programs and notebooks share it. All pictures are PNG, 800 pixels wide at the size that they are made for
// and drawn at one and a half times that; their colours are Okabe and Ito's, which colour-blind eyes can tell apart.
package pictures

import (
	"image/color"
	"io"
	"math"
	"strconv"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/font"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgimg"
)

// width is that of every picture: 800 pixels of 1/96 inch.
const width = 800 * pixel

const (
	pixel = vg.Inch / 96
	dpi   = 144 // one and a half pixels for one
)

// Color returns the i-th of seven colours, from the start again after them. They are Okabe and Ito's but for the yellow, which is
// too pale for lines. Source: M. Okabe and K. Ito, "Color Universal Design", 2008.
func Color(i int) color.RGBA {
	return [colors]color.RGBA{
		{0, 114, 178, 255}, {213, 94, 0, 255}, {0, 158, 115, 255}, {0, 0, 0, 255}, {204, 121, 167, 255}, {86, 180, 233, 255}, {230, 159, 0, 255},
	}[i%colors]
}

const colors = 7

// A cell is a plot with a title and a legend above it, where they hide no line.
type cell struct {
	plot   *plot.Plot
	title  string
	legend []entry
}

// An entry of a legend has a line, or a filled square.
type entry struct {
	name string
	line draw.LineStyle
	fill color.Color
}

// A row of cells.
type row struct {
	cells []cell
	head  vg.Length // the height of titles and legends
}

// slots is the number of places in a row: a cell alone below rows of two is as wide as both.
func (r row) slots(columns int) int {
	if len(r.cells) == 1 && columns == 2 {
		return 1
	}
	return columns
}

// newPlot returns an empty plot with a grid.
func newPlot(x, y string) *plot.Plot {
	p := plot.New()
	p.X.Label.Text, p.Y.Label.Text = x, y
	for _, a := range []*plot.Axis{&p.X, &p.Y} {
		a.Label.TextStyle.Font = sans(10)
		a.Tick.Label.Font = sans(9)
		a.Padding = vg.Points(3)
		a.Tick.Marker = plot.TickerFunc(roundTicks)
	}
	grid := plotter.NewGrid()
	grid.Horizontal.Color, grid.Vertical.Color = color.Gray{225}, color.Gray{225}
	p.Add(grid)
	return p
}

func sans(size vg.Length) font.Font {
	return font.Font{Typeface: "Liberation", Variant: "Sans", Size: size}
}

func style(size vg.Length) draw.TextStyle {
	return draw.TextStyle{Color: color.Black, Font: sans(size), YAlign: draw.YTop, Handler: plot.DefaultTextHandler}
}

// write draws a title, a legend for all and cells, row by row; height is that of a cell's plot.
func write(w io.Writer, title string, legend []entry, cells []cell, columns int, height vg.Length) error {
	const edge, gap = 8 * pixel, 14 * pixel
	var rows []row
	columns = max(min(columns, len(cells)), 1)
	wide := func(n int) vg.Length { return (width - 2*edge - vg.Length(n-1)*gap) / vg.Length(n) }
	total := edge + titleHeight + legendHeight(legend, width-2*edge) + edge
	for from := 0; from < len(cells); from += columns {
		r := row{cells: cells[from:min(from+columns, len(cells))]}
		for _, c := range r.cells {
			r.head = max(r.head, headHeight(c, wide(r.slots(columns))))
		}
		total += r.head + height + gap
		rows = append(rows, r)
	}
	total -= gap / 2
	img := vgimg.NewWith(vgimg.UseWH(width, total), vgimg.UseDPI(dpi))
	dc := draw.New(img)
	top := dc.Max.Y - edge
	s := style(13)
	s.XAlign = draw.XCenter
	dc.FillText(s, vg.Point{X: dc.Center().X, Y: top}, title)
	top -= titleHeight
	top -= drawLegend(dc, legend, edge, top, width-2*edge)
	for _, r := range rows {
		n := r.slots(columns)
		var plots []*plot.Plot
		for i, c := range r.cells {
			left := edge + vg.Length(i)*(wide(n)+gap)
			y := top
			if c.title != "" {
				s := style(11)
				s.XAlign = draw.XCenter
				dc.FillText(s, vg.Point{X: left + wide(n)/2, Y: y}, c.title)
				y -= lineHeight
			}
			drawLegend(dc, c.legend, left+40*pixel, y, wide(n)-40*pixel)
			plots = append(plots, c.plot)
		}
		top -= r.head
		for len(plots) < n { // places that stay empty, as wide as the rest
			plots = append(plots, plots[0])
		}
		body := draw.Canvas{Canvas: dc.Canvas, Rectangle: vg.Rectangle{
			Min: vg.Point{X: edge, Y: top - height}, Max: vg.Point{X: width - edge, Y: top}}}
		for i, at := range plot.Align([][]*plot.Plot{plots}, draw.Tiles{Rows: 1, Cols: n, PadX: gap}, body)[0] {
			if i < len(r.cells) {
				plots[i].Draw(at)
			}
		}
		top -= height + gap
	}
	_, err := vgimg.PngCanvas{Canvas: img}.WriteTo(w)
	return err
}

const (
	titleHeight = 28 * pixel
	lineHeight  = 18 * pixel
	thumbnail   = 22 * pixel
)

func headHeight(c cell, wide vg.Length) vg.Length {
	h := legendHeight(c.legend, wide-40*pixel)
	if c.title != "" {
		h += lineHeight
	}
	return h
}

// flow calls f for each entry with its place, left to right and line by line, and returns the height of all.
func flow(entries []entry, wide vg.Length, f func(e entry, x, y vg.Length)) vg.Length {
	if len(entries) == 0 {
		return 0
	}
	x, y := vg.Length(0), vg.Length(0)
	for _, e := range entries {
		need := thumbnail + 5*pixel + style(10).Width(e.name)
		if x > 0 && x+need > wide {
			x, y = 0, y+lineHeight
		}
		if f != nil {
			f(e, x, y)
		}
		x += need + 14*pixel
	}
	return y + lineHeight + 4*pixel
}

func legendHeight(entries []entry, wide vg.Length) vg.Length { return flow(entries, wide, nil) }

func drawLegend(dc draw.Canvas, entries []entry, left, top, wide vg.Length) vg.Length {
	return flow(entries, wide, func(e entry, x, y vg.Length) {
		x, y = left+x, top-y
		middle := y - 8*pixel
		if e.fill != nil {
			a, b := vg.Point{X: x, Y: middle - 5*pixel}, vg.Point{X: x + thumbnail, Y: middle + 5*pixel}
			dc.FillPolygon(e.fill, []vg.Point{a, {X: b.X, Y: a.Y}, b, {X: a.X, Y: b.Y}})
		}
		if e.line.Width > 0 {
			dc.StrokeLine2(e.line, x, middle, x+thumbnail, middle)
		}
		dc.FillText(style(10), vg.Point{X: x + thumbnail + 5*pixel, Y: y}, e.name)
	})
}

// wholeTicks marks whole numbers from the lowest on, at most about ten.
func wholeTicks(lo, hi float64) []plot.Tick {
	first, step := math.Ceil(lo), math.Max(1, roundStep(hi-lo, 10))
	t := []plot.Tick{{Value: first, Label: label(first, 1)}}
	for k := math.Floor(first/step) + 1; k*step <= hi; k++ {
		if k*step-first >= step/2 { // not on top of the first
			t = append(t, plot.Tick{Value: k * step, Label: label(k*step, 1)})
		}
	}
	return t
}

// roundTicks marks multiples of 1, 2 or 5 times a power of ten, at most six.
func roundTicks(lo, hi float64) []plot.Tick {
	step := roundStep(hi-lo, 5)
	var t []plot.Tick
	for k := math.Ceil(lo/step - 1e-9); k*step <= hi+1e-9*step; k++ {
		t = append(t, plot.Tick{Value: k * step, Label: label(k*step, step)})
	}
	return t
}

// roundStep is the least of 1, 2 and 5 times a power of ten that divides a range into at most n parts.
func roundStep(span float64, n int) float64 {
	if !(span > 0) || math.IsInf(span, 0) {
		return 1
	}
	step := math.Pow(10, math.Floor(math.Log10(span/float64(n))))
	for _, m := range []float64{1, 2, 5} {
		if span/(m*step) <= float64(n)+1e-9 {
			return m * step
		}
	}
	return 10 * step
}

// label prints a multiple of step with the digits that it needs.
func label(v, step float64) string {
	if math.Abs(v) < step/2 {
		v = 0 // no -0
	}
	if v != 0 && (math.Abs(v) >= 1e6 || step < 1e-5) {
		return strconv.FormatFloat(v, 'g', 3, 64)
	}
	return strconv.FormatFloat(v, 'f', int(math.Max(0, math.Ceil(-math.Log10(step)-1e-9))), 64)
}
