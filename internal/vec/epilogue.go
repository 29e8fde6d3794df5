package vec

// Epilogue is what becomes of the sums of output channels before they are stored, step by step:
//
//	x - Center, times Scale    one number a channel
//	+ Shift                    one number a channel
//	+ Rest                     one for each result
//	max(x, 0)                  with ReLU; NaN stays
//
// Steps that are nil are left out; Center and Scale are both there, or neither is. Each step rounds, so that all of them in one pass give the
// bits that passes one after the other give.
type Epilogue[T Float] struct {
	Center, Scale, Shift []T // (channels)
	Rest                 []T // laid out as the results
	ReLU                 bool
}

// Apply sets dst to what becomes of src, sums of channel c; dst begins at element at of the results, and may be src.
func (e *Epilogue[T]) Apply(dst, src []T, c, at int) {
	switch {
	case e.Scale != nil:
		b := T(0)
		if e.Shift != nil {
			b = e.Shift[c]
		}
		AffineAround(dst, src, Whole(len(src)), e.Scale[c], b, e.Center[c])
	case e.Shift != nil:
		Affine(dst, src, 1, e.Shift[c])
	case len(src) > 0 && &dst[0] != &src[0]:
		copy(dst, src)
	}
	e.ApplyLast(dst[:len(src)], at)
}

// ApplyLast is the steps from Rest on, in place.
func (e *Epilogue[T]) ApplyLast(dst []T, at int) {
	if e.Rest != nil {
		Add(dst, e.Rest[at:at+len(dst)])
	}
	if e.ReLU {
		Rectify(dst, dst)
	}
}

// ApplyAcross is Apply, in place, on one sum of each channel.
func (e *Epilogue[T]) ApplyAcross(dst []T, at int) {
	if e.Scale != nil {
		for c, x := range dst {
			dst[c] = T(e.Scale[c] * T(x-e.Center[c]))
		}
	}
	if e.Shift != nil {
		Add(dst, e.Shift)
	}
	e.ApplyLast(dst, at)
}
