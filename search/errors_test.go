package search

import (
	"math"
	"testing"
	"time"

	"github.com/ftprop/ftprop/internal/gtest"
	"gorgonia.org/tensor"
)

func TestBadInput(t *testing.T) {
	x, y := boolean(2, parity)
	good := func() []Layer { return network(1, tensor.Float64, Layer{}, 2, 3, 1) }
	set := func(f func(l []Layer)) []Layer {
		l := good()
		f(l)
		return l
	}
	bad := func(m *tensor.Dense, v float64) *tensor.Dense {
		c := m.Clone().(*tensor.Dense)
		c.Float64s()[1] = v
		return c
	}
	nan, inf := math.NaN(), math.Inf(1)
	for what, c := range map[string]struct {
		f      FullBatch
		layers []Layer
		x, y   *tensor.Dense
		words  []string
	}{
		"no layers":          {layers: nil, words: []string{"no layers"}},
		"nil weights":        {layers: set(func(l []Layer) { l[0].W = nil }), words: []string{"layer 1: W"}},
		"vector weights":     {layers: set(func(l []Layer) { l[1].W = dense([]float64{1, 2, 3}, 3) }), words: []string{"layer 2", "(out, in)"}},
		"bias":               {layers: set(func(l []Layer) { l[0].B = dense([]float64{1}, 1) }), words: []string{"layer 1: B", "(3)"}},
		"chain":              {layers: set(func(l []Layer) { l[1].W = dense(make([]float64, 4), 1, 4) }), words: []string{"layer 2", "4 inputs", "3 units"}},
		"mixed dtypes":       {layers: set(func(l []Layer) { l[0].B = gtest.Dense(tensor.Float32, make([]float64, 3), 3) }), words: []string{"float32", "float64"}},
		"integers":           {layers: set(func(l []Layer) { l[0].W = tensor.New(tensor.WithShape(3, 2), tensor.WithBacking(make([]int, 6))) }), words: []string{"int"}},
		"NaN weight":         {layers: set(func(l []Layer) { l[0].W = bad(l[0].W, nan) }), words: []string{"layer 1", "NaN", "row 0 of W"}},
		"infinite bias":      {layers: set(func(l []Layer) { l[0].B = bad(l[0].B, inf) }), words: []string{"layer 1", "Inf", "row 1 of B"}},
		"levels":             {layers: set(func(l []Layer) { l[0].Lo = 2; l[0].Hi = 1 }), words: []string{"layer 1", "2 to 1"}},
		"NaN level":          {layers: set(func(l []Layer) { l[0].Lo = nan; l[0].Hi = 1 }), words: []string{"layer 1", "NaN"}},
		"steps":              {layers: set(func(l []Layer) { l[0].Steps = -2 }), words: []string{"layer 1", "-2 steps"}},
		"inputs' width":      {x: dense(make([]float64, 12), 4, 3), words: []string{"(4, 3)", "(N, 2)"}},
		"nil inputs":         {x: (*tensor.Dense)(nil), words: []string{"inputs"}},
		"NaN input":          {x: bad(x, nan), words: []string{"NaN", "row 0 of the inputs"}},
		"infinite input":     {x: bad(x, -inf), words: []string{"-Inf", "inputs"}},
		"number of labels":   {y: dense(make([]float64, 3), 3, 1), words: []string{"(3, 1)", "(4, 1)"}},
		"label":              {y: bad(y, 0), words: []string{"label 0 of sample 1", "-1, 1"}},
		"NaN label":          {y: bad(y, nan), words: []string{"label NaN of sample 1"}},
		"infinite label":     {y: bad(y, inf), words: []string{"label +Inf of sample 1"}},
		"output":             {f: FullBatch{Output: 7}, words: []string{"output 7"}},
		"C":                  {f: FullBatch{C: -1}, words: []string{"C is -1"}},
		"infinite C":         {f: FullBatch{C: inf}, words: []string{"C is +Inf"}},
		"negative settings":  {f: FullBatch{Budgets: []Budget{{Settings: -5}}}, words: []string{"-5 settings", "NoSettings"}},
		"negative time":      {f: FullBatch{Budgets: []Budget{{Time: -time.Second}}}, words: []string{"-1s"}},
		"budgets":            {f: FullBatch{Budgets: make([]Budget, 2)}, words: []string{"2 budgets", "1 hidden"}},
		"exhaustive":         {f: FullBatch{Strategy: Exhaustive{Columns: 8}}, words: []string{"16 columns", "more than 8"}},
		"random share":       {f: FullBatch{Strategy: LocalSearch{Random: 2}}, words: []string{"Random", "2"}},
		"beam's share":       {f: FullBatch{Strategy: Beam{Random: -1}}, words: []string{"Random", "-1"}},
		"share of units":     {f: FullBatch{Strategy: GradientSign{Share: -1}}, words: []string{"Share is -1"}},
		"wrong proposal":     {f: FullBatch{Strategy: wrong{func(p *Proposal) { p.Targets = p.Targets[1:] }}}, words: []string{"strategy", "2 units"}},
		"proposal's levels":  {f: FullBatch{Strategy: wrong{func(p *Proposal) { p.Targets[0] = []int{0, 1, 2, 0} }}}, words: []string{"strategy: target 2", "0 to 1"}},
		"proposal's samples": {f: FullBatch{Strategy: wrong{func(p *Proposal) { p.Targets[0] = []int{0} }}}, words: []string{"strategy: 1 targets"}},
		"proposal's weights": {f: FullBatch{Strategy: wrong{func(p *Proposal) { p.Weights = [][]float64{{nan, 1, 1, 1}, {1, 1, 1, 1}, {1, 1, 1, 1}} }}}, words: []string{"strategy: weight NaN"}},
		"proposal's origin":  {f: FullBatch{Strategy: wrong{func(p *Proposal) { p.From = &Setting{} }}}, words: []string{"strategy", "From"}},
	} {
		layers, xx, yy := c.layers, c.x, c.y
		if layers == nil && what != "no layers" {
			layers = good()
		}
		if xx == nil && what != "nil inputs" {
			xx = x
		}
		if yy == nil {
			yy = y
		}
		_, err := c.f.Fit(layers, xx, yy)
		gtest.WantError(t, what, err, append(c.words, "search: FullBatch")...)
	}
	_, err := FullBatch{Output: CrossEntropyOutput}.Fit(network(1, tensor.Float64, Layer{}, 2, 3, 2), x, dense([]float64{0, 1, 1, 1, 1, 0, 0, 1}, 4, 2))
	gtest.WantError(t, "two classes", err, "sample 1 has 2 classes")
	_, err = FullBatch{Output: CrossEntropyOutput}.Fit(network(1, tensor.Float64, Layer{}, 2, 3, 2), x, dense([]float64{0, 1, 0.5, 0.5, 1, 0, 0, 1}, 4, 2))
	gtest.WantError(t, "soft label", err, "label 0.5 of sample 1")
	_, err = Forward(good(), dense(make([]float64, 3), 1, 3))
	gtest.WantError(t, "Forward", err, "search: Forward", "(N, 2)")
}

// An error leaves the weights as they were.
func TestErrorKeepsWeights(t *testing.T) {
	x, y := boolean(2, parity)
	layers := network(1, tensor.Float64, Layer{}, 2, 3, 1)
	before := gtest.Floats(t, layers[0].W)
	if _, err := (FullBatch{Strategy: wrong{func(p *Proposal) { p.Targets = nil }}}).Fit(layers, x, y); err == nil {
		t.Fatal("no error")
	}
	for k, v := range gtest.Floats(t, layers[0].W) {
		if v != before[k] {
			t.Fatalf("weight %d changed", k)
		}
	}
}

// wrong is a strategy whose proposals are spoilt.
type wrong struct{ spoil func(p *Proposal) }

func (w wrong) Search(p Problem) (Proposer, error) {
	s, err := LocalSearch{}.Search(p)
	return wrongSearch{s, w.spoil}, err
}

type wrongSearch struct {
	Proposer
	spoil func(p *Proposal)
}

func (w wrongSearch) Propose() (Proposal, bool) {
	p, more := w.Proposer.Propose()
	w.spoil(&p)
	return p, more
}
