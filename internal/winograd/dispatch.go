package winograd

// kernels are the transforms of one instruction set.
type kernels struct {
	name      string
	two, four transforms // of tiles of 2x2 and of 4x4 outputs
}

// transforms are those of tiles of m x m outputs, of eight tiles or filters at a time: groups of them, one after the other. Tiles lie where offsets say, which
// count bytes from src or dst, and their rows are ld floats apart. Elements of the transforms lie in (m+2)^2 planes, plane floats apart, side by side for all
// tiles or filters.
type transforms struct {
	// input sets dst to B^T d B of tiles d of (m+2)x(m+2) inputs.
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

// of returns the transforms for tiles of m x m outputs.
func (k *kernels) of(m int) *transforms {
	if m == 4 {
		return &k.four
	}
	return &k.two
}

// transforms are those in use for the convolution's tiles.
func (c *Conv) transforms() *transforms { return best.of(c.Tile) }
