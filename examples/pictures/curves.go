package pictures

import (
	"io"
	"math"

	"github.com/ftprop/ftprop/train"
)

// Curves writes a PNG of a training by epoch: accuracy, loss and, where the layers were looked at, their target agreement.
func Curves(w io.Writer, history []train.Epoch, title string) error {
	by := func(of func(*train.Metrics) float64) []Series {
		lines := []Series{{Name: "training"}, {Name: "validation"}, {Name: "test"}}
		for i := range history {
			e := &history[i]
			for l, m := range []*train.Metrics{&e.Train, e.Validation, e.Test} {
				y := math.NaN()
				if m != nil {
					y = of(m)
				}
				lines[l].Y = append(lines[l].Y, y)
			}
		}
		return lines
	}
	panels := []Panel{
		{X: "Epoch", Y: "Accuracy (%)", Lines: by(func(m *train.Metrics) float64 { return m.Top1 })},
		{X: "Epoch", Y: "Loss", Lines: by(func(m *train.Metrics) float64 { return m.Loss })},
	}
	if len(history) > 0 && len(history[0].Layers) > 0 {
		agreement, err := AgreementPanel(train.Looks(history))
		if err != nil {
			return err
		}
		panels = append(panels, agreement)
	}
	return Lines(w, title, panels...)
}
