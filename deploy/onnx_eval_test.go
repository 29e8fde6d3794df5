package deploy_test

import (
	"encoding/binary"
	"fmt"
	"math"
	"slices"
	"testing"

	pb "github.com/ftprop/ftprop/internal/onnxpb"
	"google.golang.org/protobuf/proto"
)

// array is a value of an ONNX model: all types as numbers.
type array struct {
	shape []int
	data  []float64
}

func size(shape []int) int {
	n := 1
	for _, d := range shape {
		n *= d
	}
	return n
}

// each calls f with the coordinates of all elements of a shape, in row-major order.
func each(shape []int, f func(k int, at []int)) {
	at := make([]int, len(shape))
	for k := range size(shape) {
		f(k, at)
		for m := len(at) - 1; m >= 0; m-- {
			if at[m]++; at[m] < shape[m] {
				break
			}
			at[m] = 0
		}
	}
}

// at returns an element; dimensions of size 1 are repeated, and missing ones at the front.
func (a array) at(at ...int) float64 {
	k := 0
	for i, d := range a.shape {
		if j := at[len(at)-len(a.shape)+i]; d != 1 {
			k = k*d + j
		}
	}
	return a.data[k]
}

func fill(shape []int, f func(at []int) float64) array {
	a := array{shape, make([]float64, size(shape))}
	each(shape, func(k int, at []int) { a.data[k] = f(at) })
	return a
}

// broadcast applies a function of several inputs as NumPy does.
func broadcastAll(f func(x []float64) float64, in ...array) array {
	var shape []int
	for _, a := range in {
		for len(shape) < len(a.shape) {
			shape = append([]int{1}, shape...)
		}
		for i, d := range a.shape {
			k := len(shape) - len(a.shape) + i
			if d != 1 && shape[k] != 1 && shape[k] != d {
				panic(fmt.Sprintf("shapes %v", in))
			}
			shape[k] = max(shape[k], d)
		}
	}
	return fill(shape, func(at []int) float64 {
		x := make([]float64, len(in))
		for i, a := range in {
			x[i] = a.at(at...)
		}
		return f(x)
	})
}

// evaluate computes an ONNX model by the definitions of its operators (github.com/onnx/onnx, docs/Operators.md, opset 13) in float64, in the simplest way
// there is.
func evaluate(t testing.TB, model []byte, x array) map[string]array {
	t.Helper()
	m := new(pb.ModelProto)
	if err := proto.Unmarshal(model, m); err != nil {
		t.Fatal(err)
	}
	qonnx := slices.ContainsFunc(m.Graph.Node, func(n *pb.NodeProto) bool { return n.GetDomain() != "" })
	if len(m.OpsetImport) != 1+int(number(qonnx)) || m.OpsetImport[0].GetVersion() != 13 {
		t.Fatalf("operator sets %v", m.OpsetImport)
	}
	values := map[string]array{}
	define := func(name string, a array) {
		if _, ok := values[name]; ok || name == "" {
			t.Fatalf("%q is defined twice, or empty", name)
		}
		values[name] = a
	}
	define(m.Graph.Input[0].GetName(), x)
	for _, i := range m.Graph.Initializer {
		a := array{shape: []int{}}
		for _, d := range i.Dims {
			a.shape = append(a.shape, int(d))
		}
		for b := i.RawData; len(b) > 0; {
			if i.GetDataType() == int32(pb.TensorProto_INT64) {
				a.data, b = append(a.data, float64(int64(binary.LittleEndian.Uint64(b)))), b[8:]
			} else {
				a.data, b = append(a.data, float64(math.Float32frombits(binary.LittleEndian.Uint32(b)))), b[4:]
			}
		}
		if len(a.data) != size(a.shape) {
			t.Fatalf("%s has %d elements for %v", i.GetName(), len(a.data), a.shape)
		}
		define(i.GetName(), a)
	}
	names := map[string]bool{}
	for _, n := range m.Graph.Node {
		if names[n.GetName()] || n.GetName() == "" {
			t.Fatalf("node %q is there twice, or has no name", n.GetName())
		}
		names[n.GetName()] = true
		var in []array
		for _, name := range n.Input {
			a, ok := values[name]
			if !ok {
				t.Fatalf("%s reads %q before it is there", n.GetName(), name)
			}
			in = append(in, a)
		}
		define(n.Output[0], operator(t, n, in))
	}
	out := map[string]array{}
	for _, o := range m.Graph.Output {
		a, ok := values[o.GetName()]
		if !ok {
			t.Fatalf("no output %q", o.GetName())
		}
		dims := o.Type.GetTensorType().Shape.Dim
		if len(dims) != len(a.shape) {
			t.Fatalf("output %q has shape %v, says %v", o.GetName(), a.shape, dims)
		}
		for i, d := range dims {
			if d.GetDimParam() == "" && int(d.GetDimValue()) != a.shape[i] {
				t.Fatalf("output %q has shape %v, says %v", o.GetName(), a.shape, dims)
			}
		}
		out[o.GetName()] = a
	}
	return out
}

