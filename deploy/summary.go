package deploy

import (
	"fmt"
	"io"
	"math/bits"
	"strconv"
	"strings"
	"text/tabwriter"

	"github.com/ftprop/ftprop/internal/opkit"
	"github.com/ftprop/ftprop/ops"
	"github.com/ftprop/ftprop/ops/nn"
	"github.com/pkg/errors"
	"gorgonia.org/gorgonia"
)

// Summary is what a network costs to run, one sample at a time, where every number takes as many bits as it needs. See Graph.Summary.
type Summary struct {
	Network    string
	FloatBits  int            // of the network's own numbers: 32 or 64
	Layers     []LayerSummary // in order of execution
	Params     int            // trained numbers
	Operations []Operations   // multiply-adds of all layers, by type of operands; the widest first

	// Bytes for the parameters and the running statistics: all as floating-point numbers, and quantised, with one bit for a sign weight.
	WeightBytes, QuantizedWeightBytes int64
	// Bytes for the outputs of the activation layers for one sample, likewise: quantised, a threshold layer's levels are packed.
	ActivationBytes, QuantizedActivationBytes int64
}

// LayerSummary is a layer of a Summary.
type LayerSummary struct {
	Name       string // the node's (of a models.Net as in the reference); "" for nodes without
	Type       string // Conv2d, Linear, MaxPool2D, BatchNorm, Sign, Staircase, ReLU, ...
	In, Out    []int  // shapes of one sample
	Params     int
	OutBits    int // of each output: 1 for sign and step01, k for 2^k levels
	Operations     // of a convolution or linear layer; others are counted as none
}

// Operations is a number of multiply-adds with operands of one type.
type Operations struct {
	WeightBits, InBits int
	MultiplyAdds       int64
}

// Summary lists the layers with shapes, parameters, bits and multiply-adds:
//
//	convolution  O OH OW C KH KW multiply-adds a sample, those with padding included, with inputs of the bits of what it reads
//	linear       out in
//	bits         1 after sign and step01, k after a staircase with 2^k levels or fewer; max-pooling and flattening keep them, anything
//	             else computes in floating point (a sum, a mean, a normalisation between activation and convolution)
//
// Zeros that pad the map of a sign layer are a third value, which is not counted. Weights are floating-point numbers but for the
// parameters that are named, of which a deployment uses the signs alone (see Graph.PackSigns), and for what a weight quantiser or a threshold
// activation makes of a parameter, as in Linear(x, SignWeights(w)): those take the bits of its levels, and their scales, numbers for each channel that
// a deployment folds into thresholds, none. Products count as convolutions and linear layers do. In a graph whose
// samples are mixed (see ExportONNX), what is counted behind the mixing is of all samples together.
//
//	s, err := g.Summary()
//	fmt.Print(s)
func (g *Graph) Summary(signWeights ...string) (*Summary, error) {
	s, err := g.summary(signWeights)
	return s, errors.WithMessagef(err, "deploy: summary of %s", g.Name)
}

