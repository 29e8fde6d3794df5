package main

import (
	"bytes"
	"fmt"
	"math"
	"testing"

	"github.com/ftprop/ftprop/internal/ort"
	"github.com/ftprop/ftprop/models"
	"github.com/ftprop/ftprop/ops"
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
	largest         float64 // logit, by magnitude
	units, flips    int     // units compared; units of first layers that differ
	margin          float64 // largest distance of such a unit's pre-activation from the threshold, relative to the layer's largest pre-activation
	rounding        float64 // if worstSame is beyond 1e-4: the largest difference of the logits here from those in float64
	logits          []float32
}

func (a agreement) String() string {
	s := fmt.Sprintf("%d images: %d classes equal, %d logits within 1e-4, worst %.2g of logits up to %.3g; %d images without a flipped unit, worst logit of those %.2g; %d of %d units flipped by rounding, margin at most %.1g",
		a.images, a.classes, a.within, a.worst, a.largest, a.same, a.worstSame, a.flips, a.units, a.margin)
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

// compare runs both on images, chunk at a time. The model must have its activations as outputs.
func compare(t *testing.T, rt ort.Runtime, net *models.Net, model []byte, x []float32, chunk int) (a agreement) {
	t.Helper()
	a.chunks(t, rt, net, model, x, chunk, func(at *models.Net) func(int, []ort.Output) bool {
		values := make([]gorgonia.Value, 2*len(at.Hidden)) // activations, pre-activations
		g := at.Input.Graph()
		for i, h := range at.Hidden {
			gorgonia.Read(h, &values[i])
			children := g.From(h.ID())
			children.Next()
			gorgonia.Read(children.Node().(*gorgonia.Node), &values[len(at.Hidden)+i])
		}
		return func(i int, out []ort.Output) (flipped bool) {
			for l, h := range at.Hidden {
				act, ok := h.Op().(ops.Activation)
				if !ok {
					continue
				}
				k := h.Shape()[1:].TotalSize()
				of := func(data []float32) []float32 { return data[i*k : (i+1)*k] }
				ours, theirs, z := of(values[l].Data().([]float32)), of(out[1+l].Data), of(values[len(at.Hidden)+l].Data().([]float32))
				a.units += k
				scale := 0.0
				for u := range z {
					scale = max(scale, math.Abs(float64(z[u])))
				}
				for u := range ours {
					if ours[u] != theirs[u] && !flipped {
						a.flips++
						a.margin = max(a.margin, distance(float64(z[u]), act.Threshold().Levels)/scale)
					}
				}
				for u := range ours {
					flipped = flipped || ours[u] != theirs[u]
				}
			}
			return flipped
		}
	})
	return a
}

// compareLogits is compare for a model without activations as outputs: no unit is looked at.
func compareLogits(t *testing.T, rt ort.Runtime, net *models.Net, model []byte, x []float32, chunk int) (a agreement) {
	t.Helper()
	a.chunks(t, rt, net, model, x, chunk, func(*models.Net) func(int, []ort.Output) bool {
		return func(int, []ort.Output) bool { return false }
	})
	return a
}

// chunks runs both on chunks of images, and compares logits. For each chunk it calls prepare with the network before it runs, and
// what prepare returns with each image's number in the chunk and the runtime's outputs, to be told whether a unit differs. Nothing
// but logits is kept from chunk to chunk.
func (a *agreement) chunks(t *testing.T, rt ort.Runtime, net *models.Net, model []byte, x []float32, chunk int,
	prepare func(*models.Net) func(i int, out []ort.Output) (flipped bool)) {
	t.Helper()
	size := net.Input.Shape()[1:].TotalSize()
	a.images = len(x) / size
	for from := 0; from < a.images; from += chunk {
		n := min(chunk, a.images-from)
		at, err := net.At(n)
		if err != nil {
			t.Fatal(err)
		}
		part := x[from*size : (from+n)*size]
		out := rt.Run(t, model, part, at.Input.Shape(), min(n, 50))
		var logits gorgonia.Value
		gorgonia.Read(at.Logits, &logits)
		differs := prepare(at)
		if err := gorgonia.Let(at.Input, tensor.New(tensor.WithShape(at.Input.Shape()...), tensor.WithBacking(part))); err != nil {
			t.Fatal(err)
		}
		vm := gorgonia.NewTapeMachine(at.Input.Graph())
		if err := vm.RunAll(); err != nil {
			t.Fatal(err)
		}
		all := logits.Data().([]float32)
		a.logits = append(a.logits, all...)
		c := len(all) / n
		for i := range n {
			ours, theirs := all[i*c:(i+1)*c], out[0].Data[i*c:(i+1)*c]
			worst := 0.0
			for k := range ours {
				worst = max(worst, math.Abs(float64(ours[k])-float64(theirs[k])))
				a.largest = max(a.largest, math.Abs(float64(ours[k])))
			}
			if argmax(ours) == argmax(theirs) {
				a.classes++
			}
			if worst <= 1e-4 {
				a.within++
			}
			a.worst = max(a.worst, worst)
			if !differs(i, out) {
				a.same++
				a.worstSame = max(a.worstSame, worst)
			}
		}
		if err := vm.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// predictions is the class that each image is given.
func (a *agreement) predictions() []int {
	c := len(a.logits) / a.images
	out := make([]int, a.images)
	for i := range out {
		out[i] = argmax(a.logits[i*c : (i+1)*c])
	}
	return out
}

// equal counts the places in which two slices are equal.
func equal(a, b []int) (n int) {
	for i, v := range a {
		if v == b[i] {
			n++
		}
	}
	return n
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
