package nn

import (
	"github.com/ftprop/ftprop/internal/par"
	"github.com/ftprop/ftprop/internal/vec"
	"github.com/pkg/errors"
)

// Ranks is what a BatchNorm needs of those that train one network together: a comm.Comm is one.
type Ranks interface {
	Size() int
	// SumFloat64 replaces each element of x by its sum over all ranks, which all call it.
	SumFloat64(x []float64) error
}

// Synchronise makes the normalisation one over the batches of all ranks while training, like torch.nn.SyncBatchNorm: mean and variance, their
// part in gradients, and the running statistics, which must be the same on all ranks before the first run and then stay so. nil makes it
// one over each rank's own batch again.
//
// Each run takes a sum of three numbers a channel over all ranks, two where a mean is far from the running one, and each gradient one of two.
// All ranks must run the same layers in the same order. place is a number that tells this normalisation from the others of its network, 0
// for the first: ranks that are not at the same one get an error. A rank that fails elsewhere in its run does not come to the sum:
// it must end the others, by comm.Comm's Abort.
//
// The gradients of scale and shift are those of the rank's own loss, to be averaged like all others.
//
// Source: Ioffe & Szegedy (2015), algorithm 1, over the union of the batches.
func (op *BatchNorm) Synchronise(r Ranks, place int) {
	op.all = nil
	if r != nil {
		op.all = &ranks{Ranks: r, place: float64(place + 1)}
	}
}

// Synchronised reports whether the normalisation is one over the batches of several ranks.
func (op *BatchNorm) Synchronised() bool { return op.all != nil }

// ranks is what a normalisation over several batches knows of them.
type ranks struct {
	Ranks
	place          float64
	mean, variance []float64 // of the last run
	count          float64   // elements a channel of all batches
	own, ownSquare []float64 // scratch, as are the following
	forward        []float64
	backward       []float64
}

// add sums x over all ranks. All must be at the same normalisation, and x must have room for two more.
func (r *ranks) add(x []float64) error {
	n := len(x) - 2
	x[n], x[n+1] = r.place, r.place*r.place
	if err := r.SumFloat64(x); err != nil {
		return err
	}
	if size := float64(r.Size()); x[n] != size*r.place || x[n+1] != size*r.place*r.place {
		return errors.New("the ranks are not at the same batch normalisation: all must run the same layers in the same order")
	}
	return nil
}

// room returns scratch for n numbers and those of add.
func room(scratch *[]float64, n int) []float64 {
	if len(*scratch) != n+2 {
		*scratch = make([]float64, n+2)
	}
	return *scratch
}

// momentsOfAll leaves mean and variance over the batches of all ranks in op.all.
//
// Each rank's sums are around a mean of its own, and those of the means around a center that all ranks have: the running mean, or where
// that is more than four standard deviations off in some channel, in a second sum the mean itself. See ofBatch.
func momentsOfAll[T vec.Float](op *BatchNorm, p planes, x []T) error {
	r, n, mine := op.all, p.channels, float64(p.n*p.size)
	if len(r.mean) != n {
		r.mean, r.variance, r.own, r.ownSquare = make([]float64, n), make([]float64, n), make([]float64, n), make([]float64, n)
	}
	err := par.Range(n, 1, func(lo, hi int) error {
		for c := lo; c < hi; c++ {
			m, rest, variance, err := ofBatch(op, p, c, x)
			if err != nil {
				return err
			}
			r.own[c], r.ownSquare[c] = float64(m)+rest, variance*mine
		}
		return nil
	})
	if err != nil {
		return err
	}
	copy(r.mean, op.mean)
	for range 2 {
		again := false
		sums := room(&r.forward, 2*n+1)
		for c, mean := range r.own {
			d := mean - r.mean[c]
			sums[c], sums[n+c] = mine*d, r.ownSquare[c]+mine*d*d
		}
		sums[2*n] = mine
		if err := r.add(sums); err != nil {
			return err
		}
		if r.count = sums[2*n]; r.count < 2 {
			return errors.New("the batches of all ranks have one value a channel: training needs two or more")
		}
		for c := range r.mean {
			off := sums[c] / r.count
			r.mean[c] += off
			r.variance[c] = max(0, sums[n+c]/r.count-off*off)
			again = again || off*off > 16*r.variance[c]
		}
		if !again { // all ranks see the same sums
			break
		}
	}
	for c := range r.mean {
		if r.mean[c]-r.mean[c] != 0 || r.variance[c]-r.variance[c] != 0 {
			return errors.Errorf("mean %v and variance %v of channel %d over all ranks: the elements are too large", r.mean[c], r.variance[c], c)
		}
	}
	return nil
}

// gradients returns the sums over all ranks of what the gradients are made of.
func (r *ranks) gradients(sum, sumHat []float64) (all, allHat []float64, err error) {
	n := len(sum)
	x := room(&r.backward, 2*n)
	copy(x, sum)
	copy(x[n:], sumHat)
	err = r.add(x)
	return x[:n], x[n : 2*n], err
}
