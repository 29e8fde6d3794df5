package infer

import (
	"slices"
	"sync"
	"testing"

	"github.com/ftprop/ftprop/internal/intnet/intnettest"
	"github.com/ftprop/ftprop/internal/tile"
)

// Every set of kernels, number of threads and batch gives the logits of the definition, to the bit.
func TestNetworks(t *testing.T) {
	for _, k := range intnettest.Kinds() {
		t.Run(k.String(), func(t *testing.T) {
			t.Parallel()
			for seed := range uint64(3) {
				net := intnettest.Network(k, seed)
				const images = 7
				pixels, reals := intnettest.Images(net, images, seed)
				want, err := intnettest.Logits(net, pixels, reals)
				if err != nil {
					t.Fatal(err)
				}
				for _, set := range tile.Sets() {
					for _, threads := range []int{1, 2, 5} {
						n, err := Options{Threads: threads, Kernels: set.Name}.network(net)
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

// Several goroutines may use one network.
func TestConcurrent(t *testing.T) {
	net := intnettest.Network(intnettest.Kind{Steps: 1, Weights: 1, Sign: true}, 1)
	pixels, _ := intnettest.Images(net, 8, 1)
	want, err := intnettest.Logits(net, pixels, nil)
	if err != nil {
		t.Fatal(err)
	}
	n, err := Options{Threads: 2}.network(net)
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
		n, err := Options{Threads: threads}.network(net)
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
