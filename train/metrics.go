package train

import (
	"math"

	"github.com/ftprop/ftprop/internal/opkit"
	"github.com/ftprop/ftprop/internal/vec"
	"github.com/pkg/errors"
	"gorgonia.org/gorgonia"
	"gorgonia.org/tensor"
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

// add counts a batch with the given mean loss. Of equal logits the first counts as the larger.
func add[T vec.Float](t *tally, loss float64, logits []T, classes int, labels []int) {
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

// addAll counts what another sum has.
func (t *tally) addAll(o tally) {
	t.Loss += o.Loss
	t.Top1 += o.Top1
	t.Top5 += o.Top5
	t.Images += o.Images
}

func (t *tally) metrics() Metrics {
	n := float64(max(t.Images, 1))
	return Metrics{Loss: t.Loss / n, Top1: 100 * float64(t.Top1) / n, Top5: 100 * float64(t.Top5) / n, Images: t.Images}
}

// oneHot sets rows of y, which it clears first, to the labels.
func oneHot[T vec.Float](y []T, classes int, labels []int) error {
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
		if opkit.DtypeOf(v) == tensor.Float64 {
			err = addSquares[float64](&sum, v)
		} else {
			err = addSquares[float32](&sum, v)
		}
		if err != nil {
			return 0, errors.Wrap(err, "train: norm")
		}
	}
	return math.Sqrt(sum), nil
}

func addSquares[T vec.Float](sum *float64, v gorgonia.Value) error {
	x, err := opkit.Elements[T](v)
	for _, e := range x {
		*sum += float64(e) * float64(e)
	}
	return err
}
