//go:build !amd64

package winograd

// available returns the kernels this processor can run.
func available() []*kernels { return []*kernels{portable()} }
