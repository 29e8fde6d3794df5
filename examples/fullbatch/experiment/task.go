// Package experiment trains small threshold networks on Boolean functions and on the embedded digits, by the full-batch search
// search.FullBatch and by mini-batch training. The command examples/fullbatch is a front for it.
package experiment

import (
	"fmt"
	"strings"

	"github.com/ftprop/ftprop/examples/data"
	"github.com/ftprop/ftprop/search"
	"github.com/pkg/errors"
	"gorgonia.org/tensor"
)

// Task is a function to learn from samples, with the network that is to learn it: sign units, Widths in each hidden layer.
type Task struct {
	Name   string
	About  string
	In     int
	Out    int
	Widths []int
	X      []float64 // (N, In); Boolean inputs are -1 and +1
	Y      []float64 // (N, Out) labels: -1 and +1 for Boolean tasks, one-hot for classes
	N      int
	// Test data, of tasks that have some.
	TestX   []float64
	TestY   []int
	Classes bool // cross entropy on classes; otherwise hinge on each output
	// Shown tasks are those that have to be solved; the others are reported.
	Must bool
}

// boolean makes a task of a function from bits to bits, on all 2^in inputs.
func boolean(name, about string, in, out, hidden int, must bool, f func(x []int) []int) Task {
	t := Task{Name: name, About: about, In: in, Out: out, Widths: []int{hidden}, N: 1 << in, Must: must}
	x := make([]int, in)
	for c := range t.N {
		for k := range x {
			x[k] = c >> k & 1
		}
		t.X = append(t.X, signs(x)...)
		t.Y = append(t.Y, signs(f(x))...)
	}
	return t
}

func signs(bits []int) []float64 {
	s := make([]float64, len(bits))
	for k, b := range bits {
		s[k] = float64(2*b - 1)
	}
	return s
}

func parity(n, hidden int, must bool) Task {
	name := fmt.Sprintf("parity%d", n)
	if n == 2 {
		name = "xor"
	}
	return boolean(name, fmt.Sprintf("exclusive or of %d bits", n), n, 1, hidden, must, func(x []int) []int {
		sum := 0
		for _, b := range x {
			sum += b
		}
		return []int{sum & 1}
	})
}

func multiplexer(data, sel, hidden int) Task {
	return boolean(fmt.Sprintf("mux%d", data+sel), fmt.Sprintf("multiplexer, %d data and %d select bits", data, sel), data+sel, 1, hidden, true, func(x []int) []int {
		at := 0
		for k := range sel {
			at |= x[data+k] << k
		}
		return []int{x[at]}
	})
}

func rule30(cells, hidden int) Task {
	return boolean("rule30", fmt.Sprintf("one step of cellular automaton rule 30 on a ring of %d cells", cells), cells, cells, hidden, true, func(x []int) []int {
		y := make([]int, cells)
		for k := range y {
			y[k] = x[(k+cells-1)%cells] ^ (x[k] | x[(k+1)%cells])
		}
		return y
	})
}

func autoencoder(n, code int) Task {
	t := Task{Name: "autoencoder", About: fmt.Sprintf("%d one-hot patterns through %d units and back", n, code), In: n, Out: n, Widths: []int{code}, N: n}
	for i := range n {
		for k := range n {
			v := -1.0
			if i == k {
				v = 1
			}
			t.X, t.Y = append(t.X, v), append(t.Y, v)
		}
	}
	return t
}

func multiplier() Task {
	return boolean("multiplier", "product of two 2-bit numbers, 4 bits", 4, 4, 6, true, func(x []int) []int {
		p := (x[0] + 2*x[1]) * (x[2] + 2*x[3])
		return []int{p & 1, p >> 1 & 1, p >> 2 & 1, p >> 3 & 1}
	})
}

// digits is the embedded digits, two layers of 32 sign units.
func digits() (Task, error) {
	all, err := data.Digits()
	if err != nil {
		return Task{}, err
	}
	train, test, err := all.Split(0.2, 1)
	if err != nil {
		return Task{}, err
	}
	t := Task{Name: "digits", About: fmt.Sprintf("handwritten digits, 8x8, %d for training and %d for testing", train.N(), test.N()),
		In: all.Features(), Out: all.Classes, Widths: []int{32, 32}, N: train.N(), Classes: true, TestY: test.Y}
	for _, v := range train.X {
		t.X = append(t.X, float64(v))
	}
	for _, v := range test.X {
		t.TestX = append(t.TestX, float64(v))
	}
	t.Y = make([]float64, t.N*t.Out)
	for i, c := range train.Y {
		t.Y[i*t.Out+c] = 1
	}
	return t, nil
}

// BooleanTasks returns all tasks but the digits.
func BooleanTasks() []Task {
	return []Task{parity(2, 3, true), parity(3, 5, true), parity(4, 6, true), multiplexer(2, 1, 4), multiplexer(4, 2, 8),
		multiplier(), rule30(5, 12), parity(5, 8, false), parity(6, 10, false), autoencoder(8, 4)}
}

// Tasks returns the tasks with the given names; none means all.
func Tasks(names []string) ([]Task, error) {
	all := BooleanTasks()
	d, err := digits()
	if err != nil {
		return nil, err
	}
	all = append(all, d)
	if len(names) == 0 {
		return all, nil
	}
	var out []Task
	for _, n := range names {
		found := false
		for _, t := range all {
			if strings.EqualFold(t.Name, n) {
				out, found = append(out, t), true
			}
		}
		if !found {
			var known []string
			for _, t := range all {
				known = append(known, t.Name)
			}
			return nil, errors.Errorf("no task %q: the tasks are %s", n, strings.Join(known, ", "))
		}
	}
	return out, nil
}

// Sizes prints the network's layers.
func (t Task) Sizes() string {
	s := fmt.Sprint(t.In)
	for _, w := range t.Widths {
		s += fmt.Sprintf("-%d", w)
	}
	return s + fmt.Sprintf("-%d", t.Out)
}

// tensors returns inputs and labels.
func (t Task) tensors() (x, y *tensor.Dense) {
	return tensor.New(tensor.WithShape(t.N, t.In), tensor.WithBacking(append([]float64(nil), t.X...))),
		tensor.New(tensor.WithShape(t.N, t.Out), tensor.WithBacking(append([]float64(nil), t.Y...)))
}

// output is how the task's labels are fitted.
func (t Task) output() search.Output {
	if t.Classes {
		return search.CrossEntropyOutput
	}
	return search.HingeOutput
}