func number(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

func operator(t testing.TB, n *pb.NodeProto, in []array) array {
	t.Helper()
	find := func(name string) *pb.AttributeProto {
		for _, a := range n.Attribute {
			if a.GetName() == name {
				return a
			}
		}
		t.Fatalf("%s has no attribute %s", n.GetOpType(), name)
		return nil
	}
	list := func(name string) []int {
		var out []int
		for _, i := range find(name).Ints {
			out = append(out, int(i))
		}
		return out
	}
	x := in[0]
	elementwise := map[string]func(x []float64) float64{
		"Add": func(x []float64) float64 { return x[0] + x[1] }, "Sub": func(x []float64) float64 { return x[0] - x[1] },
		"Mul": func(x []float64) float64 { return x[0] * x[1] }, "Div": func(x []float64) float64 { return x[0] / x[1] },
		"Pow":  func(x []float64) float64 { return math.Pow(x[0], x[1]) },
		"Less": func(x []float64) float64 { return number(x[0] < x[1]) }, "Greater": func(x []float64) float64 { return number(x[0] > x[1]) },
		"LessOrEqual": func(x []float64) float64 { return number(x[0] <= x[1]) }, "GreaterOrEqual": func(x []float64) float64 { return number(x[0] >= x[1]) },
		"Equal": func(x []float64) float64 { return number(x[0] == x[1]) }, "Not": func(x []float64) float64 { return 1 - x[0] },
		"Cast": func(x []float64) float64 { return x[0] }, "Identity": func(x []float64) float64 { return x[0] },
		"Where": func(x []float64) float64 {
			if x[0] != 0 {
				return x[1]
			}
			return x[2]
		},
		"Clip": func(x []float64) float64 { return min(max(x[0], x[1]), x[2]) }, "Relu": func(x []float64) float64 { return max(x[0], 0) },
		"LeakyRelu": func(x []float64) float64 {
			if x[0] < 0 {
				return float64(find("alpha").GetF()) * x[0]
			}
			return x[0]
		},
		"Sign": func(x []float64) float64 { return number(x[0] > 0) - number(x[0] < 0) },
		"Neg":  func(x []float64) float64 { return -x[0] }, "Reciprocal": func(x []float64) float64 { return 1 / x[0] },
		"Sigmoid":  func(x []float64) float64 { return 1 / (1 + math.Exp(-x[0])) },
		"Softplus": func(x []float64) float64 { return math.Log1p(math.Exp(x[0])) },
	}
	if n.GetDomain() != "" { // QONNX's
		elementwise["BipolarQuant"] = func(x []float64) float64 { return x[1] * (2*number(x[0] >= 0) - 1) }
		elementwise["Quant"] = func(x []float64) float64 {
			if string(find("rounding_mode").GetS()) != "ROUND" || find("signed").GetI() != 1 || x[2] != 0 {
				t.Fatalf("%v", n)
			}
			top := math.Exp2(x[3]-1) - 1
			return x[1] * math.RoundToEven(min(max(x[0]/x[1], float64(1-find("narrow").GetI())*-1-top), top))
		}
	}
	for name, f := range map[string]func(float64) float64{
		"Abs": math.Abs, "Ceil": math.Ceil, "Floor": math.Floor, "Round": math.RoundToEven, "Sin": math.Sin, "Cos": math.Cos, "Exp": math.Exp,
		"Log": math.Log, "Sqrt": math.Sqrt, "Tanh": math.Tanh,
	} {
		elementwise[name] = func(x []float64) float64 { return f(x[0]) }
	}
	if f, ok := elementwise[n.GetOpType()]; ok {
		return broadcastAll(f, in...)
	}
	// windows sums up (or otherwise collects) over the windows of an image.
	windows := func(channels int, kernel, pads, strides, dilations []int, f func(n, c, oy, ox int, each func(g func(ky, kx, y, x int))) float64) array {
		h, w := x.shape[2], x.shape[3]
		oh := (h+pads[0]+pads[2]-dilations[0]*(kernel[0]-1)-1)/strides[0] + 1
		ow := (w+pads[1]+pads[3]-dilations[1]*(kernel[1]-1)-1)/strides[1] + 1
		return fill([]int{x.shape[0], channels, oh, ow}, func(at []int) float64 {
			return f(at[0], at[1], at[2], at[3], func(g func(ky, kx, y, x int)) {
				for ky := range kernel[0] {
					for kx := range kernel[1] {
						y, x := at[2]*strides[0]-pads[0]+ky*dilations[0], at[3]*strides[1]-pads[1]+kx*dilations[1]
						if y >= 0 && y < h && x >= 0 && x < w {
							g(ky, kx, y, x)
						}
					}
				}
			})
		})
	}
	switch n.GetOpType() {
	case "Conv":
		w := in[1]
		return windows(w.shape[0], list("kernel_shape"), list("pads"), list("strides"), list("dilations"), func(n, c, _, _ int, each func(func(ky, kx, y, x int))) float64 {
			sum := 0.0
			each(func(ky, kx, yy, xx int) {
				for k := range w.shape[1] {
					sum += w.at(c, k, ky, kx) * x.at(n, k, yy, xx)
				}
			})
			if len(in) > 2 {
				sum += in[2].data[c]
			}
			return sum
		})
	case "MaxPool":
		return windows(x.shape[1], list("kernel_shape"), list("pads"), list("strides"), []int{1, 1}, func(n, c, _, _ int, each func(func(ky, kx, y, x int))) float64 {
			top := math.Inf(-1)
			each(func(_, _, yy, xx int) { top = max(top, x.at(n, c, yy, xx)) })
			return top
		})
	case "AveragePool":
		k := list("kernel_shape")
		if find("count_include_pad").GetI() != 1 {
			t.Fatal("padding is not counted")
		}
		return windows(x.shape[1], k, list("pads"), list("strides"), []int{1, 1}, func(n, c, _, _ int, each func(func(ky, kx, y, x int))) float64 {
			sum := 0.0
			each(func(_, _, yy, xx int) { sum += x.at(n, c, yy, xx) })
			return sum / float64(k[0]*k[1])
		})
	case "GlobalAveragePool":
		return fill([]int{x.shape[0], x.shape[1], 1, 1}, func(at []int) float64 {
			sum := 0.0
			each(x.shape[2:], func(_ int, p []int) { sum += x.at(at[0], at[1], p[0], p[1]) })
			return sum / float64(x.shape[2]*x.shape[3])
		})
	case "BatchNormalization":
		eps := float64(find("epsilon").GetF())
		for _, p := range in[1:] {
			if len(p.shape) != 1 || p.shape[0] != x.shape[1] {
				t.Fatalf("statistics of shape %v", p.shape)
			}
		}
		return fill(x.shape, func(at []int) float64 {
			c := at[1]
			return in[1].data[c]*(x.at(at...)-in[3].data[c])/math.Sqrt(in[4].data[c]+eps) + in[2].data[c]
		})
	case "Gemm":
		if find("transB").GetI() != 1 {
			t.Fatal("Gemm without transB")
		}
		return fill([]int{x.shape[0], in[1].shape[0]}, func(at []int) float64 {
			sum := 0.0
			for k := range x.shape[1] {
				sum += x.at(at[0], k) * in[1].at(at[1], k)
			}
			if len(in) > 2 {
				sum += in[2].at(at...)
			}
			return sum
		})
	case "MatMul":
		a, b := x, in[1]
		if len(a.shape) == 1 {
			a.shape = []int{1, a.shape[0]}
		}
		if len(b.shape) == 1 {
			b.shape = []int{b.shape[0], 1}
		}
		outer := len(a.shape) - 2
		if a.shape[outer+1] != b.shape[len(b.shape)-2] || len(a.shape) != len(b.shape) {
			t.Fatalf("a product of %v and %v", x.shape, in[1].shape)
		}
		y := fill(append(append([]int{}, a.shape[:outer+1]...), b.shape[len(b.shape)-1]), func(at []int) float64 {
			sum := 0.0
			i, j := append([]int{}, at...), append([]int{}, at...)
			for k := range a.shape[outer+1] {
				i[outer+1], j[outer] = k, k
				sum += a.at(i...) * b.at(j...)
			}
			return sum
		})
		switch one, other := len(x.shape) == 1, len(in[1].shape) == 1; {
		case one && other:
			y.shape = []int{}
		case one:
			y.shape = y.shape[1:]
		case other:
			y.shape = y.shape[:1]
		}
		return y
	case "Softmax", "LogSoftmax":
		axis := int(find("axis").GetI())
		return fill(x.shape, func(at []int) float64 {
			sum, own := 0.0, x.at(at...)
			p := append([]int{}, at...)
			for k := range x.shape[axis] {
				p[axis] = k
				sum += math.Exp(x.at(p...) - own)
			}
			if n.GetOpType() == "LogSoftmax" {
				return -math.Log(sum)
			}
			return 1 / sum
		})
	case "Flatten":
		return array{[]int{x.shape[0], size(x.shape[1:])}, x.data}
	case "Reshape":
		var shape []int
		known, free := 1, -1
		for i, d := range in[1].data {
			shape = append(shape, int(d))
			if d == -1 {
				free = i
			} else {
				known *= int(d)
			}
		}
		if free >= 0 {
			shape[free] = len(x.data) / known
		}
		if size(shape) != len(x.data) {
			t.Fatalf("%v reshaped to %v", x.shape, shape)
		}
		return array{shape, x.data}
	case "Transpose":
		perm := list("perm")
		shape := make([]int, len(perm))
		for i, p := range perm {
			shape[i] = x.shape[p]
		}
		return fill(shape, func(at []int) float64 {
			from := make([]int, len(at))
			for i, p := range perm {
				from[p] = at[i]
			}
			return x.at(from...)
		})
	case "Concat":
		axis := int(find("axis").GetI())
		shape := append([]int{}, x.shape...)
		shape[axis] = 0
		for _, a := range in {
			shape[axis] += a.shape[axis]
		}
		return fill(shape, func(at []int) float64 {
			p := append([]int{}, at...)
			for _, a := range in {
				if p[axis] < a.shape[axis] {
					return a.at(p...)
				}
				p[axis] -= a.shape[axis]
			}
			return 0
		})
	}
	t.Fatalf("operator %s", n.GetOpType())
	return array{}
}
