package nodes_test

import (
	"math"
	"strings"
	"testing"

	"github.com/ftprop/ftprop/internal/gtest"
	"github.com/ftprop/ftprop/nodes"
	"github.com/ftprop/ftprop/ops"
	"github.com/ftprop/ftprop/ops/nn"
	"gorgonia.org/gorgonia"
	"gorgonia.org/tensor"
)

// An error begins with the name of the package that was called, and has no other's, however many packages it came through.
func TestErrorsHaveOnePrefix(t *testing.T) {
	g := gorgonia.NewGraph()
	node := func(name string, shape ...int) *gorgonia.Node {
		n := 1
		for _, d := range shape {
			n *= d
		}
		return gtest.Input(g, name, tensor.Float32, make([]float64, n), shape...)
	}
	vector, matrix, image := node("vector", 3), node("matrix", 2, 3), node("image", 1, 2, 4, 4)
	filter := node("filter", 1, 2, 3, 3)
	scalar := gtest.Input(g, "scalar", tensor.Float32, []float64{1})
	ints := gorgonia.NewTensor(g, tensor.Int, 1, gorgonia.WithShape(2), gorgonia.WithName("ints"))
	before := gorgonia.Must(nodes.Sign(matrix))
	value := gtest.Dense(tensor.Float32, []float64{1, math.NaN(), 1}, 3)
	one, two := tensor.Shape{2, 2}, []int{1, 1}
	of := func(_ any, err error) error { return err }
	act := func(a ops.Activation) error { return of(nodes.Act(a)(matrix)) }
	shape := func(op gorgonia.Op, in ...tensor.Shape) error {
		sizes := make([]gorgonia.DimSizer, len(in))
		for i, s := range in {
			sizes[i] = s
		}
		return of(op.InferShape(sizes...))
	}
	norm := func(x, scale *gorgonia.Node, momentum float64) error {
		_, _, _, _, err := nodes.BatchNorm(x, scale, nil, momentum, 1e-5)
		return err
	}
	normOp, err := nn.NewBatchNorm(3, 0.1, 1e-5)
	if err != nil {
		t.Fatal(err)
	}
	conv, err := nn.NewConv2d(two, two, two, false)
	if err != nil {
		t.Fatal(err)
	}
	pool, err := nn.NewMaxPool2D(one, []int{0, 0}, two)
	if err != nil {
		t.Fatal(err)
	}
	mean, err := nn.NewAveragePool2D(one, []int{0, 0}, two)
	if err != nil {
		t.Fatal(err)
	}
	drop, err := nn.NewDropout2D(0.5, 1)
	if err != nil {
		t.Fatal(err)
	}
	flat, err := nn.NewFlatten(tensor.Shape{2, 3, 4})
	if err != nil {
		t.Fatal(err)
	}
	bad := ops.Sign{Rule: ops.Sigmoid{Slope: -1}}
	function := func(name string, budget int) *ops.Component {
		f, err := ops.NewComponent(ops.ComponentConfig{Name: name, Outputs: 1, Budget: budget, Call: func(_, _ [][]float64) ([]float64, error) { return []float64{math.NaN()}, nil }})
		if err != nil {
			t.Fatal(err)
		}
		return f
	}
	answer := gorgonia.Must(nodes.Component(function("f", 1), gorgonia.Nodes{before}))
	for _, c := range []struct {
		name string
		err  error
	}{
		{"ops.RuleByName", of(ops.RuleByName("?"))},
		{"ops.Rule.Loss", of(ops.ReSTE{Power: 0.1}.Loss(bad.Threshold().Levels))},
		{"ops.Rule.Loss", of(ops.EWGS{Delta: -1}.Loss(bad.Threshold().Levels))},
		{"ops.Rule.Loss", of(bad.Rule.Loss(bad.Threshold().Levels))},
		{"ops.Levels.Validate", ops.Levels{}.Validate()},
		{"ops.Threshold.Validate", bad.Threshold().Validate()},
		{"ops.Threshold.Validate", ops.Threshold{}.Validate()},
		{"ops.Sign.InferShape", shape(bad, tensor.Shape{3})},
		{"ops.Sign.InferShape", shape(ops.Sign{}, tensor.Shape{3}, tensor.Shape{3})},
		{"ops.Sign.InferShape", shape(ops.Sign{Rule: &ops.STE{}}, tensor.Shape{3})},
		{"ops.Sign.Do", of(ops.Sign{}.Do(value))},
		{"ops.Sign.Do", of(ops.Sign{}.Do(value, value))},
		{"ops.Sign.Do", of(ops.Sign{}.Do(nil))},
		{"ops.Sign.UsePreallocDo", of(ops.Sign{}.UsePreallocDo(value, value))},
		{"ops.Sign.SymDiff", of(ops.Sign{}.SymDiff(nil, nil, nil))},
		{"ops.Sign.DoDiff", ops.Sign{}.DoDiff(gorgonia.ExecutionContext{}, nil, nil)},
		{"ops.Step01.InferShape", shape(ops.Step01{}, tensor.Shape{0})},
		{"ops.Staircase.InferShape", shape(ops.Staircase{Steps: 1}, tensor.Shape{3})},
		{"ops.Staircase.InferShape", shape(ops.Staircase{Steps: 1 << 20}, tensor.Shape{3})},
		{"ops.Buffered", of(ops.Buffered(ops.Sign{}).Do(value))},
		{"ops.LayerGrad.Do", of(ops.LayerGrad{Threshold: ops.Sign{}.Threshold()}.Do(value, value, value))},
		{"ops.LayerGrad.SymDiff", of(ops.LayerGrad{}.SymDiff(nil, nil, nil))},
		{"ops.Target.Do", of(ops.Target{Threshold: ops.Sign{}.Threshold()}.Do(value, value, value))},
		{"ops.LayerLoss.Do", of(ops.LayerLoss{Threshold: ops.Sign{}.Threshold()}.Do(value, value, value))},
		{"ops.Agreement.InferShape", shape(ops.Agreement{}, tensor.Shape{3}, tensor.Shape{3}, tensor.Shape{3})},
		{"ops.ThresholdReLU", shape(ops.ThresholdReLU(-1), tensor.Shape{3})},
		{"ops.ThresholdReLU", of(ops.ThresholdReLU(-1).Do(value))},
		{"ops.HardTanh", of(ops.HardTanh().SymDiff(nil, nil, nil))},
		{"ops.CAbs", of(ops.CAbs().Do(value, value))},
		{"ops.Round", shape(ops.Round{Unit: 3, Max: 3}, tensor.Shape{3})},
		{"ops.Round", of(ops.Round{Unit: 1, Max: 3}.Do(value))},
		{"ops.SignWeights.InferShape", shape(ops.SignWeights{Axis: 1}, tensor.Shape{3})},
		{"ops.SignWeights.Do", of(ops.SignWeights{Rule: bad.Rule}.Do(value))},
		{"ops.TernaryWeights.Do", of(ops.TernaryWeights{}.Do(value))},
		{"ops.TernaryWeights.DoDiff", ops.TernaryWeights{}.DoDiff(gorgonia.ExecutionContext{}, nil, nil)},
		{"ops.QuantWeights.InferShape", shape(ops.QuantWeights{}, tensor.Shape{3})},
		{"ops.QuantWeights.SymDiff", of(ops.QuantWeights{Bits: 2}.SymDiff(nil, nil, nil))},
		{"ops.LSQWeights.InferShape", shape(ops.LSQWeights{Bits: 2}, tensor.Shape{3}, tensor.Shape{2})},
		{"ops.LSQWeights.Do", of(ops.LSQWeights{Bits: 2}.Do(value, value))},
		{"ops.LSQWeights.InitialStep", of(ops.LSQWeights{Bits: 2}.InitialStep(value, false))},
		{"ops.BufferedWeights", of(ops.BufferedWeights(ops.SignWeights{}).Do(value))},
		{"ops.CrossEntropy", shape(ops.CrossEntropy, tensor.Shape{3}, tensor.Shape{3})},
		{"ops.CrossEntropy", shape(ops.CrossEntropy, tensor.Shape{3, 2}, tensor.Shape{3, 1})},
		{"ops.OutputLoss", shape(ops.OutputLoss(77), tensor.Shape{3, 2}, tensor.Shape{3, 2})},
		{"ops.Hinge", of(ops.Hinge.Do(gtest.Dense(tensor.Float32, []float64{math.NaN(), 1}, 1, 2), gtest.Dense(tensor.Float32, []float64{0, 1}, 1, 2)))},
		{"ops.Hinge", of(ops.Hinge.Do(gtest.Dense(tensor.Float32, []float64{1, 1}, 1, 2), gtest.Dense(tensor.Float32, []float64{1, 1}, 1, 2)))},

		{"ops.NewComponent", func() error { _, err := ops.NewComponent(ops.ComponentConfig{}); return err }()},
		{"ops.NewSample", func() error { _, err := ops.NewSample(nil, nil, 0, nil); return err }()},
		{"ops.ErrBudget", ops.ErrBudget},
		{"ops.Component.Apply", of(function("f", 9).Apply(gorgonia.Nodes{before}))},
		{"ops.Component.Apply", of(function("g", 9).Apply(gorgonia.Nodes{before}, scalar))},
		{"ops.ApplyLoss", of(ops.ApplyLoss(answer, matrix))},
		{"ops.Component's Do", of(answer.Op().Do(gtest.Dense(tensor.Float32, []float64{1, -1, 1}, 1, 3)))},
		{"ops.Component's SymDiff", of(answer.Op().(gorgonia.SDOp).SymDiff(gorgonia.Nodes{before}, answer, node("up", 2, 1)))},
		{"ops.Component's DoDiff", answer.Op().(gorgonia.ADOp).DoDiff(gorgonia.ExecutionContext{}, gorgonia.Nodes{before}, answer)},

		{"nn.NewConv2d", of(nn.NewConv2d([]int{-1, 0}, two, two, false))},
		{"nn.Conv2d.InferShape", shape(conv, tensor.Shape{1, 2}, tensor.Shape{1, 2, 3, 3})},
		{"nn.Conv2d.InferShape", shape(conv, tensor.Shape{1, 2, 3, 3}, tensor.Shape{1, 2, 9, 9})},
		{"nn.Conv2d.Do", of(conv.Do(value, value))},
		{"nn.Conv2d.Do", of(conv.Do(value))},
		{"nn.NewMaxPool2D", of(nn.NewMaxPool2D(one, two, []int{0, 0}))},
		{"nn.MaxPool2D.InferShape", shape(pool, tensor.Shape{1, 2})},
		{"nn.MaxPool2D.Do", of(pool.Do(value))},
		{"nn.NewAveragePool2D", of(nn.NewAveragePool2D(one, []int{-1, 0}, two))},
		{"nn.AveragePool2D.InferShape", shape(mean, tensor.Shape{1, 1, 1, 1})},
		{"nn.AveragePool2D", shape(nn.AveragePool2D{}, tensor.Shape{1, 1, 1, 1})},
		{"nn.AveragePool2D.Do", of(mean.Do(value))},
		{"nn.GlobalAveragePool2D", shape(nn.GlobalAveragePool2D{}, tensor.Shape{3})},
		{"nn.GlobalAveragePool2D.Do", of(nn.GlobalAveragePool2D{}.Do(value))},
		{"nn.NewBatchNorm", of(nn.NewBatchNorm(0, 0.1, 1e-5))},
		{"nn.BatchNorm.SetRunning", normOp.SetRunning(nil, nil)},
		{"nn.BatchNorm.SetStats", normOp.SetStats(nil, nil)},
		{"nn.BatchNorm.InferShape", shape(normOp, tensor.Shape{2, 4}, tensor.Shape{3}, tensor.Shape{3})},
		{"nn.BatchNorm.Do", of(normOp.Do(gtest.Dense(tensor.Float32, []float64{1, 2, 3}, 1, 3), value, value))},
		{"nn.Linear.InferShape", shape(nn.NewLinear(true), tensor.Shape{2, 4}, tensor.Shape{3, 4}, tensor.Shape{4})},
		{"nn.Linear.Do", of(nn.NewLinear(false).Do(value, value))},
		{"nn.NewDropout", of(nn.NewDropout(1, 1))},
		{"nn.NewDropout2D", of(nn.NewDropout2D(-1, 1))},
		{"nn.Dropout.InferShape", shape(drop, tensor.Shape{3})},
		{"nn.Dropout.Do", of(drop.Do(value))},
		{"nn.NewReshape", of(nn.NewReshape(tensor.Shape{3}, tensor.Shape{4}))},
		{"nn.NewFlatten", of(nn.NewFlatten(tensor.Shape{3}))},
		{"nn.Reshape.InferShape", shape(flat, tensor.Shape{3})},
		{"nn.Reshape.Do", of(flat.Do(value))},
		{"nn.Add", shape(new(nn.Add), tensor.Shape{3}, tensor.Shape{4})},
		{"nn.Add", of(new(nn.Add).Do(value))},
		{"nn.LeakyReLU", shape(nn.LeakyReLU(math.NaN()), tensor.Shape{3})},
		{"nn.ReLU", of(nn.ReLU().Do(value, value))},

		{"nodes.Act", act(nil)},
		{"nodes.Act", act((*ops.Sign)(nil))},
		{"nodes.Act", act(bad)},
		{"nodes.Act", act(ops.Staircase{Steps: 1})},
		{"nodes.Act", act(ops.Staircase{Steps: 3, Lo: 1, Hi: -1})},
		{"nodes.Act", act(ops.Sign{Rule: &ops.STE{}})},
		{"nodes.Weights", of(nodes.Weights(nil)(matrix))},
		{"nodes.Weights", of(nodes.Weights((*ops.SignWeights)(nil))(matrix))},
		{"nodes.Weights", of(nodes.Weights(ops.SignWeights{Axis: 2})(matrix))},
		{"nodes.Weights", of(nodes.Weights(ops.LSQWeights{Bits: 4})(matrix))},
		{"nodes.SignWeights", of(nodes.SignWeights(ints))},
		{"nodes.TernaryWeights", of(nodes.TernaryWeights(nil))},
		{"nodes.QuantWeights", of(nodes.QuantWeights(matrix, 9))},
		{"nodes.LSQWeights", of(nodes.LSQWeights(matrix, ints, ops.LSQWeights{Bits: 4}))},
		{"nodes.LSQWeights", of(nodes.LSQWeights(matrix, vector, ops.LSQWeights{Bits: 4}))},
		{"nodes.LSQWeights", of(nodes.LSQWeights(matrix, gtest.Input(g, "double", tensor.Float64, []float64{1}, 1), ops.LSQWeights{Bits: 4}))},
		{"nodes.Component", of(nodes.Component(nil, nil))},
		{"nodes.Component", of(nodes.Component(function("f", 9), gorgonia.Nodes{before}))},
		{"nodes.Component", of(nodes.Component(function("g", 9), gorgonia.Nodes{matrix}))},
		{"nodes.Component", of(nodes.Component(function("g", 9), gorgonia.Nodes{before}, scalar))},
		{"nodes.ComponentLoss", of(nodes.ComponentLoss(answer, matrix))},
		{"nodes.ComponentLoss", of(nodes.ComponentLoss(matrix, matrix))},
		{"nodes.Sign", of(nodes.Sign(nil))},
		{"nodes.Sign", of(nodes.Sign(ints))},
		{"nodes.Step01", of(nodes.Step01(ints))},
		{"nodes.Staircase", of(nodes.Staircase(matrix, 1))},
		{"nodes.QReLU", of(nodes.QReLU(matrix, 1))},
		{"nodes.ThresholdReLU", of(nodes.ThresholdReLU(ints))},
		{"nodes.HardTanh", of(nodes.HardTanh(nil))},
		{"nodes.HardSigmoid", of(nodes.HardSigmoid(nil))},
		{"nodes.CAbs", of(nodes.CAbs(ints))},
		{"nodes.Round", of(nodes.Round(matrix, 3, 3))},
		{"nodes.ReLU", of(nodes.ReLU(nil))},
		{"nodes.LeakyReLU", of(nodes.LeakyReLU(matrix, math.Inf(1)))},
		{"nodes.Add", of(nodes.Add(matrix, vector))},
		{"nodes.Target", of(nodes.Target(nil))},
		{"nodes.Target", of(nodes.Target(matrix))},
		{"nodes.Target", of(nodes.Target(before))},
		{"nodes.LayerLoss", of(nodes.LayerLoss(before))},
		{"nodes.Agreement", of(nodes.Agreement(matrix))},
		{"nodes.CrossEntropy", of(nodes.CrossEntropy(matrix, vector))},
		{"nodes.Hinge", of(nodes.Hinge(nil, nil))},
		{"nodes.Hinge", of(nodes.Hinge(node("one", 3, 1), node("two", 3, 1)))},
		{"nodes.SquaredHinge", of(nodes.SquaredHinge(vector, vector))},
		{"nodes.TruncHinge", of(nodes.TruncHinge(ints, ints))},
		{"nodes.HingeSoftmax", of(nodes.HingeSoftmax(ints, ints))},
		{"nodes.TruncHingeSoftmax", of(nodes.TruncHingeSoftmax(ints, ints))},
		{"nodes.Conv2d", of(nodes.Conv2d(image, filter, tensor.Shape{3, 3}, []int{-1, 0}, two, two))},
		{"nodes.Conv2d", of(nodes.Conv2d(image, filter, tensor.Shape{2, 2}, two, two, two))},
		{"nodes.Conv2d", of(nodes.Conv2d(node("wide", 1, 5, 4, 4), filter, tensor.Shape{3, 3}, two, two, two))},
		{"nodes.Conv2d", of(nodes.Conv2d(vector, filter, tensor.Shape{3, 3}, two, two, two))},
		{"nodes.Conv2dBias", of(nodes.Conv2dBias(image, filter, nil, tensor.Shape{3, 3}, two, two, two))},
		{"nodes.MaxPool2D", of(nodes.MaxPool2D(image, tensor.Shape{2}, two, two))},
		{"nodes.MaxPool2D", of(nodes.MaxPool2D(image, tensor.Shape{9, 9}, two, two))},
		{"nodes.AveragePool2D", of(nodes.AveragePool2D(image, tensor.Shape{2}, two, two))},
		{"nodes.AveragePool2D", of(nodes.AveragePool2D(image, tensor.Shape{9, 9}, two, two))},
		{"nodes.GlobalAveragePool2D", of(nodes.GlobalAveragePool2D(matrix))},
		{"nodes.Linear", of(nodes.Linear(matrix, node("weight", 4, 4), nil))},
		{"nodes.Linear", of(nodes.Linear(matrix, nil, nil))},
		{"nodes.BatchNorm", norm(nil, nil, 0.1)},
		{"nodes.BatchNorm", norm(matrix, nil, 7)},
		{"nodes.BatchNorm", norm(matrix, node("scale", 7), 0.1)},
		{"nodes.Dropout", of(nodes.Dropout(matrix, 1))},
		{"nodes.Dropout", of(nodes.Dropout(nil, 0.5))},
		{"nodes.Dropout2D", of(nodes.Dropout2D(matrix, 0.5))},
		{"nodes.Reshape", of(nodes.Reshape(matrix, tensor.Shape{7}))},
		{"nodes.Reshape", of(nodes.Reshape(nil, tensor.Shape{7}))},
		{"nodes.Flatten", of(nodes.Flatten(vector))},
	} {
		if c.err == nil {
			t.Errorf("%s: no error", c.name)
			continue
		}
		pkg, _, _ := strings.Cut(c.name, ".")
		text, prefixes := c.err.Error(), 0
		for _, p := range []string{"ops", "nn", "nodes", "opkit", "gorgonia"} {
			prefixes += strings.Count(" "+text, " "+p+": ")
		}
		if !strings.HasPrefix(text, pkg+": ") || prefixes != 1 {
			t.Errorf("%s: error %q, want the prefix %q once and no other", c.name, text, pkg+": ")
		}
	}
}
