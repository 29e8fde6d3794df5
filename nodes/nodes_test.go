package nodes_test

import (
	"errors"
	"fmt"
	"testing"

	"github.com/ftprop/ftprop/internal/gtest"
	"github.com/ftprop/ftprop/nodes"
	"github.com/ftprop/ftprop/ops"
	"gorgonia.org/gorgonia"
	"gorgonia.org/tensor"
)

func TestConstructorsEmitTheirLevels(t *testing.T) {
	z := []float64{-1.5, 0, 0.2, 0.5, 0.51, 1, 3}
	for name, c := range map[string]struct {
		act  nodes.Activation
		want []float64
	}{
		"Sign":          {nodes.Sign, []float64{-1, -1, 1, 1, 1, 1, 1}},
		"Step01":        {nodes.Step01, []float64{0, 0, 1, 1, 1, 1, 1}},
		"Staircase":     {func(x *gorgonia.Node) (*gorgonia.Node, error) { return nodes.Staircase(x, 2) }, []float64{0, 0, 0.5, 0.5, 0.5, 0.5, 1}},
		"QReLU":         {func(x *gorgonia.Node) (*gorgonia.Node, error) { return nodes.QReLU(x, 2) }, []float64{0, 0, 1. / 3, 1. / 3, 2. / 3, 2. / 3, 1}},
		"ThresholdReLU": {nodes.ThresholdReLU, []float64{0, 0, 0.2, 0.5, 0.51, 1, 1}},
		"HardTanh":      {nodes.HardTanh, []float64{-1, 0, 0.2, 0.5, 0.51, 1, 1}},
		"HardSigmoid":   {nodes.HardSigmoid, []float64{0, 0.5, 0.6, 0.75, 0.755, 1, 1}},
		"CAbs":          {nodes.CAbs, []float64{1, 0, 0.2, 0.5, 0.51, 1, 1}},
	} {
		for _, dt := range gtest.Dtypes() {
			h, _, err := gtest.Backward(t, gtest.Tape, dt, c.act, z, z, len(z))
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			gtest.Compare(t, name, h, c.want)
		}
	}
}

func TestMustAndLift1(t *testing.T) {
	g := gorgonia.NewGraph()
	x := gtest.Input(g, "x", tensor.Float32, []float64{1, -1}, 2)
	if n := gorgonia.Must(nodes.Sign(x)); !n.Shape().Eq(tensor.Shape{2}) {
		t.Errorf("shape %v", n.Shape())
	}
	if n := gorgonia.Lift1(nodes.Step01)(x).Node(); n == nil {
		t.Error("Lift1 gave no node")
	}
}

func TestBuildErrors(t *testing.T) {
	g := gorgonia.NewGraph()
	x := gtest.Input(g, "x", tensor.Float32, []float64{1, -1}, 2)
	for _, bits := range []int{-1, 0, 1, 17} {
		_, err := nodes.QReLU(x, bits)
		gtest.WantError(t, "QReLU", err, fmt.Sprint(bits), "2 to 16")
	}
	_, err := nodes.Staircase(x, 1)
	gtest.WantError(t, "Staircase", err, "1 steps")
	_, err = nodes.Sign(nil)
	gtest.WantError(t, "nil node", err, "nil")
	_, err = nodes.Act(nil)(x)
	gtest.WantError(t, "nil activation", err, "nil")
	_, err = nodes.CAbs(nil)
	gtest.WantError(t, "nil node", err, "nil")
}

func TestOutputLossBuildErrors(t *testing.T) {
	g := gorgonia.NewGraph()
	x := gtest.Input(g, "x", tensor.Float32, make([]float64, 6), 2, 3)
	for what, c := range map[string]struct {
		labels *gorgonia.Node
		words  []string
	}{
		"classes": {gtest.Input(g, "y1", tensor.Float32, make([]float64, 8), 2, 4), []string{"(2, 3)", "(2, 4)", "one-hot"}},
		"samples": {gtest.Input(g, "y2", tensor.Float32, make([]float64, 9), 3, 3), []string{"(3, 3)"}},
		"indices": {gtest.Input(g, "y3", tensor.Float32, make([]float64, 2), 2), []string{"(2)", "one-hot"}},
		"dtype":   {gtest.Input(g, "y4", tensor.Float64, make([]float64, 6), 2, 3), []string{"float64", "same dtype"}},
		"nil":     {nil, []string{"nil"}},
	} {
		for _, loss := range []func(x, y *gorgonia.Node) (*gorgonia.Node, error){
			nodes.CrossEntropy, nodes.Hinge, nodes.SquaredHinge, nodes.TruncHinge, nodes.HingeSoftmax, nodes.TruncHingeSoftmax,
		} {
			_, err := loss(x, c.labels)
			gtest.WantError(t, what, err, c.words...)
		}
	}
	v := gtest.Input(g, "v", tensor.Float32, make([]float64, 6), 6)
	_, err := nodes.CrossEntropy(v, v)
	gtest.WantError(t, "vectors", err, "(N, C)")
}

