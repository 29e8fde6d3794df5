package winograd

import "golang.org/x/sys/cpu"

// available returns the kernels this processor can run, the fastest first.
func available() []*kernels {
	if cpu.X86.HasAVX2 {
		return []*kernels{{
			"AVX2",
			transforms{input2AVX2, grad2AVX2, output2AVX2, filter2AVX2, turned2AVX2, filterGrad2AVX2},
			transforms{input4AVX2, grad4AVX2, output4AVX2, filter4AVX2, turned4AVX2, filterGrad4AVX2},
		}, portable()}
	}
	return []*kernels{portable()}
}
