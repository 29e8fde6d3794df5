package train

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"math"
	"runtime"
	"strings"

	"github.com/ftprop/ftprop/comm"
	"github.com/ftprop/ftprop/data"
	"github.com/ftprop/ftprop/internal/gemm"
	"github.com/ftprop/ftprop/internal/opkit"
	"github.com/ftprop/ftprop/models"
	"github.com/ftprop/ftprop/ops/nn"
	"github.com/ftprop/ftprop/solvers"
	"github.com/pkg/errors"
	"gorgonia.org/gorgonia"
)

// ranks is this trainer's part in a training of several. The zero value is that of a training of one, whose methods exchange nothing.
type ranks struct {
	comm.Comm      // nil if there is one rank
	agreed    bool // the ranks have compared what they train
	waiting   bool // in a run of the network ranks wait for each other: in its batch normalisation
}

func newRanks(c comm.Comm, net *models.Net) ranks {
	var r ranks
	if c != nil && c.Size() > 1 {
		r.Comm = c
	}
	for _, op := range statefulLayers(net.Input.Graph()) {
		switch op := op.(type) {
		case *nn.BatchNorm:
			r.waiting = r.waiting || r.Comm != nil && op.Synchronised()
		case *nn.Dropout:
			op.SetRank(r.rank())
		}
	}
	return r
}

// rank is the number of this one.
func (r *ranks) rank() int {
	if r.Comm == nil {
		return 0
	}
	return r.Rank()
}

// size is the number of ranks.
func (r *ranks) size() int {
	if r.Comm == nil {
		return 1
	}
	return r.Size()
}

// several is the number of ranks, 0 if there is one.
func (r *ranks) several() int {
	if r.Comm == nil {
		return 0
	}
	return r.Size()
}

// first reports whether this rank is the one that reads and writes files.
func (r *ranks) first() bool { return r.Comm == nil || r.Rank() == 0 }

// check returns the error of the first rank that has one, on all ranks.
func (r *ranks) check(err error) error {
	if r.Comm == nil {
		return err
	}
	return comm.Check(r.Comm, err)
}

// stopped is the error of a training that a context has ended, on some rank.
type stopped struct{ error }

func (s stopped) Unwrap() error { return s.error }

// reason is the context's error in a stopped, and any other error.
func reason(err error) error {
	var s stopped
	if errors.As(err, &s) {
		return s.error
	}
	return err
}

// proceed returns the error of the first rank that has one, or a stopped if the context of any has ended. err may be that of ctx.
func (r *ranks) proceed(ctx context.Context, err error) error {
	if r.Comm != nil {
		err = comm.CheckContext(ctx, r.Comm, err)
		if err != nil && (err == context.Canceled || err == ctx.Err()) {
			return stopped{err}
		}
		return err
	}
	if stop := ctx.Err(); stop != nil && (err == nil || errors.Is(err, stop)) {
		return stopped{stop}
	}
	return err
}

// lost ends all ranks because of an error in a run of the network, in which others may wait for this rank for ever.
func (r *ranks) lost(err error) {
	if r.Comm != nil && r.waiting {
		r.Abort(err)
	}
}

// total adds up a tally over all ranks.
func (r *ranks) total(t *tally) error {
	if r.Comm == nil {
		return nil
	}
	x := []float64{t.Loss, float64(t.Top1), float64(t.Top5), float64(t.Images)}
	if err := r.SumFloat64(x); err != nil {
		return err
	}
	*t = tally{Loss: x[0], Top1: int(x[1]), Top5: int(x[2]), Images: int(x[3])}
	return nil
}

// decides returns what the first rank says, which has a clock.
func (r *ranks) decides(yes bool) (bool, error) {
	if r.Comm == nil {
		return yes, nil
	}
	return comm.Any(r.Comm, yes && r.first())
}

// share returns the rank's part of images that are evaluated: parts are equal but for one image. Of fewer images than ranks each rank has all.
func (r *ranks) share(src data.Source) (part data.Source, err error) {
	if r.Comm == nil || src.N() < r.Size() {
		return src, nil
	}
	lo, hi := r.Rank()*src.N()/r.Size(), (r.Rank()+1)*src.N()/r.Size()
	index := make([]int, hi-lo)
	for i := range index {
		index[i] = lo + i
	}
	return data.Subset(src, index)
}

