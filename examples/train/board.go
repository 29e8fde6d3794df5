package main

import (
	"github.com/ftprop/ftprop/tensorboard"
	"github.com/ftprop/ftprop/train"
)

// board writes a training to TensorBoard's event files. Without open it does nothing. The first error ends it, not the
// training, and close returns it.
type board struct {
	w     *tensorboard.Writer
	steps int // of an epoch
	err   error
}

// every is the number of steps between losses of single batches.
const every = 10

// open begins a new file. Steps count from the start of the training, so that one that goes on from a checkpoint continues its
// curves: what an interrupted run wrote beyond the checkpoint is replaced.
func (b *board) open(dir string, position func() (epoch, step int)) error {
	var err error
	if b.w, err = tensorboard.Create(dir); err != nil {
		return err
	}
	if epoch, step := position(); epoch > 0 || step > 0 {
		// What belongs to a step, or to an epoch that ends with it, is written under the number of steps taken.
		return b.w.Restart(epoch*b.steps + step + 1)
	}
	return nil
}

func (b *board) scalar(tag string, step int, v float64) {
	if b.err == nil {
		b.err = b.w.Scalar(tag, step, v)
	}
}

func (b *board) step(s train.Step) {
	if taken := s.Epoch*b.steps + s.Step + 1; b.w != nil && taken%every == 0 {
		b.scalar("loss/batch", taken, s.Loss)
	}
}

func (b *board) epoch(e *train.Epoch) {
	if b.w == nil {
		return
	}
	step := (e.Epoch + 1) * b.steps
	for _, s := range []struct {
		name string
		m    *train.Metrics
	}{{"training", &e.Train}, {"validation", e.Validation}, {"test", e.Test}} {
		if s.m == nil {
			continue
		}
		b.scalar("loss/"+s.name, step, s.m.Loss)
		b.scalar("top-1 (%)/"+s.name, step, s.m.Top1)
		b.scalar("top-5 (%)/"+s.name, step, s.m.Top5)
	}
	b.scalar("learning rate", step, e.LearnRate)
	b.scalar("norm/gradients", step, e.GradNorm)
	b.scalar("norm/parameters", step, e.ParamNorm)
	b.scalar("images a second", step, e.ImagesPerS)
	for _, w := range e.Weights {
		b.scalar("zero weights (%)/"+w.Name, step, 100*w.Zeros)
		b.scalar("flipped weights (%)/"+w.Name, step, 100*w.Flips)
	}
	for _, l := range e.Layers {
		b.scalar("agreement (%)/"+l.Name, step, 100*l.Agreement)
		b.scalar("without target (%)/"+l.Name, step, 100*l.Ignored)
		b.scalar("dead (%)/"+l.Name, step, 100*l.Dead)
		b.scalar("saturated (%)/"+l.Name, step, 100*l.Saturated)
		b.scalar("flips (%)/"+l.Name, step, 100*l.Flips)
		b.scalar("layer loss/"+l.Name, step, l.Loss)
		if b.err == nil {
			b.err = b.w.Histogram("z/"+l.Name, step, tensorboard.FromBins(l.Z.Min, l.Z.Max, l.Z.Counts))
		}
	}
}

func (b *board) close() error {
	if b.w == nil {
		return nil
	}
	if err := b.w.Close(); b.err == nil {
		b.err = err
	}
	return b.err
}
