package train

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/gob"
	"io"
	"maps"
	"math"
	"slices"
	"strconv"
	"unicode"

	"github.com/ftprop/ftprop/internal/atomicfile"
	"github.com/ftprop/ftprop/internal/regular"
	"github.com/ftprop/ftprop/models"
	"github.com/ftprop/ftprop/ops/nn"
	"github.com/ftprop/ftprop/solvers"
	"github.com/pkg/errors"
	"gorgonia.org/gorgonia"
)

// checkpoint is all that training goes on from. On disk it is
//
//	magic, 16 bytes | length of the rest but the sum | length of the gob | gob of a head | weights | tensors of the solver | SHA-256 of all before
//
// with lengths and tensors little-endian, lengths uint64, so that a file that was cut short, damaged or is of another program is told
// from a whole one before anything is decoded. What is large goes to the file and comes from it piece by piece: gob would hold the
// whole of it in memory, twice while its buffer grows.
type checkpoint struct {
	Setup   string // what training on must have in common: see Config.Setup
	Network string // name of the network
	Anneal  int    // epochs of which annealed rules take their schedule; 0 if there are none, and in files of before there were such rules
	Ranks   int    // that train together; 0 if there is one, and in files of before there were several
	Weights []byte // safetensors
	Layers  []layerState
	Solver  []solverState // each before those that it holds: nested, a file could nest them until the stack is full

	Epoch, Step int // where to go on
	Sum         tally
	Seconds     float64 // spent on the epoch so far
	GradNorm    float64 // of the epoch's last step, if that is done
	History     []Epoch
}

// layerState is what a layer remembers besides its weights: running statistics, exactly, and a dropout's random state.
type layerState struct {
	Mean, Variance []float64
	Dropout        nn.DropoutState
}

// solverState is a solvers.State without those of the solvers that it holds, and without a map: for a map gob asks for as much memory as
// a file says that it has entries.
type solverState struct {
	Solver string
	Step   int
	Slots  []slotState // by name

	// What follows in the list: the state of the inner solver, if there is one, then those of so many groups, each with what it holds.
	Inner  bool
	Groups int

	Params []string // of a group's solver: the names of its parameters
}

type slotState struct {
	Name    string
	Tensors []solvers.Tensor
}

// flatten lists the states in s. All solvers in it have one: see stateful.
func flatten(s solvers.State) []solverState {
	var slots []slotState
	for _, name := range slices.Sorted(maps.Keys(s.Slots)) {
		slots = append(slots, slotState{name, s.Slots[name]})
	}
	out := []solverState{{Solver: s.Solver, Step: s.Step, Slots: slots, Inner: s.Inner != nil, Groups: len(s.Groups)}}
	if s.Inner != nil {
		out = append(out, flatten(*s.Inner)...)
	}
	for _, g := range s.Groups {
		at := len(out)
		out = append(out, flatten(*g.State)...)
		out[at].Params = g.Params
	}
	return out
}

// nest is the inverse of flatten, for a list in which walk has found nothing wrong.
func nest(list []solverState) solvers.State {
	var done []solvers.GroupState // of which no other state has made its own yet, the first one last
	for _, s := range slices.Backward(list) {
		st := &solvers.State{Solver: s.Solver, Step: s.Step}
		take := func() solvers.GroupState {
			g := done[len(done)-1]
			done = done[:len(done)-1]
			return g
		}
		if s.Inner {
			st.Inner = take().State
		}
		for range s.Groups {
			st.Groups = append(st.Groups, take())
		}
		if len(s.Slots) > 0 {
			st.Slots = make(map[string][]solvers.Tensor, len(s.Slots))
			for _, slot := range s.Slots {
				st.Slots[slot.Name] = slot.Tensors
			}
		}
		done = append(done, solvers.GroupState{Params: s.Params, State: st})
	}
	return *done[0].State
}

