package search

import (
	"bytes"
	"context"
	"encoding/gob"
	"encoding/json"
	"math/big"
	"reflect"
	"slices"
	"testing"

	"github.com/ftprop/ftprop/internal/gtest"
	"gorgonia.org/tensor"
)

// stores are the two ways to write plain data that the documentation names.
func stores[T any]() map[string]func(T) (T, error) {
	return map[string]func(T) (T, error){
		"json": func(in T) (out T, err error) {
			b, err := json.Marshal(in)
			if err != nil {
				return out, err
			}
			return out, json.Unmarshal(b, &out)
		},
		"gob": func(in T) (out T, err error) {
			var b bytes.Buffer
			if err := gob.NewEncoder(&b).Encode(in); err != nil {
				return out, err
			}
			return out, gob.NewDecoder(&b).Decode(&out)
		},
	}
}

// Certificates of every kind, stored and read back, verify against the data and are refused against other data.
func TestCertificatesAreStored(t *testing.T) {
	x, xor := boolean(2, parity)
	and := dense([]float64{-1, -1, -1, 1}, 4)
	certify := func(l Layer, y *tensor.Dense) Certificate {
		c, err := Certify(context.Background(), l, x, y)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	classes := func(q ...int) Certificate {
		act := [][]float64{{-1, -1, 1}, {1, -1, 1}, {-1, 1, 1}, {1, 1, 1}}
		c, err := decideJoint(context.Background(), act, q, [][]float64{make([]float64, 3), make([]float64, 3)}, nil)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	stairs := dense([]float64{0, 0.5, 0.5, 1}, 4)
	bent := dense([]float64{0, 1, 1, 0}, 4)
	big2 := certify(Layer{}, xor)
	big2.Proof = append([]Multiplier(nil), big2.Proof...)
	for k := range big2.Proof { // beyond what a float64 holds
		l := new(big.Int).Lsh(big2.Proof[k].Lambda, 2000)
		big2.Proof[k].Lambda = l.Add(l, big2.Proof[k].Lambda)
	}
	for what, c := range map[string]struct {
		c            Certificate
		verdict      Verdict
		right, other *tensor.Dense
	}{
		"weights":            {certify(Layer{}, and), Separable, and, xor},
		"proof":              {certify(Layer{}, xor), Inseparable, xor, and},
		"large multipliers":  {big2, Inseparable, xor, and},
		"staircase":          {certify(Layer{Steps: 2}, stairs), Separable, stairs, bent},
		"staircase, a proof": {certify(Layer{Steps: 2}, bent), Inseparable, bent, stairs},
		"classes":            {classes(0, 0, 0, 1), Separable, dense([]float64{0, 0, 0, 1}, 4), dense([]float64{0, 1, 1, 0}, 4)},
		"classes, a proof":   {classes(0, 1, 1, 0), Inseparable, dense([]float64{0, 1, 1, 0}, 4), dense([]float64{0, 0, 0, 1}, 4)},
	} {
		if c.c.Verdict != c.verdict {
			t.Errorf("%s: %v, want %v", what, c.c.Verdict, c.verdict)
		}
		for name, store := range stores[Certificate]() {
			got, err := store(c.c)
			if err != nil {
				t.Errorf("%s, %s: %v", what, name, err)
				continue
			}
			if err := got.Verify(x, c.right); err != nil {
				t.Errorf("%s, %s: %v", what, name, err)
			}
			if !reflect.DeepEqual(got, c.c) || got.String() != c.c.String() {
				t.Errorf("%s, %s: %#v, want %#v", what, name, got, c.c)
			}
			gtest.WantError(t, what+" for other targets", got.Verify(x, c.other))
		}
	}
}

// A whole result, stored and read back, verifies with nothing else at hand.
func TestResultsAreStored(t *testing.T) {
	x, y := boolean(2, parity)
	onehot := dense([]float64{1, 0, 0, 1, 0, 1, 1, 0}, 4, 2)
	for what, c := range map[string]struct {
		f      FullBatch
		layers []Layer
		y      *tensor.Dense
	}{
		"sign":       {FullBatch{}, network(1, tensor.Float32, Layer{}, 2, 4, 1), y},
		"staircase":  {FullBatch{}, network(1, tensor.Float64, Layer{Steps: 3}, 2, 4, 1), y},
		"classes":    {FullBatch{Output: CrossEntropyOutput}, network(5, tensor.Float64, Layer{}, 2, 4, 2), onehot},
		"infeasible": {FullBatch{}, network(1, tensor.Float64, Layer{}, 2, 1), y},
	} {
		res, err := c.f.Fit(c.layers, x, c.y)
		if err != nil {
			t.Fatal(err)
		}
		for name, store := range stores[Result]() {
			got, err := store(res)
			if err != nil {
				t.Errorf("%s, %s: %v", what, name, err)
				continue
			}
			if err := got.Verify(); err != nil {
				t.Errorf("%s, %s: %v", what, name, err)
			}
			if !reflect.DeepEqual(got.Layers[0].Certificates, res.Layers[0].Certificates) || got.Status != res.Status || got.Missed != res.Missed {
				t.Errorf("%s, %s: %+v, want %+v", what, name, got, res)
			}
			// What was stored is checked, not believed.
			if last := &got.Layers[len(got.Layers)-1].Certificates[0]; last.Verdict == Separable {
				clear(last.Weights)
			} else {
				last.Proof = last.Proof[1:]
			}
			if got.Verify() == nil {
				t.Errorf("%s, %s: verified with a false certificate", what, name)
			}
		}
	}
}

// A result whose tensors are missing is refused.
func TestVerifyWithoutTensors(t *testing.T) {
	x, y := boolean(2, parity)
	res, err := FullBatch{}.Fit(network(1, tensor.Float64, Layer{}, 2, 4, 1), x, y)
	if err != nil {
		t.Fatal(err)
	}
	for what, change := range map[string]func(l *LayerResult){
		"nil":           func(l *LayerResult) { l.Inputs = nil },
		"empty":         func(l *LayerResult) { l.Targets = &tensor.Dense{} },
		"a vector":      func(l *LayerResult) { l.Targets = dense([]float64{1, 1, 1, 1}, 4) },
		"fewer columns": func(l *LayerResult) { l.Targets = dense([]float64{1, 1, 1, 1}, 4, 1) },
	} {
		bad := res
		bad.Layers = slices.Clone(res.Layers)
		change(&bad.Layers[0])
		gtest.WantError(t, what, bad.Verify(), "layer 1")
	}
	gtest.WantError(t, "empty inputs", res.Layers[0].Certificates[0].Verify(&tensor.Dense{}, y), "inputs")
	for _, text := range []string{`{"Inputs": {"Shape": [1099511627776, 1099511627776], "Float64": [1]}}`, `{"Targets": {"Shape": [2], "Float64": [1]}}`, `{"Inputs": {"Shape": [-1]}}`, `{"Inputs": 3}`} {
		var l LayerResult
		if err := json.Unmarshal([]byte(text), &l); err == nil {
			t.Errorf("%s: no error", text)
		}
	}
}

// What a file can hold that Certify never makes.
func TestVerifyHostileCertificates(t *testing.T) {
	x, xor := boolean(2, parity)
	zeros := dense([]float64{0, 0, 0, 0}, 4)
	one := big.NewInt(1)
	for what, c := range map[string]struct {
		c     Certificate
		t     *tensor.Dense
		words []string
	}{
		"classes that overflow":   {Certificate{Unit: -1, Verdict: Separable, Classes: 1 << 62, Weights: make([]float64, 8)}, zeros, []string{"8 weights"}},
		"classes and no weights":  {Certificate{Unit: -1, Verdict: Separable, Classes: 1 << 62}, zeros, []string{"0 weights"}},
		"a proof for all classes": {Certificate{Unit: -1, Verdict: Inseparable, Classes: 1 << 62, Proof: []Multiplier{{0, 1 << 61, one}}}, zeros, []string{"do not cancel"}},
		"negative classes":        {Certificate{Verdict: Separable, Classes: -1, Steps: 1}, xor, []string{"-1 classes"}},
		"classes and levels":      {Certificate{Verdict: Separable, Classes: 2, Steps: 1}, zeros, []string{"2 classes", "1 step"}},
		"negative steps":          {Certificate{Verdict: Separable, Lo: -1, Hi: 1, Steps: -3}, xor, []string{"-3 steps"}},
		"too many steps":          {Certificate{Verdict: Separable, Lo: -1, Hi: 1, Steps: 1 << 62}, xor, []string{"steps"}},
		"levels upside down":      {Certificate{Verdict: Separable, Lo: 1, Hi: -1, Steps: 1}, xor, []string{"1 to -1"}},
		"no such verdict":         {Certificate{Verdict: 7, Lo: -1, Hi: 1, Steps: 1}, xor, []string{"undecided"}},
		"no lambda":               {Certificate{Verdict: Inseparable, Lo: -1, Hi: 1, Steps: 1, Proof: []Multiplier{{Sample: 1}, {Sample: 2}}}, xor, []string{"positive"}},
	} {
		gtest.WantError(t, what, c.c.Verify(x, c.t), c.words...)
		_ = c.c.String() // no panic
	}
}
