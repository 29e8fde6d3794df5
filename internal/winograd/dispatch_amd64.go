package winograd

import "golang.org/x/sys/cpu"

// available returns the kernels this processor can run, the fastest first.
func available() []*kernels {
	if cpu.X86.HasAVX2 {
		return []*kernels{{"AVX2", inputAVX2, gradAVX2, outputAVX2, filterAVX2, filterGradAVX2}, &portable}
	}
	return []*kernels{&portable}
}
