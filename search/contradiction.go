package search

import (
	"encoding/binary"
	"math"
	"math/big"

	"github.com/ftprop/ftprop/internal/levels"
)

// contradicted returns how many labels any network must miss, because samples with equal inputs have different ones, and for each
// output (one for all classes) two such samples, or nil.
func (r *run) contradicted() (lost int, pairs [][]int) {
	groups, order := map[string][]int{}, []string{}
	for i, a := range r.best.act[0] {
		buf := make([]byte, 0, 8*len(a))
		for _, v := range a {
			buf = binary.LittleEndian.AppendUint64(buf, math.Float64bits(v+0)) // +0: no -0
		}
		key := string(buf)
		if groups[key] == nil {
			order = append(order, key)
		}
		groups[key] = append(groups[key], i)
	}
	labels := r.targets
	if labels == nil {
		labels = [][]int{r.classes}
	}
	pairs = make([][]int, len(labels))
	for _, key := range order {
		g := groups[key]
		for j, t := range labels {
			count, most := map[int]int{}, 0
			for _, i := range g {
				count[t[i]]++
				most = max(most, count[t[i]])
				if pairs[j] == nil && t[i] != t[g[0]] {
					pairs[j] = []int{g[0], i}
				}
			}
			lost += len(g) - most
		}
	}
	return lost, pairs
}

// clash returns the certificate that two samples with equal inputs, whatever layers they have gone through, have different targets q.
func clash(lv levels.Levels, classes int, q []int, pair []int) Certificate {
	i, j := pair[0], pair[1]
	c := undecided(lv)
	c.Verdict, c.Classes = Inseparable, classes
	a, b := q[j], q[i] // each against the other's class
	if classes == 0 {
		a = min(q[i], q[j]) // the threshold that the one must be above and the other not
		b = a
	} else {
		c.Unit = -1
	}
	c.Proof = []Multiplier{{i, a, big.NewInt(1)}, {j, b, big.NewInt(1)}}
	return c
}
