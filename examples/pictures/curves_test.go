package pictures

import (
	"io"
	"testing"

	"github.com/ftprop/ftprop/diagnostics"
	"github.com/ftprop/ftprop/train"
)

// A training has a panel each for accuracy and loss, and one for the layers where they were looked at; sets that it does not have are left out.
func TestCurves(t *testing.T) {
	var history []train.Epoch
	for i := range 3 {
		m := train.Metrics{Loss: 1 / float64(i+1), Top1: float64(30 * i), Images: 10}
		history = append(history, train.Epoch{Epoch: i, Train: m, Test: &m})
	}
	draw := func(w io.Writer) error { return Curves(w, history, "digits") }
	plain := drawn(t, "curves", draw).Bounds()
	for i := range history {
		history[i].Layers = []diagnostics.LayerStats{{Name: "nonlin1", Units: 4, Agreement: 0.5}}
	}
	if with := drawn(t, "curves with layers", draw).Bounds(); with.Dx() <= plain.Dx() && with.Dy() <= plain.Dy() {
		t.Errorf("a picture of %v with a panel for the layers, of %v without", with, plain)
	}
}
