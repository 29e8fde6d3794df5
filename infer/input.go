package infer

import "github.com/ftprop/ftprop/internal/intnet"

// input lays the channels of an image's pixels side by side, and rounds real numbers.
type input struct {
	rounding *intnet.Rounding // nil for images of uint8
	out      *layout
}

func (p *input) layouts() []*layout { return []*layout{p.out} }

func (p *input) shares(images int) int { return images * p.out.of.H }

// run takes rows from to to of the images that the worker was given.
func (p *input) run(w *worker, _, from, to int, _ []float32) {
	of := p.out.of
	for r := from; r < to; r++ {
		image, y := r/of.H, r%of.H
		out := p.out.bytes(w, image)[p.out.at(y, 0):]
		if of.H*of.W == 1 && p.rounding == nil {
			copy(out, w.pixelsIn[image*of.C:(image+1)*of.C])
			continue
		}
		for c := range of.C {
			at := ((image*of.C+c)*of.H + y) * of.W
			if p.rounding != nil {
				for x, v := range w.reals[at : at+of.W] {
					out[x*p.out.stride+c] = p.rounding.One(v)
				}
				continue
			}
			for x, v := range w.pixelsIn[at : at+of.W] {
				out[x*p.out.stride+c] = v
			}
		}
	}
}
