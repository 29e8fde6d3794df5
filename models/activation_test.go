package models_test

import (
	"slices"
	"testing"

	"github.com/ftprop/ftprop/internal/gtest"
	"github.com/ftprop/ftprop/models"
	"github.com/ftprop/ftprop/nodes"
	"gorgonia.org/gorgonia"
	"gorgonia.org/tensor"
)

// then composes activations.
func then(f ...nodes.Activation) nodes.Activation {
	return func(x *gorgonia.Node) (*gorgonia.Node, error) {
		var err error
		for _, act := range f {
			if x, err = act(x); err != nil {
				return nil, err
			}
		}
		return x, nil
	}
}

// Activations that At could not make as they are, and Save not write, are refused with the node that makes them so.
func TestActivationsWithState(t *testing.T) {
	batchNorm := func(x *gorgonia.Node) (*gorgonia.Node, error) {
		y, _, _, _, err := nodes.BatchNorm(x, nil, nil, 0.1, 1e-5)
		return y, err
	}
	variable := func(x *gorgonia.Node) (*gorgonia.Node, error) {
		a := gorgonia.NewTensor(x.Graph(), x.Dtype(), x.Dims(), gorgonia.WithName("slopes"), gorgonia.WithShape(x.Shape()...), gorgonia.WithInit(gorgonia.Ones()))
		return gorgonia.HadamardProd(x, a)
	}
	for _, c := range []struct {
		name  string
		act   nodes.Activation
		words []string
	}{
		{"batch norm before", then(batchNorm, nodes.Sign), []string{"own", "Config.BatchNorm"}},
		{"batch norm behind", then(nodes.Sign, batchNorm), []string{"own", "Config.BatchNorm"}},
		{"a parameter", then(variable, nodes.Sign), []string{`"slopes"`, "parameters of their own"}},
		{"a parameter behind", then(nodes.Sign, variable), []string{`"slopes"`, "parameters of their own"}},
		{"stock batch norm", func(x *gorgonia.Node) (*gorgonia.Node, error) {
			y, _, _, _, err := gorgonia.BatchNorm(x, nil, nil, 0.9, 1e-5)
			return y, err
		}, []string{"own"}},
		{"stock dropout", then(nodes.Sign, func(x *gorgonia.Node) (*gorgonia.Node, error) { return gorgonia.Dropout(x, 0.5) }), []string{"state of its own"}},
		{"noise", func(x *gorgonia.Node) (*gorgonia.Node, error) {
			return gorgonia.Add(x, gorgonia.GaussianRandomNode(x.Graph(), x.Dtype(), 0, 1, x.Shape()...))
		}, []string{"state of its own"}},
		{"the image", func(x *gorgonia.Node) (*gorgonia.Node, error) { return nodes.Add(x, x.Graph().ByName("x")[0]) }, []string{`"x"`, "beside its input"}},
		{"another graph", func(x *gorgonia.Node) (*gorgonia.Node, error) { return input(x.Dtype(), x.Shape()...), nil }, []string{"another graph"}},
	} {
		net, err := models.MLP(input(tensor.Float32, 2, 4), models.Config{Act: c.act, Widths: []int{4, 4}})
		gtest.WantError(t, c.name, err, append(c.words, "models: MLP", "nonlin1")...)
		if net != nil {
			t.Errorf("%s: a network beside the error", c.name)
		}
	}
}

// Activations without: of several operations, stock ones with constants, and with dropout, which At leaves out whatever machine runs it.
func TestActivationsWithoutState(t *testing.T) {
	leaky := func(x *gorgonia.Node) (*gorgonia.Node, error) { return gorgonia.LeakyRelu(x, 0.1) }
	half := func(x *gorgonia.Node) (*gorgonia.Node, error) {
		return gorgonia.Mul(x, gorgonia.NewConstant(0.5))
	}
	dropout := func(x *gorgonia.Node) (*gorgonia.Node, error) { return nodes.Dropout(x, 0.5) }
	for name, act := range map[string]nodes.Activation{
		"none": then(), "two": then(nodes.HardTanh, nodes.Sign), "stock": then(gorgonia.Tanh, leaky, half, gorgonia.Rectify), "dropout": then(dropout, nodes.Sign, dropout),
	} {
		net, err := models.MLP(input(tensor.Float64, 3, 4), models.Config{Act: act, Widths: []int{30, 30}, BatchNorm: true})
		net = must(t, net, err)
		x := normals(12)
		at, err := net.At(3)
		at = must(t, at, err)
		want := logits(t, net, x, gorgonia.EvalMode())
		for range 2 {
			if got := logits(t, at, x); !slices.Equal(got, want) {
				t.Errorf("%s: in evaluation mode %v, at another batch size %v", name, want, got)
			}
		}
	}
}

// Gorgonia's own activations are taken by every network: they train, and At and the layers' names know them.
func TestStockActivations(t *testing.T) {
	constructors := map[string]func(*gorgonia.Node, models.Config) (*models.Net, error){
		"MLP": models.MLP, "ConvNet4": models.ConvNet4, "ConvNet8": models.ConvNet8, "AlexNet": models.AlexNet,
		"ResNet18": models.ResNet18, "ResNet34": models.ResNet34, "ResNet18ImageNet": models.ResNet18ImageNet,
	}
	for name, template := range small {
		for _, dt := range gtest.Dtypes() {
			if gtest.Race && dt == tensor.Float64 { // activations of Gorgonia's, on one goroutine
				continue
			}
			net, err := template(dt, 2)
			cfg, shape := must(t, net, err).Config(), net.Input.Shape()
			build := func(act nodes.Activation) *models.Net {
				cfg.Act = act
				net, err := constructors[name](input(dt, shape...), cfg)
				return must(t, net, err)
			}
			x := normals(shape.TotalSize())
			for what, act := range map[string]nodes.Activation{"Rectify": gorgonia.Rectify, "Tanh": gorgonia.Tanh, "Sigmoid": gorgonia.Sigmoid} {
				net := build(act)
				labels := make([]float64, net.Logits.Shape().TotalSize())
				labels[0], labels[len(labels)-1] = 1, 1
				y := gtest.Input(net.Input.Graph(), "y", dt, labels, net.Logits.Shape()...)
				if err := gorgonia.Let(net.Input, gtest.Dense(dt, x, shape...)); err != nil {
					t.Fatal(err)
				}
				_, grads, err := gtest.Run(t, gtest.Tape, gorgonia.Must(nodes.CrossEntropy(net.Logits, y)), net.Params(), nil)
				if err != nil {
					t.Fatalf("%s with %s: %v", name, what, err)
				}
				if !slices.ContainsFunc(grads[0], func(g float64) bool { return g != 0 }) {
					t.Errorf("%s with %s: the first layer has no gradient", name, what)
				}
				at, err := net.At(2)
				must(t, at, err)
				s, err := net.Summary()
				if err != nil {
					t.Fatal(err)
				}
				types := map[string]string{}
				for _, l := range s.Layers {
					types[l.Name] = l.Type
				}
				for _, l := range net.Layers() {
					if l.Type != "Dropout2D" && l.Type != types[l.Name] {
						t.Errorf("%s with %s: layer %s is a %s, in the summary a %s", name, what, l.Name, l.Type, types[l.Name])
					}
				}
			}
			gtest.Compare(t, name+" with Gorgonia's and our ReLU", logits(t, build(gorgonia.Rectify), x), logits(t, build(nodes.ReLU), x))
		}
	}
}
