package train

import (
	"context"
	"testing"

	"github.com/ftprop/ftprop/internal/gtest"
	"github.com/ftprop/ftprop/nodes"
	"github.com/ftprop/ftprop/solvers"
	"gorgonia.org/gorgonia"
	"gorgonia.org/tensor"
)

// A network has room for one trainer, which a refused second does not disturb, and for any number of evaluators.
func TestOneTrainerANetwork(t *testing.T) {
	accuracy := func(disturb func(Config)) float64 {
		c := digits(t, nodes.Sign)
		// A node of the program's own whose name and type the labels might have had.
		gorgonia.NewMatrix(c.Net.Input.Graph(), tensor.Float32, gorgonia.WithName("labels"), gorgonia.WithShape(c.Net.Logits.Shape()...),
			gorgonia.WithValue(gtest.Dense(tensor.Float32, make([]float64, c.Net.Logits.Shape().TotalSize()), c.Net.Logits.Shape()...)))
		tr := trained(t, c)
		disturb(c)
		if err := tr.Run(context.Background()); err != nil {
			t.Fatal(err)
		}
		return tr.History()[2].Test.Top1
	}
	want := accuracy(func(Config) {})
	if want < 70 {
		t.Errorf("%.2f %% alone", want)
	}
	got := accuracy(func(c Config) {
		c.Solver = &solvers.Adam{LearnRate: 1e-3}
		_, err := New(c)
		gtest.WantError(t, "second trainer", err, "train: MLP is in training already", "new graph")
		for _, batch := range []int{0, 100} {
			e, err := NewEvaluator(c.Net, nodes.CrossEntropy, batch)
			if err != nil {
				t.Fatal(err)
			}
			defer e.Close()
			m, err := e.Evaluate(context.Background(), c.Test, 1)
			if err != nil || m.Top1 > 40 {
				t.Errorf("%+v before training, %v", m, err)
			}
		}
	})
	if got != want {
		t.Errorf("%.2f %% beside others, %.2f alone", got, want)
	}
}

// Without a loss given, evaluation's is training's default.
func TestEvaluatorDefaultLoss(t *testing.T) {
	c := digits(t, nodes.Sign)
	var got [2]Metrics
	for i, loss := range []LossFunc{nil, nodes.CrossEntropy} {
		e, err := NewEvaluator(c.Net, loss, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer e.Close()
		if got[i], err = e.Evaluate(context.Background(), c.Test, 1); err != nil {
			t.Fatal(err)
		}
	}
	if got[0] != got[1] {
		t.Errorf("%+v without a loss, %+v with cross entropy", got[0], got[1])
	}
}
