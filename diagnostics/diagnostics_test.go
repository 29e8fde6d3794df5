package diagnostics_test

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"testing"

	"github.com/ftprop/ftprop/diagnostics"
	"github.com/ftprop/ftprop/internal/gtest"
	"github.com/ftprop/ftprop/nodes"
	"gorgonia.org/gorgonia"
	"gorgonia.org/tensor"
)

// watch is three samples of three units that are summed with the weights u: a sign layer's upstream gradient is u.
func watch(t testing.TB, dt tensor.Dtype, z, u []float64) (*gorgonia.Node, gorgonia.VM, *diagnostics.Probe) {
	t.Helper()
	g := gorgonia.NewGraph()
	x := gtest.Input(g, "z", dt, z, 3, 3)
	w := gtest.Input(g, "u", dt, u, 3, 3)
	h := gorgonia.Must(nodes.Sign(x))
	relu := gorgonia.Must(nodes.ReLU(h))
	cost := gorgonia.Must(gorgonia.Sum(gorgonia.Must(gorgonia.HadamardProd(relu, w))))
	cost = gorgonia.Must(gorgonia.Add(cost, gorgonia.Must(gorgonia.Sum(gorgonia.Must(gorgonia.HadamardProd(h, w))))))
	if _, err := gorgonia.Grad(cost, x); err != nil {
		t.Fatal(err)
	}
	p, err := diagnostics.Watch(gorgonia.Nodes{h, relu}, []string{"first", "second"})
	if err != nil {
		t.Fatal(err)
	}
	return x, gorgonia.NewTapeMachine(g), p
}

func TestByHand(t *testing.T) {
	for _, dt := range gtest.Dtypes() {
		//            unit 0 is dead; |z| > 1 in two of nine
		z := []float64{-2, 0.5, 0.25, -1, -0.5, 0.25, -0.5, 0.5, -3}
		u := []float64{-1, -1, 0, 1, 1, 1, 0, 2, -2} // t = -sign(u)
		x, vm, p := watch(t, dt, z, u)
		defer vm.Close()
		if p.Len() != 1 {
			t.Fatalf("%d layers, want 1: a rectifier has no thresholds", p.Len())
		}
		if _, err := p.Read(); err == nil {
			t.Fatal("no error before the first run")
		}
		look := func() diagnostics.Layer {
			t.Helper()
			if err := vm.RunAll(); err != nil {
				t.Fatal(err)
			}
			vm.Reset()
			l, err := p.Read()
			if err != nil {
				t.Fatal(err)
			}
			return l[0]
		}
		l := look()
		// t = + + 0 - - - 0 - +, signs are - + + - - + - + -: three of seven agree.
		for _, c := range []struct {
			what      string
			got, want float64
		}{
			{"units", float64(l.Units), 3}, {"agreement", l.Agreement, 3. / 7}, {"ignored", l.Ignored, 2. / 9},
			{"dead", l.Dead, 1. / 3}, {"saturated", l.Saturated, 2. / 9}, {"flips", l.Flips, 0}, {"min", l.Z.Min, -3}, {"max", l.Z.Max, 0.5},
		} {
			if d := c.got - c.want; d > 1e-6 || d < -1e-6 {
				t.Errorf("%v: %s is %v, want %v", dt, c.what, c.got, c.want)
			}
		}
		total := 0
		for _, n := range l.Z.Counts {
			total += n
		}
		if total != 9 || l.Name != "first" || l.Loss <= 0 || len(l.Thresholds) != 1 || l.Thresholds[0] != 0 {
			t.Errorf("%v: %+v", dt, l)
		}
		next := append([]float64(nil), z...)
		next[0], next[8] = 2, 3 // unit 0 comes alive, unit 2 dies
		if err := gorgonia.Let(x, gtest.Dense(dt, next, 3, 3)); err != nil {
			t.Fatal(err)
		}
		if l = look(); l.Flips < 2./9-1e-9 || l.Flips > 2./9+1e-9 || l.Dead != 1./3 {
			t.Errorf("%v: flips %v, dead %v, want %v, %v", dt, l.Flips, l.Dead, 2./9, 1./3)
		}
	}
}

