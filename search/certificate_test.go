package search

import (
	"context"
	"math"
	"math/big"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/ftprop/ftprop/internal/gtest"
	"github.com/ftprop/ftprop/ops"
	"gorgonia.org/tensor"
)

// A network's units emit what ops' activations emit on float64, to the bit: at thresholds, beside them and elsewhere.
func TestLevelsAreOps(t *testing.T) {
	for _, l := range []Layer{{}, {Hi: 1, Steps: 1}, {Steps: 2}, {Steps: 3}, {Steps: 5}, {Steps: 7}, {Lo: -1, Hi: 1, Steps: 4}, {Lo: -2, Hi: 6, Steps: 7}, {Lo: 0.1, Hi: 0.7, Steps: 5}} {
		lv, err := l.levels()
		if err != nil {
			t.Fatal(err)
		}
		var z []float64
		for k := range lv.Steps {
			at := lv.Threshold(k)
			z = append(z, at, math.Nextafter(at, 9), math.Nextafter(at, -9))
		}
		for k := -400; k <= 400; k++ {
			z = append(z, float64(k)/50)
		}
		var act ops.Activation = ops.Staircase{Lo: lv.Lo, Hi: lv.Hi, Steps: lv.Steps}
		switch {
		case lv.Steps == 1 && lv.Lo < 0:
			act = ops.Sign{}
		case lv.Steps == 1:
			act = ops.Step01{}
		}
		h, err := act.Do(dense(slices.Clone(z), len(z)))
		if err != nil {
			t.Fatal(err)
		}
		// One unit with weight 1 and bias 0, and one behind it that passes on what the first emits.
		l.W, l.B = dense([]float64{1}, 1, 1), dense([]float64{0}, 1)
		got, err := Forward([]Layer{l, {W: dense([]float64{1}, 1, 1), B: dense([]float64{0}, 1)}}, dense(z, len(z), 1))
		if err != nil {
			t.Fatal(err)
		}
		for i, want := range gtest.Floats(t, h) {
			if got := got.Float64s()[i]; got != want {
				t.Errorf("%+v: z = %v gives %v, %v %v", lv, z[i], got, act, want)
			}
		}
	}
}

// Random units of all kinds: the certificate holds, and agrees with a search over many weights in the Inseparable case.
func TestCertify(t *testing.T) {
	rng := rand.New(rand.NewPCG(21, 22))
	verdicts := map[Verdict]int{}
	for range 300 {
		kinds := []Layer{{}, {Hi: 1, Steps: 1}, {Steps: 2}, {Steps: 3}, {Lo: -1, Hi: 1, Steps: 4}}
		l := kinds[rng.IntN(len(kinds))]
		lv, _ := l.levels()
		n, d := 1+rng.IntN(8), 1+rng.IntN(4)
		xs, ts := make([]float64, n*d), make([]float64, n)
		for i := range xs {
			xs[i] = float64(rng.IntN(9)-4) / 4
		}
		planted := rng.IntN(2) == 0 // targets that some weights reach
		w := make([]float64, d+1)
		for k := range w {
			w[k] = rng.NormFloat64()
		}
		for i := range ts {
			z := w[d]
			for k := range d {
				z += w[k] * xs[i*d+k]
			}
			switch {
			case rng.IntN(8) == 0:
				ts[i] = math.NaN()
			case planted:
				ts[i] = lv.Value(lv.Index(z))
			default:
				ts[i] = lv.Value(rng.IntN(lv.Steps + 1))
			}
		}
		x, tt := dense(xs, n, d), dense(ts, n)
		c, err := Certify(context.Background(), l, x, tt)
		if err != nil {
			t.Fatal(err)
		}
		verdicts[c.Verdict]++
		if err := c.Verify(x, tt); err != nil {
			t.Fatalf("%+v, x %v, t %v: %v", l, xs, ts, err)
		}
		if planted && c.Verdict != Separable {
			t.Fatalf("%+v, x %v, t %v: %v, but weights %v reach them", l, xs, ts, c, w)
		}
		if c.Verdict == Separable {
			// The weights do what the certificate says in floating point, too.
			for i := range ts {
				z := c.Weights[d]
				for k := range d {
					z += c.Weights[k] * xs[i*d+k]
				}
				if ts[i] == ts[i] && math.Abs(lv.Value(lv.Index(z))-ts[i]) > 1e-9 {
					t.Fatalf("sample %d: z = %v does not give %v", i, z, ts[i])
				}
			}
		}
	}
	if verdicts[Separable] < 100 || verdicts[Inseparable] < 40 {
		t.Errorf("one-sided: %v", verdicts)
	}
}

