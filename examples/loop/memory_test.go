package loop

import (
	"bytes"
	"context"
	"io"
	"runtime"
	"testing"

	"github.com/ftprop/ftprop/examples/data"
	"github.com/ftprop/ftprop/internal/gtest"
	"github.com/ftprop/ftprop/models"
	"github.com/ftprop/ftprop/nodes"
	"github.com/ftprop/ftprop/solvers"
	"gorgonia.org/gorgonia"
	"gorgonia.org/tensor"
)

// black returns n images of a 3x16x16 set.
func black(t *testing.T, n int) *data.Images {
	t.Helper()
	labels := make([]int, n)
	for i := range labels {
		labels[i] = i % 10
	}
	m, err := data.NewImages(make([]uint8, n*3*16*16), labels, 3, 16, 16, 10)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func convnet4(t *testing.T, batch int) *models.Net {
	t.Helper()
	x := gorgonia.NewTensor(gorgonia.NewGraph(), tensor.Float32, 4, gorgonia.WithName("x"), gorgonia.WithShape(batch, 3, 16, 16))
	net, err := models.ConvNet4(x, models.Config{Act: nodes.Sign, Seed: 1})
	if err != nil {
		t.Fatal(err)
	}
	return net
}

// live is the memory that is in use, in bytes.
func live() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// allocated is what f allocates, in bytes.
func allocated(f func()) int64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return int64(after.TotalAlloc - before.TotalAlloc)
}

// What evaluation and the look at the layers keep depends neither on the number of images nor on -inspect's: the graphs are of small
// batches. (What is remembered of the layers' units is 4 bytes each.)
func TestMemoryOfLargeSets(t *testing.T) {
	if gtest.Race {
		t.Skip("what it measures is memory, and the race detector has memory of its own")
	}
	kept := func(images, inspect int) int64 {
		net, set := convnet4(t, 16), black(t, images)
		before := live()
		e, err := NewEvaluator(net, nodes.CrossEntropy, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer e.Close()
		p, err := newProbe(&Config{Net: net, Loss: nodes.CrossEntropy, Train: set, Inspect: inspect})
		if err != nil {
			t.Fatal(err)
		}
		defer p.vm.Close()
		for range 2 {
			if _, err := e.Evaluate(context.Background(), set, 1); err != nil {
				t.Fatal(err)
			}
			if _, err := p.look(1); err != nil {
				t.Fatal(err)
			}
		}
		d := live() - before
		runtime.KeepAlive(set)
		return d
	}
	small, large := kept(100, 50), kept(500, 400)
	units := int64(32*9*9 + 64*4*4 + 1024)
	if most := small + 350*units*4 + 1<<20; large > most {
		t.Errorf("%d bytes kept for 500 images, 400 looked at, %d for 100 and 50; want at most %d", large, small, most)
	}
}

// A checkpoint is written and read without copies of all that it holds, whatever it holds.
func TestMemoryOfCheckpoints(t *testing.T) {
	if gtest.Race {
		t.Skip("what it measures is memory, and the race detector has memory of its own")
	}
	const n = 1 << 21
	c := &checkpoint{
		Weights: make([]byte, 4*n),
		Solver: []solverState{{Solver: "Adam", Slots: []slotState{
			{"a", []solvers.Tensor{{Shape: []int{n}, Float32: make([]float32, n)}}}, {"b", []solvers.Tensor{{Shape: []int{n / 2}, Float64: make([]float64, n/2)}}},
		}}},
	}
	const holds = 12 * n
	if got := allocated(func() {
		if err := c.encode(io.Discard); err != nil {
			t.Fatal(err)
		}
	}); got > 1<<20 {
		t.Errorf("writing %d bytes allocated %d", holds, got)
	}
	var b bytes.Buffer
	if err := c.encode(&b); err != nil {
		t.Fatal(err)
	}
	r := bytes.NewReader(b.Bytes())
	if got := allocated(func() {
		if _, err := decodeCheckpoint(r, r.Size()); err != nil {
			t.Fatal(err)
		}
	}); got > holds+1<<20 {
		t.Errorf("reading %d bytes allocated %d", holds, got)
	}
}