// walk calls f for the states of a list, each with the parameters that its solver has. An error says that the list is not one of flatten's.
func walk(list []solverState, params gorgonia.Nodes, f func(s solverState, params gorgonia.Nodes) error) error {
	type level struct {
		inner  bool           // whether the next state is that of an inner solver
		groups int            // states of groups after it
		params gorgonia.Nodes // of the solver
	}
	open := []level{{inner: true, params: params}}
	for _, s := range list {
		for len(open) > 0 && !open[len(open)-1].inner && open[len(open)-1].groups == 0 {
			open = open[:len(open)-1]
		}
		if len(open) == 0 {
			return errors.Errorf("it has a state of a solver %s that belongs to none", printable(s.Solver))
		}
		in := &open[len(open)-1]
		params := in.params
		if in.inner {
			in.inner = false
		} else {
			in.groups--
			params = nil
			if len(s.Params) > len(in.params) { // or finding them could take time without end
				return errors.Errorf("it has a group of %d parameters, of %d", len(s.Params), len(in.params))
			}
			for _, name := range s.Params {
				i := slices.IndexFunc(in.params, func(p *gorgonia.Node) bool { return p.Name() == name })
				if i < 0 {
					return errors.Errorf("it has a group with a parameter %s, which the network has not", printable(name))
				}
				params = append(params, in.params[i])
			}
		}
		if s.Groups < 0 {
			return errors.Errorf("it has a solver of %d groups", s.Groups)
		}
		if err := f(s, params); err != nil {
			return err
		}
		open = append(open, level{s.Inner, s.Groups, params})
	}
	for _, in := range open {
		if in.inner || in.groups > 0 {
			return errors.New("it lacks the state of a solver")
		}
	}
	return nil
}

const (
	checkpointMagic = "ftprop checkpt 4"
	headerSize      = len(checkpointMagic) + 8
)

// head is a checkpoint without what is large.
type head struct {
	Checkpoint checkpoint // neither Weights nor Slots
	Weights    int        // bytes
	Slots      [][]slotHead
}

// slotHead is a slot of a solver whose tensors are elsewhere.
type slotHead struct {
	Name    string
	Tensors []tensorHead
}

// tensorHead says how many elements a tensor has; one of the numbers is 0.
type tensorHead struct {
	Shape            []int
	Float32, Float64 int
}

// statefulLayers returns the layers of a graph that remember something, in the order in which they were made.
func statefulLayers(g *gorgonia.ExprGraph) []gorgonia.Op {
	all := slices.Clone(g.AllNodes())
	slices.SortFunc(all, func(a, b *gorgonia.Node) int { return int(a.ID() - b.ID()) })
	var ops []gorgonia.Op
	for _, n := range all {
		switch op := n.Op().(type) {
		case *nn.BatchNorm, *nn.Dropout:
			ops = append(ops, op)
		}
	}
	return ops
}

func layerStates(net *models.Net) []layerState {
	var states []layerState
	for _, op := range statefulLayers(net.Input.Graph()) {
		var s layerState
		switch op := op.(type) {
		case *nn.BatchNorm:
			s.Mean, s.Variance = op.Running()
		case *nn.Dropout:
			s.Dropout = op.State()
		}
		states = append(states, s)
	}
	return states
}

func setLayerStates(net *models.Net, states []layerState) error {
	ops := statefulLayers(net.Input.Graph())
	if len(ops) != len(states) {
		return errors.Errorf("it has states of %d layers, the network has %d", len(states), len(ops))
	}
	for i, op := range ops {
		switch op := op.(type) {
		case *nn.BatchNorm:
			if err := op.SetRunning(states[i].Mean, states[i].Variance); err != nil {
				return err
			}
		case *nn.Dropout:
			op.SetState(states[i].Dropout)
		}
	}
	return nil
}

// head returns what goes before the weights and tensors, and the latter in their order.
func (c *checkpoint) head() (head, []solvers.Tensor) {
	h := head{Checkpoint: *c, Weights: len(c.Weights), Slots: make([][]slotHead, len(c.Solver))}
	h.Checkpoint.Weights, h.Checkpoint.Solver = nil, slices.Clone(c.Solver)
	var tensors []solvers.Tensor
	for i, s := range c.Solver {
		h.Checkpoint.Solver[i].Slots = nil
		for _, slot := range s.Slots {
			head := slotHead{Name: slot.Name}
			for _, t := range slot.Tensors {
				head.Tensors = append(head.Tensors, tensorHead{t.Shape, len(t.Float32), len(t.Float64)})
				tensors = append(tensors, t)
			}
			h.Slots[i] = append(h.Slots[i], head)
		}
	}
	return h, tensors
}