// Every way in which a certificate can be false is found.
func TestVerifyRejects(t *testing.T) {
	x, xor := boolean(2, parity)
	and := dense([]float64{-1, -1, -1, 1}, 4)
	proof, err := Certify(context.Background(), Layer{}, x, xor)
	if err != nil {
		t.Fatal(err)
	}
	weights, err := Certify(context.Background(), Layer{}, x, and)
	if err != nil {
		t.Fatal(err)
	}
	change := func(c Certificate, f func(c *Certificate)) Certificate {
		c.Proof = append([]Multiplier(nil), c.Proof...)
		c.Weights = append([]float64(nil), c.Weights...)
		f(&c)
		return c
	}
	for what, c := range map[string]struct {
		c     Certificate
		t     *tensor.Dense
		words []string
	}{
		"other targets":       {proof, and, []string{"do not cancel"}},
		"weights elsewhere":   {weights, xor, []string{"does not reach"}},
		"no multipliers":      {change(proof, func(c *Certificate) { c.Proof = nil }), xor, []string{"without multipliers"}},
		"one less":            {change(proof, func(c *Certificate) { c.Proof = c.Proof[1:] }), xor, []string{"do not cancel"}},
		"negative":            {change(proof, func(c *Certificate) { c.Proof[0].Lambda = big.NewInt(-1) }), xor, []string{"must be positive"}},
		"nil":                 {change(proof, func(c *Certificate) { c.Proof[0].Lambda = nil }), xor, []string{"must be positive"}},
		"sample":              {change(proof, func(c *Certificate) { c.Proof[0].Sample = 9 }), xor, []string{"sample 9"}},
		"threshold":           {change(proof, func(c *Certificate) { c.Proof[0].Against = 1 }), xor, []string{"threshold 1"}},
		"ignored sample":      {proof, dense([]float64{math.NaN(), -1, -1, 1}, 4), []string{"no target"}},
		"number of weights":   {change(weights, func(c *Certificate) { c.Weights = c.Weights[1:] }), and, []string{"2 weights", "want 3"}},
		"NaN weight":          {change(weights, func(c *Certificate) { c.Weights[0] = math.NaN() }), and, []string{"NaN"}},
		"zero weights":        {change(weights, func(c *Certificate) { clear(c.Weights) }), and, []string{"margin"}},
		"undecided":           {change(weights, func(c *Certificate) { c.Verdict = Undecided }), and, []string{"undecided"}},
		"number of targets":   {proof, dense([]float64{1}, 1), []string{"(N)"}},
		"level":               {proof, dense([]float64{-1, 1, 1, 0.5}, 4), []string{"target 0.5 of sample 3"}},
		"a stranger":          {Certificate{Verdict: Separable, Weights: []float64{1, 1, 1}}, xor, []string{"no levels"}},
		"a stranger's proofs": {Certificate{Verdict: Inseparable}, xor, []string{"no levels"}},
	} {
		gtest.WantError(t, what, c.c.Verify(x, c.t), c.words...)
	}
	if err := proof.Verify(x, xor); err != nil {
		t.Error(err)
	}
	if err := weights.Verify(x, and); err != nil {
		t.Error(err)
	}
}

