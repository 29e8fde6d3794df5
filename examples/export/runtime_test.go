package main

import (
	"bytes"
	"fmt"
	"math"
	"os"
	"strconv"
	"testing"

	"github.com/ftprop/ftprop/examples/data"
	"github.com/ftprop/ftprop/examples/loop"
	"github.com/ftprop/ftprop/examples/setup"
	"github.com/ftprop/ftprop/internal/gtest"
	"github.com/ftprop/ftprop/internal/ort"
	"github.com/ftprop/ftprop/models"
	"github.com/ftprop/ftprop/ops"
	"github.com/ftprop/ftprop/ops/nn"
	"github.com/ftprop/ftprop/solvers"
	"gorgonia.org/gorgonia"
	"gorgonia.org/tensor"
)

// agreement is how a network agrees with ONNX Runtime.
//
// Both compute in float32, and add up in different orders, so their pre-activations differ by rounding. Where one lies that close
// to a threshold the unit may come out on different sides, which is as right as the other; all that follows from it differs too. So
// images are told apart by whether any unit of any threshold layer differs, and for those with one the first layer in which
// one does is looked at: its inputs are equal in both, so its units can differ by rounding alone, next to a threshold.
type agreement struct {
	images, classes int
	within          int     // images whose logits all agree within 1e-4
	same            int     // images of which no unit differs
	worstSame       float64 // largest difference of logits among those; without threshold layers among all
	worst           float64 // among all
	units, flips    int     // units compared; units of first layers that differ
	margin          float64 // largest distance of such a unit's pre-activation from the threshold, relative to the layer's largest pre-activation
	rounding        float64 // if worstSame is beyond 1e-4: the largest difference of the logits here from those in float64
	logits          []float32
}

func (a agreement) String() string {
	s := fmt.Sprintf("%d images: %d classes equal, %d logits within 1e-4, worst %.2g; %d images without a flipped unit, worst logit of those %.2g; %d of %d units flipped by rounding, margin at most %.1g",
		a.images, a.classes, a.within, a.worst, a.same, a.worstSame, a.flips, a.units, a.margin)
	if a.rounding > 0 {
		s += fmt.Sprintf("; from the logits in float64 those here differ by %.2g", a.rounding)
	}
	return s
}

// check fails the test for a difference that rounding does not explain.
func (a agreement) check(t *testing.T) {
	t.Helper()
	if !(a.worstSame <= max(1e-4, 4*a.rounding)) || a.margin > 1e-5 || a.flips*10000 > a.units {
		t.Errorf("more than rounding: %v", a)
	}
}

// inDouble measures what rounding does to the logits here. It is for networks in which small differences grow from layer to layer, as they
// do by a factor of 2 or more for CAbs with random weights.
func (a *agreement) inDouble(t *testing.T, net, double *models.Net, x []float32) {
	t.Helper()
	if a.worstSame <= 1e-4 {
		return
	}
	var file bytes.Buffer
	if err := net.Save(&file); err != nil {
		t.Fatal(err)
	}
	if err := double.Load(&file); err != nil {
		t.Fatal(err)
	}
	n := min(a.images, 50) // enough to see it, and double takes memory
	at, err := double.At(n)
	if err != nil {
		t.Fatal(err)
	}
	wide := make([]float64, at.Input.Shape().TotalSize())
	for i := range wide {
		wide[i] = float64(x[i])
	}
	if err := gorgonia.Let(at.Input, tensor.New(tensor.WithShape(at.Input.Shape()...), tensor.WithBacking(wide))); err != nil {
		t.Fatal(err)
	}
	var v gorgonia.Value
	gorgonia.Read(at.Logits, &v)
	vm := gorgonia.NewTapeMachine(at.Input.Graph())
	defer vm.Close()
	if err := vm.RunAll(); err != nil {
		t.Fatal(err)
	}
	for i, want := range v.Data().([]float64) {
		a.rounding = max(a.rounding, math.Abs(float64(a.logits[i])-want))
	}
}

// images returns n normalised images of the shape that the network takes.
func images(t *testing.T, src data.Source, n int, net *models.Net) []float32 {
	t.Helper()
	size := net.Input.Shape()[1:].TotalSize()
	x := make([]float32, n*size)
	for i := range n {
		if _, err := src.Sample(i, nil, x[i*size:(i+1)*size]); err != nil {
			t.Fatal(err)
		}
	}
	return x
}

