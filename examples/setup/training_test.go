package setup

import (
	"flag"
	"slices"
	"testing"

	"github.com/ftprop/ftprop/data"
	"github.com/ftprop/ftprop/internal/gtest"
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
