package conv

import "slices"

// weights is where the elements of filters lie in memory: that of output o, input channel c and tap ky, kx at f[o output + c channel + ky across + kx].
// Taps are taps in number.
type weights struct {
	f                             []float32
	output, channel, taps, across int
}

// pack sets dst to the weights of a panel, the outputs from o on: (terms, width), zeros behind the last output.
func (s *sum) pack(dst []float32, o int) {
	w, width, lanes := s.weights, s.width(), s.ks.lanes
	n := min(width, s.o-o)
	if n < width {
		clear(dst)
	}
	// The term of each tap, for channel 0, or -1.
	terms := slices.Repeat([]int{-1}, w.taps)
	for i, y := range s.ys {
		for j, x := range s.xs {
			terms[y.index*w.across+x.index] = i*s.c*len(s.xs) + j
		}
	}
	if w.output == 1 { // as they are needed: channels of 1x1 filters, whose gradient is wanted
		for c := range s.c {
			copy(dst[c*width:], w.f[c*w.channel+o:][:n])
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
	for r := range runs {
		from := o*w.output + r*w.channel
		for i := 0; i < run; i += lanes {
			some := min(lanes, run-i)
			s.ks.transpose(turned, width, w.f[from+i:], w.output, n, some, temp)
			for j := range some {
				tap, c := (i+j)%w.taps, r+(i+j)/w.taps
				if k := terms[tap]; k >= 0 {
					copy(dst[(k+c*len(s.xs))*width:][:n], turned[j*width:])
				}
			}
		}
	}
}