func (g *Graph) summary(signWeights []string) (*Summary, error) {
	s := &Summary{Network: g.Name, FloatBits: 32}
	if g.double() {
		s.FloatBits = 64
	}
	signs := map[*gorgonia.Node]bool{}
	for _, name := range signWeights {
		p, err := g.param(name)
		if err != nil {
			return nil, err
		}
		signs[p] = true
	}
	hidden, err := g.hidden()
	if err != nil {
		return nil, err
	}
	outBits := map[*gorgonia.Node]int{g.Input: s.FloatBits}
	counted := map[*gorgonia.Node]bool{}
	bitsOf := func(x *gorgonia.Node) int {
		if bits, ok := outBits[x]; ok {
			return bits
		}
		return g.staticBits(x, signs, s.FloatBits)
	}
	for _, st := range g.steps {
		data := st.in[0]
		for _, x := range st.in {
			if !g.static[x] {
				data = x
				break
			}
		}
		l := LayerSummary{Name: st.name, Type: opkit.Kind(st.op), In: g.sample(data), Out: g.sample(st.node), OutBits: s.FloatBits}
		size := 1
		for _, d := range l.Out {
			size *= d
		}
		switch op := st.op.(type) {
		case *nn.Conv2d, *nn.Linear:
			w := st.in[1]
			l.Operations = Operations{bitsOf(w), bitsOf(data), int64(size) * int64(w.Shape()[1:].TotalSize())}
		case *nn.MaxPool2D, *nn.Reshape, *nn.Dropout: // dropout is not there in evaluation
			l.OutBits = bitsOf(data)
		case ops.Activation:
			l.OutBits = op.Threshold().Levels.Bits()
		case ops.Round:
			l.OutBits = bits.Len(uint(2*op.Max/op.Unit - 1))
		case summarised:
			op.summarise(&l, st, size, bitsOf)
		}
		if l.MultiplyAdds > 0 {
			s.count(l.Operations)
		}
		outBits[st.node] = l.OutBits
		for _, x := range st.in {
			if !g.static[x] {
				continue
			}
			width := bitsOf(x)
			for _, p := range g.leaves(x) {
				if counted[p] {
					continue
				}
				counted[p] = true
				params, bits := p.Shape().TotalSize(), s.FloatBits
				if signs[p] {
					bits = 1
				} else if params == x.Shape().TotalSize() {
					bits = width
				}
				l.Params += params
				s.WeightBytes += bytesFor(params, s.FloatBits)
				s.QuantizedWeightBytes += bytesFor(params, bits)
			}
		}
		if _, ok := hidden[st.node]; ok {
			s.activations(size, l.OutBits)
		}
		s.Params += l.Params
		s.Layers = append(s.Layers, l)
	}
	for _, b := range g.Norms() {
		mean, _ := b.Op.Running()
		bytes := bytesFor(2*len(mean), s.FloatBits)
		s.WeightBytes += bytes
		s.QuantizedWeightBytes += bytes
	}
	return s, nil
}

// summarised is an operation of stock.go that says more of itself than shapes.
type summarised interface {
	summarise(l *LayerSummary, s step, size int, bitsOf func(*gorgonia.Node) int)
}

// activations counts the outputs of an activation.
func (s *Summary) activations(size, bits int) {
	s.ActivationBytes += bytesFor(size, s.FloatBits)
	s.QuantizedActivationBytes += bytesFor(size, bits)
}

// staticBits is the number of bits of the elements of what is computed from parameters.
func (g *Graph) staticBits(x *gorgonia.Node, signs map[*gorgonia.Node]bool, float int) int {
	if signs[x] {
		return 1
	}
	if x.Op() == nil {
		return float
	}
	switch op := x.Op().(type) {
	case ops.Activation:
		return op.Threshold().Levels.Bits()
	case ops.WeightQuantiser:
		return op.Levels().Bits()
	}
	if isMove(x.Op()) {
		if all, err := opkit.InputsOf(x); err == nil {
			return g.staticBits(all[0], signs, float)
		}
	}
	return float
}

// leaves returns the parameters that a static value is computed from.
func (g *Graph) leaves(x *gorgonia.Node) gorgonia.Nodes {
	var out gorgonia.Nodes
	seen := map[*gorgonia.Node]bool{}
	var visit func(x *gorgonia.Node)
	visit = func(x *gorgonia.Node) {
		if seen[x] {
			return
		}
		seen[x] = true
		if x.Op() == nil {
			out = append(out, x)
			return
		}
		if typeName(x.Op()) == stockSize {
			return
		}
		all, _ := opkit.InputsOf(x) // the tracer has seen them
		for _, c := range all {
			visit(c)
		}
	}
	visit(x)
	return out
}

// bytesFor is the memory of n numbers that are packed together.
func bytesFor(n, bits int) int64 { return (int64(n)*int64(bits) + 7) / 8 }

