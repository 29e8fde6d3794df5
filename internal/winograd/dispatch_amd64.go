package winograd

import "golang.org/x/sys/cpu"

// available returns the kernels this processor can run, the fastest first.
func available() []*kernels {
	if cpu.X86.HasAVX2 {
		return []*kernels{{
			"AVX2",
			transforms{input23AVX2, grad23AVX2, output23AVX2, filter23AVX2, turned23AVX2, filterGrad23AVX2},
			transforms{input43AVX2, grad43AVX2, output43AVX2, filter43AVX2, turned43AVX2, filterGrad43AVX2},
			transforms{input43AVX2, grad25AVX2, output25AVX2, filter25AVX2, turned25AVX2, filterGrad25AVX2},
		}, portable()}
	}
	return []*kernels{portable()}
}