// encode writes the checkpoint as a file has it.
func (c *checkpoint) encode(w io.Writer) error {
	h, tensors := c.head()
	var buf bytes.Buffer
	if err := gob.NewEncoder(&buf).Encode(&h); err != nil {
		return errors.Wrap(err, "train: checkpoint")
	}
	size := uint64(8 + buf.Len() + len(c.Weights))
	for _, t := range tensors {
		size += 4*uint64(len(t.Float32)) + 8*uint64(len(t.Float64))
	}
	return seal(w, size, func(w io.Writer) error {
		if _, err := w.Write(binary.LittleEndian.AppendUint64(nil, uint64(buf.Len()))); err != nil {
			return err
		}
		for _, b := range [][]byte{buf.Bytes(), c.Weights} {
			if _, err := w.Write(b); err != nil {
				return err
			}
		}
		for _, t := range tensors {
			if err := writeNumbers(w, t.Float32); err != nil {
				return err
			}
			if err := writeNumbers(w, t.Float64); err != nil {
				return err
			}
		}
		return nil
	})
}

// seal puts header and checksum around the size bytes that payload writes.
func seal(w io.Writer, size uint64, payload func(io.Writer) error) error {
	sum := sha256.New()
	both := io.MultiWriter(w, sum)
	if _, err := both.Write(binary.LittleEndian.AppendUint64([]byte(checkpointMagic), size)); err != nil {
		return err
	}
	if err := payload(both); err != nil {
		return err
	}
	_, err := w.Write(sum.Sum(nil))
	return err
}

// piece is the number of elements that are converted at a time.
const piece = 1 << 13

func writeNumbers[T float32 | float64](w io.Writer, x []T) error {
	b := make([]byte, min(len(x), piece)*8)
	for part := range slices.Chunk(x, piece) {
		n, err := binary.Encode(b, binary.LittleEndian, part)
		if err != nil {
			return err
		}
		if _, err := w.Write(b[:n]); err != nil {
			return err
		}
	}
	return nil
}

// readNumbers reads n numbers, nil for none. The caller knows that there are so many.
func readNumbers[T float32 | float64](r io.Reader, n int) ([]T, error) {
	if n == 0 {
		return nil, nil
	}
	x, b := make([]T, n), make([]byte, min(n, piece)*8)
	for part := range slices.Chunk(x, piece) {
		b := b[:binary.Size(part)]
		if _, err := io.ReadFull(r, b); err != nil {
			return nil, err
		}
		if _, err := binary.Decode(b, binary.LittleEndian, part); err != nil {
			return nil, err
		}
	}
	return x, nil
}

// write writes the checkpoint to a file: until it is whole, the one of that name before stays.
func (c *checkpoint) write(path string) error { return atomicfile.Write(path, c.encode) }

// mostBytes is what a checkpoint of the training may have, with room to spare: a weight and three numbers of a solver's take 35 bytes, an epoch
// and its layers hundreds. The epochs may be more than those of the configuration.
func (t *Trainer) mostBytes() int64 {
	const beyond, epoch, weight = 1 << 24, 1 << 12, 64
	n := beyond + epoch*int64(min(t.c.Epochs, 1<<20))
	for _, p := range t.c.Net.Params() {
		n += weight * int64(p.Shape().TotalSize())
	}
	return n
}

// readCheckpoint reads a file of at most most bytes, which is the first rank's.
func (r *ranks) readCheckpoint(path string, most int64) (c *checkpoint, err error) {
	if r.Comm == nil {
		f, size, err := regular.Open(path, most)
		if err != nil {
			return nil, errors.Wrap(err, "train: checkpoint")
		}
		defer f.Close()
		c, err = decodeCheckpoint(f, size)
		return c, errors.WithMessagef(err, "train: checkpoint %s", path)
	}
	b, err := r.bytes(func() ([]byte, error) { return regular.Read(path, most) })
	if err != nil {
		return nil, errors.WithMessage(err, "train: checkpoint")
	}
	c, err = decodeCheckpoint(bytes.NewReader(b), int64(len(b)))
	return c, errors.WithMessagef(err, "train: checkpoint %s", path)
}

