package experiment

import (
	"image/color"
	"io"
	"math"
	"slices"

	"gonum.org/v1/gonum/stat"
	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
)

// palette is Okabe and Ito's, distinguishable with colour-blind eyes, without its yellow, too pale for lines.
var palette = [...]color.RGBA{
	{0, 114, 178, 255}, {213, 94, 0, 255}, {0, 158, 115, 255}, {204, 121, 167, 255}, {86, 180, 233, 255}, {230, 159, 0, 255}, {0, 0, 0, 255},
}

// Plot writes a PNG of the test accuracy after each epoch: for every method the mean over seeds, in a band from
// the lowest to the highest seed. Baselines are dashed.
func Plot(w io.Writer, c *Config, runs []*Run, title string) error {
	p := plot.New()
	p.Title.Text = title
	p.Title.TextStyle.Font.Size = 13
	p.Title.Padding = 6
	p.X.Label.Text = "Epoch"
	p.Y.Label.Text = "Test accuracy (%)"
	p.Legend.YOffs = 8
	p.Legend.XOffs = -8
	p.Legend.ThumbnailWidth = 28
	p.Add(plotter.NewGrid())

	ms := methods(c.Methods, runs)
	mean := make([][]float64, len(ms))
	lo, hi := make([][]float64, len(ms)), make([][]float64, len(ms))
	top, floor := 0.0, 100.0
	for i, m := range ms {
		rs := ofMethod(runs, m)
		for e := range c.Epochs {
			x := each(rs, func(r *Run) float64 { return r.Accuracy[e] })
			mean[i] = append(mean[i], stat.Mean(x, nil))
			lo[i] = append(lo[i], slices.Min(x))
			hi[i] = append(hi[i], slices.Max(x))
		}
		// The first fifth of the epochs may fall out of the picture: the end is what is compared.
		floor = min(floor, slices.Min(lo[i][c.Epochs/5:]))
		top = max(top, slices.Max(hi[i]))
	}
	margin := math.Max(0.05*(top-floor), 0.1)
	floor, top = max(floor-margin, 0), min(top+margin, 100)

	for i, m := range ms {
		col := palette[i%len(palette)]
		band := make(plotter.XYs, 0, 2*c.Epochs)
		line := make(plotter.XYs, 0, c.Epochs)
		for e := range c.Epochs {
			band = append(band, plotter.XY{X: float64(e + 1), Y: max(lo[i][e], floor)})
			line = append(line, plotter.XY{X: float64(e + 1), Y: mean[i][e]})
		}
		for e := c.Epochs - 1; e >= 0; e-- {
			band = append(band, plotter.XY{X: float64(e + 1), Y: max(hi[i][e], floor)})
		}
		if c.Epochs > 1 {
			area, err := plotter.NewPolygon(band)
			if err != nil {
				return err
			}
			area.Color = color.NRGBA{col.R, col.G, col.B, 40}
			area.LineStyle.Width = 0
			p.Add(area)
		}
		l, points, err := plotter.NewLinePoints(line)
		if err != nil {
			return err
		}
		l.Color, l.Width = col, vg.Points(1.6)
		if !m.Hard {
			l.Dashes = []vg.Length{vg.Points(6), vg.Points(3)}
		}
		if c.Epochs > 1 {
			p.Add(l)
			p.Legend.Add(m.String(), l)
			continue
		}
		points.Color, points.Shape = col, draw.CircleGlyph{}
		p.Add(points)
		p.Legend.Add(m.String(), points)
	}
	p.Y.Min, p.Y.Max = floor, top
	p.X.Min, p.X.Max = 1, float64(max(c.Epochs, 2))
	out, err := p.WriterTo(8*vg.Inch, 5*vg.Inch, "png")
	if err != nil {
		return err
	}
	_, err = out.WriteTo(w)
	return err
}
