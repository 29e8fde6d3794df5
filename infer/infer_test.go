package infer

import (
	"bytes"
	"math"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/ftprop/ftprop/internal/gtest"
	"github.com/ftprop/ftprop/internal/intnet"
	"github.com/ftprop/ftprop/internal/intnet/intnettest"
	"github.com/ftprop/ftprop/internal/tile"
)

// Every set of kernels, number of threads and batch gives the logits of the definition, to the bit.
func TestNetworks(t *testing.T) {
	for i, k := range intnettest.Kinds() {
		if gtest.Race && i%9 > 0 { // the definition is slow
			continue
		}
		t.Run(k.String(), func(t *testing.T) {
			t.Parallel()
			for seed := range uint64(2) {
				net := intnettest.Network(k, seed)
				const images = 4
				pixels, reals := intnettest.Images(net, images, seed)
				want, err := intnettest.Logits(net, pixels, reals)
				if err != nil {
					t.Fatal(err)
				}
				for _, set := range tile.Sets() {
					for _, threads := range []int{1, 2, 5} {
						n, err := Options{Threads: threads, Kernels: set.Name}.network(net, false)
						if err != nil {
							t.Fatal(err)
						}
						for _, batch := range []int{images, 1, 3} {
							got := make([]float32, 0, len(want))
							for at := 0; at < images; at += batch {
								size, count := net.Input.Shape.Size(), min(batch, images-at)
								out := make([]float32, count*n.Classes())
								if net.Input.Real != nil {
									err = n.RunReal(out, reals[at*size:(at+count)*size])
								} else {
									err = n.Run(out, pixels[at*size:(at+count)*size])
								}
								if err != nil {
									t.Fatal(err)
								}
								got = append(got, out...)
							}
							if !slices.Equal(got, want) {
								t.Fatalf("seed %d, %s, %d threads, batch %d:\ngot  %v\nwant %v", seed, set.Name, threads, batch, got, want)
							}
						}
					}
				}
			}
		})
	}
}

// Neither where a network is cut in two nor how many images go through at a time changes a bit.
func TestSchedules(t *testing.T) {
	for _, k := range []intnettest.Kind{{Steps: 1, Weights: 1, Sign: true, Small: true}, {Real: true, Steps: 3, Weights: 127, Small: true}} {
		net := intnettest.Network(k, 4)
		const images = 11
		pixels, reals := intnettest.Images(net, images, 4)
		want, err := intnettest.Logits(net, pixels, reals)
		if err != nil {
			t.Fatal(err)
		}
		for threads := 1; threads <= 2; threads++ {
			n, err := Options{Threads: threads}.network(net, false)
			if err != nil {
				t.Fatal(err)
			}
			for split := 1; split < len(n.plan.operations); split++ {
				for _, s := range []schedule{{split, 1, 1}, {split, 2, 3}, {split, 3, 7}, {split, 16, 64}} {
					n.schedule, n.free = s, nil
					n.plan.place(s)
					got := make([]float32, len(want))
					if net.Input.Real != nil {
						err = n.RunReal(got, reals)
					} else {
						err = n.Run(got, pixels)
					}
					if err != nil || !slices.Equal(got, want) {
						t.Fatalf("%v, %d threads, %+v: got %v, want %v (%v)", k, threads, s, got, want, err)
					}
				}
			}
		}
	}
}

// Several goroutines may use one network.
func TestConcurrent(t *testing.T) {
	net := intnettest.Network(intnettest.Kind{Steps: 1, Weights: 1, Sign: true}, 1)
	pixels, _ := intnettest.Images(net, 8, 1)
	want, err := intnettest.Logits(net, pixels, nil)
	if err != nil {
		t.Fatal(err)
	}
	n, err := Options{Threads: 2}.network(net, false)
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			out, size, c := make([]float32, n.Classes()), net.Input.Shape.Size(), n.Classes()
			for range 20 {
				if err := n.Run(out, pixels[i*size:(i+1)*size]); err != nil || !slices.Equal(out, want[i*c:(i+1)*c]) {
					t.Errorf("image %d: got %v, want %v (%v)", i, out, want[i*c:(i+1)*c], err)
					return
				}
			}
		})
	}
	wg.Wait()
}

