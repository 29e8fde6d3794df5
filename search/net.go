package search

import (
	"slices"

	"github.com/ftprop/ftprop/internal/levels"
	"github.com/ftprop/ftprop/internal/opkit"
	"github.com/pkg/errors"
	"gorgonia.org/tensor"
)

// size is the shape and the levels of a layer.
type size struct {
	in, out int
	levels.Levels
	float32 bool
}

// net is a network: weights[d][j] are those of unit j of layer d, its bias last.
type net struct {
	sizes   []size
	weights [][][]float64
}

// state is a point of the search: weights, and all that follows from them up to some layer. Everything it refers to is
// replaced, never written to, so that a copy is cheap.
type state struct {
	w    [][][]float64 // weights of each layer and unit, bias last
	act  [][][]float64 // inputs of each layer and sample, 1 last; act[0] are the data
	lev  [][][]int     // what each hidden layer's units emit: layer, unit, sample
	z    [][][]float64 // pre-activations of hidden layers: layer, unit, sample
	dual [][][]float64 // of each unit's hinge problem, to start from; layer, unit
}

func (s *state) clone() *state {
	return &state{slices.Clone(s.w), slices.Clone(s.act), slices.Clone(s.lev), slices.Clone(s.z), slices.Clone(s.dual)}
}

func newNet(layers []Layer) (*net, error) {
	if len(layers) == 0 {
		return nil, errors.New("no layers")
	}
	n := &net{}
	for d, l := range layers {
		w, err := opkit.ValuesOf(l.W)
		if err != nil {
			return nil, errors.Wrapf(err, "layer %d: W", d+1)
		}
		b, err := opkit.ValuesOf(l.B)
		if err != nil {
			return nil, errors.Wrapf(err, "layer %d: B", d+1)
		}
		switch {
		case len(w.Shape) != 2:
			return nil, errors.Errorf("layer %d: W has shape %v: want (out, in)", d+1, w.Shape)
		case len(b.Shape) != 1 || b.Shape[0] != w.Shape[0]:
			return nil, errors.Errorf("layer %d: B has shape %v: want (%d), one for each row of W %v", d+1, b.Shape, w.Shape[0], w.Shape)
		case b.Dtype != w.Dtype:
			return nil, errors.Errorf("layer %d: W is a %v, B a %v: must be the same", d+1, w.Dtype, b.Dtype)
		case d > 0 && w.Shape[1] != n.sizes[d-1].out:
			return nil, errors.Errorf("layer %d: W has shape %v, so takes %d inputs, but layer %d has %d units", d+1, w.Shape, w.Shape[1], d, n.sizes[d-1].out)
		}
		lv, err := l.levels()
		if err != nil {
			return nil, errors.Wrapf(err, "layer %d", d+1)
		}
		sz := size{w.Shape[1], w.Shape[0], lv, w.Dtype == tensor.Float32}
		wv, bv := w.Floats(), b.Floats()
		if err := allFinite("W", wv, sz.in); err != nil {
			return nil, errors.Wrapf(err, "layer %d", d+1)
		}
		if err := allFinite("B", bv, 1); err != nil {
			return nil, errors.Wrapf(err, "layer %d", d+1)
		}
		units := make([][]float64, sz.out)
		for j := range units {
			units[j] = append(append(make([]float64, 0, sz.in+1), wv[j*sz.in:(j+1)*sz.in]...), bv[j])
		}
		n.sizes, n.weights = append(n.sizes, sz), append(n.weights, units)
	}
	return n, nil
}

func allFinite(what string, v []float64, row int) error {
	for i, x := range v {
		if x-x != 0 {
			return errors.Errorf("%v in row %d of %s: must be finite", x, i/row, what)
		}
	}
	return nil
}

// inputs returns the rows of x, each with a 1 behind it.
func (n *net) inputs(x *tensor.Dense) ([][]float64, error) {
	e, err := opkit.ValuesOf(x)
	if err != nil {
		return nil, errors.Wrap(err, "inputs")
	}
	in := n.sizes[0].in
	if len(e.Shape) != 2 || e.Shape[1] != in {
		return nil, errors.Errorf("inputs of shape %v: want (N, %d), as layer 1 takes them", e.Shape, in)
	}
	v := e.Floats()
	if err := allFinite("the inputs", v, in); err != nil {
		return nil, err
	}
	rows := make([][]float64, e.Shape[0])
	for i := range rows {
		rows[i] = append(append(make([]float64, 0, in+1), v[i*in:(i+1)*in]...), 1)
	}
	return rows, nil
}

// initial returns a state with the net's weights.
func (n *net) initial(x [][]float64) *state {
	l := len(n.sizes)
	s := &state{w: slices.Clone(n.weights), act: make([][][]float64, l), lev: make([][][]int, l-1), z: make([][][]float64, l-1), dual: make([][][]float64, l)}
	s.act[0] = x
	for d, sz := range n.sizes {
		s.dual[d] = make([][]float64, sz.out)
	}
	return s
}

// forward computes what follows from the weights of hidden layers d and up.
func (n *net) forward(s *state, d int) {
	for ; d < len(n.sizes)-1; d++ {
		z, lev := make([][]float64, n.sizes[d].out), make([][]int, n.sizes[d].out)
		for j := range z {
			z[j], lev[j] = n.respond(s.act[d], d, s.w[d][j])
		}
		s.z[d], s.lev[d] = z, lev
		n.emit(s, d)
	}
}

// respond returns pre-activations and levels of a unit of layer d with weights w.
func (n *net) respond(act [][]float64, d int, w []float64) ([]float64, []int) {
	z, lev := make([]float64, len(act)), make([]int, len(act))
	for i, a := range act {
		z[i] = dot(w, a)
		lev[i] = n.sizes[d].Index(z[i])
	}
	return z, lev
}

// emit sets the inputs of layer d+1 from the levels of layer d.
func (n *net) emit(s *state, d int) {
	sz := n.sizes[d]
	vals := make([]float64, sz.Steps+1)
	for k := range vals {
		vals[k] = sz.Value(k)
	}
	act := make([][]float64, len(s.act[d]))
	buf := make([]float64, len(act)*(sz.out+1))
	for i := range act {
		act[i] = buf[i*(sz.out+1) : (i+1)*(sz.out+1)]
		for j, lev := range s.lev[d] {
			act[i][j] = vals[lev[i]]
		}
		act[i][sz.out] = 1
	}
	s.act[d+1] = act
}

func dot(a, b []float64) float64 {
	sum := 0.0
	b = b[:len(a)]
	for k, v := range a {
		sum += v * b[k]
	}
	return sum
}

func dense(v []float64, shape ...int) *tensor.Dense {
	return tensor.New(tensor.WithShape(shape...), tensor.WithBacking(v))
}
