package train

import (
	"bytes"
	"context"
	"encoding/binary"
	"io"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/ftprop/ftprop/data"
	"github.com/ftprop/ftprop/internal/gtest"
	"github.com/ftprop/ftprop/models"
	"github.com/ftprop/ftprop/nodes"
	"github.com/ftprop/ftprop/solvers"
	"github.com/pkg/errors"
	"gorgonia.org/gorgonia"
	"gorgonia.org/tensor"
)

// small is a training with all that a checkpoint can hold, in a few hundred bytes.
func small(t testing.TB) Config {
	t.Helper()
	const n = 12
	x, y := make([]float32, n*4), make([]int, n)
	for i := range y {
		y[i] = i % 2
		for k := range 4 {
			x[4*i+k] = float32((i*7+k*3)%5) / 4
		}
	}
	set := &data.Set{X: x, Y: y, Channels: 1, Height: 2, Width: 2, Classes: 2}
	in := gorgonia.NewTensor(gorgonia.NewGraph(), tensor.Float32, 4, gorgonia.WithName("x"), gorgonia.WithShape(4, 1, 2, 2))
	net, err := models.MLP(in, models.Config{Widths: []int{2}, Classes: 2, Act: nodes.Sign, Seed: 1, BatchNorm: true})
	if err != nil {
		t.Fatal(err)
	}
	solver := &solvers.Scheduled{Solver: &solvers.SGD{LearnRate: 0.1, Momentum: 0.9}, Schedule: solvers.StepDecay(0.1, 0.1)}
	return Config{Net: net, Solver: solver, Train: set, Validation: set, Epochs: 2, Seed: 1, Inspect: 4}
}

// stops returns the checkpoints of a small training, at its beginning, within an epoch, after one, and at its end.
func stops(t testing.TB) []*checkpoint {
	t.Helper()
	c := small(t)
	var tr *Trainer
	var out []*checkpoint
	take := func() {
		ck, err := tr.state()
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, ck)
	}
	c.OnStep = func(s Step) {
		if s.Epoch == 1 && s.Step == 1 {
			take()
		}
	}
	c.OnEpoch = func(*Epoch) { take() }
	tr = trained(t, c)
	take()
	if err := tr.Run(context.Background()); err != nil {
		t.Fatal(err)
	}
	return out
}

func payload(t testing.TB, c *checkpoint) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := c.encode(&b); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()[headerSize : b.Len()-32]
}

