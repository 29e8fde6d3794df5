package train

import (
	"context"
	"testing"

	"github.com/ftprop/ftprop/internal/gtest"
	"github.com/ftprop/ftprop/models"
	"github.com/ftprop/ftprop/nodes"
	"gorgonia.org/gorgonia"
	"gorgonia.org/tensor"
)

// A graph that was built by hand, of Gorgonia's layers, is trained, evaluated and looked into as other networks are, whatever the order of
// its parameters.
func TestWrappedGraph(t *testing.T) {
	c := digits(t, nil)
	g := gorgonia.NewGraph()
	x := gorgonia.NewTensor(g, tensor.Float32, 4, gorgonia.WithName("x"), gorgonia.WithShape(32, 1, 8, 8))
	param := func(name string, shape ...int) *gorgonia.Node {
		w := gtest.Normals(tensor.Shape(shape).TotalSize(), 1)
		for i := range w {
			w[i] *= 0.2
		}
		return gtest.Input(g, name, tensor.Float32, w, shape...)
	}
	must := gorgonia.Must
	w1, b1, w2, b2 := param("w1", 64, 32), param("b1", 1, 32), param("w2", 32, 10), param("b2", 1, 10)
	h := must(gorgonia.BroadcastAdd(b1, must(gorgonia.Mul(must(nodes.Flatten(x)), w1)), []byte{0}, nil))
	h = must(gorgonia.BroadcastAdd(must(gorgonia.Mul(must(nodes.Sign(h)), w2)), b2, nil, []byte{0}))
	net, err := models.Wrap(x, h, b2, w2, b1, w1)
	if err != nil {
		t.Fatal(err)
	}
	c.Net, c.Epochs = net, 5
	tr := trained(t, c)
	if err := tr.Run(context.Background()); err != nil {
		t.Fatal(err)
	}
	last := tr.History()[c.Epochs-1]
	if last.Test.Top1 < 80 || len(last.Layers) != 1 || last.Layers[0].Units == 0 {
		t.Errorf("%+v", last)
	}
}
