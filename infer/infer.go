// Package infer runs networks of threshold units in integers, from the file that deploy's Integer.WriteTo writes.
//
//	net, err := infer.Load(file)
//	logits := make([]float32, images*net.Classes())
//	err = net.Run(logits, pixels)
//
// It needs neither Gorgonia nor the rest of this library. The logits have the same bits on every processor, with every number of
// threads and in every batch, and they are those that ONNX Runtime computes from the same file.
package infer

import (
	"io"
	"runtime"
	"runtime/debug"
	"sync"

	"github.com/ftprop/ftprop/internal/intnet"
	"github.com/ftprop/ftprop/internal/par"
	"github.com/ftprop/ftprop/internal/tile"
	"github.com/pkg/errors"
)

// Options is how a network runs. Results do not depend on it.
type Options struct {
	// Threads is how many goroutines a call of Run takes; 0 means GOMAXPROCS. A batch is shared out image by image, and a few images
	// inside of layers.
	Threads int
	// Kernels is the instruction set, one of those that Kernels returns; "" means the first.
	Kernels string
}

// Network is a network that was loaded. Its methods may be called by several goroutines at the same time.
type Network struct {
	net      *intnet.Network
	plan     *plan
	set      *tile.Set
	threads  int
	schedule schedule

	mu   sync.Mutex
	free []*session
}

// Kernels returns the instruction sets that this processor has kernels for, the fastest first. The last is "portable".
func Kernels() []string {
	var names []string
	for _, s := range tile.Sets() {
		names = append(names, s.Name)
	}
	return names
}

// Load reads a network from a file of deploy's Integer.WriteTo, with all threads there are and the fastest kernels. It reads no more than 1 GiB, and of a file
// that is no such network it returns an error before it takes much more memory than the file has. What it needs for reading, some three times the
// file, goes back to the operating system at the end (debug.FreeOSMemory).
func Load(r io.Reader) (*Network, error) { return Options{}.Load(r) }

// Load is the function Load, with options.
func (o Options) Load(r io.Reader) (*Network, error) {
	net, err := intnet.ReadONNX(r)
	if err != nil {
		return nil, errors.WithMessage(err, "infer")
	}
	n, err := o.network(net, true)
	debug.FreeOSMemory() // runs allocate nothing, so that the collector might not come for long
	return n, errors.WithMessagef(err, "infer: %s", net.Name)
}

// network prepares a network, of which with consume the weights are let go as soon as they are packed.
func (o Options) network(net *intnet.Network, consume bool) (*Network, error) {
	n := &Network{net: net, threads: o.Threads}
	if n.threads == 0 {
		n.threads = runtime.GOMAXPROCS(0)
	}
	if n.threads < 1 || n.threads > mostThreads {
		return nil, errors.Errorf("%d threads, want 1 to %d, or 0", o.Threads, mostThreads)
	}
	for _, s := range tile.Sets() {
		if n.set == nil && (o.Kernels == "" || o.Kernels == s.Name) {
			n.set = s
		}
	}
	if n.set == nil {
		return nil, errors.Errorf("no kernels %q on this processor: want one of %q", o.Kernels, Kernels())
	}
	var err error
	if n.plan, err = newPlan(n.set, net, consume); err != nil {
		return nil, err
	}
	n.schedule = n.plan.schedule()
	n.plan.place(n.schedule)
	return n, nil
}

const mostThreads = 1024

// Classes is the number of logits of an image.
func (n *Network) Classes() int { return n.net.Classes() }

// Shape is the shape of an image: (channels, height, width), or (features).
func (n *Network) Shape() []int {
	s := n.net.Input.Shape
	if n.net.Input.Flat {
		return []int{s.C}
	}
	return []int{s.C, s.H, s.W}
}

// Real says whether the network takes real numbers, by RunReal, and not uint8.
func (n *Network) Real() bool { return n.net.Input.Real != nil }

// Name is the network's.
func (n *Network) Name() string { return n.net.Name }

// Run sets dst, (N, classes), to the logits of N images of uint8, each in the order of channels, rows and columns. After the first calls it
// allocates nothing, but for more calls at the same time than ever before.
//
// Lengths that do not fit, and a network that takes real numbers, are errors.
func (n *Network) Run(dst []float32, images []uint8) error {
	if n.net.Input.Real != nil {
		return errors.New("infer: the network takes real numbers, not uint8: want RunReal")
	}
	return n.run(dst, images, nil)
}

// RunReal is Run for a network that takes real numbers. They are rounded to those that the network knows, and clipped. NaN is an error.
func (n *Network) RunReal(dst, images []float32) error {
	if n.net.Input.Real == nil {
		return errors.New("infer: the network takes uint8, not real numbers: want Run")
	}
	for i, x := range images {
		if x != x {
			return errors.Errorf("infer: input %d is not a number", i)
		}
	}
	return n.run(dst, nil, images)
}

