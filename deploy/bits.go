package deploy

import (
	"math"

	"github.com/ftprop/ftprop/internal/levels"
	"github.com/ftprop/ftprop/internal/opkit"
	"github.com/ftprop/ftprop/internal/vec"
	"github.com/ftprop/ftprop/ops"
	"github.com/pkg/errors"
	"gorgonia.org/gorgonia"
	"gorgonia.org/tensor"
)

// Bits is a tensor of which each element is the number of a level, packed: one bit an element for sign, step01 and sign weights, k bits for
// a staircase of 2^k levels or fewer.
//
// Element i in row-major order is in bits i Width to (i+1) Width - 1, its lowest bit first; bit j is in Data[j/8], of worth 1<<(j%8).
// Bits behind the last element are 0. There is no padding between rows and no scale. In NumPy, for Width 1:
//
//	np.unpackbits(data, count=n, bitorder="little").reshape(shape)
//
// With Width 1 the number is 1 for the higher level (sign: +1) and 0 for the lower: two vectors of signs have the dot product
// n - 2 popcount(a XOR b).
type Bits struct {
	Name   string // of the layer or parameter; may be empty
	Shape  []int
	Levels ops.Levels // what the numbers stand for: 0 for Lo to Steps for Hi
	Width  int        // bits an element
	Data   []byte     // (elements Width + 7)/8 bytes
}

// PackLevels packs values that a threshold layer has emitted: lv is its levels (see ops.Activation.Layer). A value that is none of
// the levels is an error.
func PackLevels(v gorgonia.Value, lv ops.Levels) (*Bits, error) {
	if err := lv.Validate(); err != nil {
		return nil, errors.WithMessage(err, "deploy: packing levels")
	}
	b, err := pack(v, lv, func(x []float32) func(int) int { return indexer(x, lv) }, func(x []float64) func(int) int { return indexer(x, lv) })
	return b, errors.WithMessage(err, "deploy: packing levels")
}

// PackSigns packs the signs of any numbers as 1 for x > 0 and 0 for x <= 0, as ops.Sign has it. NaN is an error.
func PackSigns(v gorgonia.Value) (*Bits, error) {
	b, err := packSigns(v)
	return b, errors.WithMessage(err, "deploy: packing signs")
}

func packSigns(v gorgonia.Value) (*Bits, error) {
	return pack(v, ops.Sign{}.Threshold().Levels, signer[float32], signer[float64])
}

// PackSigns packs the signs of the named parameters: names as Params has them.
func (g *Graph) PackSigns(params ...string) ([]*Bits, error) {
	var out []*Bits
	for _, name := range params {
		p, err := g.param(name)
		var b *Bits
		if err == nil {
			b, err = packSigns(p.Value())
			err = errors.WithMessage(err, name)
		}
		if err != nil {
			return nil, errors.WithMessagef(err, "deploy: packing signs of %s", g.Name)
		}
		b.Name = name
		out = append(out, b)
	}
	return out, nil
}

// PackActivations runs the graph in evaluation mode on x, of the input's shape for any number of samples, and returns what
// its threshold layers emit, packed, in the order of Hidden. A graph without threshold layers is an error.
func (g *Graph) PackActivations(x gorgonia.Value) ([]*Bits, error) {
	out, err := g.packActivations(x)
	return out, errors.WithMessagef(err, "deploy: packing the activations of %s", g.Name)
}

func (g *Graph) packActivations(x gorgonia.Value) ([]*Bits, error) {
	want := g.Input.Shape()
	if x == nil || opkit.DtypeOf(x) != g.Input.Dtype() || len(x.Shape()) != len(want) || !x.Shape()[1:].Eq(want[1:]) {
		return nil, errors.Errorf("the input is not %v of any number of samples of %v", g.Input.Dtype(), want[1:])
	}
	at, err := g.rebuild(plan{batch: x.Shape()[0]})
	if err != nil {
		return nil, err
	}
	var layers []Named
	var nodes gorgonia.Nodes
	for _, h := range at.Hidden {
		if _, ok := h.Node.Op().(ops.Activation); ok {
			layers, nodes = append(layers, h), append(nodes, h.Node)
		}
	}
	if len(layers) == 0 {
		return nil, errors.New("it has no threshold layers")
	}
	values, err := at.run(x, nodes...)
	if err != nil {
		return nil, err
	}
	out := make([]*Bits, len(layers))
	for k, h := range layers {
		if out[k], err = PackLevels(values[k], h.Node.Op().(ops.Activation).Threshold().Levels); err != nil {
			return nil, errors.WithMessagef(err, "layer %s", h.Name)
		}
		out[k].Name = h.Name
	}
	return out, nil
}

