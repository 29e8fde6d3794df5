package train

import (
	"math"

	"github.com/ftprop/ftprop/internal/opkit"
	"github.com/pkg/errors"
	"gorgonia.org/gorgonia"
)

// Metrics is how well a network does on some images.
type Metrics struct {
	Loss   float64 `json:"loss"` // mean over the images
	Top1   float64 `json:"top1"` // images whose largest logit is their label's, in percent
	Top5   float64 `json:"top5"` // images whose label's logit is among the five largest, in percent
	Images int     `json:"images"`
}

// tally sums up metrics batch by batch. It is part of a checkpoint.
type tally struct {
	Loss       float64 // times images
	Top1, Top5 int
	Images     int
}

// add counts the first n samples of a batch with the given mean loss. Of equal logits the first counts as the larger.
func (t *tally) add(loss float64, logits []float32, classes int, labels []int) {
	for i, label := range labels {
		row := logits[i*classes : (i+1)*classes]
		larger := 0
		for c, v := range row {
			if v > row[label] || v == row[label] && c < label {
				larger++
			}
		}
		if larger < 1 {
			t.Top1++
		}
		if larger < 5 {
			t.Top5++
		}
	}
	t.Loss += loss * float64(len(labels))
	t.Images += len(labels)
}

func (t *tally) metrics() Metrics {
	n := float64(max(t.Images, 1))
	return Metrics{Loss: t.Loss / n, Top1: 100 * float64(t.Top1) / n, Top5: 100 * float64(t.Top5) / n, Images: t.Images}
}

// oneHot sets rows of y, which it clears first, to the labels.
func oneHot(y []float32, classes int, labels []int) error {
	clear(y)
	for i, label := range labels {
		if label < 0 || label >= classes {
			return errors.Errorf("label %d, want 0 to %d", label, classes-1)
		}
		y[i*classes+label] = 1
	}
	return nil
}

// norm is the Euclidean norm of all of a model's weights, or of what else of returns for them.
func norm(model []gorgonia.ValueGrad, of func(gorgonia.ValueGrad) (gorgonia.Value, error)) (float64, error) {
	sum := 0.0
	for _, p := range model {
		v, err := of(p)
		if err != nil {
			return 0, errors.Wrap(err, "train: norm")
		}
		x, err := opkit.Elements[float32](v)
		if err != nil {
			return 0, errors.Wrap(err, "train: norm")
		}
		for _, e := range x {
			sum += float64(e) * float64(e)
		}
	}
	return math.Sqrt(sum), nil
}