func (n *Network) run(dst []float32, images []uint8, reals []float32) error {
	size, classes, given := n.net.Input.Shape.Size(), n.Classes(), len(images)+len(reals)
	count := given / size
	if given != count*size || len(dst) != count*classes {
		return errors.Errorf("infer: inputs of %d elements for %d logits, want a multiple of %d and %d logits for each image", given, len(dst), size, classes)
	}
	if count == 0 {
		return nil
	}
	s := n.take()
	s.dst, s.images, s.reals, s.count = dst, images, reals, count
	err := s.run()
	s.forget()
	n.mu.Lock()
	n.free = append(n.free, s)
	n.mu.Unlock()
	return errors.WithMessage(err, "infer")
}

// take returns a session that is the caller's.
func (n *Network) take() *session {
	n.mu.Lock()
	defer n.mu.Unlock()
	if last := len(n.free) - 1; last >= 0 {
		s := n.free[last]
		n.free = n.free[:last]
		return s
	}
	return newSession(n)
}

// worker is the memory of a goroutine of a session.
type worker struct {
	tile           tile.Tile
	pool           tile.Pool
	scratch        [tile.MaxPixels][tile.MaxVectors * tile.Lanes]int32
	images, pixels [tile.MaxPixels]int // of a tile
	memory         []byte              // of values
	first          int                 // where in its group the chunk begins
	blank          int                 // for how many images the memory holds what stands for 0
	pixelsIn       []uint8
	reals          []float32
}

// session is what a call of Run needs.
type session struct {
	n      *Network
	alone  []*worker // each has images and memory of its own
	joint  []*worker // all work on the same images, in the memory of the first of alone
	apart  *par.Loop
	shared *par.Loop
	// What the loops work on.
	dst       []float32
	images    []uint8
	reals     []float32
	count     int
	operation operation
	at, now   int // the images of a shared step: from at, now of them
}

func newSession(n *Network) *session {
	s := &session{n: n}
	for range n.threads {
		s.alone, s.joint = append(s.alone, &worker{}), append(s.joint, &worker{})
	}
	s.apart = par.NewLoop(n.threads, func(part int) error { s.imagesOf(part); return nil })
	s.shared = par.NewLoop(n.threads, func(part int) error { s.part(part); return nil })
	return s
}

// ready gives a worker memory for a number of images, of which it touches no more than these need.
func (s *session) ready(w *worker, images int) {
	if w.memory == nil {
		w.memory = make([]byte, s.n.plan.memory)
	}
	for _, l := range s.n.plan.layouts {
		for i := w.blank; i < min(images, s.n.schedule.images(l)); i++ {
			l.blank(l.bytes(w, i))
		}
	}
	w.blank = max(w.blank, images)
}

func (s *session) run() error {
	if s.n.threads == 1 || s.count >= s.n.threads {
		for i := range min(s.n.threads, s.count) {
			s.ready(s.alone[i], (s.count+s.n.threads-1)/s.n.threads)
		}
		return s.apart.Run()
	}
	s.ready(s.alone[0], s.count)
	for s.at = 0; s.at < s.count; s.at += s.now {
		s.now = min(s.n.schedule.chunk, s.count-s.at)
		for _, w := range s.joint {
			w.memory = s.alone[0].memory
			s.give(w, s.at, s.now)
		}
		for _, s.operation = range s.n.plan.operations {
			if err := s.shared.Run(); err != nil {
				return err
			}
		}
	}
	return nil
}

// give gives a worker images.
func (s *session) give(w *worker, at, count int) {
	size := s.n.net.Input.Shape.Size()
	if s.reals != nil {
		w.reals = s.reals[at*size : (at+count)*size]
	} else {
		w.pixelsIn = s.images[at*size : (at+count)*size]
	}
}

// logits are those of images.
func (s *session) logits(at, count int) []float32 {
	classes := s.n.Classes()
	return s.dst[at*classes : (at+count)*classes]
}

// imagesOf does a part of the images.
func (s *session) imagesOf(part int) {
	w := s.alone[part]
	first, rest := s.n.plan.operations[:s.n.schedule.split], s.n.plan.operations[s.n.schedule.split:]
	for at, end := s.count*part/s.n.threads, s.count*(part+1)/s.n.threads; at < end; {
		group := share(end-at, s.n.schedule.group)
		for w.first = 0; w.first < group; {
			chunk := share(group-w.first, s.n.schedule.chunk)
			s.give(w, at+w.first, chunk)
			for _, o := range first {
				o.run(w, chunk, 0, o.shares(chunk), nil)
			}
			w.first += chunk
		}
		w.first = 0
		for _, o := range rest {
			o.run(w, group, 0, o.shares(group), s.logits(at, group))
		}
		at += group
	}
}

// share is how many of a number of images to take next, at most so many at a time and about equally many each time.
func share(images, most int) int {
	rounds := (images + most - 1) / most
	return (images + rounds - 1) / rounds
}

// part does a part of an operation.
func (s *session) part(part int) {
	n := s.operation.shares(s.now)
	s.operation.run(s.joint[part], s.now, n*part/s.n.threads, n*(part+1)/s.n.threads, s.logits(s.at, s.now))
}

// forget lets go of what a call was given.
func (s *session) forget() {
	s.dst, s.images, s.reals = nil, nil, nil
	for i, w := range s.alone {
		w.pixelsIn, w.reals = nil, nil
		s.joint[i].pixelsIn, s.joint[i].reals = nil, nil
	}
}
