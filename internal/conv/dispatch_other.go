//go:build !amd64

package conv

// available returns the kernels this processor can run: none.
func available() []*kernels { return nil }
