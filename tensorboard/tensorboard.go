// Package tensorboard writes event files that TensorBoard shows: scalars and histograms.
//
//	w, err := tensorboard.Create("runs/first")
//	err = w.Scalar("train/loss", step, loss)
//	err = w.Histogram("z/fc1", step, tensorboard.HistogramOf(z))
//	err = w.Close()
//
// then "tensorboard --logdir runs". A training that is taken up again creates another file in the same directory and calls
// Restart: TensorBoard joins the files of a directory to one run.
//
// It imports nothing but the standard library and an error package: the few messages are encoded by hand. Sources: the
// schemas tensorflow/core/util/event.proto, tensorflow/core/framework/summary.proto and histogram.proto, the record format
// tensorflow/core/lib/io/record_writer.h, the protocol buffers' encoding (protobuf.dev/programming-guides/encoding).
package tensorboard

import (
	"fmt"
	"math"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/pkg/errors"
)

// Writer appends events to one file. Its methods may be called by several goroutines at once. Each event is one write to the
// file: after a crash the file ends with a whole event, or with a part of one, which readers leave out.
type Writer struct {
	mu   sync.Mutex
	file *os.File
	path string
	now  func() time.Time
	err  error // of a write: an event may be half written, so nothing must follow it
	buf  []byte
}

// version opens a file: TensorBoard takes from it that Restart does away with what an interrupted run left.
const version = "brain.Event:2"

// Create makes a new events file in dir, and dir where it is missing. It never touches files that are there. Names of a
// directory sort by age, which is how TensorBoard reads them.
func Create(dir string) (*Writer, error) { return create(dir, time.Now) }

func create(dir string, now func() time.Time) (*Writer, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, errors.Wrap(err, "tensorboard")
	}
	w := &Writer{now: now}
	for n := 0; ; n++ {
		w.path = filepath.Join(dir, fmt.Sprintf("events.out.tfevents.%010d.%03d.ftprop", now().Unix(), n))
		var err error
		w.file, err = os.OpenFile(w.path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
		if os.IsExist(err) && n < 999 { // another training in the same second
			continue
		}
		if err != nil {
			return nil, errors.Wrap(err, "tensorboard")
		}
		break
	}
	if err := w.write(event{version: version}); err != nil {
		w.file.Close()
		return nil, err
	}
	return w, nil
}

// Path returns the name of the file.
func (w *Writer) Path() string { return w.path }

// Scalar writes a value of a curve. Tags that begin alike up to a slash stand together. The value is rounded to float32, which is
// what the format holds; NaN and infinities are written and shown as such.
func (w *Writer) Scalar(tag string, step int, value float64) error {
	return w.summary(step, summaryValue{tag: tag, scalar: float32(value)})
}

// Histogram writes how values were spread at a step.
func (w *Writer) Histogram(tag string, step int, h Histogram) error {
	if err := h.validate(); err != nil {
		return errors.WithMessagef(err, "tensorboard: histogram %q", tag)
	}
	return w.summary(step, summaryValue{tag: tag, histogram: &h})
}

// Restart says that training goes on from step: what older files of the directory have of this step and later ones is no
// longer shown. The first event of step comes after.
func (w *Writer) Restart(step int) error {
	if step < 0 {
		return errors.Errorf("tensorboard: restart at step %d: want 0 or more", step)
	}
	return w.write(event{step: step, start: true})
}

func (w *Writer) summary(step int, v summaryValue) error {
	if v.tag == "" || step < 0 {
		return errors.Errorf("tensorboard: tag %q, step %d: want a tag, and a step of 0 or more", v.tag, step)
	}
	return w.write(event{step: step, value: &v})
}

func (w *Writer) write(e event) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.file == nil {
		return errors.Errorf("tensorboard: %s is closed", w.path)
	}
	if w.err != nil {
		return w.err
	}
	now := w.now()
	e.wallTime = float64(now.UnixNano()) / 1e9
	w.buf = appendRecord(w.buf[:0], e.append(nil))
	if _, err := w.file.Write(w.buf); err != nil {
		w.err = errors.Wrap(err, "tensorboard")
	}
	return w.err
}

// Close ends the file. Closing again does nothing.
func (w *Writer) Close() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.file == nil {
		return nil
	}
	err := w.file.Close()
	w.file = nil
	return errors.Wrap(err, "tensorboard")
}

// Histogram counts values: Counts[i] of them are greater than Limits[i-1] and not greater than Limits[i].
type Histogram struct {
	Min, Max, Num   float64 // of the values, Num how many
	Sum, SumSquares float64
	Limits, Counts  []float64 // of equal length; Limits rise
}

// bins is the number of bins of HistogramOf.
const bins = 50

// HistogramOf counts values in 50 bins of equal width; values that are not finite are left out.
func HistogramOf(values []float64) Histogram {
	lo, hi := math.Inf(1), math.Inf(-1)
	sum, squares := 0.0, 0.0
	for _, v := range values {
		if v-v == 0 {
			lo, hi, sum, squares = math.Min(lo, v), math.Max(hi, v), sum+v, squares+v*v
		}
	}
	counts := make([]int, bins)
	width := hi/bins - lo/bins // the difference may be too large for a float64
	for _, v := range values {
		if v-v == 0 {
			i := 0
			if width > 0 {
				i = min(max(int(math.Ceil((v/bins-lo/bins)/(width/bins)))-1, 0), bins-1)
			}
			counts[i]++
		}
	}
	h := FromBins(lo, hi, counts)
	h.Sum, h.SumSquares = sum, squares
	return h
}

// FromBins makes a histogram of counts in bins of equal width from lo to hi, for values that are gone: their sum and the sum of
// their squares are those of the bins' middles. Without any count it is empty.
func FromBins(lo, hi float64, counts []int) Histogram {
	h := Histogram{Min: lo, Max: hi}
	for i, n := range counts {
		share := float64(i+1) / float64(len(counts))
		limit := lo*(1-share) + hi*share
		if i == len(counts)-1 {
			limit = hi
		}
		if k := len(h.Limits); k > 0 && limit <= h.Limits[k-1] { // no width: one bin holds all
			h.Counts[k-1] += float64(n)
		} else {
			h.Limits, h.Counts = append(h.Limits, limit), append(h.Counts, float64(n))
		}
		middle := (share - 0.5/float64(len(counts)))
		middle = lo*(1-middle) + hi*middle
		h.Num, h.Sum, h.SumSquares = h.Num+float64(n), h.Sum+float64(n)*middle, h.SumSquares+float64(n)*middle*middle
	}
	if h.Num == 0 {
		return Histogram{}
	}
	return h
}

func (h *Histogram) validate() error {
	if len(h.Limits) != len(h.Counts) {
		return errors.Errorf("%d limits and %d counts: want as many", len(h.Limits), len(h.Counts))
	}
	for i, l := range h.Limits {
		if l != l || i > 0 && l <= h.Limits[i-1] {
			return errors.Errorf("limit %d is %v: limits must rise", i, l)
		}
		if !(h.Counts[i] >= 0) {
			return errors.Errorf("count %d is %v: want 0 or more", i, h.Counts[i])
		}
	}
	return nil
}
