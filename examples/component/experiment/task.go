// Package experiment trains networks of threshold units through Go functions that have no derivative, from the answers of the functions alone, in several
// ways. The command examples/component is a front for it.
package experiment

import (
	"math"
	"math/rand/v2"
	"strings"

	"github.com/ftprop/ftprop/data"
	"github.com/ftprop/ftprop/nodes"
	"github.com/ftprop/ftprop/ops"
	"github.com/pkg/errors"
	"gorgonia.org/gorgonia"
	"gorgonia.org/tensor"
)

// Method is a way to train what is in front of a component.
type Method struct {
	Name     string
	searcher ops.Searcher // nil: no component, but what stands in for it
	rule     ops.Rule     // of the units in front of the component
	graded   bool         // the loss is |y - label|, else 0 or 1
}

// Methods are all of them. Where a loss of 0 and 1 and the rule STE meet Posterior or Reinforce the network descends on the likelihood of the right answer, or on how often
// the answer is wrong.
func Methods() []Method {
	return []Method{
		{Name: "Posterior", searcher: ops.Posterior{}, rule: ops.STE{}},
		{Name: "Search", searcher: ops.Search{Keep: true}, rule: ops.SSTE{}},
		{Name: "Flip", searcher: ops.Flip{}, rule: ops.SSTE{}, graded: true},
		{Name: "REINFORCE", searcher: Reinforce{}, rule: ops.STE{}},
		{Name: "SSTE stand-in", rule: ops.SSTE{}},
	}
}

// Task is a function, what is known of its answers, and a network that is to find its arguments.
type Task struct {
	Name   string
	Key    string // the name of its flag
	Inputs int    // that the network is put on
	Widths []int  // of the network's layers, input and output included
	Data   int    // numbers that the function gets beside the bits
	Epochs int
	Steps  int // of an epoch
	Batch  int
	Rate   float64 // of Adam
	// ReinforceRate is the best of 3e-3, 1e-3 and 3e-4 for REINFORCE.
	ReinforceRate float64
	Calls         int // a sample and step

	call func(units, data [][]float64) ([]float64, error)
	// standIn is a function with a derivative that has the same answers, of the units and of as many numbers as extra, which fill computes of the
	// data. nil: there is none.
	standIn func(h gorgonia.Nodes, extra *gorgonia.Node) (*gorgonia.Node, error)
	extra   int
	fill    func(data, extra []float32)
	// sample writes a sample for training: the network's inputs, the function's data and the answer.
	sample func(rng *rand.Rand, epoch int, x [][]float32, data, label []float32)
	test   []float32 // inputs of the network that are not used for training
	// right returns the share of right answers, in percent, for the numbers that the network emits for the inputs of test.
	right func(numbers []int) float64
}

// Tasks returns those of the names, all for none.
func Tasks(names ...string) ([]*Task, error) {
	train, test, err := digits()
	if err != nil {
		return nil, err
	}
	all := []*Task{sumOfDigits(train, test), programChoice(), lookUp(train, test)}
	if len(names) == 0 {
		return all, nil
	}
	var out []*Task
	for _, name := range names {
		found := false
		for _, t := range all {
			if strings.EqualFold(t.Key, name) {
				out, found = append(out, t), true
			}
		}
		if !found {
			return nil, errors.Errorf("no task %q; the tasks are sum, choice, lookup", name)
		}
	}
	return out, nil
}

func digits() (train, test *data.Set, err error) {
	all, err := data.Digits()
	if err != nil {
		return nil, nil, err
	}
	// One split for all seeds: what varies is initialisation and order.
	if train, test, err = all.Split(0.2, 1); err != nil {
		return nil, nil, err
	}
	return train, test, data.Standardize(train, test)
}

// methods are those that the task can be trained with.
func (t *Task) methods() []Method {
	var out []Method
	for _, m := range Methods() {
		if m.searcher != nil || t.standIn != nil {
			out = append(out, m)
		}
	}
	return out
}

