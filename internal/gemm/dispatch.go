package gemm

import "sync"

// best is the fastest kernels of this processor, found out at the first call.
var best = sync.OnceValues(func() (*kernels[float32], *kernels[float64]) {
	s, d := available()
	return s[0], d[0]
})

func float32Kernels() *kernels[float32] { s, _ := best(); return s }
func float64Kernels() *kernels[float64] { _, d := best(); return d }

// Kernels names the instruction set in use: AMX (with AVX-512), AVX-512, AVX2 or portable.
func Kernels() string { return float32Kernels().name }