// compare runs both on images, chunk at a time. The model must have its activations as outputs.
func compare(t *testing.T, rt ort.Runtime, net *models.Net, model []byte, x []float32, chunk int) (a agreement) {
	t.Helper()
	size := net.Input.Shape()[1:].TotalSize()
	a.images = len(x) / size
	chunk = min(chunk, a.images)
	for from := 0; from < a.images; from += chunk {
		n := min(chunk, a.images-from)
		at, err := net.At(n)
		if err != nil {
			t.Fatal(err)
		}
		part := x[from*size : (from+n)*size]
		out := rt.Run(t, model, part, at.Input.Shape(), min(n, 50))
		g := at.Input.Graph()
		values := make([]gorgonia.Value, 1+2*len(at.Hidden)) // logits, activations, pre-activations
		gorgonia.Read(at.Logits, &values[0])
		for i, h := range at.Hidden {
			gorgonia.Read(h, &values[1+i])
			children := g.From(h.ID())
			children.Next()
			gorgonia.Read(children.Node().(*gorgonia.Node), &values[1+len(at.Hidden)+i])
		}
		if err := gorgonia.Let(at.Input, tensor.New(tensor.WithShape(at.Input.Shape()...), tensor.WithBacking(part))); err != nil {
			t.Fatal(err)
		}
		vm := gorgonia.NewTapeMachine(g)
		if err := vm.RunAll(); err != nil {
			t.Fatal(err)
		}
		float := func(i int) []float32 { return values[i].Data().([]float32) }
		a.logits = append(a.logits, float(0)...)
		for i := range n {
			flipped := false
			for l, h := range at.Hidden {
				act, ok := h.Op().(ops.Activation)
				if !ok {
					continue
				}
				k := h.Shape()[1:].TotalSize()
				ours, theirs, z := float(1 + l)[i*k:(i+1)*k], out[1+l].Data[i*k:(i+1)*k], float(1 + len(at.Hidden) + l)[i*k:(i+1)*k]
				a.units += k
				scale := 0.0
				for u := range z {
					scale = max(scale, math.Abs(float64(z[u])))
				}
				for u := range ours {
					if ours[u] != theirs[u] && !flipped {
						a.flips++
						a.margin = max(a.margin, distance(float64(z[u]), act.Layer().Levels)/scale)
					}
				}
				for u := range ours {
					flipped = flipped || ours[u] != theirs[u]
				}
			}
			c := at.Logits.Shape()[1]
			ours, theirs := float(0)[i*c:(i+1)*c], out[0].Data[i*c:(i+1)*c]
			worst := 0.0
			for k := range ours {
				worst = max(worst, math.Abs(float64(ours[k])-float64(theirs[k])))
			}
			if argmax(ours) == argmax(theirs) {
				a.classes++
			}
			if worst <= 1e-4 {
				a.within++
			}
			a.worst = max(a.worst, worst)
			if !flipped {
				a.same++
				a.worstSame = max(a.worstSame, worst)
			}
		}
		if err := vm.Close(); err != nil {
			t.Fatal(err)
		}
	}
	return a
}

// distance of z from the nearest threshold.
func distance(z float64, lv ops.Levels) float64 {
	if lv.Steps == 1 {
		return math.Abs(z)
	}
	gap := (lv.Hi - lv.Lo) / float64(lv.Steps-1)
	k := math.Min(math.Max(math.Round((z-lv.Lo)/gap), 0), float64(lv.Steps-1))
	return math.Abs(z - lv.Lo - k*gap)
}

func argmax(x []float32) int {
	best := 0
	for i, v := range x {
		if v > x[best] {
			best = i
		}
	}
	return best
}

// enlarge repeats each pixel k times in both directions, on three channels.
func enlarge(x []float32, side, k int) []float32 {
	n := len(x) / (side * side)
	out := make([]float32, 0, n*3*side*side*k*k)
	for i := range n {
		for range 3 {
			for r := range side * k {
				for c := range side * k {
					out = append(out, x[i*side*side+r/k*side+c/k])
				}
			}
		}
	}
	return out
}

