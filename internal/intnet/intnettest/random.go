// Package intnettest makes networks for tests.
package intnettest

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"

	"github.com/ftprop/ftprop/internal/intnet"
)

// Kind is what networks are made like.
type Kind struct {
	Real bool // real inputs
	Flat bool // features, and linear layers only
	// Steps of the threshold units: 1 are sign units; 0 is a mixture of sign and step01.
	Steps int
	// Weights is the largest magnitude: 1 for ternary weights, and with Sign set for signs.
	Weights int8
	Sign    bool
	Small   bool // a few channels and pixels, for fuzzing
}

func (k Kind) String() string {
	return fmt.Sprintf("real %t, flat %t, %d steps, weights to %d, signs %t", k.Real, k.Flat, k.Steps, k.Weights, k.Sign)
}

// Kinds are those that engines and files know apart.
func Kinds() (all []Kind) {
	for _, flat := range []bool{false, true} {
		for _, steps := range []int{0, 1, 2, 3, 5, 20} {
			for _, w := range []int8{1, 3, 7, 127} {
				all = append(all, Kind{Real: (steps+int(w))%2 == 1, Flat: flat, Steps: steps, Weights: w})
			}
			all = append(all, Kind{Real: steps > 1, Flat: flat, Steps: steps, Weights: 1, Sign: true})
		}
	}
	return all
}

// maker lays layers.
type maker struct {
	*rand.Rand
	Kind
	net *intnet.Network
}

// Network returns a network of all kinds of layers, of sizes that depend on the seed.
func Network(k Kind, seed uint64) *intnet.Network {
	m := &maker{rand.New(rand.NewPCG(seed, 41)), k, &intnet.Network{Name: "Random"}}
	in := intnet.Input{Shape: intnet.Shape{C: 1 + m.IntN(4), H: 9 + m.IntN(m.most(7)), W: 12 + m.IntN(m.most(5))}}
	if k.Flat {
		in = intnet.Input{Shape: intnet.Shape{C: 1 + m.IntN(m.most(200)), H: 1, W: 1}, Flat: true}
	}
	if k.Real {
		in.Real = &intnet.Rounding{Unit: float32(math.Ldexp(1, -m.IntN(6))), Max: uint8(1 + m.IntN(127))}
	}
	m.net.Input = in
	if k.Flat {
		m.units(m.linear(0, 1+m.IntN(m.most(150))))
		m.units(m.linear(1, 1+m.IntN(m.most(150))))
		m.units(m.linear(2, 40), m.linear(1, 40))
		m.logits(m.linear(3, 1+m.IntN(12)))
		return m.net
	}
	c := 1 + m.IntN(m.most(70))
	side := 1 + m.IntN(4)
	m.units(m.conv(0, c, [2]int{side, 1 + m.IntN(5)}, [2]int{1 + m.IntN(2), 1}, [2]int{m.IntN(3), m.IntN(4)}, [2]int{1, 1 + m.IntN(2)}))
	m.lay(&intnet.MaxPool{Name: m.name(), Of: 1, Kernel: [2]int{2, 2 + m.IntN(2)}, Stride: [2]int{1 + m.IntN(2), 1 + m.IntN(2)}, Pad: [2]int{m.IntN(2), m.IntN(2)}, Reverse: m.reverse(c)})
	three := [2]int{3, 3}
	one := [2]int{1, 1}
	block := func(of, out, stride int) int { // as in a residual network
		a := m.units(m.conv(of, out, three, [2]int{stride, stride}, one, one))
		b := m.conv(a, out, three, one, one, one)
		short := intnet.Term{From: of, Mul: m.multipliers(out)}
		if v := m.value(of); v.C != out || stride != 1 {
			short = m.conv(of, out, one, [2]int{stride, stride}, [2]int{}, one)
			short.Mul = m.multipliers(out)
		}
		b.Mul = m.multipliers(out)
		return m.units(b, short)
	}
	d := block(2, c, 1)
	d = block(d, 1+m.IntN(m.most(70)), 2)
	if v := m.value(d); v.Zero == m.value(d-1).Zero && v.Shape == m.value(d-1).Shape {
		d = m.lay(&intnet.Concat{Name: m.name(), Of: []int{d, d - 1}})
	}
	if m.IntN(2) == 0 {
		if v := m.value(d); v.H*v.W*int(max(v.Max, v.Zero)) <= 255 {
			d = m.lay(&intnet.SumPool{Name: m.name(), Of: d, Kernel: [2]int{v.H, v.W}, Stride: one})
		}
	}
	if m.IntN(3) == 0 {
		d = m.units(intnet.Term{From: d, Mul: m.multipliers(m.value(d).C)})
	}
	d = m.units(m.linear(d, 1+m.IntN(m.most(100))))
	m.logits(m.linear(d, 1+m.IntN(12)))
	return m.net
}

// most is how large numbers may be that are n in networks that are not small.
func (m *maker) most(n int) int {
	if m.Small {
		return 1 + n/8
	}
	return n
}

func (m *maker) name() string { return fmt.Sprintf("layer%d", len(m.net.Layers)+1) }

func (m *maker) lay(l intnet.Layer) int {
	m.net.Layers = append(m.net.Layers, l)
	return len(m.net.Layers)
}

// values returns what is known so far.
func (m *maker) values(last ...intnet.Layer) []intnet.Value {
	n := *m.net
	n.Layers = append(slices.Clip(n.Layers), last...)
	if len(last) == 0 { // a network ends with logits
		n.Layers = append(n.Layers, m.end(0, 1))
	}
	values, err := n.Values()
	if err != nil {
		panic(err)
	}
	return values
}

