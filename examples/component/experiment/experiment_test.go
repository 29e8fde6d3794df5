package experiment

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/ftprop/ftprop/nodes"
	"github.com/ftprop/ftprop/ops"
	"gorgonia.org/gorgonia"
)

// What stands in for a function has its answers, for all bits.
func TestStandIns(t *testing.T) {
	tasks, err := Tasks("sum", "choice")
	if err != nil {
		t.Fatal(err)
	}
	for _, task := range tasks {
		bits := task.Widths[len(task.Widths)-1]
		rng := rand.New(rand.NewPCG(1, 1))
		for k := range 1 << (bits * task.Inputs) {
			g := gorgonia.NewGraph()
			var h gorgonia.Nodes
			var units [][]float64
			for i := range task.Inputs {
				z, x := input(g, fmt.Sprint("z", i), 1, bits)
				units = append(units, make([]float64, bits))
				for u := range x {
					x[u] = float32(2*(k>>(i*bits+u)&1) - 1)
					units[i][u] = float64(x[u])
				}
				h = append(h, gorgonia.Must(nodes.Sign(z)))
			}
			data := make([]float32, task.Data)
			wide := make([]float64, task.Data)
			for i := range data {
				data[i] = float32(rng.NormFloat64())
				wide[i] = float64(data[i])
			}
			var extra *gorgonia.Node
			if task.extra > 0 {
				var x []float32
				extra, x = input(g, "extra", 1, task.extra)
				task.fill(data, x)
			}
			y, err := task.standIn(h, extra)
			if err != nil {
				t.Fatal(err)
			}
			vm := gorgonia.NewTapeMachine(g)
			if err := vm.RunAll(); err != nil {
				t.Fatal(err)
			}
			want, err := task.call(units, [][]float64{wide})
			if err != nil {
				t.Fatal(err)
			}
			if got := float64(y.Value().Data().([]float32)[0]); math.Abs(got-want[0]) > 1e-5 {
				t.Errorf("%s, bits %b: %v stands in for %v", task.Name, k, got, want[0])
			}
			vm.Close()
		}
	}
}

// No image of the test is trained with, and none is in both.
func TestTestIsApart(t *testing.T) {
	train, test, err := digits()
	if err != nil {
		t.Fatal(err)
	}
	if train.N()+test.N() != 1797 {
		t.Errorf("%d and %d images", train.N(), test.N())
	}
	task := sumOfDigits(train, test)
	seen := map[string]bool{}
	rng := rand.New(rand.NewPCG(1, 1))
	x, label := [][]float32{make([]float32, 64), make([]float32, 64)}, make([]float32, 1)
	for range 20000 {
		task.sample(rng, 2, x, nil, label)
		seen[fmt.Sprint(x[0])], seen[fmt.Sprint(x[1])] = true, true
	}
	if len(seen) < 1400 {
		t.Fatalf("only %d images were drawn", len(seen))
	}
	same := 0
	for i := range test.N() {
		if seen[fmt.Sprint(test.Image(i))] {
			same++
		}
	}
	if same > 0 {
		t.Errorf("%d images of the test are trained with", same)
	}
}

// Perfect numbers are all right, and others are not.
func TestRight(t *testing.T) {
	train, test, err := digits()
	if err != nil {
		t.Fatal(err)
	}
	task := sumOfDigits(train, test)
	if got := task.right(test.Y); got != 100 {
		t.Errorf("the digits themselves: %v %%", got)
	}
	none := make([]int, test.N())
	if got := task.right(none); got > 3 {
		t.Errorf("zeros: %v %%", got)
	}
	keys := map[float64]int{}
	task = lookUp(train, test)
	for key := range 64 {
		v, err := task.call([][]float64{levels(key, 6)}, nil)
		if err != nil {
			t.Fatal(err)
		}
		keys[v[0]] = key
	}
	if len(keys) != 11 {
		t.Errorf("%d values, want those of 10 digits and -1", len(keys))
	}
	var found []int
	for _, digit := range test.Y {
		found = append(found, keys[float64(100+37*digit)])
	}
	if got := task.right(found); got != 100 {
		t.Errorf("keys of the map: %v %%", got)
	}
}

// levels are those of sign units that are read as a number.
func levels(n, bits int) []float64 {
	x := make([]float64, bits)
	for u := range x {
		x[u] = float64(2*(n>>(bits-1-u)&1) - 1)
	}
	return x
}

// REINFORCE is the gradient of the expected loss with respect to z, but for noise.
func TestReinforce(t *testing.T) {
	sign := ops.Sign{}.Threshold().Levels
	z := []float64{0.5, -1, 0.2}
	loss := func(x []float64) float64 { return float64(ops.Number(x) * ops.Number(x) % 7) }
	expected := func() float64 {
		sum := 0.0
		for k := range 8 {
			p := 1.0
			for u := range z {
				on := 1 / (1 + math.Exp(-z[u]))
				if k>>(2-u)&1 == 0 {
					on = 1 - on
				}
				p *= on
			}
			sum += p * loss(levels(k, 3))
		}
		return sum
	}
	const trials = 3000
	mean := make([]float64, len(z))
	for seed := range uint64(trials) {
		s, err := ops.NewSample([]ops.Levels{sign, sign, sign}, z, 7, loss)
		if err != nil {
			t.Fatal(err)
		}
		d := make([]float64, len(z))
		if err := (Reinforce{Seed: seed}).Search(s, d); err != nil {
			t.Fatal(err)
		}
		for u, v := range d {
			mean[u] += v / trials
		}
	}
	for u := range z {
		const eps = 1e-5
		z[u] += eps
		up := expected()
		z[u] -= 2 * eps
		down := expected()
		z[u] += eps
		if want := (up - down) / (2 * eps); math.Abs(mean[u]-want) > 0.03 {
			t.Errorf("unit %d: %v, want %v", u, mean[u], want)
		}
	}
}

// The network that is tested computes with the weights that are trained.
func TestReader(t *testing.T) {
	w := newWeights(rand.New(rand.NewPCG(1, 1)), []int{2, 3})
	r, err := newReader(w, []float32{1, 0, -1, 2}, 2)
	if err != nil {
		t.Fatal(err)
	}
	defer r.vm.Close()
	for _, want := range []string{"[5 5]", "[0 0]"} {
		first := want == "[5 5]"
		for i, b := range []float32{100, -100, 100} {
			if !first {
				b = -100
			}
			w.values[1].Data().([]float32)[i] = b
		}
		got, err := r.numbers()
		if err != nil || fmt.Sprint(got) != want {
			t.Errorf("%v, %v: want %s", got, err, want)
		}
	}
}
