package train

import (
	"fmt"
	"math"
	"slices"
	"testing"
	"time"

	"github.com/ftprop/ftprop/internal/gtest"
	"github.com/ftprop/ftprop/models"
	"github.com/ftprop/ftprop/solvers"
	"gorgonia.org/gorgonia"
	"gorgonia.org/tensor"
)

// line is a graph of stock operations: two features to two classes, weights 0.
func line(dt tensor.Dtype, batch int, w *tensor.Dense) StepperConfig {
	g := gorgonia.NewGraph()
	if w == nil {
		w = tensor.New(tensor.Of(dt), tensor.WithShape(2, 2))
	}
	x := gorgonia.NewMatrix(g, dt, gorgonia.WithName("x"), gorgonia.WithShape(batch, 2))
	p := gorgonia.NewMatrix(g, dt, gorgonia.WithName("w"), gorgonia.WithShape(2, 2), gorgonia.WithValue(w))
	return StepperConfig{Input: x, Logits: gorgonia.Must(gorgonia.Mul(x, p)), Params: gorgonia.Nodes{p}}
}

func stepper(t *testing.T, c StepperConfig) *Stepper {
	t.Helper()
	s, err := NewStepper(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// fill writes the same numbers to a tensor of either dtype.
func fill(d *tensor.Dense, v ...float64) {
	if x, ok := d.Data().([]float64); ok {
		copy(x, v)
		return
	}
	for i, v := range v {
		d.Float32s()[i] = float32(v)
	}
}

// One step of plain gradient descent, by hand: at weights 0 the loss is log 2, and its gradient x (p - y) / N.
func TestStep(t *testing.T) {
	for _, dt := range gtest.Dtypes() {
		for _, solver := range []gorgonia.Solver{gorgonia.NewVanillaSolver(gorgonia.WithLearnRate(1)), &solvers.SGD{LearnRate: 1}} {
			w := tensor.New(tensor.Of(dt), tensor.WithShape(2, 2))
			c := line(dt, 2, w)
			c.Solver = solver
			s := stepper(t, c)
			fill(s.X, 1, 0, 0, 2)
			if err := s.SetLabels([]int{0, 1}); err != nil {
				t.Fatal(err)
			}
			what := fmt.Sprintf("%v, %T", dt, solver)
			if loss, err := s.Step(); err != nil || math.Abs(loss-math.Ln2) > 1e-6 {
				t.Errorf("%s: loss %v, %v", what, loss, err)
			}
			// Both rows have p = 1/2: dw = (1, 0)^T (-1/2, 1/2) / 2 + (0, 2)^T (1/2, -1/2) / 2.
			for i, want := range []float64{0.25, -0.25, -0.5, 0.5} {
				if got := gtest.Floats(t, w)[i]; math.Abs(got-want) > 1e-6 {
					t.Errorf("%s: weight %d is %v, want %v", what, i, got, want)
				}
			}
			// The batch keeps its values, and another graph on the same weights says the same of them.
			loss, err := s.Step()
			if want := (math.Log1p(math.Exp(-0.5)) + math.Log1p(math.Exp(-2))) / 2; err != nil || math.Abs(loss-want) > 1e-6 {
				t.Errorf("%s: then loss %v, %v, want %v", what, loss, err, want)
			}
			before := slices.Clone(gtest.Floats(t, w))
			c = line(dt, 3, w)
			c.Params = nil
			eval := stepper(t, c)
			fill(eval.X, 1, 0, 0, 2, 1, 0)
			if err := eval.SetLabels([]int{0, 1, 1}); err != nil {
				t.Fatal(err)
			}
			loss, err = eval.Step()
			m, errM := eval.Metrics()
			if err != nil || errM != nil || m.Loss != loss || math.Abs(m.Top1-200./3) > 1e-9 || m.Top5 != 100 || m.Images != 3 {
				t.Errorf("%s: evaluation: %+v, %v, %v", what, m, err, errM)
			}
			if !slices.Equal(before, gtest.Floats(t, w)) {
				t.Errorf("%s: evaluation has changed the weights", what)
			}
		}
	}
}

// What cannot be trained is an error, and a loss that is not finite leaves the weights alone.
func TestStepErrors(t *testing.T) {
	for what, change := range map[string]func(*StepperConfig){
		"no input":  func(c *StepperConfig) { c.Input = nil },
		"no solver": func(c *StepperConfig) { c.Solver = nil },
		"no params": func(c *StepperConfig) { c.Params = nil },
	} {
		c := line(tensor.Float32, 2, nil)
		c.Solver = &solvers.SGD{}
		change(&c)
		_, err := NewStepper(c)
		gtest.WantError(t, what, err, "train: StepperConfig needs")
	}
	c := line(tensor.Float64, 2, nil)
	c.Solver = &solvers.SGD{}
	c.Logits = gorgonia.Must(gorgonia.Sum(c.Logits))
	_, err := NewStepper(c)
	gtest.WantError(t, "scalar logits", err, "train: ", "want (N, ...) and (N, classes)")

	c = line(tensor.Float64, 2, nil)
	c.Solver = &solvers.SGD{LearnRate: 1}
	s := stepper(t, c)
	_, err = NewStepper(c)
	gtest.WantError(t, "twice", err, "train: ", "new graph")
	_, err = s.Metrics()
	gtest.WantError(t, "before a step", err, "before SetLabels")
	gtest.WantError(t, "labels", s.SetLabels([]int{0}), "train: a batch of 1 labels, want 2")
	gtest.WantError(t, "class", s.SetLabels([]int{0, 2}), "train: label 2, want 0 to 1")

	c = line(tensor.Float64, 2, nil)
	c.Solver = &solvers.SGD{LearnRate: 1}
	c.Loss = func(logits, labels *gorgonia.Node) (*gorgonia.Node, error) {
		return gorgonia.Sum(gorgonia.Must(gorgonia.HadamardProd(logits, labels)))
	}
	s = stepper(t, c)
	fill(s.X, 1, 1, 1, 1)
	fill(s.Y, math.NaN(), 1, 1, 1)
	_, err = s.Step()
	gtest.WantError(t, "loss", err, "train: the loss is NaN", "lower learning rate")
	if got := gtest.Floats(t, c.Params[0].Value()); !slices.Equal(got, make([]float64, 4)) {
		t.Errorf("weights %v after a loss of NaN", got)
	}
}

// BenchmarkStepSizes is a step of ConvNet4, and one of ResNet-18, as width, side of the images and batch are halved and doubled. Beside the time of
// a step stands what it comes to for a multiply-add of the forward pass.
func BenchmarkStepSizes(b *testing.B) {
	type size struct {
		widen       float64
		side, batch int
	}
	for _, n := range []struct {
		name   string
		build  func(x *gorgonia.Node, c models.Config) (*models.Net, error)
		widths []int
		sizes  []size
	}{
		{"ConvNet4", models.ConvNet4, []int{32, 64, 1024}, []size{{0.5, 32, 64}, {1, 32, 64}, {2, 32, 64}, {1, 16, 64}, {1, 64, 64}, {1, 32, 1}, {1, 32, 16}, {1, 32, 256}}},
		{"ResNet-18", models.ResNet18, []int{64, 128, 256, 512}, []size{{0.5, 32, 16}, {1, 32, 16}, {2, 32, 16}, {1, 16, 16}, {1, 64, 16}, {1, 32, 1}, {1, 32, 64}, {1, 32, 256}}},
	} {
		for _, s := range n.sizes {
			b.Run(fmt.Sprintf("%s/width%v/%dx%[3]d/batch%d", n.name, s.widen, s.side, s.batch), func(b *testing.B) {
				c := models.Config{Seed: 1}
				for _, w := range n.widths {
					c.Widths = append(c.Widths, int(s.widen*float64(w)))
				}
				x := gorgonia.NewTensor(gorgonia.NewGraph(), tensor.Float32, 4, gorgonia.WithName("x"), gorgonia.WithShape(s.batch, 3, s.side, s.side))
				net, err := n.build(x, c)
				if err != nil {
					b.Fatal(err)
				}
				summary, err := net.Summary()
				if err != nil {
					b.Fatal(err)
				}
				products := 0.
				for _, o := range summary.Operations {
					products += float64(o.MultiplyAdds) * float64(s.batch)
				}
				step, err := NewStepper(StepperConfig{Input: net.Input, Logits: net.Logits, Params: net.Params(), Solver: &solvers.Adam{}, Lean: true})
				if err != nil {
					b.Fatal(err)
				}
				defer step.Close()
				for i := range step.X.Float32s() {
					step.X.Float32s()[i] = float32(math.Sin(float64(i)))
				}
				if err := step.SetLabels(make([]int, s.batch)); err != nil {
					b.Fatal(err)
				}
				for range 3 {
					if _, err := step.Step(); err != nil {
						b.Fatal(err)
					}
				}
				var times []float64 // ms
				for b.Loop() {
					start := time.Now()
					if _, err := step.Step(); err != nil {
						b.Fatal(err)
					}
					times = append(times, float64(time.Since(start))/1e6)
				}
				slices.Sort(times)
				median := times[len(times)/2]
				b.ReportMetric(0, "ns/op")
				b.ReportMetric(median, "ms/step")
				b.ReportMetric(median*1e9/products, "ps/multiply-add")
			})
		}
	}
}
