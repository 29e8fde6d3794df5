package ops

import (
	"fmt"
	"math"
	"sync/atomic"

	"github.com/ftprop/ftprop/internal/opkit"
	"github.com/ftprop/ftprop/internal/par"
	"github.com/ftprop/ftprop/internal/vec"
	"github.com/pkg/errors"
	"gorgonia.org/tensor"
)

// Layer is what the backward pass of a threshold activation needs to know: its levels, its
// rule, how targets are set and how units are weighted. The zero Rule and Targets mean
// SoftHinge{} and GradSign{}.
//
// For pre-activations z, outputs h and the gradient g = dL/dh of the layers above, every unit
// gets
//
//	target      t  = Targets(g, z, h), by default -sign(g)
//	weight      w  = |g|, or 1/B if Unweighted, B the first dimension of the tensor
//	layer loss  L  = sum w l(z, t), l the rule's loss
//	derivative  dz = w dl/dz(z, t)
//
// which is Algorithm 2 (FTPROP-MB) of Friesen & Domingos (ICLR 2018). An unweighted staircase
// has w = 1/(B (Hi-Lo)), as in the reference.
type Layer struct {
	Levels     Levels
	Rule       Rule
	Targets    TargetSetter
	Unweighted bool
}

func (l Layer) withDefaults() Layer {
	if l.Rule == nil {
		l.Rule = SoftHinge{}
	}
	if l.Targets == nil {
		l.Targets = GradSign{}
	}
	return l
}

// String returns the layer as its constructor.
func (l Layer) String() string {
	return fmt.Sprintf("Layer{Levels: {%v, %v, %d}, %s}", l.Levels.Lo, l.Levels.Hi, l.Levels.Steps, l.options())
}

// options prints rule, targets and weighting, those that are the default left out but for the
// rule.
func (l Layer) options() string {
	l = l.withDefaults()
	s := "Rule: " + printed(l.Rule)
	if l.Unweighted {
		s += ", Unweighted: true"
	}
	if l.Targets != (GradSign{}) {
		s += ", Targets: " + printed(l.Targets)
	}
	return s
}

// hash returns all that distinguishes one layer from another: it enters the hash by which
// Gorgonia merges nodes. Layers that Validate refuses never get as far as that.
func (l Layer) hash() string {
	s, err := identity(l.withDefaults())
	if err != nil {
		return fmt.Sprintf("refused: %v", err)
	}
	return s
}

// Validate returns an error if the levels are impossible, if the rule cannot serve them, or if rule or target setter hold
// something that their value does not show: pointers, functions, maps, channels.
func (l Layer) Validate() error {
	l = l.withDefaults()
	if err := checkIdentity("rule", l.Rule); err != nil {
		return err
	}
	if err := checkIdentity("target setter", l.Targets); err != nil {
		return err
	}
	_, err := l.loss(tensor.Float64) // the dtype is not known yet
	return opkit.In("ops", err)
}

// loss returns the rule's loss for the layer's levels, which must be those of an activation of the dtype.
func (l Layer) loss(dt tensor.Dtype) (loss Loss, err error) {
	if err := l.Levels.ValidateIn(dt); err != nil {
		return nil, err
	}
	l = l.withDefaults()
	defer opkit.Guard(l, &err)
	loss, err = l.Rule.Loss(l.Levels)
	if err != nil {
		return nil, errors.WithMessagef(err, "rule %s on %+v", printed(l.Rule), l.Levels)
	}
	if loss == nil {
		return nil, errors.Errorf("rule %s on %+v: Loss returned neither a loss nor an error", printed(l.Rule), l.Levels)
	}
	return loss, nil
}

// grain is how many elements one goroutine takes at least: below, starting it costs more than
// it gains. block is how many are worked on at a time, so that scratch stays in cache.
const (
	grain = 1 << 14
	block = 1 << 10
)

// setTargets sets t for a slice of units, a part of a tensor that starts at the given offset. NaN or infinity in g is an error.
func setTargets[T vec.Float](l Layer, t, z, h, g []T, offset int) error {
	if err := checkFinite(upstream, g, offset); err != nil {
		return err
	}
	if l.Targets == nil || l.Targets == (GradSign{}) {
		vec.NegSign(t, g)
		return nil
	}
	for i := range t {
		v := l.Targets.Target(l.Levels, float64(g[i]), float64(z[i]), float64(h[i]))
		if v != 0 && v != 1 && v != -1 {
			return errors.Errorf("target setter %s returned %v, but a target is -1, 0 or +1", printed(l.Targets), v)
		}
		t[i] = T(v)
	}
	return nil
}

// unweighted returns the weight of every unit of a tensor with n elements and first dimension B.
func (l Layer) unweighted(batch int) float64 {
	w := 1 / float64(batch)
	if l.Levels.Steps > 1 {
		w /= l.Levels.Hi - l.Levels.Lo
	}
	return w
}

