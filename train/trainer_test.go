package train

import (
	"bytes"
	"context"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/ftprop/ftprop/data"
	"github.com/ftprop/ftprop/internal/gtest"
	"github.com/ftprop/ftprop/models"
	"github.com/ftprop/ftprop/nodes"
	"github.com/ftprop/ftprop/solvers"
	"gorgonia.org/gorgonia"
	"gorgonia.org/tensor"
)

// weights are their own gradient.
type weights struct{ v gorgonia.Value }

func (w weights) Value() gorgonia.Value         { return w.v }
func (w weights) Grad() (gorgonia.Value, error) { return w.v, nil }

func TestMetrics(t *testing.T) {
	var sum tally
	add(&sum, 2, []float32{
		1, 2, 3, 4, 5, 6, // label 5: largest
		6, 6, 0, 0, 0, 0, // label 1: second of equals
		1, 2, 3, 4, 5, 6, // label 0: sixth
	}, 6, []int{5, 1, 0})
	add(&sum, 4, []float32{9, 0, 0, 0, 0, 0}, 6, []int{0})
	m := sum.metrics()
	if m != (Metrics{Loss: 2.5, Top1: 50, Top5: 75, Images: 4}) {
		t.Errorf("%+v", m)
	}
	y := []float32{7, 7, 7, 7}
	if err := oneHot(y, 2, []int{1, 0}); err != nil || !slices.Equal(y, []float32{0, 1, 1, 0}) {
		t.Errorf("%v %v", y, err)
	}
	model := []gorgonia.ValueGrad{weights{tensor.New(tensor.WithBacking([]float32{2, 3}))}, weights{tensor.New(tensor.WithShape(1), tensor.WithBacking([]float32{6}))}}
	if n, err := norm(model, gorgonia.ValueGrad.Grad); err != nil || n != 7 {
		t.Errorf("norm %v, %v, want 7", n, err)
	}
	gtest.WantError(t, "label", oneHot(y, 2, []int{2, 0}), "label 2, want 0 to 1")
}

// digits is an untrained perceptron and the embedded digits.
func digits(t testing.TB, act nodes.Activation) Config {
	t.Helper()
	set, err := data.Digits()
	if err != nil {
		t.Fatal(err)
	}
	train, test, err := data.Split(set, 0.2, 1)
	if err != nil {
		t.Fatal(err)
	}
	x := gorgonia.NewTensor(gorgonia.NewGraph(), tensor.Float32, 4, gorgonia.WithName("x"), gorgonia.WithShape(32, 1, 8, 8))
	net, err := models.MLP(x, models.Config{Widths: []int{32, 32}, Act: act, Seed: 1, BatchNorm: true})
	if err != nil {
		t.Fatal(err)
	}
	return Config{Net: net, Solver: &solvers.Adam{LearnRate: 1e-3}, Train: train, Test: test, Epochs: 3, Seed: 1, Inspect: 50}
}

func trained(t testing.TB, c Config) *Trainer {
	t.Helper()
	tr, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { tr.Close() })
	return tr
}

// Looking at the layers, evaluating, and the number of goroutines that read images change nothing about the weights.
func TestLookingChangesNothing(t *testing.T) {
	var first []byte
	for i, change := range []func(*Config){
		func(*Config) {},
		func(c *Config) { c.Inspect, c.Test = 0, nil },
		func(c *Config) { c.Workers, c.EvalBatch = 3, 7 },
	} {
		c := digits(t, nodes.Sign)
		steps := 0
		c.OnStep = func(Step) { steps++ }
		change(&c)
		tr := trained(t, c)
		if err := tr.Run(context.Background()); err != nil {
			t.Fatal(err)
		}
		var file bytes.Buffer
		if err := c.Net.Save(&file); err != nil {
			t.Fatal(err)
		}
		if first == nil {
			first = file.Bytes()
		}
		if !bytes.Equal(first, file.Bytes()) {
			t.Errorf("change %d: other weights", i)
		}
		if want := 3 * (c.Train.N() / 32); steps != want || len(tr.History()) != 3 {
			t.Errorf("%d steps, %d epochs, want %d, 3", steps, len(tr.History()), want)
		}
	}
}