func TestCertifyErrors(t *testing.T) {
	x, y := boolean(2, parity)
	nan := x.Clone().(*tensor.Dense)
	nan.Float64s()[3] = math.NaN()
	ctx := context.Background()
	for what, c := range map[string]struct {
		l     Layer
		x, t  *tensor.Dense
		words []string
	}{
		"levels":  {Layer{Lo: 3, Hi: 1}, x, y, []string{"3 to 1"}},
		"span":    {Layer{Lo: -1.7e308, Hi: 1.7e308, Steps: 3}, x, y, []string{"at most"}},
		"close":   {Layer{Lo: 1, Hi: 1 + 0x1p-52, Steps: 3}, x, y, []string{"neighbours"}},
		"tiny":    {Layer{Hi: 5e-324, Steps: 3}, x, y, []string{"apart"}},
		"inputs":  {Layer{}, y.Clone().(*tensor.Dense), dense([]float64{1}, 1), []string{"shape"}},
		"nil":     {Layer{}, nil, y, []string{"inputs"}},
		"NaN":     {Layer{}, nan, y, []string{"NaN", "row 1"}},
		"targets": {Layer{}, x, dense([]float64{1, 1}, 2), []string{"one for each row"}},
		"level":   {Layer{}, x, dense([]float64{1, 1, 0, 1}, 4), []string{"target 0 of sample 2"}},
	} {
		_, err := Certify(ctx, c.l, c.x, c.t)
		gtest.WantError(t, what, err, append(c.words, "search: Certify")...)
	}
	done, cancel := context.WithCancel(ctx)
	cancel()
	_, err := Certify(done, Layer{}, x, y)
	gtest.WantError(t, "cancelled", err, "canceled")
}

// A staircase unit with contradictory levels on a line: the thresholds' distance is the contradiction.
func TestStaircaseProof(t *testing.T) {
	// Levels 0, 1/2, 1 with thresholds 0 and 1. z is linear in x: 0 at most at x = 0, 1 at most at x = 1, above 1 at x = 1/2.
	x, y := dense([]float64{0, 1, 0.5}, 3, 1), dense([]float64{0, 0.5, 1}, 3)
	c, err := Certify(context.Background(), Layer{Steps: 2}, x, y)
	if err != nil || c.Verdict != Inseparable {
		t.Fatalf("%v, %v", c, err)
	}
	if err := c.Verify(x, y); err != nil {
		t.Error(err)
	}
	// Rising, but too steeply for the gap: separable without the middle level's upper side only.
	y = dense([]float64{0, 1, 0.5}, 3)
	if c, err = Certify(context.Background(), Layer{Steps: 2}, x, y); err != nil || c.Verdict != Separable {
		t.Errorf("%v, %v: want Separable", c, err)
	}
}

// All classes together, in a system too large for the simplex method: weights that only rounding makes right, or wrong.
func TestLargeJointSystemsAreDecidedExactly(t *testing.T) {
	const classes, in, samples = 8, 3, 5000
	if samples*(classes-1)*classes*(in+1) <= maxJoint {
		t.Fatal("not a large system")
	}
	// z = -1e17 + 1 + 1e17 is 1, and 0 in float64.
	one := []float64{1, 1, 1, 0}
	half := []float64{0, 0, 0, 0.5}
	var act [][]float64
	var xs []float64
	for range samples {
		act, xs = append(act, []float64{-1e17, 1, 1e17, 1}), append(xs, -1e17, 1, 1e17)
	}
	q := make([]int, samples)
	for what, c := range map[string]struct {
		own, other []float64
		want       Verdict
	}{
		"1/2 is not above 1": {half, one, Undecided},
		"1 is above 1/2":     {one, half, Separable},
		"1 is not above 1":   {one, one, Undecided},
	} {
		units := [][]float64{c.own, c.other}
		for len(units) < classes {
			units = append(units, []float64{0, 0, 0, -1})
		}
		got, err := decideJoint(context.Background(), act, q, units, nil)
		if err != nil || got.Verdict != c.want {
			t.Errorf("%s: %v, %v: want %v", what, got.Verdict, err, c.want)
			continue
		}
		if c.want == Separable {
			if err := got.Verify(dense(xs, samples, in), dense(make([]float64, samples), samples)); err != nil {
				t.Errorf("%s: %v", what, err)
			}
		}
	}
}
