package opkit_test

import (
	"fmt"
	"math"
	"slices"
	"testing"

	"github.com/ftprop/ftprop/internal/gtest"
	"github.com/ftprop/ftprop/internal/opkit"
	"github.com/ftprop/ftprop/models"
	"github.com/ftprop/ftprop/nodes"
	"github.com/ftprop/ftprop/ops"
	"github.com/ftprop/ftprop/solvers"
	"github.com/ftprop/ftprop/train"
	"gorgonia.org/gorgonia"
	"gorgonia.org/tensor"
)

// leanNets are of all kinds of layers and joints: pools, norms, dropout, shortcuts, sums of gradients.
func leanNets() map[string]func(dt tensor.Dtype) (*models.Net, error) {
	images := func(dt tensor.Dtype, shape ...int) *gorgonia.Node {
		return gorgonia.NewTensor(gorgonia.NewGraph(), dt, len(shape), gorgonia.WithShape(shape...), gorgonia.WithName("x"))
	}
	qrelu := func(x *gorgonia.Node) (*gorgonia.Node, error) { return nodes.QReLU(x, 2) }
	return map[string]func(dt tensor.Dtype) (*models.Net, error){
		"MLP": func(dt tensor.Dtype) (*models.Net, error) {
			return models.MLP(images(dt, 64, 1, 16, 16), models.Config{Seed: 1, Widths: []int{300, 300}})
		},
		"ConvNet4": func(dt tensor.Dtype) (*models.Net, error) {
			return models.ConvNet4(images(dt, 4, 3, 32, 32), models.Config{Seed: 1, BatchNorm: true, Act: qrelu})
		},
		"ConvNet8": func(dt tensor.Dtype) (*models.Net, error) {
			return models.ConvNet8(images(dt, 2, 3, 40, 40), models.Config{Seed: 1, BatchNorm: true, Dropout: 0.5})
		},
		"ResNet18": func(dt tensor.Dtype) (*models.Net, error) {
			return models.ResNet18(images(dt, 2, 3, 32, 32), models.Config{Seed: 1})
		},
		"BiReal": func(dt tensor.Dtype) (*models.Net, error) {
			return models.ResNet18(images(dt, 2, 3, 32, 32), models.Config{Seed: 1, Order: models.BiReal, Weights: ops.SignWeights{}})
		},
		"ReLU": func(dt tensor.Dtype) (*models.Net, error) {
			return models.ResNet18ImageNet(images(dt, 2, 3, 64, 64), models.Config{Seed: 1, Classes: 10, Act: nodes.ReLU})
		},
	}
}

// Steps with shared memory have the same bits as those of a machine of one's own, in which every result has memory of its own. All memory comes back.
func TestSharedMemoryHasTheSameBits(t *testing.T) {
	if gtest.Race {
		t.Skip("much arithmetic")
	}
	for name, build := range leanNets() {
		for _, dt := range []tensor.Dtype{tensor.Float32, tensor.Float64} {
			if dt == tensor.Float64 && name != "ConvNet8" { // the memory of one dtype is handled as that of the other
				continue
			}
			t.Run(fmt.Sprintf("%s/%v", name, dt), func(t *testing.T) {
				net := must(build(dt))(t)
				want := plainSteps(t, net)
				for _, lean := range []bool{false, true} {
					if got := leanSteps(t, must(build(dt))(t), lean); !slices.Equal(got, want) {
						t.Errorf("lean %v: losses and weights differ", lean)
					}
				}
			})
		}
	}
}

func must[T any](x T, err error) func(t *testing.T) T {
	return func(t *testing.T) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return x
	}
}

// steps takes three steps on images and labels made up, and returns the losses and the last weights. check follows each.
func steps(t *testing.T, net *models.Net, x, y *tensor.Dense, step func() (float64, error), check func()) (out []float64) {
	t.Helper()
	for k := range 3 {
		for i := range x.DataSize() {
			set(x, i, math.Sin(float64(i*(k+1))))
		}
		classes := y.Shape()[1]
		for i := range y.DataSize() {
			set(y, i, 0)
			if i%classes == (i/classes+k)%classes {
				set(y, i, 1)
			}
		}
		out = append(out, must(step())(t))
		check()
	}
	for _, p := range net.Params() {
		out = append(out, must(opkit.Floats(p.Value()))(t)...)
	}
	return out
}

func set(x *tensor.Dense, i int, v float64) {
	switch data := x.Data().(type) {
	case []float32:
		data[i] = float32(v)
	case []float64:
		data[i] = v
	}
}