// decodeCheckpoint reads all of r twice: it decodes nothing of a file whose checksum is wrong.
func decodeCheckpoint(r io.ReaderAt, size int64) (*checkpoint, error) {
	header := make([]byte, headerSize)
	if n, err := r.ReadAt(header, 0); n < headerSize && err != io.EOF {
		return nil, errors.Wrap(err, "it cannot be read")
	}
	if string(header[:len(checkpointMagic)]) != checkpointMagic || size < int64(headerSize) {
		return nil, errors.Errorf("it does not begin with %q: not a checkpoint of this program", checkpointMagic)
	}
	n := binary.LittleEndian.Uint64(header[len(checkpointMagic):])
	if have := uint64(size) - uint64(headerSize); have < sha256.Size || n != have-sha256.Size {
		return nil, errors.Errorf("it is %d bytes long and should be %d: cut short, or something was appended", size, uint64(headerSize)+n+sha256.Size)
	}
	end := size - sha256.Size
	want := make([]byte, sha256.Size)
	if _, err := io.ReadFull(io.NewSectionReader(r, end, sha256.Size), want); err != nil {
		return nil, errors.Wrap(err, "it cannot be read")
	}
	sum := sha256.New()
	if _, err := io.Copy(sum, io.NewSectionReader(r, 0, end)); err != nil {
		return nil, errors.Wrap(err, "it cannot be read")
	}
	if !bytes.Equal(sum.Sum(nil), want) {
		return nil, errors.New("its checksum is wrong: the file is damaged")
	}
	c, err := decodePayload(bufio.NewReaderSize(io.NewSectionReader(r, int64(headerSize), int64(n)), 1<<16), n)
	return c, errors.Wrap(err, "it cannot be decoded")
}

// decodePayload decodes what is between header and checksum, left bytes.
func decodePayload(r io.Reader, left uint64) (*checkpoint, error) {
	take := func(n uint64) error { // before anything of that size is allocated
		if n > left {
			return errors.Errorf("it speaks of %d bytes more than it has", n-left)
		}
		left -= n
		return nil
	}
	var length [8]byte
	if err := take(8); err != nil {
		return nil, err
	}
	if _, err := io.ReadFull(r, length[:]); err != nil {
		return nil, err
	}
	n := binary.LittleEndian.Uint64(length[:])
	if err := take(n); err != nil {
		return nil, err
	}
	b := make([]byte, n)
	if _, err := io.ReadFull(r, b); err != nil {
		return nil, err
	}
	var h head
	if err := gob.NewDecoder(bytes.NewReader(b)).Decode(&h); err != nil {
		return nil, err
	}
	c := &h.Checkpoint
	if h.Weights < 0 || len(h.Slots) != len(c.Solver) {
		return nil, errors.Errorf("it has %d bytes of weights and slots of %d solvers, of %d", h.Weights, len(h.Slots), len(c.Solver))
	}
	if err := take(uint64(h.Weights)); err != nil {
		return nil, err
	}
	c.Weights = make([]byte, h.Weights)
	if _, err := io.ReadFull(r, c.Weights); err != nil {
		return nil, err
	}
	for i, slots := range h.Slots {
		for _, s := range slots {
			tensors := make([]solvers.Tensor, len(s.Tensors))
			for k, t := range s.Tensors {
				if t.Float32 < 0 || t.Float64 < 0 || uint64(t.Float32) > left/4 || uint64(t.Float64) > left/8 {
					return nil, errors.Errorf("a tensor %s has %d and %d elements, more than it has", printable(s.Name), t.Float32, t.Float64)
				}
				if err := take(4*uint64(t.Float32) + 8*uint64(t.Float64)); err != nil {
					return nil, err
				}
				var err error
				tensors[k].Shape = t.Shape
				if tensors[k].Float32, err = readNumbers[float32](r, t.Float32); err != nil {
					return nil, err
				}
				if tensors[k].Float64, err = readNumbers[float64](r, t.Float64); err != nil {
					return nil, err
				}
			}
			c.Solver[i].Slots = append(c.Solver[i].Slots, slotState{s.Name, tensors})
		}
	}
	if left > 0 {
		return nil, errors.Errorf("%d bytes are left over", left)
	}
	return c, nil
}