// pack packs the numbers that f32 and f64 give to elements; a negative number is an element that has none.
func pack(v gorgonia.Value, lv ops.Levels, f32 func([]float32) func(int) int, f64 func([]float64) func(int) int) (*Bits, error) {
	if v == nil {
		return nil, errors.New("no value")
	}
	x, err := opkit.ValuesInPlace(v) // views are refused
	if err != nil {
		return nil, err
	}
	b := &Bits{Shape: append([]int{}, v.Shape()...), Levels: lv, Width: lv.Bits()}
	n := x.Size()
	var number func(int) int
	var at func(int) any
	if x.Float32 != nil {
		number, at = f32(x.Float32), func(i int) any { return x.Float32[i] }
	} else {
		number, at = f64(x.Float64), func(i int) any { return x.Float64[i] }
	}
	b.Data = make([]byte, bytesFor(n, b.Width))
	for i := range n {
		k := number(i)
		if k < 0 {
			return nil, errors.Errorf("element %d is %v, which is none of the %d levels from %v to %v", i, at(i), lv.Steps+1, lv.Lo, lv.Hi)
		}
		b.set(i, k)
	}
	return b, nil
}

func signer[T vec.Float](x []T) func(int) int {
	return func(i int) int {
		switch v := x[i]; {
		case v > 0:
			return 1
		case v <= 0:
			return 0
		}
		return -1 // NaN
	}
}

// indexer returns the number of the level that an element is, or -1.
func indexer[T vec.Float](x []T, lv ops.Levels) func(int) int {
	table := levels.Table[T](levels.Levels(lv))
	lo, n := table[0], len(table)-1
	scale := float64(n) / float64(table[n]-lo)
	return func(i int) int {
		k := math.Round(float64(x[i]-lo) * scale)
		if !(k >= 0 && k <= float64(n)) || table[int(k)] != x[i] {
			return -1
		}
		return int(k)
	}
}

func (b *Bits) set(i, k int) {
	for j := range b.Width {
		at := i*b.Width + j
		b.Data[at/8] |= byte(k>>j&1) << (at % 8)
	}
}

// At returns the number of element i, in row-major order. It is for reading single elements of Bits that were made here: i out of range,
// or Data too short, gives -1.
func (b *Bits) At(i int) int {
	if i < 0 || b.Width < 1 || b.Width > 16 || i >= 8*len(b.Data)/b.Width {
		return -1
	}
	k := 0
	for j := range b.Width {
		at := i*b.Width + j
		k |= int(b.Data[at/8]>>(at%8)&1) << j
	}
	return k
}

// Unpack returns the levels as a tensor of float32 or float64, equal to what was packed. Bits that contradict themselves are an error.
func (b *Bits) Unpack(dt tensor.Dtype) (*tensor.Dense, error) {
	t, err := b.unpack(dt)
	return t, errors.WithMessage(err, "deploy: unpacking bits")
}

func (b *Bits) unpack(dt tensor.Dtype) (*tensor.Dense, error) {
	if err := b.Levels.Validate(); err != nil {
		return nil, err
	}
	if b.Width != b.Levels.Bits() {
		return nil, errors.Errorf("%d bits an element, want %d for %d levels", b.Width, b.Levels.Bits(), b.Levels.Steps+1)
	}
	n := 1
	for _, d := range b.Shape {
		if d < 1 || n > 8*len(b.Data)/d { // which also keeps n from overflowing
			return nil, errors.Errorf("shape %v of %d bits an element for %d bytes", b.Shape, b.Width, len(b.Data))
		}
		n *= d
	}
	if int64(len(b.Data)) != bytesFor(n, b.Width) {
		return nil, errors.Errorf("%d bytes, want %d for shape %v of %d bits an element", len(b.Data), bytesFor(n, b.Width), b.Shape, b.Width)
	}
	switch dt {
	case tensor.Float32:
		return unpackInto(b, n, levels.Table[float32](levels.Levels(b.Levels)))
	case tensor.Float64:
		return unpackInto(b, n, levels.Table[float64](levels.Levels(b.Levels)))
	}
	return nil, errors.Errorf("into %v, want float32 or float64", dt)
}

func unpackInto[T vec.Float](b *Bits, n int, levels []T) (*tensor.Dense, error) {
	x := make([]T, n)
	for i := range x {
		k := b.At(i)
		if k >= len(levels) {
			return nil, errors.Errorf("element %d is level %d of %d", i, k, len(levels))
		}
		x[i] = levels[k]
	}
	if len(b.Shape) == 0 {
		return tensor.New(tensor.FromScalar(x[0])), nil
	}
	return tensor.New(tensor.WithShape(b.Shape...), tensor.WithBacking(x)), nil
}
