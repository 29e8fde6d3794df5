package deploy_test

import (
	"io"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/ftprop/ftprop/deploy"
	"github.com/ftprop/ftprop/nodes"
	"gorgonia.org/gorgonia"
	"gorgonia.org/tensor"
)

// Operations in any order, some results read twice: Gorgonia's machine, the exported file and the graph at another batch size compute the same.
func FuzzTrace(f *testing.F) {
	rng := rand.New(rand.NewPCG(9, 9))
	for range 60 {
		program := make([]byte, 3+rng.IntN(10))
		for i := range program {
			program[i] = byte(rng.IntN(256))
		}
		f.Add(program)
	}
	f.Fuzz(func(t *testing.T, program []byte) {
		if len(program) < 2 || len(program) > 16 {
			return
		}
		n := net{t, gorgonia.NewGraph(), tensor.Float64, rand.New(rand.NewPCG(uint64(program[0]), 1))}
		pick := func(of int) int {
			if len(program) == 0 {
				return 0
			}
			k := int(program[0]) % of
			program = program[1:]
			return k
		}
		batch := 1 + pick(3)
		shape := [][]int{{batch, 3}, {batch, 5}, {batch, 2, 6, 4}}[pick(3)]
		x := n.param("x", shape...)
		param := func(shape ...int) *gorgonia.Node { // float32 holds its elements, as files do; or what is computed from it, exactly
			p := n.param("p"+string(rune('a'+len(n.g.AllNodes())%26))+string(rune('a'+len(n.g.AllNodes())/26)), shape...)
			w := p.Value().Data().([]float64)
			for i := range w {
				w[i] = float64(float32(w[i]))
			}
			switch size := p.Shape().TotalSize(); pick(6) {
			case 1:
				p = n.must(gorgonia.HadamardProd(n.must(gorgonia.HadamardProd(n.must(nodes.Sign(p)), n.must(gorgonia.Abs(p)))), n.constant(0.5)))
			case 2:
				p = n.must(gorgonia.Reshape(n.must(gorgonia.Abs(n.must(gorgonia.Reshape(p, tensor.Shape{size})))), shape))
			case 3:
				if len(shape) == 2 {
					p = n.must(gorgonia.BroadcastHadamardProd(p, n.must(nodes.Sign(n.param("s"+p.Name(), shape[0], 1))), nil, []byte{1}))
				}
			case 4:
				if len(shape) == 2 && shape[0] == shape[1] {
					p = n.must(gorgonia.Transpose(p, 1, 0))
				}
			}
			return p
		}
		smooth := []func(*gorgonia.Node) (*gorgonia.Node, error){gorgonia.Tanh, gorgonia.Sigmoid, gorgonia.Neg, gorgonia.Abs, gorgonia.Rectify, gorgonia.Sin, nodes.ReLU, nodes.HardTanh}
		y, before := x, x
		for len(program) > 0 {
			last := y
			switch s := y.Shape(); pick(9) {
			case 0:
				y = n.must(smooth[pick(len(smooth))](y))
			case 1:
				if before.Shape().Eq(s) && before.Dims() == len(s) {
					y = n.must([]func(a, b *gorgonia.Node) (*gorgonia.Node, error){gorgonia.Add, gorgonia.Sub, gorgonia.HadamardProd, nodes.Add}[pick(4)](y, before))
				}
			case 2:
				y = n.must([]func(a, b *gorgonia.Node) (*gorgonia.Node, error){gorgonia.Add, gorgonia.HadamardProd, gorgonia.HadamardDiv}[pick(3)](y, gorgonia.NewConstant(0.5+float64(pick(3)))))
			case 3:
				if len(s) == 2 { // thresholds behind random weights alone: rounding flips no unit
					z := n.must(gorgonia.Mul(y, param(s[1], 1+pick(5))))
					y = n.must([]func(*gorgonia.Node) (*gorgonia.Node, error){nodes.Sign, gorgonia.Tanh, func(x *gorgonia.Node) (*gorgonia.Node, error) { return nodes.QReLU(x, 2) }}[pick(3)](z))
				} else {
					y = n.must(gorgonia.Conv2d(y, param(2, s[1], 1, 1), tensor.Shape{1, 1}, []int{0, 0}, []int{1, 1}, []int{1, 1}))
				}
			case 4:
				if len(s) == 2 {
					y = n.must(gorgonia.BroadcastAdd(y, param(1, s[1]), nil, []byte{0}))
				} else {
					y = n.must(gorgonia.BroadcastHadamardProd(y, param(1, s[1], 1, 1), nil, []byte{0, 2, 3}))
				}
			case 5:
				if len(s) == 4 && s[2] > 1 && s[3] > 1 {
					y = n.must(gorgonia.MaxPool2D(y, tensor.Shape{2, 2}, []int{pick(2), pick(2)}, []int{1 + pick(2), 1}))
				}
			case 6:
				if len(s) == 4 && pick(3) == 0 {
					y = n.must(nodes.Flatten(y))
				}
			case 7:
				if pick(2) == 0 && len(s) == 2 && s[1] > 1 { // of (N, 1) the stock SoftMax is one along the samples
					y = n.must(gorgonia.SoftMax(y))
				} else if s[1] < 8 {
					y = n.must(gorgonia.Concat(1, y, n.must(gorgonia.Tanh(y))))
				}
			case 8:
				if len(s) == 4 {
					y = n.must(gorgonia.Transpose(y, 0, 2, 3, 1))
				}
			}
			if y != last {
				before = last
			}
		}
		if y == x {
			return
		}
		g := traced(t, x, y)
		in := make([]float64, x.Shape().TotalSize())
		for i := range in {
			in[i] = float64(float32(n.rng.NormFloat64()))
		}
		want := run(t, x, y, in)
		for _, v := range want {
			if v-v != 0 || math.Abs(v) > 1e30 {
				return
			}
		}
		worst(t, "as ONNX", evaluate(t, exportOf(t, g, deploy.ONNXOptions{Output: "y"}), array{shape, in})["y"].data, want)
		at, err := g.At(batch + 1)
		if err != nil {
			t.Fatal(err)
		}
		k := len(in) / batch
		got := run(t, at.Input, at.Output, append(append([]float64{}, in...), in[:k]...))
		worst(t, "with one more sample", got[:len(want)], want)
		if fixed, err := g.FixedPoint(deploy.FixedPointOptions{}); err == nil {
			if err := fixed.ExportONNX(io.Discard, deploy.ONNXOptions{}); err != nil {
				t.Error(err)
			}
			run(t, fixed.Input, fixed.Output, in)
		}
		if _, err := g.Summary(); err != nil {
			t.Error(err)
		}
	})
}
