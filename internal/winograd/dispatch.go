package winograd

// kernels are the transforms of one instruction set.
type kernels struct {
	name          string
	f23, f43, f25 transforms // of F(2x2, 3x3), F(4x4, 3x3) and F(2x2, 5x5)
}

// transforms are those of tiles of m x m outputs and n x n inputs, of eight tiles or filters at a time: groups of them, one after the other. Tiles lie where offsets say, which
// count bytes from src or dst, and their rows are ld floats apart. Elements of the transforms lie in n^2 planes, plane floats apart, side by side for all
// tiles or filters.
type transforms struct {
	// input sets dst to B^T d B of tiles d of inputs.
	input func(src *float32, offsets *int, ld int, dst *float32, plane, groups int)
	// grad sets dst to A dY A^T of tiles dY of gradients of outputs.
	grad func(src *float32, offsets *int, ld int, dst *float32, plane, groups int)
	// output sets tiles of dst to A^T M A + bias.
	output func(src *float32, plane int, dst *float32, offsets *int, ld, groups int, bias float32)
	// filter sets dst to G g G^T of filters g, one after the other. turned does so with filters turned by half a turn.
	filter, turned func(src, dst *float32, plane, groups int)
	// filterGrad sets dst to gradients of filters, G^T dU G.
	filterGrad func(src *float32, plane int, dst *float32, groups int)
}

// lanes is the number of tiles, or filters, in a group.
const lanes = 8

// best is the set in use, the fastest of this processor. Tests change it.
var best = available()[0]

// goKernels are for what is less than a group of filters.
var goKernels = portable()

// of returns the transforms for the convolution's tiles.
func (k *kernels) of(c *Conv) *transforms {
	switch {
	case c.Filter == 5:
		return &k.f25
	case c.Tile == 4:
		return &k.f43
	}
	return &k.f23
}

// transforms are those in use for the convolution's tiles.
func (c *Conv) transforms() *transforms { return best.of(c) }
