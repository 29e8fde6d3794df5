//go:build !amd64

package vec

// available returns the kernels this processor can run.
func available() []*kernels { return []*kernels{&portable} }

// sumDot is never called: there is no assembly.
func (k *kernels) sumDot(x, y *float32, n, planes, stride int, shift float32, acc *float64) {}

// moments is never called, either.
func (k *kernels) moments(x *float32, n, planes, stride int, center float64, acc *float64) {}
