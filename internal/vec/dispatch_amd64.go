package vec

import "golang.org/x/sys/cpu"

// available returns the kernels this processor can run, the fastest first. GODEBUG=cpu.avx512f=off and
// GODEBUG=cpu.avx2=off hide instruction sets, as for any Go program that asks x/sys/cpu.
func available() (sets []*kernels) {
	if cpu.X86.HasAVX512F && cpu.X86.HasAVX512DQ && cpu.X86.HasAVX2 && cpu.X86.HasBMI2 {
		sets = append(sets, &kernelsAVX512)
	}
	if cpu.X86.HasAVX2 && cpu.X86.HasFMA {
		sets = append(sets, &kernelsAVX2)
	}
	return append(sets, &portable)
}

// sumDot is the set's kernel for SumDot, if it has one: called by name, not through a field, so that what acc points to can
// stay on the stack.
func (k *kernels) sumDot(x, y *float32, n, planes, stride int, shift float32, acc *float64) {
	if k.lanes == 16 {
		sumDotAVX512(x, y, n, planes, stride, shift, acc)
	} else {
		sumDotAVX2(x, y, n, planes, stride, shift, acc)
	}
}

// moments is the set's kernel for Moments, likewise.
func (k *kernels) moments(x *float32, n, planes, stride int, center float64, acc *float64) {
	if k.lanes == 16 {
		momentsAVX512(x, n, planes, stride, center, acc)
	} else {
		momentsAVX2(x, n, planes, stride, center, acc)
	}
}
