package solvers

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"math"
	"testing"

	"github.com/ftprop/ftprop/internal/vec"
	"gorgonia.org/gorgonia"
	"gorgonia.org/tensor"
)

// bits hands out what a fuzzer's data say, and 0 beyond their end.
type bits struct{ data []byte }

func (b *bits) byte() int {
	if len(b.data) == 0 {
		return 0
	}
	x := b.data[0]
	b.data = b.data[1:]
	return int(x)
}

// number is one of those that are likely to go wrong: equal ones, ones that are no short binary fractions, ones that cancel.
func (b *bits) number() float64 {
	numbers := []float64{0, 1, -1, 0.5, -0.5, 2, -2, 3, 0.1, -0.1, 0.3, 1.0 / 3, 1e17, -1e17, 1e-17, math.Copysign(0, -1)}
	return numbers[b.byte()%len(numbers)]
}

// problem is a small unit's inputs and targets.
func (b *bits) problem() (l Layer, x, t *tensor.Dense) {
	kinds := []Layer{{}, {Hi: 1, Steps: 1}, {Steps: 2}, {Steps: 3}, {Lo: -1, Hi: 1, Steps: 4}, {Lo: 0.1, Hi: 0.7, Steps: 4}, {Lo: -1.0 / 3, Hi: 1e3, Steps: 7}}
	l = kinds[b.byte()%len(kinds)]
	lv, _ := newLevels(l.Lo, l.Hi, l.Steps)
	n, in := 1+b.byte()%6, 1+b.byte()%3
	xs, ts := make([]float64, n*in), make([]float64, n)
	for i := range xs {
		xs[i] = b.number()
	}
	for i := range ts {
		if k := b.byte() % (lv.steps + 2); k > lv.steps {
			ts[i] = math.NaN()
		} else {
			ts[i] = lv.value(k)
		}
	}
	return l, dense(xs, n, in), dense(ts, n)
}

// Whatever the unit: a certificate that decides it verifies, stored and read back too.
func FuzzCertify(f *testing.F) {
	f.Add([]byte("\x00\x03\x01\x02\x02\x01\x02\x02\x01\x01\x01\x00\x01\x01\x00")) // the exclusive or
	f.Add([]byte("\x05\x02\x00\x01\x02\x03\x01\x02\x03"))
	f.Fuzz(func(t *testing.T, data []byte) {
		b := bits{data}
		l, x, y := b.problem()
		c, err := Certify(context.Background(), l, x, y)
		if err != nil {
			t.Fatalf("%+v, x %v, t %v: %v", l, x.Data(), y.Data(), err)
		}
		text, err := json.Marshal(c)
		if err != nil {
			t.Fatal(err)
		}
		var back Certificate
		if err := json.Unmarshal(text, &back); err != nil {
			t.Fatal(err)
		}
		if err := back.Verify(x, y); c.Verdict != Undecided && err != nil {
			t.Fatalf("%+v, x %v, t %v: %v", l, x.Data(), y.Data(), err)
		}
	})
}

// Whatever a file says, Verify does not panic, and never believes that a unit is separable whose targets contradict each other,
// or the other way round.
func FuzzVerify(f *testing.F) {
	for _, text := range []string{
		`{"Verdict":1,"Lo":-1,"Hi":1,"Steps":1,"Weights":[1,1,-1]}`,
		`{"Verdict":2,"Lo":-1,"Hi":1,"Steps":1,"Proof":[{"Lambda":1},{"Sample":1,"Lambda":1},{"Sample":2,"Lambda":1},{"Sample":3,"Lambda":1}]}`,
		`{"Verdict":2,"Hi":1,"Steps":2,"Proof":[{"Lambda":2},{"Sample":1,"Against":1,"Lambda":2}]}`,
		`{"Unit":-1,"Verdict":1,"Classes":2,"Weights":[1,1,1,-1,-1,-1]}`,
		`{"Unit":-1,"Verdict":2,"Classes":2,"Proof":[{"Against":1,"Lambda":1}]}`,
	} {
		f.Add([]byte("\x00\x03\x01\x02\x02\x01\x02\x02\x01\x01\x01\x00\x01\x01\x00"), text)
		f.Add([]byte("\x02\x03\x01\x02\x02\x01\x02\x02\x01\x01\x01\x00\x01\x02\x02"), text)
	}
	f.Fuzz(func(t *testing.T, data []byte, text string) {
		var c Certificate
		if json.Unmarshal([]byte(text), &c) != nil {
			return
		}
		_ = c.String()
		b := bits{data}
		_, x, y := b.problem()
		if c.Verify(x, y) != nil {
			return
		}
		if c.Classes > 0 {
			return // Certify is about single units
		}
		other, err := Certify(context.Background(), Layer{Lo: c.Lo, Hi: c.Hi, Steps: c.Steps}, x, y)
		if err != nil || other.Verdict != Undecided && other.Verdict != c.Verdict {
			t.Fatalf("%s verifies on x %v, t %v, but Certify says %v, %v", text, x.Data(), y.Data(), other, err)
		}
	})
}

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
