//go:build !amd64

package turn

// Available returns the kernels this processor can run: none.
func Available() []*Kernels { return nil }