// bytes gives all ranks what the first has read, or its error.
func (r *ranks) bytes(read func() ([]byte, error)) ([]byte, error) {
	if r.Comm == nil {
		return read()
	}
	var b []byte
	var err error
	if r.first() {
		b, err = read()
	}
	if err := comm.Check(r.Comm, err); err != nil {
		return nil, err
	}
	var size [8]byte
	binary.LittleEndian.PutUint64(size[:], uint64(len(b)))
	if err := r.Broadcast(size[:], 0); err != nil {
		return nil, err
	}
	if !r.first() {
		b = make([]byte, binary.LittleEndian.Uint64(size[:]))
	}
	return b, r.Broadcast(b, 0)
}

// agree returns an error unless all ranks train the same.
func (t *Trainer) agree() error {
	if t.Comm == nil || t.agreed {
		return nil
	}
	c := &t.c
	var w strings.Builder
	fmt.Fprintf(&w, "%s\n%s\n%s on %s/%s, kernels for %s\n", c.Setup, checkpointMagic, runtime.Version(), runtime.GOOS, runtime.GOARCH, gemm.Kernels())
	fmt.Fprintf(&w, "a %s with an input of %v\n", c.Net.Name(), c.Net.Input.Shape())
	for _, p := range c.Net.Params() {
		fmt.Fprintf(&w, "%s of shape %v, %v\n", p.Name(), p.Shape(), p.Dtype())
	}
	fmt.Fprintf(&w, "%d epochs, seed %d, a checkpoint every %d steps\n", c.Epochs, c.Seed, c.Every)
	fmt.Fprintf(&w, "the first rank writes files: %v\n", c.Dir != "")
	for _, s := range []struct {
		name string
		src  data.Source
	}{{"training", c.Train}, {"validation", c.Validation}, {"test", c.Test}} {
		if s.src != nil {
			ch, height, width := s.src.Shape()
			fmt.Fprintf(&w, "%d images for %s, %dx%dx%d of %d classes\n", s.src.N(), s.name, ch, height, width, s.src.NumClasses())
		}
	}
	fmt.Fprintf(&w, "epoch %d, step %d\nbatch normalisation over all ranks: %v\nsharded: %v\n", t.epoch+1, t.step+1, t.waiting, t.c.Shard)
	if err := comm.Agree(t.Comm, "what they train", w.String()); err != nil {
		return errors.WithMessage(err, "train")
	}
	t.agreed = true
	return nil
}

// statistics makes the running statistics of all batch normalisations those of the first rank, as they are in PyTorch's
// DistributedDataParallel. It is done after each step, not before statistics are used: so a training that was interrupted has them
// bit for bit as one that was not.
func (t *Trainer) statistics() error {
	if t.Comm == nil || t.waiting { // all ranks have computed the same
		return nil
	}
	var b bytes.Buffer
	var ops []*nn.BatchNorm
	for _, op := range statefulLayers(t.c.Net.Input.Graph()) {
		bn, ok := op.(*nn.BatchNorm)
		if !ok {
			continue
		}
		ops = append(ops, bn)
		mean, variance := bn.Running()
		for _, x := range [][]float64{mean, variance} {
			if err := binary.Write(&b, binary.LittleEndian, x); err != nil {
				return err
			}
		}
	}
	if len(ops) == 0 {
		return nil
	}
	if err := t.Broadcast(b.Bytes(), 0); err != nil {
		return err
	}
	for _, bn := range ops {
		mean, variance := bn.Running()
		for _, x := range [][]float64{mean, variance} {
			if err := binary.Read(&b, binary.LittleEndian, x); err != nil {
				return err
			}
		}
		if err := bn.SetRunning(mean, variance); err != nil {
			return err
		}
	}
	return nil
}

// gradNormOfAll is the norm of the mean gradient over all ranks.
func (t *Trainer) gradNormOfAll() (float64, error) {
	if t.Comm == nil {
		return norm(t.stepper.model, gorgonia.ValueGrad.Grad)
	}
	sum := 0.0
	for _, p := range t.stepper.model {
		g, err := p.Grad()
		if err != nil {
			return 0, errors.Wrap(err, "train: norm")
		}
		x, err := opkit.Floats(g)
		if err != nil {
			return 0, errors.Wrap(err, "train: norm")
		}
		if err := t.SumFloat64(x); err != nil {
			return 0, err
		}
		for _, v := range x {
			v /= float64(t.Size())
			sum += v * v
		}
	}
	return math.Sqrt(sum), nil
}

// around returns the solver that averages gradients over the ranks before s takes its step.
func (r *ranks) around(s gorgonia.Solver, shard bool) gorgonia.Solver {
	if r.Comm == nil {
		return s
	}
	return &solvers.AllReduce{Solver: s, Comm: r.Comm, Shard: shard}
}
