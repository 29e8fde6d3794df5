package search

import "time"

// Progress is what FullBatch.Progress is told after a setting of the last hidden layer's targets.
type Progress struct {
	Settings, Starts int
	Infeasible       int // units that do not reach their targets in this setting: hidden units what they were asked for, output units their labels
	Missed           int // labels not reached in this setting
	Best             int // and in the best so far
	Loss             float64
	Elapsed          time.Duration
}

// report calls the Progress callback after a setting.
func (r *run) report(o *Setting) {
	if r.Progress == nil || o.Skipped && r.tried[len(r.tried)-1]%64 != 0 {
		return
	}
	r.Progress(Progress{Settings: r.tried[len(r.tried)-1], Starts: r.starts, Missed: o.Missed, Best: r.bestMissed,
		Infeasible: o.Unreached + r.infeasible(o), Loss: o.Loss, Elapsed: time.Since(r.start)})
}

// infeasible counts the output units that miss a label in a setting; classes count as one unit each that loses a sample.
func (r *run) infeasible(o *Setting) int {
	last := len(r.net.sizes) - 1
	n := 0
	if r.targets == nil {
		lost := make([]bool, len(o.state.w[last]))
		for i, a := range o.state.act[last] {
			own := dot(o.state.w[last][r.classes[i]], a)
			for k, u := range o.state.w[last] {
				if k != r.classes[i] && dot(u, a) >= own {
					lost[r.classes[i]] = true
				}
			}
		}
		for _, l := range lost {
			if l {
				n++
			}
		}
		return n
	}
	for j, w := range o.state.w[last] {
		if _, lev := r.net.respond(o.state.act[last], last, w); misses(r.targets[j], lev) > 0 {
			n++
		}
	}
	return n
}
