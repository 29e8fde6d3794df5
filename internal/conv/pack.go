package conv

import "github.com/ftprop/ftprop/internal/turn"

// weights is where the elements of filters lie in memory: that of output o, input channel c and tap ky, kx at f[o output + c channel + ky across + kx].
// Taps are taps in number.
type weights struct {
	f                             []float32
	output, channel, taps, across int
}

// pack writes the weights of a panel to a slot of all sums, which have their taps from the same filters: (terms, width), zeros behind the last output.
func pack(sums []*sum, panel, slot int) {
	s := sums[0]
	w, width, lanes := s.weights, s.width(), s.ks.lanes
	o := panel * width
	n := min(width, s.o-o)
	// Where the weights of each tap go: that of channel c to row c*step of dst.
	type place struct {
		dst  []float32
		step int
	}
	places := make([]place, w.taps)
	for _, s := range sums {
		dst := s.packed[slot*width*s.terms() : (slot+1)*width*s.terms()]
		if n < width {
			clear(dst)
		}
		for i, y := range s.ys {
			for j, x := range s.xs {
				places[y.index*w.across+x.index] = place{dst[(i*s.c*len(s.xs)+j)*width:], len(s.xs) * width}
			}
		}
	}
	if w.output == 1 { // as they are needed: channels of 1x1 filters, whose gradient is wanted
		for c := range s.c {
			copy(places[0].dst[c*width:], w.f[c*w.channel+o:][:n])
		}
		return
	}
	// Elements of an output lie side by side: for a channel, or if the channels do too, for all of them.
	run, runs := w.taps, s.c
	if w.channel == w.taps {
		run, runs = w.taps*s.c, 1
	}
	// A vector's terms at a time: transposed, and then each copied to its place.
	memory := take[float32](&turnPool, 2*lanes*width)
	defer memory.release()
	turned, temp := memory.x[:lanes*width], memory.x[lanes*width:]
	t := new(turn.Blocks)
	for r := range runs {
		from := o*w.output + r*w.channel
		tap, c := 0, r
		for i := 0; i < run; i += lanes {
			some := min(lanes, run-i)
			s.ks.turn.Transpose(t, turned, width, w.f[from+i:], w.output, n, some, temp)
			for j := range some {
				if to := places[tap]; to.dst != nil {
					copy(to.dst[c*to.step:][:n], turned[j*width:])
				}
				if tap++; tap == w.taps {
					tap, c = 0, c+1
				}
			}
		}
	}
}
