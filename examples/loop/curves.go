package loop

import (
	"image/color"
	"io"
	"math"
	"strconv"
	"strings"

	"github.com/ftprop/ftprop/diagnostics"
	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgimg"
)

// Okabe and Ito's colours, which colour-blind eyes can tell apart.
var palette = [...]color.RGBA{
	{0, 114, 178, 255}, {213, 94, 0, 255}, {0, 158, 115, 255}, {0, 0, 0, 255}, {204, 121, 167, 255}, {86, 180, 233, 255}, {230, 159, 0, 255},
}

// series is one line of a panel; NaN has no point.
type series struct {
	name string
	y    []float64
}

// Curves writes a PNG of a training by epoch: accuracy, loss and, where the layers were looked at, their target agreement.
func Curves(w io.Writer, history []Epoch, title string) error {
	value := func(of func(e *Epoch) float64) []float64 {
		y := make([]float64, len(history))
		for i := range history {
			y[i] = of(&history[i])
		}
		return y
	}
	optional := func(m *Metrics, of func(*Metrics) float64) float64 {
		if m == nil {
			return math.NaN()
		}
		return of(m)
	}
	top1, loss := func(m *Metrics) float64 { return m.Top1 }, func(m *Metrics) float64 { return m.Loss }
	by := func(of func(*Metrics) float64) []series {
		return []series{
			{"training", value(func(e *Epoch) float64 { return of(&e.Train) })},
			{"validation", value(func(e *Epoch) float64 { return optional(e.Validation, of) })},
			{"test", value(func(e *Epoch) float64 { return optional(e.Test, of) })},
		}
	}
	panels := []struct {
		label string
		lines []series
	}{{"Accuracy (%)", by(top1)}, {"Loss", by(loss)}}
	if len(history) > 0 && len(history[0].Layers) > 0 {
		var lines []series
		for l, layer := range history[0].Layers {
			lines = append(lines, series{strings.TrimPrefix(layer.Name, commonPrefix(history[0].Layers)), value(func(e *Epoch) float64 { return 100 * e.Layers[l].Agreement })})
		}
		panels = append(panels, struct {
			label string
			lines []series
		}{"Units that agree with their target (%)", lines})
	}
	plots := make([]*plot.Plot, len(panels))
	for i, panel := range panels {
		p := plot.New()
		p.X.Label.Text, p.Y.Label.Text = "Epoch", panel.label
		p.X.Tick.Marker = plot.TickerFunc(wholeTicks)
		p.Legend.Padding, p.Legend.ThumbnailWidth = vg.Points(2), vg.Points(22)
		p.Legend.Top, p.Legend.XOffs = i > 0, -6
		if p.Legend.YOffs = 6; p.Legend.Top {
			p.Legend.YOffs = -6
		}
		p.Add(plotter.NewGrid())
		for j, s := range panel.lines {
			if err := addSeries(p, s, j, len(panel.lines) <= 8); err != nil {
				return err
			}
		}
		p.X.Min, p.X.Max = 1, float64(max(len(history), 2))
		// Room for the legend, where no line is in its way.
		room := 0.085 * float64(min(len(panel.lines), 8)) * (p.Y.Max - p.Y.Min)
		if p.Legend.Top {
			p.Y.Max += room
		} else {
			p.Y.Min -= room
		}
		plots[i] = p
	}
	width := vg.Length(4.4*float64(len(plots))) * vg.Inch
	img := vgimg.NewWith(vgimg.UseWH(width, 4.4*vg.Inch), vgimg.UseDPI(96))
	dc := draw.New(img)
	style := plots[0].Title.TextStyle
	style.Font.Size, style.XAlign, style.YAlign = 13, draw.XCenter, draw.YTop
	dc.FillText(style, vg.Point{X: dc.Center().X, Y: dc.Max.Y - 6}, title)
	body := draw.Crop(dc, 6, -10, 4, -28)
	tiles := draw.Tiles{Rows: 1, Cols: len(plots), PadX: vg.Points(16)}
	for i, cell := range plot.Align([][]*plot.Plot{plots}, tiles, body)[0] {
		plots[i].Draw(cell)
	}
	_, err := vgimg.PngCanvas{Canvas: img}.WriteTo(w)
	return err
}

// commonPrefix is what all names begin with, up to a dot.
func commonPrefix(layers []diagnostics.Layer) string {
	prefix := layers[0].Name
	for _, l := range layers {
		for !strings.HasPrefix(l.Name, prefix) {
			prefix = prefix[:len(prefix)-1]
		}
	}
	return prefix[:strings.LastIndexByte(prefix, '.')+1]
}

// addSeries adds a line. Of many lines every third is in the legend.
func addSeries(p *plot.Plot, s series, at int, all bool) error {
	var xy plotter.XYs
	for i, y := range s.y {
		if !math.IsNaN(y) {
			xy = append(xy, plotter.XY{X: float64(i + 1), Y: y})
		}
	}
	if len(xy) == 0 {
		return nil
	}
	line, points, err := plotter.NewLinePoints(xy)
	if err != nil {
		return err
	}
	line.Color = palette[at%len(palette)]
	line.Width = vg.Points(1.6)
	if at/len(palette)%2 == 1 {
		line.Dashes = []vg.Length{vg.Points(5), vg.Points(3)}
	}
	points.Color, points.Shape, points.Radius = line.Color, draw.CircleGlyph{}, vg.Points(1.8)
	p.Add(line)
	if len(xy) <= 30 {
		p.Add(points)
	}
	if all || at%3 == 0 {
		p.Legend.Add(s.name, line)
	}
	return nil
}

// wholeTicks marks whole numbers, at most ten.
func wholeTicks(lo, hi float64) []plot.Tick {
	step := 1
	for _, s := range []int{1, 2, 5, 10, 20, 50, 100, 200, 500} {
		if step = s; (hi-lo)/float64(s) <= 10 {
			break
		}
	}
	var t []plot.Tick
	for v := int(math.Ceil(lo)); float64(v) <= hi; v++ {
		if v == int(math.Ceil(lo)) || v%step == 0 {
			t = append(t, plot.Tick{Value: float64(v), Label: strconv.Itoa(v)})
		}
	}
	return t
}
