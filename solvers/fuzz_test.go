package solvers

import (
	"cmp"
	"encoding/binary"
	"math"
	"slices"
	"testing"

	"github.com/ftprop/ftprop/internal/vec"
	"gorgonia.org/gorgonia"
	"gorgonia.org/tensor"
)

// Any bits as weights, gradients and state, with any options: an error, or finite results that do not depend on where an element stands
// nor on how many there are.
func FuzzStep(f *testing.F) {
	f.Add([]byte{0}, uint8(0), uint8(0))
	f.Add([]byte("\x00\x00\x80\x3f\xcd\xcc\xcc\x3d\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\xc0\xff\xff\x7f\x7f"), uint8(1), uint8(21))
	f.Add([]byte("\x01\x00\x00\x00\x00\x00\x80\x5f\x00\x00\x00\x00\x00\x00\x00\x00"), uint8(2), uint8(63))
	for which := range 4 {
		f.Add([]byte("\x00\x00\x80\x3f\x00\x00\x00\x3f\xcd\xcc\xcc\x3d\x00\x00\x00\x3e\x00\x00\x80\xbf\x00\x00\x80\x7f\x00\x00\x00\x00\x00\x00\x00\x00"), uint8(3+which), uint8(1))
	}
	f.Fuzz(func(t *testing.T, data []byte, which, options uint8) {
		o := func(bit int, x float64) float64 {
			if options>>bit&1 == 0 {
				return 0
			}
			return x
		}
		on := func(bit int) bool { return options>>bit&1 != 0 }
		// fresh returns a solver, and the one in it that has the weight and its slots.
		fresh := func() (outer, leaf solver) {
			switch which % 7 {
			case 0:
				leaf = &Adam{L1: o(0, 0.1), WeightDecay: o(1, 0.5), Clip: o(2, 2), BatchSize: int(o(3, 7)), Decoupled: on(4)}
			case 1:
				leaf = &SGD{L1: o(0, 0.1), WeightDecay: o(1, 0.5), Clip: o(2, 2), BatchSize: int(o(3, 7)), Momentum: o(4, 0.9), Nesterov: on(4) && on(5)}
			case 2:
				leaf = &RMSProp{L1: o(0, 0.1), WeightDecay: o(1, 0.5), Clip: o(2, 2), BatchSize: int(o(3, 7)), Momentum: o(4, 0.9), Centered: on(5)}
			case 3:
				leaf = &Bop{Gamma: o(0, 0.3), Threshold: o(1, 0.1)}
			case 4:
				leaf = &Adam{Decoupled: on(4)}
				return &Clip{Solver: leaf, Limit: o(0, 0.3)}, leaf
			case 5:
				leaf = &SGD{Momentum: 0.9}
				return &Groups{List: []Group{{[]string{"w"}, leaf}}, Default: &Adam{}}, leaf
			case 6:
				leaf = &Bop{Gamma: o(0, 0.3), Threshold: o(1, 0.1)}
				return &Groups{List: []Group{{[]string{"v"}, &SGD{}}}, Default: leaf}, leaf
			}
			return leaf, leaf
		}
		var names []string
		switch _, s := fresh(); s := s.(type) {
		case *Adam:
			names = []string{"exp_avg", "exp_avg_sq"}
		case *Bop:
			names = []string{"exp_avg"}
		case *SGD:
			names = s.slots()
		case *RMSProp:
			names = s.slots()
		}
		columns := 2 + len(names)
		n := min(len(data)/4/columns, 40)
		if n == 0 {
			return
		}
		column := func(k, from, to int) []float32 {
			x := make([]float32, 0, to-from)
			for i := from; i < to; i++ {
				x = append(x, math.Float32frombits(binary.LittleEndian.Uint32(data[4*(i*columns+k):])))
			}
			return x
		}
		// run takes a step of elements from, ..., to-1 alone.
		run := func(from, to int) (w []float32, st State, err error) {
			s, leaf := fresh()
			size := to - from
			st = State{Solver: leaf.State().Solver, Step: int(options)}
			if len(names) > 0 {
				st.Slots = map[string][]Tensor{}
			}
			for k, name := range names {
				st.Slots[name] = []Tensor{{Shape: []int{size}, Float32: column(2+k, from, to)}}
			}
			if err := leaf.SetState(st); err != nil {
				return nil, st, err
			}
			w = column(0, from, to)
			g := column(1, from, to)
			param := func(name string, w, g []float32) gorgonia.ValueGrad {
				return &weight{name, tensor.New(tensor.WithShape(len(w)), tensor.WithBacking(w)), tensor.New(tensor.WithShape(len(g)), tensor.WithBacking(g))}
			}
			m := []gorgonia.ValueGrad{param("w", w, g)}
			other := []float32{0.5}
			if which%7 == 6 {
				m = []gorgonia.ValueGrad{param("v", other, []float32{1}), m[0]}
			}
			before := slices.Clone(w)
			err = s.Step(m)
			if moved := other[0] != 0.5; which%7 == 6 && moved != (err == nil) && leaf.State().Step == int(options) {
				t.Fatalf("the other group's weight is %v, error %v", other, err)
			}
			if done := leaf.State().Step > int(options); err != nil && !done && !sameBits(before, w) {
				t.Fatalf("not done, and the weights were %v and are %v: %v", before, w, err)
			}
			return w, leaf.State(), err
		}
		w, st, err := run(0, n)
		if err == nil && !vec.Finite(w) {
			t.Fatalf("no error, and weights %v", w)
		}
		for _, x := range w {
			if limit := float32(cmp.Or(o(0, 0.3), 1)); err == nil && (which%7 == 4 && max(x, -x) > limit || which%7 == 6 && x != 1 && x != -1) {
				t.Fatalf("no error, and a weight of %v", x)
			}
		}
		alone := false
		for i := range n {
			w1, st1, err1 := run(i, i+1)
			alone = alone || err1 != nil
			if err != nil || err1 != nil {
				continue
			}
			same := math.Float32bits(w[i]) == math.Float32bits(w1[0])
			for _, name := range names {
				x := st1.Slots[name][0].Float32
				same = same && vec.Finite(x) && math.Float32bits(x[0]) == math.Float32bits(st.Slots[name][0].Float32[i])
			}
			if !same {
				t.Fatalf("element %d is %v and %v, alone %v and %v", i, w[i], st, w1, st1)
			}
		}
		if alone != (err != nil) {
			t.Fatalf("together: %v, alone an error: %v", err, alone)
		}
	})
}

func sameBits(a, b []float32) bool {
	return slices.EqualFunc(a, b, func(x, y float32) bool { return math.Float32bits(x) == math.Float32bits(y) })
}
