//go:build !amd64

package vec

// available returns the kernels this processor can run.
func available() []*kernels { return []*kernels{&portable} }
