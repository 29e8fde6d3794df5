package separable

import (
	"context"
	"math"
	"math/big"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/ftprop/ftprop/internal/gtest"
	"github.com/pkg/errors"
)

// cube returns the rows t(x, 1) of a Boolean function of n inputs.
func cube(n int, f func(x []float64) bool) [][]float64 {
	var rows [][]float64
	for c := range 1 << n {
		x := make([]float64, n+1)
		for k := range n {
			x[k] = float64(2*(c>>k&1) - 1)
		}
		x[n] = 1
		if !f(x[:n]) {
			for k := range x {
				x[k] = -x[k]
			}
		}
		rows = append(rows, x)
	}
	return rows
}

// The number of linearly separable Boolean functions of n = 1, 2, 3, 4 inputs is known: Muroga, Threshold Logic and Its
// Applications (1971); OEIS A000609. Every function gets a verified answer.
func TestCountsThresholdFunctions(t *testing.T) {
	want := []int{0, 4, 14, 104, 1882}
	top := 3
	if !testing.Short() && !gtest.Race {
		top = 4
	}
	for n := 1; n <= top; n++ {
		count := 0
		for f := range 1 << (1<<n - 1) { // the others are their complements
			rows := cube(n, func(x []float64) bool {
				c := 0
				for k, v := range x {
					if v > 0 {
						c |= 1 << k
					}
				}
				return f>>c&1 == 1
			})
			a, err := Decide(context.Background(), rows, nil, 0)
			if err != nil {
				t.Fatalf("%d inputs, function %b: %v", n, f, err)
			}
			check(t, rows, a)
			if a.Separable() {
				count += 2
			}
		}
		if count != want[n] {
			t.Errorf("%d inputs: %d separable functions, want %d", n, count, want[n])
		}
	}
}

func check(t *testing.T, rows [][]float64, a Answer) {
	t.Helper()
	if a.Separable() == (len(a.Support) > 0) {
		t.Fatalf("both or neither: %+v", a)
	}
	if a.Separable() && !Solves(rows, a.V) {
		t.Fatalf("%v is no solution of %v", a.V, rows)
	}
	if !a.Separable() && !Contradict(rows, a.Support, a.Lambda) {
		t.Fatalf("%v on %v is no proof for %v", a.Lambda, a.Support, rows)
	}
}

