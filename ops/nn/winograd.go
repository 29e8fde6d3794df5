package nn

import (
	"github.com/ftprop/ftprop/internal/vec"
	"github.com/ftprop/ftprop/internal/winograd"
)

// winogradFor returns the convolution for package winograd, or nil where the sizes do not suit it: 3x3 filters, stride 1,
// many channels. It computes in float32 only; float64 is for checking, and is done by the definition.
func winogradFor[T vec.Float](g *geometry) *winograd.Conv {
	var x T
	if _, ok := any(x).(float32); !ok || g.byDefinition || g.kh != 3 || g.kw != 3 || g.stride != [2]int{1, 1} || g.dilation != [2]int{1, 1} {
		return nil
	}
	c := &winograd.Conv{N: g.n, C: g.c, H: g.h, W: g.w, O: g.o, PadH: g.pad[0], PadW: g.pad[1]}
	if !c.Suits() {
		return nil
	}
	return c
}

// single is x, which is of float32.
func single[T vec.Float](x []T) []float32 { return any(x).([]float32) }