// A batch in parts shows what it shows as a whole, of a cost that is a mean over the batch.
func TestParts(t *testing.T) {
	for _, dt := range gtest.Dtypes() {
		z := [][]float64{{-2, 0.5, 0.25, -1, -0.5, 0.25}, {-0.5, 0.5, -3, 2, -0.5, 0.125}}
		u := []float64{-1, 0, 2}
		probe := func(z []float64) (*gorgonia.Node, gorgonia.VM, *diagnostics.Probe) {
			g, n := gorgonia.NewGraph(), len(z)/3
			x := gtest.Input(g, "z", dt, z, n, 3)
			w := gtest.Input(g, "u", dt, u, 3, 1)
			h := gorgonia.Must(nodes.Sign(x))
			cost := gorgonia.Must(gorgonia.Mean(gorgonia.Must(gorgonia.Mul(h, w))))
			if _, err := gorgonia.Grad(cost, x); err != nil {
				t.Fatal(err)
			}
			p, err := diagnostics.Watch(gorgonia.Nodes{h}, nil)
			if err != nil {
				t.Fatal(err)
			}
			return x, gorgonia.NewTapeMachine(g), p
		}
		set := func(x *gorgonia.Node, z []float64) {
			t.Helper()
			if err := gorgonia.Let(x, gtest.Dense(dt, z, len(z)/3, 3)); err != nil {
				t.Fatal(err)
			}
		}
		all, allVM, whole := probe(slices.Concat(z...))
		defer allVM.Close()
		part, partVM, parts := probe(z[0])
		defer partVM.Close()
		if err := parts.Add(); err == nil {
			t.Error("no error before the first run")
		}
		for look := range 3 {
			z[look%2][look] *= -1 // units flip
			set(all, slices.Concat(z...))
			if err := allVM.RunAll(); err != nil {
				t.Fatal(err)
			}
			allVM.Reset()
			for _, z := range z {
				set(part, z)
				if err := partVM.RunAll(); err != nil {
					t.Fatal(err)
				}
				partVM.Reset()
				if err := parts.Add(); err != nil {
					t.Fatal(err)
				}
			}
			want, err := whole.Read()
			if err != nil {
				t.Fatal(err)
			}
			got, err := parts.Read()
			if err != nil {
				t.Fatal(err)
			}
			if d := got[0].Loss - want[0].Loss; d > 1e-6 || d < -1e-6 {
				t.Errorf("%v, look %d: layer loss %v, want %v", dt, look, got[0].Loss, want[0].Loss)
			}
			if got[0].Loss = want[0].Loss; !reflect.DeepEqual(got, want) {
				t.Errorf("%v, look %d:\n%+v, want\n%+v", dt, look, got, want)
			}
			if flipped := want[0].Flips > 0; flipped != (look > 0) {
				t.Errorf("%v, look %d: flips %v", dt, look, want[0].Flips)
			}
		}
	}
}

func TestErrors(t *testing.T) {
	g := gorgonia.NewGraph()
	h := gorgonia.Must(nodes.Sign(gtest.Input(g, "z", tensor.Float32, []float64{1, 2}, 2)))
	if _, err := diagnostics.Watch(gorgonia.Nodes{h}, nil); !errors.Is(err, nodes.ErrNoGrad) {
		t.Errorf("before Grad: %v, want %v", err, nodes.ErrNoGrad)
	}
	_, err := diagnostics.Watch(gorgonia.Nodes{h}, []string{"a", "b"})
	gtest.WantError(t, "names", err, "2 names for 1 layers")
	_, err = diagnostics.Watch(gorgonia.Nodes{nil}, nil)
	gtest.WantError(t, "nil", err, "layer 0 is nil")
}

func ExampleWatch() {
	g := gorgonia.NewGraph()
	z := gorgonia.NewMatrix(g, tensor.Float32, gorgonia.WithName("z"), gorgonia.WithShape(2, 2),
		gorgonia.WithValue(tensor.New(tensor.WithShape(2, 2), tensor.WithBacking([]float32{0.5, -0.5, 2, -0.25}))))
	h := gorgonia.Must(nodes.Sign(z))
	cost := gorgonia.Must(gorgonia.Sum(h)) // every output should fall: all targets are -1
	if _, err := gorgonia.Grad(cost, z); err != nil {
		fmt.Println(err)
		return
	}
	probe, err := diagnostics.Watch(gorgonia.Nodes{h}, []string{"h"})
	if err != nil {
		fmt.Println(err)
		return
	}
	vm := gorgonia.NewTapeMachine(g)
	defer vm.Close()
	if err := vm.RunAll(); err != nil {
		fmt.Println(err)
		return
	}
	layers, err := probe.Read()
	if err != nil {
		fmt.Println(err)
		return
	}
	l := layers[0]
	fmt.Printf("%s: agreement %.2f, dead %.2f, saturated %.2f\n", l.Name, l.Agreement, l.Dead, l.Saturated)
	// Output: h: agreement 0.50, dead 1.00, saturated 0.25
}
