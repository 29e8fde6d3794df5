package deploy

import (
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"

	"github.com/ftprop/ftprop/internal/intnet"
	"github.com/pkg/errors"
)

// Integer is a network of threshold units in integers, made by Graph.Quantise. It has numbers of its own: training does not change it. It is safe for
// concurrent use.
//
// What it computes is integer arithmetic without rounding, but for real inputs, which are rounded once, and logits, whose product and sum are rounded
// to float32 once each: so every program that runs it has the same bits.
type Integer struct {
	net     *intnet.Network
	weights map[int][]weightSummary // by the number of the layer
}

// Classes is the number of logits.
func (n *Integer) Classes() int { return n.net.Classes() }

var _ io.WriterTo = (*Integer)(nil)

// Run sets dst, (N, classes), to the logits of N images of uint8, each in the order of channels, rows and columns. It computes by definition, element by
// element: hundreds of times slower than package infer, for tests and for measuring accuracies. A network on real inputs is an error.
func (n *Integer) Run(dst []float32, images []uint8) error {
	return errors.WithMessagef(n.net.Run(dst, images), "deploy: %s in integers", n.net.Name)
}

// RunReal is Run for networks on real inputs. One that is not a number is an error, as is a network on pixels.
func (n *Integer) RunReal(dst, images []float32) error {
	return errors.WithMessagef(n.net.RunReal(dst, images), "deploy: %s in integers", n.net.Name)
}

// WriteTo writes the network as an ONNX model of opset 13 in standard integer operators: ConvInteger, MatMulInteger, comparisons, Cast, ... Any runtime of
// ONNX computes the bits of Run from it, and package infer loads it. The input is called "input", uint8 or float32, of any number of
// images, the output "logits". Results of layers are called after the layers; two of one name are an error.
//
// It implements io.WriterTo.
func (n *Integer) WriteTo(w io.Writer) (int64, error) {
	c := &counter{w: w}
	err := n.net.WriteONNX(c)
	return c.n, errors.WithMessagef(err, "deploy: writing %s in integers", n.net.Name)
}

// String returns a table of the layers: what they add up and emit, the shape of an image's results, bits of the weights and bytes of all numbers, weights
// packed, others in 4 bytes each.
func (n *Integer) String() string {
	values, err := n.net.Values()
	if err != nil { // Quantise has checked it
		return err.Error()
	}
	var b strings.Builder
	t := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	fmt.Fprintf(t, "layer\tkind\tin\tout\tweights\tbits\tbytes\n")
	shape := func(i int) string {
		s := values[i].Shape
		if s.H == 1 && s.W == 1 {
			return strconv.Itoa(s.C)
		}
		return by([]int{s.C, s.H, s.W})
	}
	var weights, rest int64
	for i, l := range n.net.Layers {
		names, widths, bytes := "", "", int64(0)
		for _, w := range n.weights[i] {
			names, widths, bytes = names+" + "+w.name, widths+" + "+strconv.Itoa(w.bits), bytes+bytesFor(w.count, w.bits)
		}
		weights += bytes
		numbers := 0
		var sum *intnet.Sum
		kind := ""
		switch l := l.(type) {
		case *intnet.Units:
			sum, numbers = &l.Sum, len(l.Thresholds)
			kind = "units of " + strconv.Itoa(l.Steps+1) + " levels"
		case *intnet.Logits:
			sum, numbers = &l.Sum, len(l.Scale)+len(l.Offset)
			kind = "logits"
		case *intnet.MaxPool:
			kind = fmt.Sprintf("max-pooling %dx%d", l.Kernel[0], l.Kernel[1])
		case *intnet.SumPool:
			kind = fmt.Sprintf("sums over %dx%d", l.Kernel[0], l.Kernel[1])
		case *intnet.Concat:
			kind = "concatenation"
		}
		if sum != nil {
			numbers += len(sum.Bias)
			for _, term := range sum.Terms {
				numbers += len(term.Mul)
			}
		}
		bytes += 4 * int64(numbers)
		rest += 4 * int64(numbers)
		var in []string
		for _, of := range l.From() {
			if s := shape(of); !slices.Contains(in, s) {
				in = append(in, s)
			}
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\t%d\n", intnet.LayerName(l), kind, strings.Join(in, " + "), shape(i+1), strings.TrimPrefix(names, " + "), strings.TrimPrefix(widths, " + "), bytes)
	}
	_ = t.Flush() // a Builder takes all
	input := "uint8 pixels"
	if r := n.net.Input.Real; r != nil {
		input = fmt.Sprintf("real numbers in units of %v, up to %v", r.Unit, float64(r.Unit)*float64(r.Max))
	}
	fmt.Fprintf(&b, "\n%s: inputs %s, %s of weights, %s of thresholds and other numbers\n", n.net.Name, input, size(weights), size(rest))
	return b.String()
}
