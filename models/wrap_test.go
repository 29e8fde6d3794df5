package models_test

import (
	"bytes"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/ftprop/ftprop/deploy"
	"github.com/ftprop/ftprop/internal/gtest"
	"github.com/ftprop/ftprop/models"
	"github.com/ftprop/ftprop/nodes"
	"gorgonia.org/gorgonia"
	"gorgonia.org/tensor"
)

// handMade is a graph of Gorgonia's own operations but for the activation and batch normalisation.
type handMade struct {
	x, logits *gorgonia.Node
	params    gorgonia.Nodes
}

func newHandMade(t testing.TB, dt tensor.Dtype, seed uint64) handMade {
	t.Helper()
	rng := rand.New(rand.NewPCG(seed, 0))
	x := input(dt, 3, 1, 8, 8)
	n := handMade{x: x}
	param := func(name string, shape ...int) *gorgonia.Node {
		v := make([]float64, tensor.Shape(shape).TotalSize())
		for i := range v {
			v[i] = rng.NormFloat64()
		}
		p := gorgonia.NewTensor(x.Graph(), dt, len(shape), gorgonia.WithName(name), gorgonia.WithShape(shape...), gorgonia.WithValue(gtest.Dense(dt, v, shape...)))
		n.params = append(n.params, p)
		return p
	}
	must := gorgonia.Must
	h := must(gorgonia.Conv2d(x, param("filters", 4, 1, 3, 3), tensor.Shape{3, 3}, []int{1, 1}, []int{1, 1}, []int{1, 1}))
	y, _, _, _, err := nodes.BatchNorm(h, param("norm.weight", 4), param("norm.shift", 4), 0.1, 1e-5)
	h = must(nodes.QReLU(must(y, err), 2))
	h = must(gorgonia.MaxPool2D(h, tensor.Shape{2, 2}, []int{0, 0}, []int{2, 2}))
	h = must(gorgonia.Mul(must(nodes.Flatten(h)), param("w", 64, 5)))
	n.logits = must(gorgonia.BroadcastAdd(h, param("b", 1, 5), nil, []byte{0}))
	return n
}

// Save and Load keep the weights and running statistics of a graph that was built by hand.
func TestWrapSavesAndLoads(t *testing.T) {
	for _, dt := range gtest.Dtypes() {
		wrap := func(seed uint64) *models.Net {
			n := newHandMade(t, dt, seed)
			net, err := models.Wrap(n.x, n.logits, n.params...)
			return must(t, net, err)
		}
		a, b := wrap(1), wrap(2)
		x := normals(3 * 64)
		logits(t, a, x) // running statistics move
		var file bytes.Buffer
		if err := a.Save(&file); err != nil {
			t.Fatal(err)
		}
		saved := file.Bytes()
		if err := b.Load(&file); err != nil {
			t.Fatal(err)
		}
		if got, want := logits(t, b, x, gorgonia.EvalMode()), logits(t, a, x, gorgonia.EvalMode()); !slices.Equal(got, want) {
			t.Errorf("%v: loaded: %v, want %v", dt, got, want)
		}
		if len(a.Hidden) != 1 || len(a.Buffers()) != 3 || a.Buffers()[0].Name != "norm.running_mean" || a.Config().Classes != 5 {
			t.Errorf("%d activations, buffers %v, %d classes", len(a.Hidden), a.Buffers(), a.Config().Classes)
		}
		// The activation is compared as with other networks.
		n := newHandMade(t, dt, 1)
		other, err := models.Wrap(n.x, gorgonia.Must(nodes.Sign(n.logits)), n.params...)
		other = must(t, other, err)
		gtest.WantError(t, "another activation", other.Load(bytes.NewReader(saved)), "activation")

		_, err = a.At(1)
		gtest.WantError(t, "At", err, "models: Graph", "Define")
		_, err = a.FixedPoint(deploy.FixedPointOptions{InputMax: 4})
		gtest.WantError(t, "FixedPoint", err, "models: Graph")
	}
}

