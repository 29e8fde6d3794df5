package opkit

import (
	"github.com/ftprop/ftprop/internal/hugepages"
	"gorgonia.org/gorgonia"
)

// InLargePages puts the values of inputs and parameters into large pages of memory, where they are: see package hugepages.
func InLargePages(g *gorgonia.ExprGraph) {
	for _, n := range g.AllNodes() {
		if n.Op() != nil || n.Value() == nil {
			continue
		}
		if v, err := ValuesInPlace(n.Value()); err == nil {
			hugepages.Back(v.Float32)
			hugepages.Back(v.Float64)
		}
	}
}