// count adds to the totals, which are in order.
func (s *Summary) count(o Operations) {
	at := 0
	for ; at < len(s.Operations); at++ {
		t := &s.Operations[at]
		if t.WeightBits == o.WeightBits && t.InBits == o.InBits {
			t.MultiplyAdds += o.MultiplyAdds
			return
		}
		if t.WeightBits < o.WeightBits || t.WeightBits == o.WeightBits && t.InBits < o.InBits {
			break
		}
	}
	s.Operations = append(s.Operations[:at], append([]Operations{o}, s.Operations[at:]...)...)
}

// MultiplyAdds returns the number of multiply-adds with weights and inputs of so many bits.
func (s *Summary) MultiplyAdds(weightBits, inBits int) int64 {
	for _, o := range s.Operations {
		if o.WeightBits == weightBits && o.InBits == inBits {
			return o.MultiplyAdds
		}
	}
	return 0
}

// operands names the types of the operands: weight x input.
func (s *Summary) operands(o Operations) string {
	return s.bits(o.WeightBits) + " x " + s.bits(o.InBits)
}

func (s *Summary) bits(n int) string {
	switch n {
	case s.FloatBits:
		return "float"
	case 1:
		return "bit"
	}
	return strconv.Itoa(n) + " bits"
}

// String returns the table.
func (s *Summary) String() string {
	var b strings.Builder
	_, _ = s.WriteTo(&b) // a Builder takes all
	return b.String()
}

// WriteTo writes the table. It implements io.WriterTo.
func (s *Summary) WriteTo(w io.Writer) (int64, error) {
	c := &counter{w: w}
	t := tabwriter.NewWriter(c, 0, 0, 2, ' ', 0)
	fmt.Fprintf(t, "layer\ttype\tin\tout\tparameters\toutput\tmultiply-adds\tweight x input\n")
	for _, l := range s.Layers {
		name, params, macs, operands := l.Name, "", "", ""
		if name == "" {
			name = "-"
		}
		if l.Params > 0 {
			params = strconv.Itoa(l.Params)
		}
		if l.MultiplyAdds > 0 {
			macs, operands = strconv.FormatInt(l.MultiplyAdds, 10), s.operands(l.Operations)
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", name, l.Type, by(l.In), by(l.Out), params, s.bits(l.OutBits), macs, operands)
	}
	_ = t.Flush() // its error is the counter's
	fmt.Fprintf(c, "\n%s: %d parameters\n", s.Network, s.Params)
	var total int64
	for _, o := range s.Operations {
		total += o.MultiplyAdds
	}
	t = tabwriter.NewWriter(c, 0, 0, 2, ' ', tabwriter.AlignRight)
	for _, o := range s.Operations {
		fmt.Fprintf(t, "%s\t%d\tmultiply-adds\t%.1f %%\t\n", s.operands(o), o.MultiplyAdds, 100*float64(o.MultiplyAdds)/float64(max(total, 1)))
	}
	_ = t.Flush()
	fmt.Fprintf(c, "weights: %s as float%d, %s quantised\n", size(s.WeightBytes), s.FloatBits, size(s.QuantizedWeightBytes))
	fmt.Fprintf(c, "activations of a sample: %s as float%d, %s quantised\n", size(s.ActivationBytes), s.FloatBits, size(s.QuantizedActivationBytes))
	return c.n, errors.Wrap(c.err, "deploy: writing a summary")
}

// by prints a shape.
func by(shape []int) string {
	s := make([]string, len(shape))
	for i, d := range shape {
		s[i] = strconv.Itoa(d)
	}
	return strings.Join(s, "x")
}

// size prints a number of bytes.
func size(n int64) string {
	switch {
	case n >= 1<<20:
		return fmt.Sprintf("%.2f MiB", float64(n)/(1<<20))
	case n >= 1<<10:
		return fmt.Sprintf("%.2f KiB", float64(n)/(1<<10))
	}
	return fmt.Sprintf("%d bytes", n)
}

// counter counts what is written, up to the first error.
type counter struct {
	w   io.Writer
	n   int64
	err error
}

func (c *counter) Write(b []byte) (int, error) {
	if c.err != nil {
		return 0, c.err
	}
	n, err := c.w.Write(b)
	c.n, c.err = c.n+int64(n), err
	return n, err
}