func (m *maker) value(of int) intnet.Value { return m.values()[of] }

// end is logits of the input.
func (m *maker) end(of, classes int) *intnet.Logits {
	in := m.net.Input.Shape
	return &intnet.Logits{
		Name: "logits", Scale: make([]float32, classes), Offset: make([]float32, classes),
		Sum: intnet.Sum{Terms: []intnet.Term{{From: of, Product: &intnet.Product{Out: classes, Kernel: [2]int{in.H, in.W}, Stride: [2]int{1, 1}, Dilation: [2]int{1, 1}, Weights: make([]int8, classes*in.Size())}}}},
	}
}

func (m *maker) weights(n int) []int8 {
	w := make([]int8, n)
	for i := range w {
		if w[i] = int8(m.IntN(2*int(m.Weights)+1) - int(m.Weights)); m.Sign {
			w[i] = int8(2*m.IntN(2) - 1)
		}
	}
	return w
}

func (m *maker) conv(of, out int, kernel, stride, pad, dilation [2]int) intnet.Term {
	return intnet.Term{From: of, Product: &intnet.Product{
		Out: out, Kernel: kernel, Stride: stride, Pad: pad, Dilation: dilation,
		Weights: m.weights(out * m.value(of).C * kernel[0] * kernel[1]),
	}}
}

func (m *maker) linear(of, out int) intnet.Term {
	v := m.value(of)
	return m.conv(of, out, [2]int{v.H, v.W}, [2]int{1, 1}, [2]int{}, [2]int{1, 1})
}

func (m *maker) multipliers(n int) []int32 {
	mul := make([]int32, n)
	for i := range mul {
		mul[i] = int32(m.IntN(200) - 20)
	}
	return mul
}

func (m *maker) reverse(n int) []bool {
	if m.IntN(2) == 0 {
		return nil
	}
	r := make([]bool, n)
	for i := range r {
		r[i] = m.IntN(3) == 0
	}
	return r
}

// units lays a layer with thresholds where its sums are.
func (m *maker) units(terms ...intnet.Term) int {
	l := &intnet.Units{Name: m.name(), Sum: intnet.Sum{Terms: terms}, Steps: max(m.Steps, 1), Step: 1}
	switch {
	case m.Steps == 1 || m.Steps == 0 && m.IntN(2) == 0:
		l.Step, l.Zero = 2, 1
	case m.Steps > 1 && m.IntN(3) == 0:
		l.Zero = uint8(m.IntN(l.Steps + 1))
	case m.Steps > 1 && m.IntN(6) == 0:
		l.Base = 2
	}
	var in []intnet.Value
	all := m.values()
	for _, t := range terms {
		in = append(in, all[t.From])
	}
	shape, reach, err := l.Sum.Reach(in)
	if err != nil {
		panic(err)
	}
	if terms[0].From == 0 && m.IntN(2) == 0 {
		l.Sum.Bias = make([]int32, shape.Size())
		for i := range l.Sum.Bias {
			l.Sum.Bias[i] = int32(m.IntN(100) - 50)
		}
	}
	for _, r := range reach {
		t := make([]int32, l.Steps)
		for i := range t {
			spread := 0.5
			if terms[0].Product != nil { // sums of many terms are mostly small
				spread = 1 / (2 + math.Sqrt(float64(r)/float64(max(m.Weights, 1))))
			}
			t[i] = int32(float64(r) * spread * min(m.NormFloat64(), 1.9))
		}
		slices.Sort(t)
		switch m.IntN(20) {
		case 0:
			t[0] = math.MinInt32 // always
		case 1:
			t[len(t)-1] = math.MaxInt32 // never
		}
		l.Thresholds = append(l.Thresholds, t...)
	}
	return m.lay(l)
}

func (m *maker) logits(t intnet.Term) {
	l := &intnet.Logits{Name: "logits", Sum: intnet.Sum{Terms: []intnet.Term{t}}}
	for range t.Product.Out {
		l.Scale, l.Offset = append(l.Scale, float32(m.NormFloat64()*1e-2)), append(l.Offset, float32(m.NormFloat64()))
	}
	m.lay(l)
}

// Images returns inputs for count images, uint8 or real.
func Images(n *intnet.Network, count int, seed uint64) ([]uint8, []float32) {
	r := rand.New(rand.NewPCG(seed, 42))
	size := count * n.Input.Shape.Size()
	if n.Input.Real == nil {
		x := make([]uint8, size)
		for i := range x {
			x[i] = uint8(r.IntN(256))
		}
		return x, nil
	}
	x := make([]float32, size)
	for i := range x {
		switch x[i] = float32(r.NormFloat64() * 2); r.IntN(30) {
		case 0:
			x[i] = float32(math.Inf(2*r.IntN(2) - 1))
		case 1:
			x[i] = n.Input.Real.Unit * (float32(r.IntN(300)-150) + 0.5) // halfway
		}
	}
	return nil, x
}

// Logits returns what the definition computes.
func Logits(n *intnet.Network, pixels []uint8, reals []float32) ([]float32, error) {
	count := (len(pixels) + len(reals)) / n.Input.Shape.Size()
	out := make([]float32, count*n.Classes())
	if n.Input.Real != nil {
		return out, n.RunReal(out, reals)
	}
	return out, n.Run(out, pixels)
}