// sumOfDigits shows the network two images. It is to emit numbers of four bits whose sum is that of the digits; no image's own digit is ever told.
func sumOfDigits(train, test *data.Set) *Task {
	const batch = 16
	t := &Task{
		Name: "sum of digits", Key: "sum", Inputs: 2, Widths: []int{train.Features(), 256, 4}, Epochs: 20, Steps: train.N() / batch, Batch: batch, Rate: 3e-3, ReinforceRate: 3e-4, Calls: 255,
		call: func(units, _ [][]float64) ([]float64, error) {
			return []float64{float64(ops.Number(units[0]) + ops.Number(units[1]))}, nil
		},
		test: test.X,
	}
	t.sample = func(rng *rand.Rand, epoch int, x [][]float32, _, label []float32) {
		for {
			a, b := rng.IntN(train.N()), rng.IntN(train.N())
			sum := train.Y[a] + train.Y[b]
			// The first epoch has only sums that few pairs of digits have. Without it some seeds learn the lowest bit the wrong way around, and stay there: an even
			// digit is one too many then, an odd one too few, and their sum is right.
			if epoch == 1 && sum > 4 && sum < 14 {
				continue
			}
			copy(x[0], train.Image(a))
			copy(x[1], train.Image(b))
			label[0] = float32(sum)
			return
		}
	}
	t.standIn = func(h gorgonia.Nodes, _ *gorgonia.Node) (*gorgonia.Node, error) {
		both, err := nodes.Add(h[0], h[1])
		if err != nil {
			return nil, err
		}
		// The sum of 2^k (h+1)/2 over all bits of both.
		g := both.Graph()
		return nodes.Linear(both, constant(g, "powers", []float32{4, 2, 1, 0.5}, 1, 4), constant(g, "offset", []float32{15}, 1))
	}
	t.right = func(numbers []int) float64 {
		right := 0
		for i, a := range numbers {
			for j, b := range numbers {
				if a+b == test.Y[i]+test.Y[j] {
					right++
				}
			}
		}
		return 100 * float64(right) / float64(len(numbers)*len(numbers))
	}
	return t
}

// programs are what the network chooses from.
func programs(k int, a, b float64) float64 {
	switch k {
	case 0:
		return a + b
	case 1:
		return a - b
	case 2:
		return a * b
	}
	return math.Max(a, b)
}