// Batches of whatever size give the same metrics.
func TestEvaluateBatches(t *testing.T) {
	c := digits(t, nodes.Sign)
	var first Metrics
	for _, batch := range []int{0, 1000, 1, 7} {
		e, err := NewEvaluator(c.Net, nodes.CrossEntropy, batch)
		if err != nil {
			t.Fatal(err)
		}
		defer e.Close()
		m, err := e.Evaluate(context.Background(), c.Test, 0)
		if err != nil {
			t.Fatal(err)
		}
		if first.Images == 0 {
			first = m
		}
		if m.Top1 != first.Top1 || m.Top5 != first.Top5 || m.Images != c.Test.N() || math.Abs(m.Loss-first.Loss) > 1e-5 {
			t.Errorf("batch %d: %+v, want %+v", batch, m, first)
		}
	}
}

func TestConfigRejects(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(*Config)
		words  []string
	}{
		{"no network", func(c *Config) { c.Net = nil }, []string{"needs Net"}},
		{"epochs", func(c *Config) { c.Epochs = 0 }, []string{"0 epochs"}},
		{"every", func(c *Config) { c.Every = -1 }, []string{"Every -1"}},
		{"size", func(c *Config) { c.Test, _ = data.Pad(c.Test, 9, 9) }, []string{"Test has images of 1x9x9", "(1, 8, 8)"}},
		{"batch", func(c *Config) { c.EvalBatch = -1 }, []string{"batches of -1"}},
		{"loss", func(c *Config) {
			c.Loss = func(logits, _ *gorgonia.Node) (*gorgonia.Node, error) {
				return nodes.CrossEntropy(logits, logits.Graph().AllNodes()[0])
			}
		}, []string{"loss"}},
	} {
		cfg := digits(t, nodes.Sign)
		c.change(&cfg)
		_, err := New(cfg)
		gtest.WantError(t, c.name, err, c.words...)
	}
}

// A loss that is not finite ends training with the name of the last checkpoint.
func TestLossNotFinite(t *testing.T) {
	c := digits(t, nodes.ReLU)
	c.Dir = t.TempDir()
	solver := &solvers.Scheduled{Solver: &solvers.SGD{LearnRate: 1e-3}, Schedule: func(step int) float64 {
		if step > 60 {
			return 1e30
		}
		return 1e-3
	}}
	c.Solver = solver
	tr := trained(t, c)
	gtest.WantError(t, "loss", tr.Run(context.Background()), "epoch 2", "last good checkpoint", CheckpointFile)
	if _, err := tr.readCheckpoint(filepath.Join(c.Dir, CheckpointFile), tr.mostBytes()); err != nil {
		t.Error(err)
	}
}

// A solver that cannot save its state trains, but not into a folder: what goes on from there would be another training.
func TestSolverWithoutState(t *testing.T) {
	stock := func() gorgonia.Solver { return gorgonia.NewAdamSolver(gorgonia.WithLearnRate(1e-3)) }
	for name, solver := range map[string]func() gorgonia.Solver{
		"stock": stock,
		"scheduled": func() gorgonia.Solver {
			return &solvers.Scheduled{Solver: stock(), Schedule: func(int) float64 { return 1e-3 }}
		},
	} {
		c := digits(t, nodes.Sign)
		c.Solver, c.Inspect, c.Dir = solver(), 0, t.TempDir()
		_, err := New(c)
		gtest.WantError(t, name, err, "train: ", "AdamSolver", "cannot save its state", "Dir")
		c = digits(t, nodes.Sign)
		c.Solver, c.Inspect = solver(), 0
		tr := trained(t, c)
		gtest.WantError(t, name, tr.Resume("checkpoint"), "train: ", "cannot save its state")
		if err := tr.Run(context.Background()); err != nil {
			t.Fatal(err)
		}
		if top1 := tr.History()[2].Test.Top1; top1 < 70 {
			t.Errorf("%s: %.2f %% after three epochs", name, top1)
		}
	}
}

// Networks of either dtype are trained.
func TestFloat64(t *testing.T) {
	c := digits(t, nodes.Sign)
	c.Epochs, c.Dir = 1, t.TempDir()
	double := func(c Config) Config {
		x := gorgonia.NewTensor(gorgonia.NewGraph(), tensor.Float64, 4, gorgonia.WithName("x"), gorgonia.WithShape(32, 1, 8, 8))
		var err error
		if c.Net, err = models.MLP(x, c.Net.Config()); err != nil {
			t.Fatal(err)
		}
		c.Solver = &solvers.Adam{LearnRate: 1e-3}
		return c
	}
	first := trained(t, double(c))
	if err := first.Run(context.Background()); err != nil {
		t.Fatal(err)
	}
	first.Close()
	c.Locked = true // nobody writes
	second := trained(t, double(c))
	if err := second.Resume(filepath.Join(c.Dir, CheckpointFile)); err != nil {
		t.Fatal(err)
	}
	for i, p := range first.c.Net.Params() {
		if !slices.Equal(gtest.Floats(t, p.Value()), gtest.Floats(t, second.c.Net.Params()[i].Value())) {
			t.Errorf("%s is another from the checkpoint", p.Name())
		}
	}
	m := first.History()[0]
	if m.Test.Top1 < 50 || m.Test.Images != c.Test.N() || !(m.GradNorm > 0) || !(m.ParamNorm > 0) || len(m.Layers) != 2 {
		t.Errorf("%+v", m)
	}
}

