package ops

import (
	"fmt"
	"math"
	"sync/atomic"

	"github.com/ftprop/ftprop/internal/opkit"
	"github.com/ftprop/ftprop/internal/par"
	"github.com/ftprop/ftprop/internal/vec"
	"github.com/pkg/errors"
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
	_, err := l.loss()
	return err
}

func (l Layer) loss() (loss Loss, err error) {
	if err := l.Levels.Validate(); err != nil {
		return nil, err
	}
	l = l.withDefaults()
	defer opkit.Guard(l, &err)
	loss, err = l.Rule.Loss(l.Levels)
	if err != nil {
		return nil, errors.WithMessagef(err, "ops: rule %s on %+v", printed(l.Rule), l.Levels)
	}
	if loss == nil {
		return nil, errors.Errorf("ops: rule %s on %+v: Loss returned neither a loss nor an error", printed(l.Rule), l.Levels)
	}
	return loss, nil
}

// grain is how many elements one goroutine takes at least: below, starting it costs more than
// it gains. block is how many are worked on at a time, so that scratch stays in cache.
const (
	grain = 1 << 14
	block = 1 << 10
)

// setTargets sets t for a slice of units.
func setTargets[T vec.Float](l Layer, t, z, h, g []T) error {
	if l.Targets == nil || l.Targets == (GradSign{}) {
		vec.NegSign(t, g)
		return nil
	}
	for i := range t {
		v := l.Targets.Target(l.Levels, float64(g[i]), float64(z[i]), float64(h[i]))
		if v != 0 && v != 1 && v != -1 {
			return errors.Errorf("ops: target setter %s returned %v, but a target is -1, 0 or +1", printed(l.Targets), v)
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

// layerGrad sets dz to the layer's derivative.
func layerGrad[T vec.Float](l Layer, dz, z, h, g []T, batch int) error {
	loss, err := l.loss()
	if err != nil {
		return err
	}
	slopes, direct := loss.(slopeLoss)
	direct = direct && !l.Unweighted && (l.Targets == nil || l.Targets == (GradSign{}))
	return par.Range(len(z), grain, func(from, to int) error {
		var tbuf [block]T
		for lo := from; lo < to; lo += block {
			hi := min(lo+block, to)
			d, t := dz[lo:hi], tbuf[:hi-lo]
			var finite bool
			if direct { // -sign(g) and |g| make g again
				finite = mulSlope(slopes, d, z[lo:hi], g[lo:hi])
			} else if finite = vec.Finite(g[lo:hi]); finite {
				if err := setTargets(l, t, z[lo:hi], h[lo:hi], g[lo:hi]); err != nil {
					return err
				}
				gradSlice(loss, d, z[lo:hi], t)
				if l.Unweighted {
					vec.Scale(d, d, T(l.unweighted(batch)))
				} else {
					vec.MulAbs(d, d, g[lo:hi])
				}
			}
			if !finite {
				return checkFinite("gradient reaching the output", g[lo:hi], lo)
			}
		}
		return nil
	})
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
	return par.Range(len(t), grain, func(lo, hi int) error {
		return setTargets(l, t[lo:hi], z[lo:hi], h[lo:hi], g[lo:hi])
	})
}

// layerLoss returns sum w l(z, t), summed in float64 and in an order that does not depend on
// the number of goroutines.
func layerLoss[T vec.Float](l Layer, z, h, g []T, batch int) (float64, error) {
	loss, err := l.loss()
	if err != nil {
		return 0, err
	}
	w := l.unweighted(batch)
	sums := make([]float64, (len(z)+block-1)/block)
	err = par.Range(len(z), grain, func(from, to int) error {
		var tbuf [block]T
		w := w
		for lo := from; lo < to; lo += block {
			hi := min(lo+block, to)
			t := tbuf[:hi-lo]
			if err := setTargets(l, t, z[lo:hi], h[lo:hi], g[lo:hi]); err != nil {
				return err
			}
			sum := 0.0
			for i, ti := range t {
				if !l.Unweighted {
					w = math.Abs(float64(g[lo+i]))
				}
				sum += w * loss.Value(float64(z[lo+i]), float64(ti))
			}
			sums[lo/block] = sum
		}
		return nil
	})
	total := 0.0
	for _, s := range sums {
		total += s
	}
	return total, err
}

// layerAgreement returns the share of units, among those with a target, whose sign(z) is the
// target, sign(0) being -1 as in the activation; 1 where no unit has a target.
func layerAgreement[T vec.Float](l Layer, z, h, g []T) (float64, error) {
	var agree, all atomic.Int64
	err := par.Range(len(z), grain, func(from, to int) error {
		var tbuf [block]T
		var a, n int64
		for lo := from; lo < to; lo += block {
			hi := min(lo+block, to)
			t := tbuf[:hi-lo]
			if err := setTargets(l, t, z[lo:hi], h[lo:hi], g[lo:hi]); err != nil {
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
