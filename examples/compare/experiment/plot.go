package experiment

import (
	"image/color"
	"io"
	"slices"
	"strconv"

	"gonum.org/v1/gonum/stat"
	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgimg"
)

// palette is Okabe and Ito's, which colour-blind eyes can tell apart, without its yellow, too pale for lines.
var palette = [...]color.RGBA{
	{0, 114, 178, 255}, {213, 94, 0, 255}, {0, 0, 0, 255}, {0, 158, 115, 255}, {204, 121, 167, 255}, {86, 180, 233, 255}, {230, 159, 0, 255},
}

// curve is what the plot shows of one method: the mean over seeds and the lowest and highest seed, by epoch.
type curve struct {
	method       Method
	mean, lo, hi []float64
}

func newCurve(c *Config, runs []*Run, m Method) curve {
	cv := curve{method: m}
	rs := ofMethod(runs, m)
	for e := range c.Epochs {
		x := each(rs, func(r *Run) float64 { return r.Accuracy[e] })
		cv.mean = append(cv.mean, stat.Mean(x, nil))
		cv.lo = append(cv.lo, slices.Min(x))
		cv.hi = append(cv.hi, slices.Max(x))
	}
	return cv
}

// Plot writes a PNG of the test accuracy after each epoch. Each threshold activation has a panel with its
// rules, solid, the mean over seeds in a band from the lowest to the highest; the baselines stand dashed
// in every panel, for comparison. All panels have the same scale.
func Plot(w io.Writer, c *Config, runs []*Run, title string) error {
	var panels [][]curve
	var base []curve
	floor, top := 100.0, 0.0
	for _, m := range methods(c.Methods, runs) {
		cv := newCurve(c, runs, m)
		// The first fifth of the epochs may fall out of the picture: the end is what is compared.
		floor = min(floor, slices.Min(cv.lo[c.Epochs/5:]))
		top = max(top, slices.Max(cv.hi))
		switch {
		case !m.Hard:
			base = append(base, cv)
		case len(panels) > 0 && panels[len(panels)-1][0].method.Group == m.Group:
			panels[len(panels)-1] = append(panels[len(panels)-1], cv)
		default:
			panels = append(panels, []curve{cv})
		}
	}
	if len(panels) == 0 {
		panels, base = [][]curve{base}, nil
	}
	margin := max(0.05*(top-floor), 0.1)
	floor, top = max(floor-margin, 0), min(top+margin, 100)

	plots := make([]*plot.Plot, len(panels))
	for i, curves := range panels {
		p := plot.New()
		p.Title.Text = curves[0].method.Group
		p.Title.TextStyle.Font.Size = 13
		p.Title.Padding = 4
		p.X.Label.Text = "Epoch"
		if i == 0 {
			p.Y.Label.Text = "Test accuracy (%)"
		}
		p.X.Tick.Marker = plot.TickerFunc(epochTicks)
		p.Legend.XOffs, p.Legend.YOffs = -6, 6
		p.Legend.Padding = vg.Points(3)
		p.Legend.ThumbnailWidth = vg.Points(26)
		p.Add(plotter.NewGrid())
		// Bands first, so that no line lies under one.
		for j, cv := range curves {
			if err := addBand(p, cv, palette[j%len(palette)], floor); err != nil {
				return err
			}
		}
		for j, cv := range append(slices.Clone(curves), base...) {
			if err := addLine(p, cv, palette[j%len(palette)], j >= len(curves)); err != nil {
				return err
			}
		}
		p.Y.Min, p.Y.Max = floor, top
		p.X.Min, p.X.Max = 1, float64(max(c.Epochs, 2))
		plots[i] = p
	}

	width := vg.Length(max(4.2*float64(len(panels)), 6)) * vg.Inch
	img := vgimg.NewWith(vgimg.UseWH(width, 4.6*vg.Inch), vgimg.UseDPI(96))
	dc := draw.New(img)
	style := plots[0].Title.TextStyle
	style.Font.Size, style.XAlign, style.YAlign = 14, draw.XCenter, draw.YTop
	dc.FillText(style, vg.Point{X: dc.Center().X, Y: dc.Max.Y - 6}, title)
	body := draw.Crop(dc, 6, -10, 4, -30)
	tiles := draw.Tiles{Rows: 1, Cols: len(plots), PadX: vg.Points(14)}
	for i, cell := range plot.Align([][]*plot.Plot{plots}, tiles, body)[0] {
		plots[i].Draw(cell)
	}
	_, err := vgimg.PngCanvas{Canvas: img}.WriteTo(w)
	return err
}

func addBand(p *plot.Plot, cv curve, col color.RGBA, floor float64) error {
	n := len(cv.mean)
	if n < 2 {
		return nil
	}
	band := make(plotter.XYs, 0, 2*n)
	for e := range n {
		band = append(band, plotter.XY{X: float64(e + 1), Y: max(cv.lo[e], floor)})
	}
	for e := n - 1; e >= 0; e-- {
		band = append(band, plotter.XY{X: float64(e + 1), Y: max(cv.hi[e], floor)})
	}
	area, err := plotter.NewPolygon(band)
	if err != nil {
		return err
	}
	area.Color = color.NRGBA{col.R, col.G, col.B, 45}
	area.LineStyle.Width = 0
	p.Add(area)
	return nil
}

func addLine(p *plot.Plot, cv curve, col color.RGBA, dashed bool) error {
	xy := make(plotter.XYs, len(cv.mean))
	for e, y := range cv.mean {
		xy[e] = plotter.XY{X: float64(e + 1), Y: y}
	}
	line, points, err := plotter.NewLinePoints(xy)
	if err != nil {
		return err
	}
	line.Color, line.Width = col, vg.Points(1.8)
	if dashed {
		line.Width = vg.Points(1.2)
		line.Dashes = []vg.Length{vg.Points(5), vg.Points(3)}
	}
	if len(xy) == 1 { // one epoch has no line
		points.Color, points.Shape = col, draw.CircleGlyph{}
		p.Add(points)
		p.Legend.Add(cv.method.Name, points)
		return nil
	}
	p.Add(line)
	p.Legend.Add(cv.method.Name, line)
	return nil
}

// epochTicks labels whole epochs only, at most about six.
func epochTicks(lo, hi float64) []plot.Tick {
	step := 1.0
	for _, s := range []float64{1, 2, 5, 10, 20, 50, 100, 200, 500, 1000} {
		if step = s; (hi-lo)/s <= 6 {
			break
		}
	}
	ticks := []plot.Tick{{Value: 1, Label: "1"}}
	for v := step; v <= hi; v += step {
		if v > 1 {
			ticks = append(ticks, plot.Tick{Value: v, Label: strconv.Itoa(int(v))})
		}
	}
	return ticks
}