// Random rows of all kinds, one after another decided by the guesses and by the exact method alone: the answers agree.
func TestExactAgrees(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for range 400 {
		n, d := 1+rng.IntN(14), 1+rng.IntN(5)
		rows := make([][]float64, n)
		for i := range rows {
			rows[i] = make([]float64, d)
			for k := range rows[i] {
				switch rng.IntN(3) {
				case 0:
					rows[i][k] = float64(rng.IntN(3) - 1)
				case 1:
					rows[i][k] = math.Ldexp(float64(rng.IntN(9)-4), rng.IntN(20)-10)
				default:
					rows[i][k] = float64(rng.IntN(7) - 3)
				}
			}
		}
		a, err := Decide(context.Background(), rows, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		check(t, rows, a)
		work := DefaultLimit
		v, support, lambda, err := exact(context.Background(), rows, &work)
		if err != nil {
			t.Fatal(err)
		}
		if (v != nil) != a.Separable() {
			t.Fatalf("exact method and Decide differ on %v", rows)
		}
		if v == nil && !Contradict(rows, support, lambda) {
			t.Fatalf("%v on %v is no proof for %v", lambda, support, rows)
		}
		if v != nil && !Solves(rows, rounded(v)) {
			t.Fatalf("%v is no solution of %v", v, rows)
		}
	}
}

// Many rows in many dimensions: the linear program and added rows keep the exact method small.
func TestLarge(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	n, d := 400, 20
	for _, noise := range []bool{false, true} {
		w := make([]float64, d)
		for k := range w {
			w[k] = rng.NormFloat64()
		}
		rows := make([][]float64, n)
		for i := range rows {
			rows[i] = make([]float64, d)
			for k := range rows[i] {
				rows[i][k] = float64(rng.IntN(33)-16) / 16
			}
			s := 1.0
			if dot(rows[i], w) < 0 {
				s = -1
			}
			if noise && i%10 == 0 {
				s = -s
			}
			for k := range rows[i] {
				rows[i][k] *= s
			}
		}
		a, err := Decide(context.Background(), rows, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		check(t, rows, a)
		if a.Separable() == noise {
			t.Errorf("noise %v: separable %v", noise, a.Separable())
		}
	}
}

// A margin of one part in 2^40 is found, and so is its absence.
func TestThinMargin(t *testing.T) {
	eps := math.Ldexp(1, -40)
	thin := [][]float64{{1, 1 + eps}, {-1, -1}}
	a, err := Decide(context.Background(), thin, nil, 0)
	if err != nil || !a.Separable() {
		t.Fatalf("%+v, %v: want a solution", a, err)
	}
	check(t, thin, a)
	none := [][]float64{{1, 1 + eps}, {-1, -1}, {0, -eps}}
	if a, err = Decide(context.Background(), none, nil, 0); err != nil || a.Separable() {
		t.Fatalf("%+v, %v: want a proof", a, err)
	}
	check(t, none, a)
}

func TestOpposite(t *testing.T) {
	rows := [][]float64{{1, 2, 1}, {0, 1, 1}, {-1, -2, -1}}
	a, err := Decide(context.Background(), rows, nil, 0)
	if err != nil || !slices.Equal(a.Support, []int{0, 2}) {
		t.Errorf("%+v, %v: want rows 0 and 2", a, err)
	}
	a, err = Decide(context.Background(), [][]float64{{1, 1}, {0, 0}}, nil, 0)
	if err != nil || !slices.Equal(a.Support, []int{1}) {
		t.Errorf("%+v, %v: want row 1", a, err)
	}
}

func TestContradictRejects(t *testing.T) {
	rows := [][]float64{{1, 1}, {-1, -1}}
	one, minus := big.NewInt(1), big.NewInt(-1)
	for what, c := range map[string]struct {
		support []int
		lambda  []*big.Int
	}{
		"none":         {nil, nil},
		"zeros":        {[]int{0, 1}, []*big.Int{new(big.Int), new(big.Int)}},
		"negative":     {[]int{0, 1}, []*big.Int{minus, minus}},
		"one":          {[]int{0}, []*big.Int{one}},
		"out of range": {[]int{0, 2}, []*big.Int{one, one}},
		"lengths":      {[]int{0, 1}, []*big.Int{one}},
	} {
		if Contradict(rows, c.support, c.lambda) {
			t.Errorf("%s: accepted", what)
		}
	}
	if !Contradict(rows, []int{0, 1}, []*big.Int{one, one}) {
		t.Error("a proof was not accepted")
	}
}

func TestDecideErrors(t *testing.T) {
	_, err := Decide(context.Background(), [][]float64{{1, 2}, {1}}, nil, 0)
	gtest.WantError(t, "lengths", err, "row 1")
	_, err = Decide(context.Background(), [][]float64{{1, math.NaN()}}, nil, 0)
	gtest.WantError(t, "NaN", err, "NaN", "row 0")
	xor := cube(2, func(x []float64) bool { return x[0]*x[1] < 0 })
	if _, err = Decide(context.Background(), xor, nil, 1); err != ErrUndecided {
		t.Errorf("got %v, want ErrUndecided", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err = Decide(ctx, xor, nil, 0); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want %v", err, context.Canceled)
	}
}

// The solution satisfies the optimality conditions of the soft-margin problem, and starting at the last one's dual variables
// changes nothing.
func TestHingeOptimal(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 6))
	n, d := 40, 4
	p := Hinge{C: 2, Epochs: 20000, Tol: 1e-9}
	for i := range n {
		x := make([]float64, d)
		for k := range x {
			x[k] = rng.NormFloat64()
		}
		p.X = append(p.X, x)
		p.Sign = append(p.Sign, float64(2*rng.IntN(2)-1))
		p.Weight = append(p.Weight, rng.Float64())
		p.Margin = append(p.Margin, 1+0.1*float64(i%3))
	}
	v, alpha := p.Fit(nil, nil)
	for i, x := range p.X {
		slack := p.Margin[i] - p.Sign[i]*dot(x, v)
		switch box := p.box(i); {
		case slack > 1e-6 && alpha[i] < box-1e-6, slack < -1e-6 && alpha[i] > 1e-6:
			t.Errorf("row %d: slack %v with alpha %v of %v", i, slack, alpha[i], box)
		}
	}
	again, _ := p.Fit(slices.Clone(alpha), nil)
	for k := range v {
		if math.Abs(v[k]-again[k]) > 1e-6 {
			t.Errorf("element %d: %v, started from the solution %v", k, v[k], again[k])
		}
	}
}

// Sums that cancel, overflow or underflow in float64 are decided as exactly as others, however long they are.
func TestSolvesExactly(t *testing.T) {
	big, tiny := math.MaxFloat64, math.SmallestNonzeroFloat64
	long := func(last float64) (row, v []float64) { // 2^16 times 1, and last: in float64, one after the other, 2^53 takes in no 1
		row, v = slices.Repeat([]float64{1}, 1<<16+2), slices.Repeat([]float64{1}, 1<<16+2)
		row[0], row[len(row)-1] = 1<<53, last
		return row, v
	}
	positive, v1 := long(-(1<<53 + 1<<16 - 2))
	zero, v2 := long(-(1<<53 + 1<<16))
	for what, c := range map[string]struct {
		row, v []float64
		want   bool
	}{
		"cancels to 1":    {[]float64{-1e17, 1, 1e17}, []float64{1, 1, 1}, true},
		"cancels to -1":   {[]float64{1e17, -1, -1e17}, []float64{1, 1, 1}, false},
		"cancels to 0":    {[]float64{0.1, -0.1}, []float64{1, 1}, false},
		"overflows":       {[]float64{big, -big, 1}, []float64{2, 2, 1}, true},
		"overflows, to 0": {[]float64{big, -big}, []float64{2, 2}, false},
		"underflows":      {[]float64{tiny}, []float64{tiny}, true},
		"underflows, -":   {[]float64{tiny}, []float64{-tiny}, false},
		"long, 2":         {positive, v1, true},
		"long, 0":         {zero, v2, false},
		"NaN":             {[]float64{math.NaN(), 1}, []float64{0, 1}, false},
		"infinity":        {[]float64{math.Inf(1)}, []float64{1}, false},
	} {
		if got := Solves([][]float64{c.row}, c.v); got != c.want {
			t.Errorf("%s: %v, want %v", what, got, c.want)
		}
	}
}
