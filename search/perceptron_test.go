package search

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/ftprop/ftprop/internal/levels"
	"github.com/ftprop/ftprop/ops"
)

// rows returns random inputs with a 1 behind them, and their squared lengths.
func rows(rng *rand.Rand, n, d int) (act [][]float64, norms []float64) {
	for range n {
		a := make([]float64, d+1)
		for k := range d {
			a[k] = rng.NormFloat64()
		}
		a[d] = 1
		act, norms = append(act, a), append(norms, dot(a, a))
	}
	return act, norms
}

// objective is J, as documented, written down once more.
func objective(loss LayerLoss, c float64, act [][]float64, lv levels.Levels, q []int, weight, w []float64) float64 {
	sum := dot(w, w) / (2 * c)
	for i, a := range act {
		if q[i] == Ignore {
			continue
		}
		z := dot(w, a)
		for k := range lv.Steps {
			switch {
			case loss != nil && k == q[i]-1:
				sum += weight[i] * loss.Value(z-lv.Threshold(k), 1)
			case loss != nil && k == q[i]:
				sum += weight[i] * loss.Value(z-lv.Threshold(k), -1)
			case loss == nil && k == q[i]-1:
				sum += weight[i] * math.Max(0, margin(lv)-(z-lv.Threshold(k)))
			case loss == nil && k == q[i]:
				sum += weight[i] * math.Max(0, margin(lv)+(z-lv.Threshold(k)))
			}
		}
	}
	return sum
}

// The solution is a minimum: no small step from it in any of many directions lowers J, which is what fit says it is. Hinge
// and smooth losses, sign and staircase units, with weights and ignored targets.
func TestPerceptronMinimum(t *testing.T) {
	rng := rand.New(rand.NewPCG(31, 32))
	soft, err := ops.SquareLoss{}.Loss(ops.Levels{Lo: -1, Hi: 1, Steps: 1})
	if err != nil {
		t.Fatal(err)
	}
	for what, p := range map[string]perceptron{
		"hinge":      {c: 3, epochs: 50000, tol: 1e-10},
		"logistic":   {c: 3, loss: logistic{}},
		"SquareLoss": {c: 3, loss: soft},
	} {
		for _, lv := range []levels.Levels{{Lo: -1, Hi: 1, Steps: 1}, {Lo: 0, Hi: 1, Steps: 3}} {
			act, norms := rows(rng, 25, 4)
			q, weight := make([]int, len(act)), make([]float64, len(act))
			for i := range q {
				q[i] = rng.IntN(lv.Steps+2) - 1 // Ignore among them
				weight[i] = rng.Float64()
			}
			f := p.fit(act, norms, lv, q, weight, make([]float64, 5), nil)
			at := objective(p.loss, p.c, act, lv, q, weight, f.w)
			if math.Abs(at-f.loss) > 1e-9*(1+at) {
				t.Errorf("%s, %d steps: J = %v, fit says %v", what, lv.Steps, at, f.loss)
			}
			for range 200 {
				w := slices.Clone(f.w)
				for k := range w {
					w[k] += 0.05 * rng.NormFloat64()
				}
				if other := objective(p.loss, p.c, act, lv, q, weight, w); other < at-1e-3*(1+at) {
					t.Errorf("%s, %d steps: J = %v at the solution, %v beside it", what, lv.Steps, at, other)
					break
				}
			}
			for i, k := range q {
				if k == Ignore && f.dz[i] != 0 {
					t.Errorf("%s: ignored sample %d has derivative %v", what, i, f.dz[i])
				}
			}
		}
	}
}

// Separable targets are reached, by hinge and by softmax.
func TestPerceptronSeparates(t *testing.T) {
	rng := rand.New(rand.NewPCG(33, 34))
	act, norms := rows(rng, 60, 3)
	q, classes := make([]int, len(act)), make([]int, len(act))
	for i, a := range act {
		if a[0]+2*a[1]-a[2] > 0.3 {
			q[i], classes[i] = 1, 2
		}
	}
	p := perceptron{c: 1000, epochs: 2000, tol: 1e-3}
	f := p.fit(act, norms, levels.Levels{Lo: -1, Hi: 1, Steps: 1}, q, nil, nil, nil)
	w, _, _ := p.softmax(act, classes, [][]float64{make([]float64, 4), make([]float64, 4), make([]float64, 4)})
	for i, a := range act {
		if (dot(f.w, a) > 0) != (q[i] == 1) {
			t.Errorf("hinge: sample %d on the wrong side", i)
		}
		if (dot(w[2], a) > dot(w[0], a)) != (q[i] == 1) {
			t.Errorf("softmax: sample %d in the wrong class", i)
		}
	}
}
