package experiment

import (
	"bytes"
	"math"
	"strings"
	"testing"
)

// Seeds are paired: what both methods share does not widen the interval.
func TestDifference(t *testing.T) {
	a, b := Method{Group: "g", Name: "a"}, Method{Group: "g", Name: "b"}
	var runs []*Run
	for seed, base := range []float64{10, 50, 90} {
		runs = append(runs, &Run{Method: a, Seed: seed, Accuracy: []float64{0, base + 2}, Best: 1}, &Run{Method: b, Seed: seed, Accuracy: []float64{0, base}, Best: 1})
	}
	runs = append(runs, &Run{Method: a, Seed: 7, Accuracy: []float64{3}}) // without its pair
	if mean, half := Difference(runs, a, b); mean != 2 || half != 0 {
		t.Errorf("%v ± %v, want 2 ± 0", mean, half)
	}
	runs[0].Accuracy[1] += 3 // differences 5, 2, 2: mean 3, standard deviation sqrt(3), t(0.975, 2) = 4.302653
	if mean, half := Difference(runs, a, b); math.Abs(mean-3) > 1e-12 || math.Abs(half-4.302653) > 1e-5 {
		t.Errorf("%v ± %v, want 3 ± 4.302653", mean, half)
	}
	if _, half := Difference(runs[:2], a, b); !math.IsNaN(half) {
		t.Errorf("one seed: ± %v, want NaN", half)
	}
}

// Each method is compared with those that differ from it in one thing, and what an interval says is said in words.
func TestDifferences(t *testing.T) {
	ms, err := Choices{Acts: []string{"sign", "relu"}, Rules: []string{"SoftHinge", "SSTE", "STE"}, Weights: []string{"none", "sign"}, WeightRules: []string{"SSTE", "STE"}}.Methods()
	if err != nil {
		t.Fatal(err)
	}
	c := &Config{Methods: ms}
	var runs []*Run
	for i, m := range ms {
		for seed := range 3 {
			noise := float64((seed * (i + 1)) % 3)
			if m.Flags.Rule == "SSTE" {
				noise += 10
			}
			runs = append(runs, &Run{Method: m, Seed: seed, Accuracy: []float64{50 + noise}})
		}
	}
	var out bytes.Buffer
	if err := Differences(&out, c, runs, "SSTE"); err != nil {
		t.Fatal(err)
	}
	// Of sign: 2 rules against SSTE, in each of 3 weights and their rules; 3 rules by 2 rules of weights against none, and by one against the other.
	// Of ReLU: 2 against none, 1 rule of weights.
	if n := strings.Count(out.String(), "\n"); n != 1+2*3+3*2+3+2+1 {
		t.Errorf("%d lines:\n%s", n, &out)
	}
	for _, want := range []string{
		"Sign, FTP-SH: against SSTE ", "Sign, sign weights, STE, weights by SSTE: against weights none ", "Sign, sign weights, SSTE, weights by STE: against weights by SSTE ",
		"ReLU, sign weights, weights by STE: against weights by SSTE ", "beyond noise: worse", "within noise",
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in\n%s", want, &out)
		}
	}
	for _, no := range []string{"Sign, SSTE:", "SoftHinge: against", "ReLU: against"} {
		if strings.Contains(out.String(), no) {
			t.Errorf("%q in\n%s", no, &out)
		}
	}
	for want, i := range map[string][2]float64{"beyond noise: better": {1, 0.9}, "beyond noise: worse": {-1, 0.9}, "within noise": {1, 1}, "one seed tells nothing": {9, math.NaN()}} {
		if got := verdict(i[0], i[1]); got != want {
			t.Errorf("%v: %s, want %s", i, got, want)
		}
	}
	if s := signed(-0.004, 0.1); s != "+0.00 ± 0.10" {
		t.Error(s)
	}
}