// All networks at their real sizes, with real images of Fashion-MNIST, where they are installed. MLP and ConvNets are trained for a moment;
// the others have random weights and the running statistics of some images. There are 50 images, 4 for the networks of ImageNet's
// size and ResNet34. FTPROP_ONNX_IMAGES=1000 makes it 1000 and 8, trains ResNet18 too, and takes 20 minutes on two cores;
// FTPROP_ONNX_LARGE_IMAGES is the number for those three.
func TestFashion(t *testing.T) {
	rt := ort.Find(t)
	const dir = "/usr/share/datasets/fashion-mnist" // of Debian's package dataset-fashion-mnist
	train, test, err := data.MNISTImages(dir)
	if err != nil {
		t.Skipf("SKIPPED: %v", err)
	}
	if gtest.Race {
		t.Skip("SKIPPED: numbers, not goroutines, are what this is about")
	}
	number := func(name string, n int) int {
		if v := os.Getenv(name); v != "" {
			if n, err = strconv.Atoi(v); err != nil || n < 1 {
				t.Fatalf("%s=%s: want a positive number", name, v)
			}
		}
		return n
	}
	many := number("FTPROP_ONNX_IMAGES", 50)
	few, steps := min(many, 4), 0
	if many >= 1000 {
		few, steps = 8, 20
	}
	few = number("FTPROP_ONNX_LARGE_IMAGES", few)
	for _, c := range []struct {
		arch          string
		side, ch      int
		images, train int
	}{{"mlp", 28, 1, many, 3200}, {"convnet4", 28, 1, many, 1920}, {"convnet8", 32, 3, many, 640}, {"resnet18", 32, 3, many, 64 * steps}, {"resnet34", 32, 3, few, 0}, {"alexnet", 224, 3, few, 0}, {"resnet18-imagenet", 224, 3, few, 0}} {
		for _, act := range []string{"sign", "step01", "qrelu", "staircase5", "relu", "trelu", "hardtanh", "cabs"} {
			t.Run(c.arch+"/"+act, func(t *testing.T) {
				tr := data.Transform{Norm: data.NormMNIST(), Channels: c.ch, Height: c.side, Width: c.side}
				if c.side == 224 {
					tr = data.Transform{Norm: data.NormMNIST()}
				}
				from, err := tr.Apply(train)
				if err != nil {
					t.Fatal(err)
				}
				to, err := tr.Apply(test)
				if err != nil {
					t.Fatal(err)
				}
				batch := min(c.images, 64)
				build := func(dt tensor.Dtype) *models.Net {
					x := gorgonia.NewTensor(gorgonia.NewGraph(), dt, 4, gorgonia.WithName("x"), gorgonia.WithShape(batch, c.ch, c.side, c.side))
					net, err := (&setup.Network{Arch: c.arch, Act: act, Rule: "SoftHinge", BatchNorm: true}).Build(x, 10, 1)
					if err != nil {
						t.Fatal(err)
					}
					return net
				}
				net := build(tensor.Float32)
				read := func(src data.Source, n int) []float32 {
					if c.side != 224 {
						return images(t, src, n, net)
					}
					small := make([]float32, n*28*28)
					for i := range n {
						if _, err := src.Sample(i, nil, small[i*784:(i+1)*784]); err != nil {
							t.Fatal(err)
						}
					}
					return enlarge(small, 28, 8)
				}
				calibrate(t, net, read(from, batch))
				if c.train > 0 {
					shortly(t, net, from, c.train)
				}
				var model bytes.Buffer
				if err := net.ExportONNX(&model, models.ONNXOptions{Hidden: true}); err != nil {
					t.Fatal(err)
				}
				x := read(to, c.images)
				a := compare(t, rt, net, model.Bytes(), x, 100)
				a.inDouble(t, net, build(tensor.Float64), x)
				t.Log(a)
				a.check(t)
			})
		}
	}
}

// calibrate sets the running statistics to those of a batch.
func calibrate(t *testing.T, net *models.Net, x []float32) {
	t.Helper()
	momentum := func(m float64) {
		for _, n := range net.Input.Graph().AllNodes() {
			if op, ok := n.Op().(*nn.BatchNorm); ok {
				op.Momentum = m
			}
		}
	}
	momentum(1)
	defer momentum(0.1)
	if err := gorgonia.Let(net.Input, tensor.New(tensor.WithShape(net.Input.Shape()...), tensor.WithBacking(x))); err != nil {
		t.Fatal(err)
	}
	vm := gorgonia.NewTapeMachine(net.Input.Graph())
	defer vm.Close()
	if err := vm.RunAll(); err != nil {
		t.Fatal(err)
	}
}

// shortly trains on the first n images.
func shortly(t *testing.T, net *models.Net, src data.Source, n int) {
	t.Helper()
	first := make([]int, n)
	for i := range first {
		first[i] = i
	}
	src, err := data.Subset(src, first)
	if err != nil {
		t.Fatal(err)
	}
	l, err := loop.New(loop.Config{Net: net, Solver: &solvers.Adam{LearnRate: 1e-3}, Train: src, Epochs: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if err := l.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
}
