package experiment

import (
	"image/color"
	"io"
	"math"
	"slices"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgimg"
)

// palette is Okabe and Ito's, which colour-blind eyes can tell apart, without its yellow, too pale for lines.
var palette = [...]color.RGBA{
	{0, 114, 178, 255}, {213, 94, 0, 255}, {0, 158, 115, 255}, {204, 121, 167, 255}, {0, 0, 0, 255}, {86, 180, 233, 255}, {230, 159, 0, 255},
}

// Plot writes a PNG with one panel for each task: units that do not reach their targets, in the best setting so far, over
// seconds, the mean of all seeds. Full-batch search is solid; mini-batch training, for whose hidden units no targets are kept,
// so that only outputs count, dashed.
func Plot(w io.Writer, c *Config, runs []*Run) error {
	var panels []*plot.Plot
	order := []string{}
	for _, t := range c.Tasks {
		for _, m := range methods(runs, t.Name) {
			if !slices.Contains(order, m) {
				order = append(order, m)
			}
		}
	}
	for _, t := range c.Tasks {
		names := methods(runs, t.Name)
		if len(names) == 0 {
			continue
		}
		p := plot.New()
		p.Title.Text = t.Name + ", " + t.Sizes()
		p.Title.TextStyle.Font.Size = 11
		p.X.Label.Text = "Seconds"
		p.Y.Label.Text = "Infeasible units"
		p.X.Scale, p.X.Tick.Marker = plot.LogScale{}, plot.LogTicks{Prec: 0}
		p.Legend.Top = true
		p.Legend.XOffs = -4
		p.Legend.TextStyle.Font.Size = 9
		p.Legend.ThumbnailWidth = vg.Points(18)
		p.Add(plotter.NewGrid())
		const from, grid = 1e-4, 120
		end := c.budget(t).Seconds()
		for _, m := range names {
			rs := of(runs, t.Name, m)
			var xy plotter.XYs
			for k := range grid + 1 {
				at := from * math.Pow(end/from, float64(k)/grid)
				sum, n := 0.0, 0
				for _, r := range rs {
					if v, ok := r.at(at); ok {
						sum += v
						n++
					}
				}
				if n == len(rs) {
					xy = append(xy, plotter.XY{X: at, Y: sum / float64(n)})
				}
			}
			if len(xy) < 2 {
				continue
			}
			line, err := plotter.NewLine(xy)
			if err != nil {
				return err
			}
			line.Color, line.Width = palette[slices.Index(order, m)%len(palette)], vg.Points(1.6)
			if rs[0].Status == "" {
				line.Dashes = []vg.Length{vg.Points(5), vg.Points(3)}
			}
			p.Add(line)
			p.Legend.Add(m, line)
		}
		p.X.Min, p.X.Max = from, end
		p.Y.Min = 0
		p.Y.Max = max(p.Y.Max, 1) * 1.5 // room for the legend
		panels = append(panels, p)
	}
	cols := min(4, len(panels))
	rows := (len(panels) + cols - 1) / cols
	grid := make([][]*plot.Plot, rows)
	for r := range grid {
		grid[r] = make([]*plot.Plot, cols)
		for k := range cols {
			if i := r*cols + k; i < len(panels) {
				grid[r][k] = panels[i]
			}
		}
	}
	img := vgimg.NewWith(vgimg.UseWH(vg.Length(3.2*float64(cols))*vg.Inch, vg.Length(2.6*float64(rows))*vg.Inch), vgimg.UseDPI(96))
	dc := draw.Crop(draw.New(img), 6, -8, 6, -6)
	cells := plot.Align(grid, draw.Tiles{Rows: rows, Cols: cols, PadX: vg.Points(12), PadY: vg.Points(12)}, dc)
	for r := range grid {
		for k, p := range grid[r] {
			if p != nil {
				p.Draw(cells[r][k])
			}
		}
	}
	_, err := vgimg.PngCanvas{Canvas: img}.WriteTo(w)
	return err
}

// at returns the infeasible units of a run at a time, false before its first setting is known. A run that was feasible before
// any setting was tried has none from the start.
func (r *Run) at(seconds float64) (float64, bool) {
	last := -1
	for k, p := range r.Curve {
		if p.Seconds <= seconds {
			last = k
		}
	}
	if r.Solved && seconds >= r.Seconds || len(r.Curve) == 0 && r.Solved {
		return 0, true
	}
	if last < 0 {
		return 0, false
	}
	return float64(r.Curve[last].Infeasible), true
}