// Without a folder there are no checkpoints, and an error does not speak of them.
func TestLossNotFiniteWithoutDir(t *testing.T) {
	c := digits(t, nodes.ReLU)
	c.Solver = &solvers.SGD{LearnRate: 1e30}
	err := trained(t, c).Run(context.Background())
	gtest.WantError(t, "loss", err, "train: epoch 1")
	if strings.Contains(err.Error(), "checkpoint") {
		t.Error(err)
	}
}

func TestCheckpointOfAnother(t *testing.T) {
	c := digits(t, nodes.Sign)
	c.Dir, c.Epochs = t.TempDir(), 1
	if err := trained(t, c).Run(context.Background()); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(c.Dir, CheckpointFile)
	other := digits(t, nodes.Sign)
	x := gorgonia.NewTensor(gorgonia.NewGraph(), tensor.Float32, 4, gorgonia.WithName("x"), gorgonia.WithShape(32, 1, 8, 8))
	net, err := models.ConvNet4(x, models.Config{Widths: []int{2, 2, 2}})
	if err != nil {
		t.Fatal(err)
	}
	other.Net = net
	gtest.WantError(t, "network", trained(t, other).Resume(path), "of a MLP", "a ConvNet4")
	other = digits(t, nodes.Sign)
	other.Solver = &solvers.SGD{}
	gtest.WantError(t, "solver", trained(t, other).Resume(path), "solver")
	other = digits(t, nodes.Sign)
	other.Setup = "another"
	gtest.WantError(t, "setup", trained(t, other).Resume(path), "another")
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	gtest.WantError(t, "missing", trained(t, digits(t, nodes.Sign)).Resume(path), "no such file")
}

func TestTable(t *testing.T) {
	c := digits(t, nodes.Sign)
	tr := trained(t, c)
	if err := tr.Run(context.Background()); err != nil {
		t.Fatal(err)
	}
	var table bytes.Buffer
	if err := Table(&table, tr.History()); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"epoch", "nonlin2", "*"} {
		if !strings.Contains(table.String(), want) {
			t.Errorf("no %q in\n%s", want, table.String())
		}
	}
	table.Reset()
	if err := Table(&table, nil); err != nil || !strings.Contains(table.String(), "No epoch") {
		t.Error(err, table.String())
	}
}

// Where the loader has to make augmented images, an epoch should take no longer than on images that are ready.
func BenchmarkEpoch(b *testing.B) {
	n := 6400
	pix, labels := make([]uint8, n*28*28), make([]int, n)
	for i := range pix {
		pix[i] = uint8(i * 7919)
	}
	for i := range labels {
		labels[i] = i % 10
	}
	images, err := data.NewImages(pix, labels, 1, 28, 28, 10)
	if err != nil {
		b.Fatal(err)
	}
	augmented, err := data.Transform{Augment: data.AugmentCIFAR(), Norm: data.NormMNIST()}.Apply(images)
	if err != nil {
		b.Fatal(err)
	}
	for name, src := range map[string]data.Source{"preloaded": images.Set(), "augmented": augmented} {
		b.Run(name, func(b *testing.B) {
			x := gorgonia.NewTensor(gorgonia.NewGraph(), tensor.Float32, 4, gorgonia.WithName("x"), gorgonia.WithShape(64, 1, 28, 28))
			net, err := models.ConvNet4(x, models.Config{})
			if err != nil {
				b.Fatal(err)
			}
			tr, err := New(Config{Net: net, Solver: &solvers.Adam{}, Train: src, Epochs: b.N + 1})
			if err != nil {
				b.Fatal(err)
			}
			defer tr.Close()
			tr.c.Epochs = 1
			if err := tr.Run(context.Background()); err != nil { // warms up
				b.Fatal(err)
			}
			b.ResetTimer()
			tr.c.Epochs = 1 + b.N
			if err := tr.Run(context.Background()); err != nil {
				b.Fatal(err)
			}
		})
	}
}
