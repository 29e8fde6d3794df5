package train

import (
	"fmt"
	"io"
	"text/tabwriter"

	"github.com/ftprop/ftprop/diagnostics"
)

// Table writes a line for each epoch, of the last 20 and the best, and the layers as they are after the last.
func Table(w io.Writer, history []Epoch) error {
	if len(history) == 0 {
		_, err := fmt.Fprintln(w, "No epoch is complete.")
		return err
	}
	tab := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(tab, "epoch\ttrain loss\ttrain top-1 %\tval. top-1 %\ttest top-1 %\ttest top-5 %\tseconds\timages/s\tbest\t")
	best := 0
	for i, e := range history {
		if e.Best {
			best = i
		}
	}
	of := func(m *Metrics, f func(*Metrics) float64) string {
		if m == nil {
			return "-"
		}
		return fmt.Sprintf("%.2f", f(m))
	}
	for i, e := range history {
		if i != best && i < len(history)-20 {
			continue
		}
		mark := ""
		if i == best {
			mark = "*"
		}
		fmt.Fprintf(tab, "%d\t%.4f\t%.2f\t%s\t%s\t%s\t%.1f\t%.0f\t%s\t\n", e.Epoch+1, e.Train.Loss, e.Train.Top1,
			of(e.Validation, func(m *Metrics) float64 { return m.Top1 }), of(e.Test, func(m *Metrics) float64 { return m.Top1 }),
			of(e.Test, func(m *Metrics) float64 { return m.Top5 }), e.Seconds, e.ImagesPerS, mark)
	}
	if err := tab.Flush(); err != nil {
		return err
	}
	layers := history[len(history)-1].Layers
	if len(layers) == 0 {
		return nil
	}
	fmt.Fprintln(w)
	tab = tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(tab, "layer\tunits\tagree with target %\twithout target %\tdead %\tsaturated %\tflipped in the epoch %\t")
	for _, l := range layers {
		fmt.Fprintf(tab, "%s\t%d\t%.1f\t%.1f\t%.1f\t%.1f\t%.1f\t\n", l.Name, l.Units, 100*l.Agreement, 100*l.Ignored, 100*l.Dead, 100*l.Saturated, 100*l.Flips)
	}
	return tab.Flush()
}

// Looks returns what was seen of the layers after each epoch.
func Looks(history []Epoch) [][]diagnostics.LayerStats {
	looks := make([][]diagnostics.LayerStats, len(history))
	for i, e := range history {
		looks[i] = e.Layers
	}
	return looks
}