func TestRunAllocatesNothing(t *testing.T) {
	net := intnettest.Network(intnettest.Kind{Steps: 1, Weights: 127}, 2)
	pixels, _ := intnettest.Images(net, 4, 1)
	for _, threads := range []int{1, 2} {
		n, err := Options{Threads: threads}.network(net, false)
		if err != nil {
			t.Fatal(err)
		}
		for _, batch := range []int{1, 4} {
			out, in := make([]float32, batch*n.Classes()), pixels[:batch*net.Input.Shape.Size()]
			if allocs := testing.AllocsPerRun(50, func() { _ = n.Run(out, in) }); allocs != 0 {
				t.Errorf("%d threads, batch %d: %v allocations", threads, batch, allocs)
			}
		}
	}
}

// A network that was written and loaded is the same.
func TestLoad(t *testing.T) {
	net := intnettest.Network(intnettest.Kind{Real: true, Steps: 3, Weights: 7}, 3)
	_, reals := intnettest.Images(net, 5, 3)
	want, err := intnettest.Logits(net, nil, reals)
	if err != nil {
		t.Fatal(err)
	}
	var file bytes.Buffer
	if err := net.WriteONNX(&file); err != nil {
		t.Fatal(err)
	}
	n, err := Load(bytes.NewReader(file.Bytes()))
	if err != nil {
		t.Fatal(err)
	}
	got := make([]float32, len(want))
	if err := n.RunReal(got, reals); err != nil || !slices.Equal(got, want) {
		t.Errorf("got %v, want %v (%v)", got, want, err)
	}
	s := net.Input.Shape
	if n.Classes() != net.Classes() || n.Name() != net.Name || !slices.Equal(n.Shape(), []int{s.C, s.H, s.W}) {
		t.Errorf("%d classes, name %q, shape %v", n.Classes(), n.Name(), n.Shape())
	}
	for what, c := range map[string]struct {
		err   error
		words []string
	}{
		"no file":         {second(Load(strings.NewReader("no model"))), nil},
		"threads":         {second(Options{Threads: -1}.Load(bytes.NewReader(file.Bytes()))), []string{"-1 threads"}},
		"kernels":         {second(Options{Kernels: "SSE"}.Load(bytes.NewReader(file.Bytes()))), []string{`"SSE"`, "portable"}},
		"pixels":          {n.Run(got, make([]uint8, net.Input.Shape.Size())), []string{"real numbers", "RunReal"}},
		"not a number":    {n.RunReal(got, append(slices.Clone(reals[1:]), float32(math.NaN()))), []string{"not a number"}},
		"a wrong length":  {n.RunReal(got, reals[1:]), []string{"a multiple of"}},
		"too few results": {n.RunReal(got[1:], reals), []string{"logits for each image"}},
	} {
		gtest.WantError(t, what, c.err, append(c.words, "infer: ")...)
	}
	if err := n.RunReal(nil, nil); err != nil {
		t.Errorf("no images: %v", err)
	}
}

func second[T any](_ T, err error) error { return err }

// Random networks, and files of them with changes: what loads, runs as it is defined.
func FuzzLoad(f *testing.F) {
	kinds := intnettest.Kinds()
	for i := range kinds {
		f.Add(uint8(i), uint8(i), uint16(0), uint16(0), []byte(nil))
	}
	f.Add(uint8(3), uint8(1), uint16(300), uint16(1), []byte{1})
	f.Fuzz(func(t *testing.T, kind, seed uint8, at, drop uint16, patch []byte) {
		k := kinds[int(kind)%len(kinds)]
		k.Small = true
		var b bytes.Buffer
		if err := intnettest.Network(k, uint64(seed)).WriteONNX(&b); err != nil {
			t.Fatal(err)
		}
		file := gtest.Splice(b.Bytes(), at, drop, patch)
		net, err := intnet.ReadONNX(bytes.NewReader(file))
		if err != nil {
			return
		}
		pixels, reals := intnettest.Images(net, 1, 1)
		want, err := intnettest.Logits(net, pixels, reals)
		if err != nil {
			t.Fatal(err)
		}
		for _, set := range tile.Sets() {
			n, err := Options{Threads: 2, Kernels: set.Name}.Load(bytes.NewReader(file))
			if err != nil {
				t.Fatalf("%s: %v", set.Name, err)
			}
			got := make([]float32, len(want))
			if net.Input.Real != nil {
				err = n.RunReal(got, reals)
			} else {
				err = n.Run(got, pixels)
			}
			if err != nil || !slices.Equal(got, want) {
				t.Fatalf("%s: got %v, want %v (%v)", set.Name, got, want, err)
			}
		}
	})
}
