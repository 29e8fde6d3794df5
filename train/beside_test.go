package train_test

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"testing"

	"github.com/ftprop/ftprop/data"
	"github.com/ftprop/ftprop/models"
	"github.com/ftprop/ftprop/nodes"
	"github.com/ftprop/ftprop/solvers"
	"github.com/ftprop/ftprop/train"
	"gorgonia.org/gorgonia"
	"gorgonia.org/tensor"
)

// perceptron is an untrained network for the digits, in a graph of its own.
func perceptron() (*models.Net, error) {
	x := gorgonia.NewTensor(gorgonia.NewGraph(), tensor.Float32, 4, gorgonia.WithName("x"), gorgonia.WithShape(32, 1, 8, 8))
	return models.MLP(x, models.Config{Act: nodes.Sign, BatchNorm: true, Widths: []int{32, 32}, Seed: 1})
}

// Evaluation beside training: between two steps the weights are saved, and another goroutine loads them into a network of its own and
// evaluates that.
func ExampleEvaluator() {
	accuracies, err := trainAndEvaluate(context.Background(), 20)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(len(accuracies), "evaluations; the last is better than the first:", accuracies[len(accuracies)-1] > accuracies[0])
	// Output: 6 evaluations; the last is better than the first: true
}

// trainAndEvaluate trains on the digits for three epochs. The weights after every so many steps are evaluated while training goes on.
func trainAndEvaluate(ctx context.Context, every int) (accuracies []float64, err error) {
	digits, err := data.Digits()
	if err != nil {
		return nil, err
	}
	training, test, err := data.Split(digits, 0.2, 1)
	if err != nil {
		return nil, err
	}
	// All graphs are built here, one after the other.
	net, err := perceptron()
	if err != nil {
		return nil, err
	}
	copied, err := perceptron()
	if err != nil {
		return nil, err
	}
	snapshots := make(chan []byte, 1)
	trainer, err := train.New(train.Config{
		Net: net, Solver: &solvers.Adam{LearnRate: 1e-3}, Train: training, Epochs: 3, Seed: 1,
		OnStep: func(s train.Step) { // between two steps, on the goroutine that trains
			if (s.Epoch*s.Steps+s.Step+1)%every != 0 {
				return
			}
			var weights bytes.Buffer
			if err := net.Save(&weights); err == nil { // or not finite: training ends with an error
				snapshots <- weights.Bytes()
			}
		},
	})
	if err != nil {
		return nil, err
	}
	defer trainer.Close()
	evaluator, err := train.NewEvaluator(copied, nodes.CrossEntropy, 100)
	if err != nil {
		return nil, err
	}
	defer evaluator.Close()

	done := make(chan error, 1)
	go func() {
		var failed error
		for weights := range snapshots { // all are received, whatever happens, so that training does not wait
			if failed != nil {
				continue
			}
			if failed = copied.Load(bytes.NewReader(weights)); failed != nil {
				continue
			}
			var m train.Metrics
			if m, failed = evaluator.Evaluate(ctx, test, 1); failed == nil {
				accuracies = append(accuracies, m.Top1)
			}
		}
		done <- failed
	}()
	err = trainer.Run(ctx)
	close(snapshots)
	if failed := <-done; err == nil {
		err = failed
	}
	return accuracies, err
}

// Beside training or after it, the same weights have the same accuracy.
func TestEvaluationBesideTraining(t *testing.T) {
	got, err := trainAndEvaluate(context.Background(), 20)
	if err != nil {
		t.Fatal(err)
	}
	digits, err := data.Digits()
	if err != nil {
		t.Fatal(err)
	}
	training, test, err := data.Split(digits, 0.2, 1)
	if err != nil {
		t.Fatal(err)
	}
	net, err := perceptron()
	if err != nil {
		t.Fatal(err)
	}
	e, err := train.NewEvaluator(net, nodes.CrossEntropy, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	var want []float64
	tr, err := train.New(train.Config{
		Net: net, Solver: &solvers.Adam{LearnRate: 1e-3}, Train: training, Epochs: 3, Seed: 1,
		OnStep: func(s train.Step) {
			if (s.Epoch*s.Steps+s.Step+1)%20 == 0 {
				m, err := e.Evaluate(context.Background(), test, 1)
				if err != nil {
					t.Error(err)
				}
				want = append(want, m.Top1)
			}
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer tr.Close()
	if err := tr.Run(context.Background()); err != nil {
		t.Fatal(err)
	}
	if len(got) < 6 || !slices.Equal(got, want) {
		t.Errorf("beside training %v, between its steps %v", got, want)
	}
}
