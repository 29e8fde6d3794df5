package models_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"math"
	"runtime"
	"strings"
	"testing"

	"github.com/ftprop/ftprop/internal/gtest"
	"github.com/ftprop/ftprop/models"
	"gorgonia.org/gorgonia"
	"gorgonia.org/tensor"
)

// Sizes that no memory holds are refused before it is asked for, with an error that names what is wrong; nothing panics.
func TestHostileSizes(t *testing.T) {
	networks := map[string]struct {
		build  constructor
		input  []int
		widths int
	}{
		"MLP":              {models.MLP, []int{2, 3}, 2},
		"ConvNet4":         {models.ConvNet4, []int{2, 3, 8, 8}, 3},
		"ConvNet8":         {models.ConvNet8, []int{2, 3, 32, 32}, 7},
		"AlexNet":          {models.AlexNet, []int{2, 3, 68, 68}, 7},
		"ResNet18":         {models.ResNet18, []int{2, 3, 8, 8}, 4},
		"ResNet34":         {models.ResNet34, []int{2, 3, 8, 8}, 4},
		"ResNet18ImageNet": {models.ResNet18ImageNet, []int{2, 3, 32, 32}, 4},
	}
	for name, n := range networks {
		ones := func(large, at int) []int {
			w := make([]int, n.widths)
			for i := range w {
				w[i] = 2
			}
			if at >= 0 {
				w[at] = large
			}
			return w
		}
		fails := func(what string, input []int, cfg models.Config, words ...string) {
			t.Helper()
			net, err := n.build(inputOf(input), cfg)
			gtest.WantError(t, fmt.Sprint(name, " ", what, " ", input), err, append(words, "models: "+name)...)
			if net != nil || err != nil && strings.Contains(err.Error(), "panic") {
				t.Errorf("%s %s: %v, %v", name, what, net, err)
			}
		}
		for _, large := range []int{-1 << 62, -1, 1<<24 + 1, 1 << 32, 1 << 40, 1 << 62, 1<<62 + 1, math.MaxInt} {
			if gtest.Race && large > 0 && large < math.MaxInt { // building is slow, and on one goroutine
				continue
			}
			fails("classes", n.input, models.Config{Classes: large, Widths: ones(0, -1)}, "Classes", fmt.Sprint(large))
			for at := range n.widths {
				fails("widths", n.input, models.Config{Widths: ones(large, at)}, fmt.Sprintf("Widths[%d]", at), fmt.Sprint(large))
			}
			if large < 0 {
				continue
			}
			for at := range n.input {
				if at == 0 && large < 1<<44 {
					continue // a batch is data, not parameters
				}
				if at > 1 && large < 1<<62 {
					continue // maps as well, as long as their sizes can be told
				}
				in := append([]int{}, n.input...)
				in[at] = large
				fails("input", in, models.Config{Widths: ones(0, -1)}, "input")
			}
		}
		// Each size is possible, the parameter between them is not.
		w := ones(1<<16, 0)
		w[1] = 1 << 16
		fails("both", n.input, models.Config{Widths: w}, "parameter", ".weight", "65536")

		net, err := n.build(inputOf(n.input), models.Config{Widths: ones(0, -1)})
		if err != nil {
			t.Fatal(name, err)
		}
		for _, batch := range []int{-1 << 62, -1, 0, 1 << 62, 1<<62 + 1, math.MaxInt} {
			_, err := net.At(batch)
			gtest.WantError(t, fmt.Sprint(name, " at ", batch), err, "models: "+name)
		}
	}
}

func inputOf(shape []int) *gorgonia.Node { return input(tensor.Float32, shape...) }

// zeros has so many.
type zeros struct{ left int }

func (z *zeros) Read(p []byte) (int, error) {
	n := min(len(p), z.left)
	clear(p[:n])
	if z.left -= n; n == 0 {
		return 0, io.EOF
	}
	return n, nil
}

// A file takes memory in proportion to the network that is to have its weights, whatever its header says and whatever follows.
func TestHostileFiles(t *testing.T) {
	if gtest.Race {
		t.Skip("what it measures is memory")
	}
	net, err := models.MLP(inputOf([]int{1, 2}), models.Config{Widths: []int{2}, Classes: 2})
	net = must(t, net, err)
	good := saved(t, net)
	// Objects without anything in them take the most memory for their bytes.
	header := func(size int) []byte {
		var b strings.Builder
		b.WriteString("{")
		for i := 0; b.Len() < size-20; i++ {
			fmt.Fprintf(&b, `"%x":{},`, i)
		}
		b.WriteString(`"z":{}}`)
		return append(binary.LittleEndian.AppendUint64(nil, uint64(b.Len())), b.String()...)
	}
	load := func(r io.Reader) error { return net.Load(r) }
	identity := func(r io.Reader) error { _, _, err := models.ReadIdentity(r); return err }
	for name, c := range map[string]struct {
		file  io.Reader
		read  func(io.Reader) error
		most  uint64 // bytes
		words string
	}{
		"header":                     {bytes.NewReader(header(1 << 16)), load, 6 << 20, "whole safetensors"},
		"longer header":              {bytes.NewReader(header(1 << 18)), load, 1 << 20, "header is 26"},
		"header of an identity":      {bytes.NewReader(header(1 << 18)), identity, 20 << 20, "whole safetensors"},
		"long header of an identity": {bytes.NewReader(header(1 << 20)), identity, 1 << 20, "header is 104"},
		"what follows":               {io.MultiReader(bytes.NewReader(good), &zeros{300 << 20}), load, 2 << 20, "more than the 6"},
		"what follows an identity":   {io.MultiReader(bytes.NewReader(good), &zeros{300 << 20}), identity, 1 << 20, "bytes behind its header"},
	} {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		err := c.read(c.file)
		runtime.ReadMemStats(&after)
		gtest.WantError(t, name, err, "models: ", c.words)
		if n := after.TotalAlloc - before.TotalAlloc; n > c.most {
			t.Errorf("%s: allocated %d kB, want at most %d", name, n>>10, c.most>>10)
		}
	}
	if err := net.Load(bytes.NewReader(good)); err != nil {
		t.Error(err)
	}
	// A larger network's file is still told by its names.
	large, err := models.MLP(inputOf([]int{1, 2}), models.Config{Widths: []int{300, 300}, Classes: 2})
	gtest.WantError(t, "larger", net.Load(bytes.NewReader(saved(t, must(t, large, err)))), "fc3.weight", "widths")
}
