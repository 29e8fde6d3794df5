package winograd

// kernels are the transforms of eight tiles, or filters, at a time. Strides count floats.
type kernels struct {
	name string

	// input sets the 16 planes of dst to B^T d B of tiles of 4x4 inputs, two apart.
	input func(src *float32, ld int, dst *float32, plane, groups int)
	// grad sets the 16 planes of dst to A dy A^T of tiles of 2x2 gradients.
	grad func(src *float32, ld int, dst *float32, plane, groups int)
	// output sets tiles of 2x2 outputs to A^T M A + bias, of the 16 planes of src.
	output func(src *float32, plane int, dst *float32, ld, groups int, bias float32)
	// filter sets the 16 planes of dst to G g G^T of filters of 3x3, one after the other.
	filter func(src, dst *float32, plane, groups int)
	// filterGrad sets gradients of filters to G^T dU G, of the 16 planes of src.
	filterGrad func(src *float32, plane int, dst *float32, groups int)
}

// lanes is the number of tiles, or filters, in a group.
const lanes = 8

var portable = kernels{"portable", goInput, goGrad, goOutput, goFilter, goFilterGrad}

// best is the set in use, the fastest of this processor. Tests change it.
var best = available()[0]
