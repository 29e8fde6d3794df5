//go:build !amd64

package gemm

// available returns the kernels this processor can run.
func available() (s []*kernels[float32], d []*kernels[float64]) {
	return []*kernels[float32]{portable[float32]()}, []*kernels[float64]{portable[float64]()}
}
