package models_test

import (
	"bytes"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/ftprop/ftprop/deploy"
	"github.com/ftprop/ftprop/internal/gtest"
	"github.com/ftprop/ftprop/internal/opkit"
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
	}
}

// signWeights is a network whose weights are computed from its parameters.
func signWeights(t testing.TB, dt tensor.Dtype) handMade {
	t.Helper()
	x := input(dt, 3, 6)
	param := func(name string, shape ...int) *gorgonia.Node {
		return gtest.Input(x.Graph(), name, dt, normals(tensor.Shape(shape).TotalSize()), shape...)
	}
	must := gorgonia.Must
	w, b, v := param("w", 5, 6), param("b", 5), param("v", 5, 4)
	h := must(nodes.Linear(x, must(nodes.Sign(w)), nil))
	h = must(gorgonia.BroadcastAdd(h, must(gorgonia.Reshape(b, tensor.Shape{1, 5})), nil, []byte{0}))
	return handMade{x, must(gorgonia.Mul(must(nodes.Sign(h)), must(gorgonia.Tanh(v)))), gorgonia.Nodes{v, b, w}}
}

// A wrapped graph at another batch size computes what the training graph does in evaluation, also after training has gone on.
func TestWrapAt(t *testing.T) {
	for _, dt := range gtest.Dtypes() {
		for name, n := range map[string]handMade{"layers": newHandMade(t, dt, 1), "computed weights": signWeights(t, dt)} {
			net, err := models.Wrap(n.x, n.logits, n.params...)
			net = must(t, net, err)
			if _, err := net.Summary(); err != nil || len(net.Hidden) != 1 {
				t.Errorf("%s: %d activations, %v", name, len(net.Hidden), err)
			}
			at, err := net.At(6)
			at = must(t, at, err)
			if !slices.Equal(at.ParamNames(), net.ParamNames()) || !slices.Equal(at.HiddenNames(), net.HiddenNames()) || !slices.EqualFunc(at.Buffers(), net.Buffers(), sameBuffer) {
				t.Errorf("%s: parameters %v, activations %v, buffers %v", name, at.ParamNames(), at.HiddenNames(), at.Buffers())
			}
			a, b := normals(n.x.Shape().TotalSize()), make([]float64, n.x.Shape().TotalSize())
			for i := range b {
				b[i] = -a[i] / 2
			}
			for range 2 {
				logits(t, net, a) // running statistics move
				got := logits(t, at, append(slices.Clone(a), b...))
				want := append(logits(t, net, a, gorgonia.EvalMode()), logits(t, net, b, gorgonia.EvalMode())...)
				gtest.Compare(t, name, got, want)
				for _, p := range net.Params() { // as a solver does
					v, err := opkit.ValuesInPlace(p.Value())
					if err != nil {
						t.Fatal(err)
					}
					for i := range v.Float32 {
						v.Float32[i] = 0.1 - v.Float32[i]
					}
					for i := range v.Float64 {
						v.Float64[i] = 0.1 - v.Float64[i]
					}
				}
			}
			var file bytes.Buffer
			if err := at.Save(&file); err != nil {
				t.Fatal(err)
			}
			if err := net.Load(&file); err != nil {
				t.Errorf("%s: %v", name, err)
			}
			again, err := at.At(1)
			gtest.Compare(t, name+" again", logits(t, must(t, again, err), a[:len(a)/3]), logits(t, net, a, gorgonia.EvalMode())[:net.Config().Classes])
		}
	}
}

func sameBuffer(a, b models.Buffer) bool { return a.Name == b.Name && slices.Equal(a.Shape, b.Shape) }

// A wrapped graph has a fixed-point form, which computes the same bits at any batch size and is saved and loaded.
func TestWrapFixedPoint(t *testing.T) {
	for _, dt := range gtest.Dtypes() {
		fixed := func(seed uint64) (net, fixed *models.Net) {
			t.Helper()
			n := newHandMade(t, dt, seed)
			net, err := models.Wrap(n.x, n.logits, n.params...)
			net = must(t, net, err)
			logits(t, net, normals(3*64))
			fixed, err = net.FixedPoint(deploy.FixedPointOptions{InputBits: 12})
			return net, must(t, fixed, err)
		}
		net, a := fixed(1)
		_, b := fixed(2)
		x := normals(3 * 64)
		want := logits(t, a, x)
		for i, v := range logits(t, net, x, gorgonia.EvalMode()) {
			if math.Abs(v-want[i]) > 0.02*(1+math.Abs(v)) {
				t.Errorf("%v: logit %d in fixed point is %v, before %v", dt, i, want[i], v)
			}
		}
		var file bytes.Buffer
		if err := a.Save(&file); err != nil {
			t.Fatal(err)
		}
		saved := file.Bytes()
		if err := b.Load(bytes.NewReader(saved)); err != nil {
			t.Fatal(err)
		}
		at, err := b.At(1)
		at = must(t, at, err)
		for i := range 3 {
			if got := logits(t, at, x[64*i:64*(i+1)]); !slices.Equal(got, want[5*i:5*(i+1)]) {
				t.Errorf("%v: sample %d alone: %v, want %v", dt, i, got, want[5*i:5*(i+1)])
			}
		}
		gtest.WantError(t, "weights in fixed point", net.Load(bytes.NewReader(saved)), "fixed point")
		_, err = at.FixedPoint(deploy.FixedPointOptions{})
		gtest.WantError(t, "twice", err, "models: Graph in fixed point", "already")
	}
}

// What package deploy cannot build anew is its error.
func TestWrapAtErrors(t *testing.T) {
	n := newHandMade(t, tensor.Float32, 1)
	each := gtest.Input(n.x.Graph(), "each", tensor.Float32, normals(15), 3, 5)
	net, err := models.Wrap(n.x, gorgonia.Must(gorgonia.Add(n.logits, each)), append(n.params, each)...)
	net = must(t, net, err)
	_, err = net.At(0)
	gtest.WantError(t, "no samples", err, "models: Graph at batch size 0", "1 or more")
	_, err = net.At(4)
	gtest.WantError(t, "samples of their own", err, "models: Graph at batch size 4: it has no other batch size than 3", "+")
	if _, err = net.At(3); err != nil {
		t.Error(err)
	}
	_, err = net.FixedPoint(deploy.FixedPointOptions{})
	gtest.WantError(t, "no bias", err, "models: Graph in fixed point", "for each channel")
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
