package search

import (
	"context"
	"encoding/json"
	"math"
	"testing"

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
	lv, _ := l.levels()
	n, in := 1+b.byte()%6, 1+b.byte()%3
	xs, ts := make([]float64, n*in), make([]float64, n)
	for i := range xs {
		xs[i] = b.number()
	}
	for i := range ts {
		if k := b.byte() % (lv.Steps + 2); k > lv.Steps {
			ts[i] = math.NaN()
		} else {
			ts[i] = lv.Value(k)
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