// suits returns an error unless training can go on from the checkpoint: a file may say anything.
func (t *Trainer) suits(c *checkpoint) error {
	batch := t.c.Net.Input.Shape()[0] * t.size()
	steps := t.c.Train.N() / batch
	switch {
	case c.Network != t.c.Net.Name():
		return errors.Errorf("it is of a %s, the network is a %s", printable(c.Network), t.c.Net.Name())
	case max(c.Ranks, 1) != t.size():
		return errors.Errorf("it was written by %d ranks, and here are %d: weights depend on how many there are", max(c.Ranks, 1), t.size())
	case c.Setup != t.c.Setup:
		return errors.Errorf("it was written for\n  %s\nand this is\n  %s", printable(c.Setup), t.c.Setup)
	case c.Anneal != t.annealed():
		return errors.Errorf("its annealed rules have a schedule of %d epochs, these of %d (0: there are none): go on with the same Epochs, or begin anew",
			c.Anneal, t.annealed())
	case c.Epoch < 0 || c.Epoch != len(c.History):
		return errors.Errorf("it stands at epoch %d and has a record of %d", c.Epoch, len(c.History))
	case c.Step < 0 || c.Step > steps:
		return errors.Errorf("it stands at step %d of an epoch of %d", c.Step, steps)
	case c.Sum.Images != c.Step*batch:
		return errors.Errorf("it has counted %d images in %d steps of %d", c.Sum.Images, c.Step, batch)
	case c.Sum.Top1 < 0 || c.Sum.Top5 < c.Sum.Top1 || c.Sum.Images < c.Sum.Top5:
		return errors.Errorf("of %d images it has %d right, and %d among five", c.Sum.Images, c.Sum.Top1, c.Sum.Top5)
	case math.IsNaN(c.Sum.Loss) || math.IsInf(c.Sum.Loss, 0) || !(c.Seconds >= 0) || math.IsInf(c.Seconds, 0):
		return errors.Errorf("it has a loss of %v after %v seconds", c.Sum.Loss, c.Seconds)
	}
	for i := range c.History {
		if c.History[i].Epoch != i {
			return errors.Errorf("its record of epoch %d is one of epoch %d", i+1, c.History[i].Epoch+1)
		}
	}
	return walk(c.Solver, t.c.Net.Params(), func(s solverState, params gorgonia.Nodes) error {
		for k, slot := range s.Slots {
			if k > 0 && slot.Name <= s.Slots[k-1].Name {
				return errors.Errorf("its solver has %s after %s, want names in order, each once", printable(slot.Name), printable(s.Slots[k-1].Name))
			}
			if len(slot.Tensors) != len(params) {
				return errors.Errorf("its solver has %s for %d parameters, of the network it has %d", printable(slot.Name), len(slot.Tensors), len(params))
			}
			for i, p := range params {
				if got := slot.Tensors[i].Shape; !slices.Equal(got, p.Shape()) {
					return errors.Errorf("its solver has %s of shape %v for %s, want %v", printable(slot.Name), got, p.Name(), p.Shape())
				}
			}
		}
		return nil
	})
}

// printable returns a text from a file as it is, or quoted if it could move a terminal's cursor.
func printable(s string) string {
	const most = 2000 // bytes
	if len(s) > most {
		s = s[:most] + "..."
	}
	for _, r := range s {
		if r == unicode.ReplacementChar || !unicode.IsPrint(r) {
			return strconv.Quote(s)
		}
	}
	return s
}

// state returns where training stands. All ranks call it: each may have a part of the solver's state.
func (t *Trainer) state() (*checkpoint, error) {
	solver, err := solvers.GatherState(t.stateful)
	if err != nil {
		return nil, err
	}
	size := 1 << 16 // of names and running statistics; the buffer grows where they take more
	for _, p := range t.c.Net.Params() {
		size += 4 * p.Shape().TotalSize()
	}
	var weights bytes.Buffer
	weights.Grow(size)
	if err := t.c.Net.Save(&weights); err != nil {
		return nil, err
	}
	return &checkpoint{
		Setup: t.c.Setup, Network: t.c.Net.Name(), Anneal: t.annealed(), Ranks: t.several(), Weights: weights.Bytes(), Layers: layerStates(t.c.Net), Solver: flatten(solver),
		Epoch: t.epoch, Step: t.step, Sum: t.sum, Seconds: t.seconds, GradNorm: t.gradNorm, History: t.history,
	}, nil
}

// restore makes training stand where the checkpoint has it. After an error it stands where it stood.
func (t *Trainer) restore(c *checkpoint) error {
	if err := t.suits(c); err != nil {
		return err
	}
	before, err := t.state()
	if err != nil {
		return err
	}
	if err := t.set(c); err != nil {
		if undo := t.set(before); undo != nil {
			return errors.WithMessagef(err, "the network cannot be used further (%v)", undo)
		}
		return err
	}
	return nil
}

// set may leave some of it set when it returns an error.
func (t *Trainer) set(c *checkpoint) error {
	if err := t.c.Net.Load(bytes.NewReader(c.Weights)); err != nil {
		return err
	}
	if err := setLayerStates(t.c.Net, c.Layers); err != nil {
		return err
	}
	if err := t.stateful.SetState(nest(c.Solver)); err != nil {
		return errors.WithMessage(err, "solver")
	}
	t.epoch, t.step, t.sum, t.seconds, t.gradNorm, t.history = c.Epoch, c.Step, c.Sum, c.Seconds, c.GradNorm, c.History
	return nil
}
