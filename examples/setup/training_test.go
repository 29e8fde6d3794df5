package setup

import (
	"flag"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/ftprop/ftprop/data"
	"github.com/ftprop/ftprop/internal/gtest"
	"github.com/ftprop/ftprop/solvers"
)

func TestDecaySteps(t *testing.T) {
	for _, c := range []struct {
		list   string
		epochs int
		want   []int
	}{{"", 3, nil}, {"200,250", 300, []int{1990, 2490}}, {"199/300,249/300", 300, []int{1990, 2490}}, {"199/300, 249/300", 3, []int{20, 25}}, {"1", 1, []int{0}}} {
		got, err := decaySteps(c.list, c.epochs, 10)
		if err != nil || !slices.Equal(got, c.want) {
			t.Errorf("%q of %d epochs: %v, %v, want %v", c.list, c.epochs, got, err, c.want)
		}
	}
	for _, list := range []string{"0", "a", "1/0", "3/3", "-1/3", "0.5", "1/2/3"} {
		_, err := decaySteps(list, 3, 10)
		gtest.WantError(t, list, err, "-decay-at", "199/300")
	}
}

// Every recipe's solver can be made.
func TestRecipesHaveSolvers(t *testing.T) {
	for _, r := range Recipes() {
		var n Network
		var tr Training
		var d Data
		f := flag.NewFlagSet("test", flag.ContinueOnError)
		n.Flags(f)
		tr.Flags(f)
		d.Flags(f)
		if err := r.Apply(f, nil); err != nil {
			t.Error(err)
			continue
		}
		if _, err := tr.solver(&n, []string{"fc2.weight"}, 100); err != nil {
			t.Errorf("%s: %v", r.Name, err)
		}
	}
}

// The digits of flags are those that data.Standardize gives, bit for bit.
func TestDigitsAreStandardized(t *testing.T) {
	all, err := data.Digits()
	if err != nil {
		t.Fatal(err)
	}
	train, test, err := all.Split(0.2, 1)
	if err != nil {
		t.Fatal(err)
	}
	if err := data.Standardize(train, test); err != nil {
		t.Fatal(err)
	}
	d := Data{Name: "digits"}
	sets, err := d.Open(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	p, err := new(Training).Parts(&d, sets, 1)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		got  data.Source
		want *data.Set
	}{{p.Train, train}, {p.Test, test}} {
		image := make([]float32, 64)
		for i := range c.want.N() {
			label, err := c.got.Sample(i, nil, image)
			if err != nil || label != c.want.Y[i] || !slices.Equal(image, c.want.Image(i)) {
				t.Fatalf("image %d differs: %v", i, err)
			}
		}
	}
	gtest.WantError(t, "batch", func() error { _, err := (&Training{Batch: 5000}).Config(new(Network), p, 1); return err }(), "-batch 5000", "1438")
}

// The rate climbs in equal steps, from near 0 or from that of one rank, to what the schedule has then.
func TestWarmup(t *testing.T) {
	for _, c := range []struct {
		args string
		want map[int]float64 // of steps, of 10 an epoch
	}{
		{"-lr 1", map[int]float64{0: 1, 99: 1}},
		{"-lr 1 -warmup 0.5", map[int]float64{0: 0.2, 1: 0.4, 4: 1, 5: 1, 99: 1}},
		{"-lr 1 -lr-per-rank", map[int]float64{0: 4, 99: 4}},
		{"-lr 1 -lr-per-rank -warmup 1 -decay-at 3", map[int]float64{0: 1.3, 1: 1.6, 9: 4, 10: 4, 19: 4, 20: 0.4}},
		{"-lr 1 -warmup 2 -decay-at 2", map[int]float64{0: 0.005, 19: 0.1, 20: 0.1}},
	} {
		var tr Training
		f := flag.NewFlagSet("test", flag.ContinueOnError)
		tr.Flags(f)
		tr.RankFlags(f)
		if err := f.Parse(strings.Fields(c.args)); err != nil {
			t.Fatal(err)
		}
		tr.Ranks = 4
		s, err := tr.solver(new(Network), nil, 10)
		if err != nil {
			t.Fatal(err)
		}
		for step, want := range c.want {
			if got := s.(*solvers.Scheduled).Schedule(step); math.Abs(got-want) > 1e-12 {
				t.Errorf("%s: step %d has the rate %v, want %v", c.args, step, got, want)
			}
		}
	}
	tr := Training{Batch: 32, Ranks: 4}
	if n := tr.StepsOf(300); n != 2 {
		t.Errorf("%d steps", n)
	}
}