func TestInspectErrors(t *testing.T) {
	g := gorgonia.NewGraph()
	x := gtest.Input(g, "x", tensor.Float32, []float64{1, -1}, 2)
	h := gorgonia.Must(nodes.Sign(x))
	for _, f := range []func(*gorgonia.Node) (*gorgonia.Node, error){nodes.Target, nodes.LayerLoss, nodes.Agreement} {
		if _, err := f(h); !errors.Is(err, nodes.ErrNoGrad) {
			t.Errorf("before Grad: %v", err)
		}
		if _, err := f(x); !errors.Is(err, nodes.ErrNotActivation) {
			t.Errorf("input node: %v", err)
		}
		if _, err := f(gorgonia.Must(gorgonia.Rectify(x))); !errors.Is(err, nodes.ErrNotActivation) {
			t.Errorf("Rectify: %v", err)
		}
		if _, err := f(nil); !errors.Is(err, nodes.ErrNotActivation) {
			t.Errorf("nil: %v", err)
		}
	}
}

// Targets, layer loss and agreement of a layer whose numbers can be checked by hand.
func TestInspect(t *testing.T) {
	z := []float64{0.5, -0.5, 2, -2, 1, 0}
	up := []float64{-0.1, -0.2, 0.3, 0.4, 0, 0.5} // t = +1 +1 -1 -1 0 -1
	for _, dt := range gtest.Dtypes() {
		for _, c := range []struct {
			act  ops.Activation
			loss float64
		}{
			// hinge: 0.5, 1.5, 3, 0, ignored, 1
			{ops.Sign{Rule: ops.WtHinge{}}, 0.1*0.5 + 0.2*1.5 + 0.3*3 + 0.5*1},
			{ops.Sign{Rule: ops.WtHinge{}, Unweighted: true}, (0.5 + 1.5 + 3 + 1) / 2},
		} {
			for _, shape := range [][]int{{2, 3}, {2, 3, 1}, {2, 1, 3, 1}} {
				g := gorgonia.NewGraph()
				x := gtest.Input(g, "z", dt, z, shape...)
				u := gtest.Input(g, "g", dt, up, shape...)
				h := gorgonia.Must(nodes.Act(c.act)(x))
				cost := gorgonia.Must(gorgonia.Sum(gorgonia.Must(gorgonia.HadamardProd(h, u))))
				if _, err := gorgonia.Grad(cost, x); err != nil {
					t.Fatal(err)
				}
				var target, loss, agreement gorgonia.Value
				gorgonia.Read(gorgonia.Must(nodes.Target(h)), &target)
				gorgonia.Read(gorgonia.Must(nodes.LayerLoss(h)), &loss)
				gorgonia.Read(gorgonia.Must(nodes.Agreement(h)), &agreement)
				vm := gorgonia.NewTapeMachine(g)
				if err := vm.RunAll(); err != nil {
					t.Fatal(err)
				}
				vm.Close()
				gtest.Compare(t, "targets", gtest.Floats(t, target), []float64{1, 1, -1, -1, 0, -1})
				gtest.Compare(t, "layer loss", gtest.Floats(t, loss), []float64{c.loss})
				// agree: 0.5, -2 and 0 (sign(0) = -1); not -0.5 and 2; 1 is ignored
				gtest.Compare(t, "agreement", gtest.Floats(t, agreement), []float64{3. / 5})
			}
		}
	}
}

func TestInspectScalar(t *testing.T) {
	g := gorgonia.NewGraph()
	x := gtest.Input(g, "z", tensor.Float64, []float64{-0.5})
	h := gorgonia.Must(nodes.Sign(x))
	cost := gorgonia.Must(gorgonia.Square(h)) // dL/dh = 2h = -2: t = +1
	if _, err := gorgonia.Grad(cost, x); err != nil {
		t.Fatal(err)
	}
	var target, agreement gorgonia.Value
	gorgonia.Read(gorgonia.Must(nodes.Target(h)), &target)
	gorgonia.Read(gorgonia.Must(nodes.Agreement(h)), &agreement)
	vm := gorgonia.NewTapeMachine(g)
	defer vm.Close()
	if err := vm.RunAll(); err != nil {
		t.Fatal(err)
	}
	gtest.Compare(t, "target", gtest.Floats(t, target), []float64{1})
	gtest.Compare(t, "agreement", gtest.Floats(t, agreement), []float64{0})
}