// layerGrad sets dz to the layer's derivative. A derivative that is not finite is an error: of large z or g some rules'
// derivatives are beyond the dtype.
func layerGrad[T vec.Float](l Layer, dz, z, h, g []T, batch int) error {
	loss, err := l.loss(dtypeOf[T]())
	if err != nil {
		return err
	}
	slopes, direct := loss.(slopeLoss)
	direct = direct && !l.Unweighted && (l.Targets == nil || l.Targets == (GradSign{}))
	return par.Range(len(z), grain, func(from, to int) error {
		var tbuf []T
		if !direct {
			tbuf = make([]T, min(block, to-from))
		}
		for lo := from; lo < to; lo += block {
			hi := min(lo+block, to)
			d := dz[lo:hi]
			var finite bool
			if direct { // -sign(g) and |g| make g again
				finite = mulSlope(slopes, d, z[lo:hi], g[lo:hi])
			} else {
				t := tbuf[:hi-lo]
				if err := setTargets(l, t, z[lo:hi], h[lo:hi], g[lo:hi], lo); err != nil {
					return err
				}
				gradSlice(loss, d, z[lo:hi], t)
				if l.Unweighted {
					vec.Scale(d, d, T(l.unweighted(batch)))
				} else {
					vec.MulAbs(d, d, g[lo:hi])
				}
				finite = vec.Finite(d)
			}
			if finite {
				continue
			}
			if err := checkFinite(upstream, g[lo:hi], lo); err != nil {
				return err
			}
			i := lo + vec.FirstNonFinite(d)
			return l.tooLarge("the derivative", i, z[i], g[i], dtypeOf[T]())
		}
		return nil
	})
}

// upstream is what messages call g.
const upstream = "gradient reaching the output"

// tooLarge is the error for a rule's loss or derivative at element i that is not a finite number of the dtype.
func (l Layer) tooLarge(what string, i int, z, g any, dt tensor.Dtype) error {
	return errors.Errorf("rule %s: %s at element %d, with z = %v and gradient %v, is no finite %v: training has diverged or the data are not clean",
		printed(l.withDefaults().Rule), what, i, z, g, dt)
}

// checkFinite returns an error that names the first NaN or infinity in x, a part of a tensor
// that starts at the given offset.
func checkFinite[T vec.Float](what string, x []T, offset int) error {
	if vec.Finite(x) {
		return nil
	}
	i := vec.FirstNonFinite(x)
	return errors.Errorf("%v at element %d of the %s: training has diverged or the data are not clean", x[i], offset+i, what)
}

func layerTargets[T vec.Float](l Layer, t, z, h, g []T) error {
	if err := l.Levels.ValidateIn(dtypeOf[T]()); err != nil {
		return err
	}
	return par.Range(len(t), grain, func(lo, hi int) error {
		return setTargets(l, t[lo:hi], z[lo:hi], h[lo:hi], g[lo:hi], lo)
	})
}

// layerLoss returns sum w l(z, t), summed in float64 and in an order that does not depend on
// the number of goroutines. A sum that T cannot hold is an error.
func layerLoss[T vec.Float](l Layer, z, h, g []T, batch int) (float64, error) {
	loss, err := l.loss(dtypeOf[T]())
	if err != nil {
		return 0, err
	}
	// terms sets terms to w l(z, t) for the units from lo on, t being scratch. A unit of weight 0 costs nothing, whatever its loss.
	terms := func(terms []float64, t []T, lo int) error {
		hi, w := lo+len(terms), l.unweighted(batch)
		if err := setTargets(l, t, z[lo:hi], h[lo:hi], g[lo:hi], lo); err != nil {
			return err
		}
		for i, ti := range t {
			if !l.Unweighted {
				w = math.Abs(float64(g[lo+i]))
			}
			terms[i] = 0
			if w != 0 {
				terms[i] = w * loss.Value(float64(z[lo+i]), float64(ti))
			}
		}
		return nil
	}
	sums := make([]float64, (len(z)+block-1)/block)
	err = par.Range(len(z), grain, func(from, to int) error {
		n := min(block, to-from)
		buf, t := make([]float64, n), make([]T, n)
		for lo := from; lo < to; lo += block {
			n := min(block, to-lo)
			part := buf[:n]
			if err := terms(part, t[:n], lo); err != nil {
				return err
			}
			sum := 0.0
			for _, v := range part {
				sum += v
			}
			sums[lo/block] = sum
		}
		return nil
	})
	if err != nil {
		return 0, err
	}
	total := 0.0
	for _, s := range sums {
		total += s
	}
	if v := T(total); v-v == 0 {
		return total, nil
	}
	// The unit to blame is the first whose share is not finite, or else the largest.
	worst, at := 0.0, 0
	all := make([]float64, len(z))
	if err := terms(all, make([]T, len(z)), 0); err != nil {
		return 0, err
	}
	for i, v := range all {
		if v-v != 0 {
			at = i
			break
		}
		if math.Abs(v) > worst {
			worst, at = math.Abs(v), i
		}
	}
	return 0, l.tooLarge(fmt.Sprintf("layer loss, %v, of which the largest part is", total), at, z[at], g[at], dtypeOf[T]())
}

// layerAgreement returns the share of units, among those with a target, whose sign(z) is the
// target, sign(0) being -1 as in the activation; 1 where no unit has a target.
func layerAgreement[T vec.Float](l Layer, z, h, g []T) (float64, error) {
	if err := l.Levels.ValidateIn(dtypeOf[T]()); err != nil {
		return 0, err
	}
	var agree, all atomic.Int64
	err := par.Range(len(z), grain, func(from, to int) error {
		tbuf := make([]T, min(block, to-from))
		var a, n int64
		for lo := from; lo < to; lo += block {
			hi := min(lo+block, to)
			t := tbuf[:hi-lo]
			if err := setTargets(l, t, z[lo:hi], h[lo:hi], g[lo:hi], lo); err != nil {
				return err
			}
			for i, ti := range t {
				if ti != 0 {
					n++
					if (z[lo+i] > 0) == (ti > 0) {
						a++
					}
				}
			}
		}
		agree.Add(a)
		all.Add(n)
		return nil
	})
	if all.Load() == 0 {
		return 1, err
	}
	return float64(agree.Load()) / float64(all.Load()), err
}
