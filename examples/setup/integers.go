package setup

import (
	"context"
	"math"
	"slices"
	"time"

	"github.com/ftprop/ftprop/data"
	"github.com/ftprop/ftprop/deploy"
	"github.com/ftprop/ftprop/infer"
	"github.com/pkg/errors"
)

// Pixels is a normalisation as Quantise takes it, for pixels from 0 to white: what was trained on is (p/white - mean)/std, which
// with p/255 for p/white has mean and standard deviation times white/255.
func Pixels(n data.Normalization, white int) *deploy.PixelInput {
	p := &deploy.PixelInput{}
	scale := float64(white) / math.MaxUint8
	for _, m := range n.Mean {
		p.Mean = append(p.Mean, float64(m)*scale)
	}
	for _, s := range n.Std {
		p.Std = append(p.Std, float64(s)*scale)
	}
	return p
}

// Pixels is how the set's images, as whole numbers, are normalised for training. All sets have whole numbers: the digits from 0 to 16, others
// from 0 to 255.
func (s Sets) Pixels() *deploy.PixelInput { return Pixels(s.Norm, s.White) }

// Score is how well a network in integers does on some images.
type Score struct {
	Images     int
	Top1, Top5 float64 // in percent; of equal logits the first counts as the larger
	PerSecond  float64 // images in batches of 64, without reading them
}

const scoreBatch = 64 // images

// Score runs a network in integers on the test images: on their pixels, or if it takes real numbers on what training takes.
func (d *Data) Score(ctx context.Context, net *infer.Network, s Sets, workers int) (Score, error) {
	var score Score
	pixels, how := !net.Real(), d.Still(s)
	if pixels {
		how.Norm = data.Normalization{}
	}
	src, err := how.Apply(s.Test)
	if err != nil {
		return score, err
	}
	c, h, w := src.Shape()
	shape := []int{c, h, w}
	if len(net.Shape()) == 1 {
		shape = []int{c * h * w}
	}
	if !slices.Equal(shape, net.Shape()) || src.NumClasses() != net.Classes() {
		return score, errors.Errorf("the network has %d classes of images of %v, the data set %d of %v", net.Classes(), net.Shape(), src.NumClasses(), shape)
	}
	l, err := data.NewLoader(src, data.LoaderOptions{Batch: scoreBatch, Eval: true, Workers: workers})
	if err != nil {
		return score, err
	}
	defer l.Close()
	logits := make([]float32, scoreBatch*net.Classes())
	run := func(b *batch) error {
		if pixels {
			return net.Run(logits[:b.n*net.Classes()], b.pixels)
		}
		return net.RunReal(logits[:b.n*net.Classes()], b.reals)
	}
	var first *batch
	top1, top5 := 0, 0
	for read, err := range l.Batches(ctx) {
		if err != nil {
			return score, err
		}
		b := &batch{n: read.N(), reals: read.X}
		if pixels {
			if b.pixels, err = whole(read.X, s.White); err != nil {
				return score, err
			}
		}
		if err := run(b); err != nil {
			return score, err
		}
		for i, label := range read.Y {
			switch n := larger(logits[i*net.Classes():(i+1)*net.Classes()], label); {
			case n < 1:
				top1++
				top5++
			case n < 5:
				top5++
			}
		}
		score.Images += b.n
		if first == nil {
			first = &batch{b.n, b.pixels, slices.Clone(b.reals)}
		}
	}
	if first == nil {
		return score, errors.New("the data set has no test images")
	}
	score.Top1, score.Top5 = 100*float64(top1)/float64(score.Images), 100*float64(top5)/float64(score.Images)
	// Speed is measured afterwards, when nothing reads images any more.
	var times []time.Duration
	for begin := time.Now(); len(times) < 3 || time.Since(begin) < 200*time.Millisecond; {
		if err := ctx.Err(); err != nil {
			return score, err
		}
		start := time.Now()
		if err := run(first); err != nil {
			return score, err
		}
		times = append(times, time.Since(start))
	}
	slices.Sort(times)
	score.PerSecond = float64(first.n) / times[len(times)/2].Seconds()
	return score, nil
}

// batch is images as a network takes them.
type batch struct {
	n      int
	pixels []uint8
	reals  []float32
}

// larger is how many logits are larger than the label's.
func larger(logits []float32, label int) (n int) {
	for c, v := range logits {
		if v > logits[label] || v == logits[label] && c < label {
			n++
		}
	}
	return n
}

// whole returns pixels from 0 to white in place of those from 0 to 1.
func whole(x []float32, white int) ([]uint8, error) {
	out := make([]uint8, len(x))
	for i, v := range x {
		p := math.Round(float64(v) * float64(white))
		if !(math.Abs(float64(v)*float64(white)-p) < 1e-3) || p < 0 || p > float64(white) {
			return nil, errors.Errorf("a pixel is %v, want a whole number of 1/%d from 0 to 1", v, white)
		}
		out[i] = uint8(p)
	}
	return out, nil
}
