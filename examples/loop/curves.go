package loop

import (
	"io"
	"math"

	"github.com/ftprop/ftprop/diagnostics"
	"github.com/ftprop/ftprop/examples/pictures"
)

// Curves writes a PNG of a training by epoch: accuracy, loss and, where the layers were looked at, their target agreement.
func Curves(w io.Writer, history []Epoch, title string) error {
	by := func(of func(*Metrics) float64) []pictures.Series {
		lines := []pictures.Series{{Name: "training"}, {Name: "validation"}, {Name: "test"}}
		for i := range history {
			e := &history[i]
			for l, m := range []*Metrics{&e.Train, e.Validation, e.Test} {
				y := math.NaN()
				if m != nil {
					y = of(m)
				}
				lines[l].Y = append(lines[l].Y, y)
			}
		}
		return lines
	}
	panels := []pictures.Panel{
		{X: "Epoch", Y: "Accuracy (%)", Lines: by(func(m *Metrics) float64 { return m.Top1 })},
		{X: "Epoch", Y: "Loss", Lines: by(func(m *Metrics) float64 { return m.Loss })},
	}
	if len(history) > 0 && len(history[0].Layers) > 0 {
		agreement, err := pictures.AgreementPanel(Looks(history))
		if err != nil {
			return err
		}
		panels = append(panels, agreement)
	}
	return pictures.Lines(w, title, panels...)
}

// Looks returns what was seen of the layers after each epoch.
func Looks(history []Epoch) [][]diagnostics.LayerStats {
	looks := make([][]diagnostics.LayerStats, len(history))
	for i, e := range history {
		looks[i] = e.Layers
	}
	return looks
}