// programChoice shows the network two numbers. It is to say by two bits which of four programs is applied to them; that depends on their
// signs and on which is the larger in size. Only the answers are known.
func programChoice() *Task {
	const batch, pairs, tests = 16, 4000, 2000
	rng := rand.New(rand.NewPCG(1, 2))
	draw := func(n int) []float32 {
		x := make([]float32, 2*n)
		for i := range x {
			x[i] = float32(2*rng.Float64() - 1)
		}
		return x
	}
	answer := func(k int, x []float32) float32 { return float32(programs(k, float64(x[0]), float64(x[1]))) }
	label := func(x []float32) float32 {
		k := 0
		if x[0]*x[1] > 0 {
			k |= 2
		}
		if x[0]*x[0] > x[1]*x[1] {
			k |= 1
		}
		return answer(k, x)
	}
	train, test := draw(pairs), draw(tests)
	t := &Task{
		Name: "program choice", Key: "choice", Inputs: 1, Widths: []int{2, 128, 64, 2}, Data: 2, Epochs: 20, Steps: pairs / batch, Batch: batch, Rate: 3e-3, ReinforceRate: 1e-3, Calls: 3,
		call: func(units, data [][]float64) ([]float64, error) {
			return []float64{programs(ops.Number(units[0]), data[0][0], data[0][1])}, nil
		},
		sample: func(rng *rand.Rand, _ int, x [][]float32, data, to []float32) {
			i := 2 * rng.IntN(pairs)
			copy(x[0], train[i:i+2])
			copy(data, train[i:i+2])
			to[0] = label(data)
		},
		test: test,
	}
	t.right = func(numbers []int) float64 {
		right := 0
		for i, k := range numbers {
			if x := test[2*i : 2*i+2]; answer(k, x) == label(x) {
				right++
			}
		}
		return 100 * float64(right) / tests
	}
	// Every function of two bits is a polynomial in the levels g and h, and this one has the coefficients of each sample's four answers:
	// (1, g, h, gh) is (1, g, 1, g) times (1, 1, h, h).
	t.extra = 4
	t.fill = func(data, c []float32) {
		var f [4]float32
		for k := range f {
			f[k] = answer(k, data) / 4
		}
		c[0], c[1], c[2], c[3] = f[0]+f[1]+f[2]+f[3], f[2]+f[3]-f[0]-f[1], f[1]+f[3]-f[0]-f[2], f[0]+f[3]-f[1]-f[2]
	}
	t.standIn = func(h gorgonia.Nodes, coefficients *gorgonia.Node) (*gorgonia.Node, error) {
		g := coefficients.Graph()
		first, err := nodes.Linear(h[0], constant(g, "first", []float32{0, 0, 1, 0, 0, 0, 1, 0}, 4, 2), constant(g, "first ones", []float32{1, 0, 1, 0}, 4))
		if err != nil {
			return nil, err
		}
		second, err := nodes.Linear(h[0], constant(g, "second", []float32{0, 0, 0, 0, 0, 1, 0, 1}, 4, 2), constant(g, "second ones", []float32{1, 1, 0, 0}, 4))
		if err != nil {
			return nil, err
		}
		terms, err := gorgonia.HadamardProd(first, second)
		if err != nil {
			return nil, err
		}
		if terms, err = gorgonia.HadamardProd(terms, coefficients); err != nil {
			return nil, err
		}
		return nodes.Linear(terms, constant(g, "all", []float32{1, 1, 1, 1}, 1, 4), nil)
	}
	return t
}

// lookUp shows the network an image. It is to emit the key, of six bits, of a map; the label is the value that the map has for the image's digit. Each
// digit's value is under several keys, which only the map knows.
func lookUp(train, test *data.Set) *Task {
	const batch, bits, keysOfADigit = 16, 6, 6
	table := map[int]float64{}
	order := data.Permutation(1<<bits, 7)
	value := func(digit int) float64 { return float64(100 + 37*digit) }
	for digit := range train.Classes {
		for _, key := range order[digit*keysOfADigit : (digit+1)*keysOfADigit] {
			table[key] = value(digit)
		}
	}
	t := &Task{
		Name: "look-up", Key: "lookup", Inputs: 1, Widths: []int{train.Features(), 256, bits}, Epochs: 20, Steps: train.N() / batch, Batch: batch, Rate: 3e-3, ReinforceRate: 3e-3, Calls: 1<<bits - 1,
		call: func(units, _ [][]float64) ([]float64, error) {
			v, ok := table[ops.Number(units[0])]
			if !ok {
				v = -1 // no such key
			}
			return []float64{v}, nil
		},
		sample: func(rng *rand.Rand, _ int, x [][]float32, _, label []float32) {
			i := rng.IntN(train.N())
			copy(x[0], train.Image(i))
			label[0] = float32(value(train.Y[i]))
		},
		test: test.X,
	}
	t.right = func(numbers []int) float64 {
		right := 0
		for i, key := range numbers {
			if v, ok := table[key]; ok && v == value(test.Y[i]) {
				right++
			}
		}
		return 100 * float64(right) / float64(len(numbers))
	}
	return t
}

// constant is a parameter that is not trained.
func constant(g *gorgonia.ExprGraph, name string, x []float32, shape ...int) *gorgonia.Node {
	return gorgonia.NewTensor(g, tensor.Float32, len(shape), gorgonia.WithName(name), gorgonia.WithShape(shape...),
		gorgonia.WithValue(tensor.New(tensor.WithShape(shape...), tensor.WithBacking(x))))
}