// A graph of which something would be lost is refused.
func TestWrapRejects(t *testing.T) {
	stock := func(n handMade) (*models.Net, error) {
		h := gorgonia.Must(gorgonia.Reshape(n.logits, tensor.Shape{3, 5, 1, 1}))
		y, scale, shift, _, err := gorgonia.BatchNorm(h, nil, nil, 0.1, 1e-5)
		return models.Wrap(n.x, gorgonia.Must(gorgonia.Reshape(gorgonia.Must(y, err), tensor.Shape{3, 5})), append(n.params, scale, shift)...)
	}
	named := func(n handMade, name string) *gorgonia.Node {
		return gorgonia.NewMatrix(n.x.Graph(), tensor.Float32, gorgonia.WithName(name), gorgonia.WithShape(1, 5), gorgonia.WithInit(gorgonia.Ones()))
	}
	for name, c := range map[string]struct {
		wrap func(n handMade) (*models.Net, error)
		want []string
	}{
		"no input":    {func(n handMade) (*models.Net, error) { return models.Wrap(nil, n.logits, n.params...) }, []string{"input"}},
		"no logits":   {func(n handMade) (*models.Net, error) { return models.Wrap(n.x, nil, n.params...) }, []string{"logits"}},
		"no params":   {func(n handMade) (*models.Net, error) { return models.Wrap(n.x, n.logits) }, []string{`"`, "parameters given"}},
		"one missing": {func(n handMade) (*models.Net, error) { return models.Wrap(n.x, n.logits, n.params[1:]...) }, []string{`"filters"`}},
		"nil":         {func(n handMade) (*models.Net, error) { return models.Wrap(n.x, n.logits, append(n.params, nil)...) }, []string{"parameter 5", "nil"}},
		"twice": {func(n handMade) (*models.Net, error) {
			return models.Wrap(n.x, n.logits, append(n.params, n.params[0])...)
		}, []string{`"filters"`}},
		"the input": {func(n handMade) (*models.Net, error) { return models.Wrap(n.x, n.logits, append(n.params, n.x)...) }, []string{`"x"`}},
		"a result": {func(n handMade) (*models.Net, error) {
			return models.Wrap(n.x, n.logits, append(n.params, n.logits)...)
		}, []string{"variable"}},
		"unused": {func(n handMade) (*models.Net, error) {
			return models.Wrap(n.x, n.logits, append(n.params, named(n, "u"))...)
		}, []string{`"u"`, "depend"}},
		"other graph": {func(n handMade) (*models.Net, error) {
			return models.Wrap(input(tensor.Float32, 3, 1, 8, 8), n.logits, n.params...)
		}, []string{"graph"}},
		"images out": {func(n handMade) (*models.Net, error) { return models.Wrap(n.x, n.x, n.params...) }, []string{"logits of shape"}},
		"stock norm": {stock, []string{"nodes.BatchNorm"}},
		"not the input's": {func(n handMade) (*models.Net, error) {
			p := named(n, "p")
			return models.Wrap(n.x, gorgonia.Must(gorgonia.Concat(0, p, p, p)), p)
		}, []string{"do not depend on the input"}},
	} {
		_, err := c.wrap(newHandMade(t, tensor.Float32, 1))
		gtest.WantError(t, name, err, append(c.want, "models: Wrap")...)
	}
}

// A Net that no constructor has made is an error, not an empty file.
func TestNetOfNoConstructor(t *testing.T) {
	n := newHandMade(t, tensor.Float32, 1)
	for _, net := range []*models.Net{nil, {}, {Input: n.x, Logits: n.logits}} {
		var file bytes.Buffer
		_, at := net.At(1)
		_, fixed := net.FixedPoint(deploy.FixedPointOptions{InputMax: 1})
		_, summary := net.Summary()
		_, signs := net.PackSigns()
		_, activations := net.PackActivations(n.x.Value())
		for name, err := range map[string]error{
			"Save": net.Save(&file), "Load": net.Load(&file), "At": at, "FixedPoint": fixed, "Summary": summary, "PackSigns": signs, "PackActivations": activations,
			"ExportONNX": net.ExportONNX(&file, deploy.ONNXOptions{}),
		} {
			gtest.WantError(t, name, err, "models: ", "no constructor")
		}
		if file.Len() > 0 {
			t.Error("something was written")
		}
		if net != nil && (len(net.Params()) > 0 || net.Identity().Network != "") {
			t.Error("it has an identity")
		}
	}
}