// plainSteps are those of a machine alone.
func plainSteps(t *testing.T, net *models.Net) []float64 {
	t.Helper()
	dt := net.Input.Dtype()
	x := tensor.New(tensor.Of(dt), tensor.WithShape(net.Input.Shape().Clone()...))
	y := tensor.New(tensor.Of(dt), tensor.WithShape(net.Logits.Shape().Clone()...))
	labels := gorgonia.NewMatrix(net.Input.Graph(), dt, gorgonia.WithName("y"), gorgonia.WithShape(y.Shape()...), gorgonia.WithValue(y))
	if err := gorgonia.Let(net.Input, x); err != nil {
		t.Fatal(err)
	}
	cost := must(nodes.CrossEntropy(net.Logits, labels))(t)
	var loss gorgonia.Value
	gorgonia.Read(cost, &loss)
	must(gorgonia.Grad(cost, net.Params()...))(t)
	vm := gorgonia.NewTapeMachine(net.Input.Graph(), gorgonia.BindDualValues(net.Params()...))
	defer vm.Close()
	solver := &solvers.Adam{LearnRate: 1e-2}
	return steps(t, net, x, y, func() (float64, error) {
		defer vm.Reset()
		if err := vm.RunAll(); err != nil {
			return 0, err
		}
		l, err := opkit.Floats(loss)
		if err != nil {
			return 0, err
		}
		return l[0], solver.Step(gorgonia.NodesToValueGrads(net.Params()))
	}, func() {})
}

// leanSteps are those of a Stepper.
func leanSteps(t *testing.T, net *models.Net, lean bool) []float64 {
	t.Helper()
	s := must(train.NewStepper(train.StepperConfig{
		Input: net.Input, Logits: net.Logits, Params: net.Params(), Solver: &solvers.Adam{LearnRate: 1e-2}, Lean: lean,
	}))(t)
	defer s.Close()
	return steps(t, net, s.X, s.Y, s.Step, func() {
		some := false
		for _, n := range net.Input.Graph().AllNodes() {
			shares, waiting := opkit.Shares(n)
			if some = some || shares; !shares {
				continue
			}
			if waiting > 0 {
				t.Fatalf("%v: %d operations have not given its memory back", n, waiting)
			}
			if v, err := opkit.Floats(n.Value()); err != nil || len(v) != 1 || !math.IsNaN(v[0]) {
				t.Fatalf("%v, whose memory others have had, has a value of shape %v after a step: want NaN (%v)", n, n.Value().Shape(), err)
			}
		}
		if !some {
			t.Error("nothing shares memory")
		}
	})
}

// What gorgonia.Read reads is left alone: it is what the same step of a plain machine has.
func TestSharedMemoryIsNotRead(t *testing.T) {
	net := must(leanNets()["ConvNet4"](tensor.Float32))(t)
	var hidden [3]gorgonia.Value
	for i := range hidden {
		gorgonia.Read(net.Hidden[i], &hidden[i])
	}
	s := must(train.NewStepper(train.StepperConfig{
		Input: net.Input, Logits: net.Logits, Params: net.Params(), Solver: &solvers.Adam{LearnRate: 1e-2}, Lean: true,
	}))(t)
	defer s.Close()
	steps(t, net, s.X, s.Y, s.Step, func() {
		for i, n := range net.Hidden[:3] {
			got, value := must(opkit.Floats(hidden[i]))(t), must(opkit.Floats(n.Value()))(t)
			if len(got) != n.Shape().TotalSize() || !slices.Equal(got, value) || slices.ContainsFunc(got, func(h float64) bool { return h < 0 || h > 1 }) {
				t.Errorf("layer %d: read %d values, %v first, the node has %d", i, len(got), got[0], len(value))
			}
		}
	})
}

// A step that is broken off leaves memory with operations that have not run. The next ones are as if it had not been.
func TestSharedMemoryAfterAnError(t *testing.T) {
	build := leanNets()["ConvNet8"]
	first := must(build(tensor.Float32))(t)
	clean := must(train.NewStepper(train.StepperConfig{Input: first.Input, Logits: first.Logits, Params: first.Params(), Solver: &solvers.SGD{LearnRate: 1e-2}, Lean: true}))(t)
	defer clean.Close()
	want := steps(t, first, clean.X, clean.Y, clean.Step, func() {})

	net := must(build(tensor.Float32))(t)
	s := must(train.NewStepper(train.StepperConfig{Input: net.Input, Logits: net.Logits, Params: net.Params(), Solver: &solvers.SGD{LearnRate: 1e-2}, Lean: true}))(t)
	defer s.Close()
	got := steps(t, net, s.X, s.Y, func() (float64, error) {
		was := s.X.Float32s()[0]
		s.X.Float32s()[0] = float32(math.NaN())
		if _, err := s.Step(); err == nil {
			return 0, fmt.Errorf("no error for NaN in an image")
		}
		s.X.Float32s()[0] = was
		return s.Step()
	}, func() {})
	if len(got) != len(want) || got[0] != want[0] {
		t.Errorf("the first loss is %v, without an error before it %v", got[0], want[0])
	}
}
