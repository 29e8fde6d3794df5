package solvers

import (
	"encoding/binary"
	"math"
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
	f.Fuzz(func(t *testing.T, data []byte, which, options uint8) {
		o := func(bit int, x float64) float64 {
			if options>>bit&1 == 0 {
				return 0
			}
			return x
		}
		on := func(bit int) bool { return options>>bit&1 != 0 }
		fresh := func() solver {
			switch which % 3 {
			case 0:
				return &Adam{L1: o(0, 0.1), WeightDecay: o(1, 0.5), Clip: o(2, 2), BatchSize: int(o(3, 7)), Decoupled: on(4)}
			case 1:
				return &SGD{L1: o(0, 0.1), WeightDecay: o(1, 0.5), Clip: o(2, 2), BatchSize: int(o(3, 7)), Momentum: o(4, 0.9), Nesterov: on(4) && on(5)}
			}
			return &RMSProp{L1: o(0, 0.1), WeightDecay: o(1, 0.5), Clip: o(2, 2), BatchSize: int(o(3, 7)), Momentum: o(4, 0.9), Centered: on(5)}
		}
		names := []string{"exp_avg", "exp_avg_sq"}
		switch s := fresh().(type) {
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
			s, size := fresh(), to-from
			st = State{Solver: s.State().Solver, Step: int(options)}
			if len(names) > 0 {
				st.Slots = map[string][]Tensor{}
			}
			for k, name := range names {
				st.Slots[name] = []Tensor{{Shape: []int{size}, Float32: column(2+k, from, to)}}
			}
			if err := s.SetState(st); err != nil {
				return nil, st, err
			}
			w = column(0, from, to)
			g := column(1, from, to)
			err = s.Step([]gorgonia.ValueGrad{&weight{"w", tensor.New(tensor.WithShape(size), tensor.WithBacking(w)), tensor.New(tensor.WithShape(size), tensor.WithBacking(g))}})
			return w, s.State(), err
		}
		w, st, err := run(0, n)
		if err == nil && !vec.Finite(w) {
			t.Fatalf("no error, and weights %v", w)
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
