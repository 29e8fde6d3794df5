package intnet

import (
	"math"

	"github.com/pkg/errors"
)

// Run sets dst, (N, classes), to the logits of N images of uint8, each in the order of channels, rows and columns. It is the definition of
// what a network computes.
func (n *Network) Run(dst []float32, images []uint8) error {
	if n.Input.Real != nil {
		return errors.New("the network takes real numbers, not uint8")
	}
	return n.run(dst, images)
}

// RunReal is Run for a network that takes real numbers, which it rounds. NaN is an error.
func (n *Network) RunReal(dst, images []float32) error {
	if n.Input.Real == nil {
		return errors.New("the network takes uint8, not real numbers")
	}
	rounded := make([]uint8, len(images))
	if at := n.Input.Real.Round(rounded, images); at >= 0 {
		return errors.Errorf("input %d is not a number", at)
	}
	return n.run(dst, rounded)
}

// Round sets dst to what the real numbers x become, and returns the index of the first that is not a number, or -1.
func (r *Rounding) Round(dst []uint8, x []float32) int {
	for i, v := range x {
		if v != v {
			return i
		}
		dst[i] = r.One(v)
	}
	return -1
}

// One returns what a real number becomes. It must be a number.
func (r *Rounding) One(x float32) uint8 {
	most := float64(r.Max)
	k := math.RoundToEven(float64(x) / float64(r.Unit)) // a power of two: the division is exact, or its result beyond most
	return uint8(realZero + math.Min(math.Max(k, -most), most))
}

func (n *Network) run(dst []float32, images []uint8) error {
	known, err := n.Values()
	if err != nil {
		return err
	}
	size, classes := n.Input.Shape.Size(), n.Classes()
	count := len(images) / size
	if len(images) != count*size || len(dst) != count*classes {
		return errors.Errorf("%d elements for %d logits, want a multiple of %d, and %d logits for each", len(images), len(dst), size, classes)
	}
	for i := range count {
		values := [][]uint8{images[i*size : (i+1)*size]}
		for k, l := range n.Layers {
			var in []tensor
			for _, f := range l.From() {
				in = append(in, tensor{known[f], values[f]})
			}
			if logits, ok := l.(*Logits); ok {
				logits.run(dst[i*classes:(i+1)*classes], in)
				break
			}
			out := make([]uint8, known[k+1].Size())
			switch l := l.(type) {
			case *Units:
				l.run(out, in)
			case *MaxPool:
				l.run(out, in[0], known[k+1].Shape)
			case *SumPool:
				l.run(out, in[0], known[k+1].Shape)
			case *Concat:
				at := 0
				for _, x := range in {
					at += copy(out[at:], x.x)
				}
			}
			values = append(values, out)
		}
	}
	return nil
}

// tensor is a value of one image, in the order of channels, rows and columns.
type tensor struct {
	Value
	x []uint8
}

// at returns an element, and whether it is in the map.
func (t *tensor) at(c, y, x int) (uint8, bool) {
	row := t.row(c, y)
	if x < 0 || x >= len(row) {
		return 0, false
	}
	return row[x], true
}

// row returns a row, which is empty outside the map.
func (t *tensor) row(c, y int) []uint8 {
	if y < 0 || y >= t.H {
		return nil
	}
	return t.x[(c*t.H+y)*t.W:][:t.W]
}

// run returns the sums of one image.
func (s *Sum) run(in []tensor) []int32 {
	var total []int32
	for i, t := range s.Terms {
		var part []int32
		if t.Product != nil {
			part = t.Product.run(&in[i])
		} else {
			for _, x := range in[i].x {
				part = append(part, int32(x)-int32(in[i].Zero))
			}
		}
		if total == nil {
			total = make([]int32, len(part))
		}
		for j, v := range part {
			if t.Mul != nil {
				v *= t.Mul[j*len(t.Mul)/len(part)]
			}
			total[j] += v
		}
	}
	for j, b := range s.Bias {
		total[j] += b
	}
	return total
}

// run returns a convolution of one image.
func (p *Product) run(in *tensor) []int32 {
	shape, err := p.shape(in.Shape)
	if err != nil {
		return nil // Values has seen it
	}
	out := make([]int32, shape.Size())
	for o := range p.Out {
		for c := range in.C {
			for ky := range p.Kernel[0] {
				for kx := range p.Kernel[1] {
					w := int32(p.Weights[((o*in.C+c)*p.Kernel[0]+ky)*p.Kernel[1]+kx])
					for y := range shape.H {
						row, at := in.row(c, y*p.Stride[0]+ky*p.Dilation[0]-p.Pad[0]), kx*p.Dilation[1]-p.Pad[1]
						sums := out[(o*shape.H+y)*shape.W:][:shape.W]
						for x := range sums {
							if i := x*p.Stride[1] + at; i >= 0 && i < len(row) {
								sums[x] += w * (int32(row[i]) - int32(in.Zero))
							}
						}
					}
				}
			}
		}
	}
	return out
}

func (l *Units) run(out []uint8, in []tensor) {
	sums := l.Sum.run(in)
	size := len(sums) * l.Steps / len(l.Thresholds) // of a map
	for i, sum := range sums {
		o := i / size
		out[i] = l.Base
		for _, t := range l.Thresholds[o*l.Steps : (o+1)*l.Steps] {
			if sum >= t {
				out[i] += l.Step
			}
		}
	}
}

func (l *MaxPool) run(out []uint8, in tensor, shape Shape) {
	for i := range out {
		c, y, x := i/(shape.H*shape.W), i/shape.W%shape.H, i%shape.W
		most := uint8(0)
		for ky := range l.Kernel[0] {
			for kx := range l.Kernel[1] {
				if v, ok := in.at(c, y*l.Stride[0]+ky-l.Pad[0], x*l.Stride[1]+kx-l.Pad[1]); ok {
					most = max(most, v)
				}
			}
		}
		if l.Reverse != nil && l.Reverse[c] {
			most = in.Min + in.Max - most
		}
		out[i] = most
	}
}

func (l *SumPool) run(out []uint8, in tensor, shape Shape) {
	for i := range out {
		c, y, x := i/(shape.H*shape.W), i/shape.W%shape.H, i%shape.W
		for ky := range l.Kernel[0] {
			for kx := range l.Kernel[1] {
				v, _ := in.at(c, y*l.Stride[0]+ky, x*l.Stride[1]+kx)
				out[i] += v
			}
		}
	}
}

func (l *Logits) run(dst []float32, in []tensor) {
	for c, sum := range l.Sum.run(in) {
		product := float32(sum) * l.Scale[c]
		dst[c] = float32(product) + l.Offset[c] // the conversion keeps a compiler from one rounding in place of two
	}
}
