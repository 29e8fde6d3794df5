package deploy

import (
	"math"

	"github.com/ftprop/ftprop/internal/intnet"
	"github.com/pkg/errors"
)

// input sets what the network takes.
func (q *quantiser) input() error {
	in := numbers{unit: 1}
	shape := q.g.sample(q.g.Input)
	switch len(shape) {
	case 1:
		q.net.Input = intnet.Input{Shape: intnet.Shape{C: shape[0], H: 1, W: 1}, Flat: true}
	case 3:
		q.net.Input = intnet.Input{Shape: intnet.Shape{C: shape[0], H: shape[1], W: shape[2]}}
	default:
		return errors.Errorf("its shape is %v, want (N, C, H, W) or (N, features)", q.g.Input.Shape())
	}
	v := intnet.Value{Shape: q.net.Input.Shape, Max: math.MaxUint8}
	if q.o.Pixels != nil {
		var err error
		if in.affine, err = q.o.Pixels.offset(v.Shape); err != nil {
			return err
		}
	} else {
		r, err := q.o.rounding()
		if err != nil {
			return err
		}
		q.net.Input.Real, in.unit = r, float64(r.Unit)
		v.Zero = 128
		v.Min, v.Max = v.Zero-r.Max, v.Zero+r.Max
	}
	q.values = []intnet.Value{v}
	q.numbers[q.g.Input] = in
	return nil
}

// offset returns the normalisation as an affine of pixels.
func (p *PixelInput) offset(s intnet.Shape) (*offset, error) {
	f := &offset{}
	each := func(name string, x []float64, none float64) ([]float64, error) {
		if len(x) == 0 {
			x = []float64{none}
		}
		if len(x) == 1 {
			x = filled(s.C, x[0])
		}
		if len(x) != s.C {
			return nil, errors.Errorf("Pixels.%s has %d numbers, want 1 or %d", name, len(x), s.C)
		}
		for _, v := range x {
			if !(math.Abs(v) <= 1e9) || name == "Std" && !(v >= 1e-9) {
				return nil, errors.Errorf("Pixels.%s has %v, want numbers up to 1e9 in size, and standard deviations from 1e-9 on", name, v)
			}
		}
		return x, nil
	}
	mean, err := each("Mean", p.Mean, 0)
	if err != nil {
		return nil, err
	}
	std, err := each("Std", p.Std, 1)
	if err != nil {
		return nil, err
	}
	for c := range s.C {
		a, x := 1/(255*std[c]), 255*mean[c]
		f.a, f.b, f.typical = append(f.a, a), append(f.b, -a*x), append(f.typical, x)
	}
	return f, nil
}

// rounding returns how real inputs are rounded.
func (o QuantiseOptions) rounding() (*intnet.Rounding, error) {
	if o.InputBits == 0 {
		o.InputBits = 8
	}
	if o.InputBits < 2 || o.InputBits > 8 {
		return nil, errors.Errorf("InputBits %d, want 2 to 8", o.InputBits)
	}
	r, err := FixedPointOptions{InputMax: o.InputMax, InputBits: o.InputBits}.Rounding()
	if err != nil {
		return nil, err
	}
	return &intnet.Rounding{Unit: float32(r.Unit), Max: uint8(min(r.Max/r.Unit, float64(int(1)<<(o.InputBits-1)-1)))}, nil
}