// sealed is a payload as a file has it.
func sealed(t testing.TB, payload []byte) *bytes.Reader {
	t.Helper()
	var b bytes.Buffer
	err := seal(&b, uint64(len(payload)), func(w io.Writer) error {
		_, err := w.Write(payload)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return bytes.NewReader(b.Bytes())
}

// Whatever a file says, it is taken whole, or refused and nothing has changed.
func TestResumeHostile(t *testing.T) {
	all := stops(t)
	tr := trained(t, small(t))
	middle, end := *all[2], *all[3]
	for _, c := range []*checkpoint{all[0], all[1], all[2], all[3]} {
		checkRestored(t, tr, c)
	}
	if err := tr.restore(all[1]); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		of     checkpoint
		change func(*checkpoint)
		words  string
	}{
		"epoch":              {middle, func(c *checkpoint) { c.Epoch = -1 }, "epoch -1"},
		"epoch without past": {middle, func(c *checkpoint) { c.Epoch = 1 << 60 }, "record of 1"},
		"other past":         {end, func(c *checkpoint) { c.History = slices.Clone(c.History); c.History[1].Epoch = 7 }, "epoch 8"},
		"step":               {middle, func(c *checkpoint) { c.Step = -1 }, "step -1"},
		"step too far":       {middle, func(c *checkpoint) { c.Step = 4 }, "step 4 of an epoch of 3"},
		"images":             {middle, func(c *checkpoint) { c.Sum.Images = math.MaxInt }, "images"},
		"right":              {middle, func(c *checkpoint) { c.Sum.Top1 = c.Sum.Top5 + 1 }, "right"},
		"loss":               {middle, func(c *checkpoint) { c.Sum.Loss = math.NaN() }, "NaN"},
		"seconds":            {middle, func(c *checkpoint) { c.Seconds = math.Inf(1) }, "+Inf seconds"},
		"weights":            {middle, func(c *checkpoint) { c.Weights = c.Weights[:20] }, "safetensors"},
		"no layers":          {middle, func(c *checkpoint) { c.Layers = nil }, "0 layers"},
		"channels":           {middle, func(c *checkpoint) { c.Layers = []layerState{{Mean: []float64{1}, Variance: []float64{1}}} }, "running means"},
		"solver":             {middle, func(c *checkpoint) { c.Solver = nil }, "solver"},
		"inner solver":       {middle, func(c *checkpoint) { c.Solver = c.Solver[:1] }, "solver"},
		"solver's shape": {middle, func(c *checkpoint) {
			tensors := slices.Clone(c.Solver[1].Slots[0].Tensors)
			tensors[0].Shape = []int{1 << 40}
			c.Solver = slices.Clone(c.Solver)
			c.Solver[1].Slots = []slotState{{c.Solver[1].Slots[0].Name, tensors}}
		}, "shape"},
		"solver's slot twice": {middle, func(c *checkpoint) {
			c.Solver = slices.Clone(c.Solver)
			c.Solver[1].Slots = slices.Repeat(c.Solver[1].Slots, 2)
		}, "momentum_buffer after momentum_buffer"},
		"network": {middle, func(c *checkpoint) { c.Network = "a\x1b[2Jb" }, `"a\x1b[2Jb"`},
		"setup":   {middle, func(c *checkpoint) { c.Setup = "\r-data digits" }, `"\r-data digits"`},
	} {
		c.change(&c.of)
		before := payload(t, must(t, tr))
		err := tr.restore(&c.of)
		gtest.WantError(t, name, err, c.words)
		if strings.ContainsAny(err.Error(), "\r\x1b") {
			t.Errorf("%s: %q moves the cursor", name, err)
		}
		if !same(t, before, payload(t, must(t, tr))) {
			t.Errorf("%s: refused, and training stands elsewhere than before", name)
		}
	}
}

func must(t testing.TB, tr *Trainer) *checkpoint {
	t.Helper()
	c, err := tr.state()
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// same compares what two payloads hold: the order of a gob's maps is another each time.
func same(t testing.TB, a, b []byte) bool {
	t.Helper()
	var x, y *checkpoint
	for _, p := range []struct {
		to      **checkpoint
		payload []byte
	}{{&x, a}, {&y, b}} {
		r := sealed(t, p.payload)
		var err error
		if *p.to, err = decodeCheckpoint(r, r.Size()); err != nil {
			t.Fatal(err)
		}
	}
	return bytes.Equal(x.Weights, y.Weights) && x.Epoch == y.Epoch && x.Step == y.Step && x.Sum == y.Sum && len(x.History) == len(y.History) &&
		slices.EqualFunc(x.Layers, y.Layers, func(a, b layerState) bool {
			return slices.Equal(a.Mean, b.Mean) && slices.Equal(a.Variance, b.Variance) && a.Dropout == b.Dropout
		}) &&
		slices.EqualFunc(x.Solver, y.Solver, func(a, b solverState) bool {
			return a.Solver == b.Solver && a.Step == b.Step && slices.EqualFunc(a.Slots, b.Slots, func(a, b slotState) bool {
				return a.Name == b.Name && slices.EqualFunc(a.Tensors, b.Tensors, func(a, b solvers.Tensor) bool { return slices.Equal(a.Float32, b.Float32) })
			})
		})
}

// checkRestored restores a checkpoint and looks whether training stands where it says.
func checkRestored(t testing.TB, tr *Trainer, c *checkpoint) {
	t.Helper()
	if err := tr.restore(c); err != nil {
		t.Fatal(err)
	}
	if !same(t, payload(t, c), payload(t, must(t, tr))) {
		t.Error("training stands elsewhere than the checkpoint")
	}
}

// What is no regular file is no checkpoint, and nothing waits for it.
func TestCheckpointFiles(t *testing.T) {
	dir := t.TempDir()
	fifo := filepath.Join(dir, "fifo")
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{fifo, "/dev/zero", dir} {
		gtest.WantError(t, path, trained(t, small(t)).Resume(path), path, "no regular file")
	}
}

// One training at a time writes to a folder, and none over another's files unless it is told to.
func TestFolder(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "new", "folder")
	with := func(change func(*Config)) Config {
		c := small(t)
		c.Dir = dir
		change(&c)
		return c
	}
	plain := func(*Config) {}
	first := trained(t, with(plain))
	_, err := New(with(plain))
	gtest.WantError(t, "a second trainer", err, "another training", dir)
	if !errors.Is(err, ErrLocked) {
		t.Errorf("%v is not ErrLocked", err)
	}
	if err := first.Run(context.Background()); err != nil {
		t.Fatal(err)
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	read := func() (all string) {
		for _, f := range files() {
			b, err := os.ReadFile(filepath.Join(dir, f))
			if err != nil {
				t.Fatal(err)
			}
			all += string(b)
		}
		return all
	}
	before := read()
	second := trained(t, with(func(c *Config) { c.Seed = 2 }))
	gtest.WantError(t, "a second training", second.Run(context.Background()), "holds a training", CheckpointFile, "Overwrite")
	second.Close()
	// Nor does a checkpoint of elsewhere let it.
	elsewhere := with(func(c *Config) { c.Dir = t.TempDir() })
	tr := trained(t, elsewhere)
	if err := tr.Run(context.Background()); err != nil {
		t.Fatal(err)
	}
	tr.Close()
	second = trained(t, with(plain))
	if err := second.Resume(filepath.Join(elsewhere.Dir, CheckpointFile)); err != nil {
		t.Fatal(err)
	}
	gtest.WantError(t, "after another's checkpoint", second.Run(context.Background()), "holds a training")
	second.Close()
	if before != read() {
		t.Error("what was refused has changed files")
	}
	more := trained(t, with(func(c *Config) { c.Epochs = 3 }))
	if err := more.Resume(filepath.Join(dir, CheckpointFile)); err != nil {
		t.Fatal(err)
	}
	if err := more.Run(context.Background()); err != nil || len(more.History()) != 3 {
		t.Error(err)
	}
	more.Close()
	// Told to, it leaves nothing of the first, even if it does not get to a checkpoint.
	over := trained(t, with(func(c *Config) { c.Overwrite = true; c.OnStep = func(Step) { panic("stop") } }))
	func() {
		defer func() { _ = recover() }()
		_ = over.Run(context.Background())
	}()
	if left := Left(dir); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
}

// A message names a checkpoint only while it is there.
func TestCheckpointIsGone(t *testing.T) {
	c := small(t)
	c.Dir, c.Epochs = t.TempDir(), 3
	c.OnEpoch = func(e *Epoch) {
		if e.Epoch == 1 {
			if err := os.RemoveAll(c.Dir); err != nil {
				t.Fatal(err)
			}
		}
	}
	err := trained(t, c).Run(context.Background())
	gtest.WantError(t, "folder removed", err, "the last checkpoint was", "is gone")
	if strings.Contains(err.Error(), "last good checkpoint") {
		t.Error(err)
	}
}

// A file that no checkpoint of the training can be is refused unread.
func TestCheckpointSize(t *testing.T) {
	path := filepath.Join(t.TempDir(), "checkpoint")
	if err := os.WriteFile(path, []byte(checkpointMagic), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(path, 1<<30); err != nil { // without taking room on the disk
		t.Fatal(err)
	}
	tr := trained(t, small(t))
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	err := tr.Resume(path)
	runtime.ReadMemStats(&after)
	gtest.WantError(t, "a gigabyte", err, path, "1073741824 bytes, want at most")
	if n := after.TotalAlloc - before.TotalAlloc; n > 1<<20 {
		t.Errorf("allocated %d kB", n>>10)
	}
}

// gobUint reads a number as gob writes it: below 128 a byte, else the negated number of its bytes, and those.
func gobUint(b []byte) (value, size int) {
	if b[0] < 128 {
		return int(b[0]), 1
	}
	n := -int(int8(b[0]))
	for _, v := range b[1 : 1+n] {
		value = value<<8 | int(v)
	}
	return value, 1 + n
}

// A count in a file asks for no memory that the file does not have: each byte in turn becomes the largest count that could pass.
func TestCheckpointCounts(t *testing.T) {
	if gtest.Race {
		t.Skip("what it measures is memory")
	}
	whole := payload(t, stops(t)[1])
	head := 8 + int(binary.LittleEndian.Uint64(whole))
	b, rest := whole[8:head], whole[head:]
	last := 0 // the message with the values; those before it describe types
	for at := 0; at < len(b); {
		last = at
		n, size := gobUint(b[at:])
		at += size + n
	}
	n, size := gobUint(b[last:])
	values := b[last+size:]
	if len(values) != n {
		t.Fatalf("the last message has %d bytes, want %d", len(values), n)
	}
	most := uint64(0)
	for at := range values {
		hostile := slices.Concat(b[:last], []byte{0xfd, 0, 0, 0}, values[:at], []byte{0xfc, 0, 0x40, 0, 0}, values[at+1:])
		n := len(hostile) - last - 4
		copy(hostile[last+1:], []byte{byte(n >> 16), byte(n >> 8), byte(n)})
		r := sealed(t, slices.Concat(binary.LittleEndian.AppendUint64(nil, uint64(len(hostile))), hostile, rest))
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, err := decodeCheckpoint(r, r.Size())
		runtime.ReadMemStats(&after)
		used := after.TotalAlloc - before.TotalAlloc
		if most = max(most, used); used > 64<<20 {
			t.Errorf("byte %d of %d is a count of 4 million: %d MB, %v", at, len(values), used>>20, err)
		}
	}
	t.Logf("at most %d kB", most>>10)
}

func FuzzDecodeCheckpoint(f *testing.F) {
	var bases [][]byte
	for i, c := range stops(f)[:3] {
		c.Weights = c.Weights[:8] // their bytes are not looked into here
		whole, err := io.ReadAll(sealed(f, payload(f, c)))
		if err != nil {
			f.Fatal(err)
		}
		bases = append(bases, payload(f, c), whole)
		f.Add(uint8(2*i), uint16(0), uint16(0), []byte{}, true)
		f.Add(uint8(2*i+1), uint16(0), uint16(0), []byte{}, false)
		f.Add(uint8(2*i+1), uint16(200), uint16(1), []byte("x"), false)
	}
	f.Add(uint8(0), uint16(0), uint16(math.MaxUint16), []byte("x"), true)
	f.Add(uint8(0), uint16(0), uint16(math.MaxUint16), []byte(checkpointMagic), false)
	f.Fuzz(func(t *testing.T, base uint8, at, drop uint16, patch []byte, whole bool) {
		if len(patch) > 128 {
			return
		}
		b := gtest.Splice(bases[int(base)%len(bases)], at, drop, patch)
		r := bytes.NewReader(b)
		if whole { // what is behind the checksum, which no mutation gets right
			r = sealed(t, b)
		}
		if c, err := decodeCheckpoint(r, r.Size()); (err == nil) == (c == nil) {
			t.Fatal("neither a checkpoint nor an error, or both")
		}
	})
}

// Whatever a whole checkpoint says, it is restored whole, and training can go on, or it is refused and nothing has changed.
func FuzzResume(f *testing.F) {
	all := stops(f)
	for i, c := range all {
		n := 0
		if len(c.Solver[1].Slots) > 0 {
			n = c.Solver[1].Slots[0].Tensors[0].Shape[0]
		}
		f.Add(c.Epoch, c.Step, c.Sum.Images, c.Sum.Top1, c.Sum.Top5, c.Sum.Loss, c.Seconds, uint8(i), uint16(0), uint16(0), []byte{}, c.Layers[0].Mean[0], c.Layers[0].Variance[1],
			len(c.History), c.Solver[0].Step, c.Solver[1].Step, n, float32(0))
	}
	tr := trained(f, small(f))
	start := must(f, tr)
	var weights [][]float32
	for _, p := range tr.c.Net.Params() {
		weights = append(weights, slices.Clone(p.Value().Data().([]float32)))
	}
	untouched := func() bool { // as at the start, without the time that writing a file takes
		for i, p := range tr.c.Net.Params() {
			if !slices.Equal(p.Value().Data().([]float32), weights[i]) {
				return false
			}
		}
		return tr.epoch == 0 && tr.step == 0 && slices.EqualFunc(layerStates(tr.c.Net), start.Layers, func(a, b layerState) bool {
			return slices.Equal(a.Mean, b.Mean) && slices.Equal(a.Variance, b.Variance)
		})
	}
	f.Fuzz(func(t *testing.T, epoch, step, images, top1, top5 int, loss, seconds float64, file uint8, at, drop uint16, patch []byte, mean, variance float64, history, scheduled, steps, side int, momentum float32) {
		if len(patch) > 128 {
			return
		}
		c := *all[3]
		c.Epoch, c.Step, c.Sum, c.Seconds = epoch, step, tally{loss, top1, top5, images}, seconds
		c.Weights = gtest.Splice(all[int(file)%len(all)].Weights, at, drop, patch)
		c.History = c.History[:min(max(history, 0), 2)]
		c.Layers = []layerState{{Mean: []float64{mean, 0}, Variance: []float64{1, variance}}}
		tensors := slices.Clone(c.Solver[1].Slots[0].Tensors)
		first := slices.Clone(tensors[0].Float32)
		first[0] = momentum
		tensors[0] = solvers.Tensor{Shape: []int{side, tensors[0].Shape[1]}, Float32: first}
		c.Solver = []solverState{
			{Solver: c.Solver[0].Solver, Step: scheduled, Inner: true},
			{Solver: c.Solver[1].Solver, Step: steps, Slots: []slotState{{c.Solver[1].Slots[0].Name, tensors}}},
		}
		if err := tr.restore(&c); err != nil {
			if !untouched() {
				t.Fatalf("refused, and not as before: %v", err)
			}
			return
		}
		if at := must(t, tr); at.Epoch != epoch || at.Step != step || at.Sum != c.Sum || !slices.Equal(at.Layers[0].Mean, c.Layers[0].Mean) {
			t.Fatalf("restored as %+v", at)
		}
		if err := tr.stepper.graph.load(make([]float32, 16), []int{0, 1, 0, 1}); err != nil {
			t.Fatal(err)
		}
		if err := tr.stepper.vm.RunAll(); err == nil { // or the numbers in the file are too large to go on with, and it says so
			if err := tr.c.Solver.Step(tr.stepper.model); err != nil {
				t.Log(err)
			}
		}
		tr.stepper.vm.Reset()
		if err := tr.restore(start); err != nil {
			t.Fatal(err)
		}
	})
}

// With an interval that has not passed, short epochs leave nothing but what training ends with, and it ends with the same.
func TestInterval(t *testing.T) {
	var want [][]byte
	for _, interval := range []time.Duration{0, time.Hour, time.Nanosecond} {
		c := digits(t, nodes.Sign)
		c.Dir, c.Interval = t.TempDir(), interval
		var after [][]string // what is there after each epoch
		c.OnEpoch = func(*Epoch) { after = append(after, Left(c.Dir)) }
		within := false // an epoch
		c.OnStep = func(s Step) { within = within || s.Epoch == 0 && s.Step > 2 && len(Left(c.Dir)) > 0 }
		tr := trained(t, c)
		if err := tr.Run(context.Background()); err != nil {
			t.Fatal(err)
		}
		if early := len(after[0]) > 0; early != (interval < time.Hour) || len(after[2]) != 2 {
			t.Errorf("every %v: %v", interval, after)
		}
		if within != (interval == time.Nanosecond) {
			t.Errorf("every %v: checkpoint within the epoch: %v", interval, within)
		}
		var got [][]byte
		for _, name := range []string{BestFile, LastFile} {
			b, err := os.ReadFile(filepath.Join(c.Dir, name))
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, b)
		}
		if want == nil {
			want = got
		}
		for i := range got {
			if !bytes.Equal(got[i], want[i]) {
				t.Errorf("every %v: file %d differs", interval, i)
			}
		}
	}
	c := digits(t, nodes.Sign)
	c.Interval = -1
	_, err := New(c)
	gtest.WantError(t, "interval", err, "Interval -1ns")
}
