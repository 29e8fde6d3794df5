package ops_test

import (
	"math"
	"math/rand/v2"
	"runtime"
	"testing"
	"time"

	"github.com/ftprop/ftprop/ops"
	"gorgonia.org/gorgonia"
	"gorgonia.org/tensor"
)

// The benchmarks run on a tensor of 64x32x32x32 float32, 8.4 MB, and count the bytes of one such tensor: beside
// Copy, which reads and writes one, MB/s says how far a pass is from the memory's speed. A backward pass reads two
// tensors and writes one.

var benchShape = tensor.Shape{64, 32, 32, 32}

func benchTensor(seed uint64, scale float32) *tensor.Dense {
	r := rand.New(rand.NewPCG(seed, 0))
	x := make([]float32, benchShape.TotalSize())
	for i := range x {
		x[i] = float32(r.NormFloat64()) * scale
	}
	return tensor.New(tensor.WithShape(benchShape...), tensor.WithBacking(x))
}

func BenchmarkCopy(b *testing.B) {
	src, dst := benchTensor(1, 1).Data().([]float32), benchTensor(2, 1).Data().([]float32)
	b.SetBytes(int64(4 * len(src)))
	for b.Loop() {
		copy(dst, src)
	}
}

func benchActivations() map[string]ops.Activation {
	return map[string]ops.Activation{
		"Sign": ops.Sign{}, "Step01": ops.Step01{},
		"QReLU2": ops.Staircase{Steps: 3}, "Staircase5": ops.Staircase{Steps: 5},
	}
}

func BenchmarkForward(b *testing.B) {
	z, out := benchTensor(1, 1), benchTensor(2, 1)
	for name, act := range benchActivations() {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(z.MemSize()))
			for b.Loop() {
				if _, err := act.UsePreallocDo(out, z); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
	b.Run("ThresholdReLU", func(b *testing.B) {
		b.SetBytes(int64(z.MemSize()))
		for b.Loop() {
			if _, err := ops.ThresholdReLU(1).UsePreallocDo(out, z); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func BenchmarkBackward(b *testing.B) {
	z, h, g, out := benchTensor(1, 1), benchTensor(2, 1), benchTensor(3, 0.1), benchTensor(4, 1)
	run := func(name string, act ops.Activation) {
		op := ops.LayerGrad{Threshold: act.Threshold()}
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(z.MemSize()))
			for b.Loop() {
				if _, err := op.UsePreallocDo(out, []gorgonia.Value{z, h, g}...); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
	for name, act := range benchActivations() {
		run(name+"/SoftHinge", act)
	}
	run("Sign/SoftHinge unweighted", ops.Sign{Unweighted: true})
}

// BenchmarkRules is every rule's backward pass on one threshold, few, many and very many, on one processor. It is measured in turns with SoftHinge's on
// the same tensor, of 2^18 units, which fits a cache: xSoftHinge is the ratio of the shortest times of the two. Beside it stands the number of
// units, in millions a second.
func BenchmarkRules(b *testing.B) {
	const n = 1 << 18
	r := rand.New(rand.NewPCG(1, 0))
	tensors := make([]gorgonia.Value, 4)
	for i := range tensors {
		x := make([]float32, n)
		for j := range x {
			x[j] = float32(r.NormFloat64())
		}
		tensors[i] = tensor.New(tensor.WithShape(64, n/64), tensor.WithBacking(x))
	}
	shortest := func(b *testing.B, act ops.Activation, least time.Duration) time.Duration {
		op := ops.LayerGrad{Threshold: act.Threshold()}
		start := time.Now()
		if _, err := op.UsePreallocDo(tensors[3], tensors[:3]...); err != nil {
			b.Fatal(err)
		}
		return min(least, time.Since(start))
	}
	for _, name := range ops.RuleNames() {
		rule, err := ops.RuleByName(name)
		if err != nil {
			b.Fatal(err)
		}
		for _, c := range []struct {
			name      string
			act, soft ops.Activation
		}{
			{"sign", ops.Sign{Rule: rule}, ops.Sign{}},
			{"qReLU2", ops.Staircase{Steps: 3, Rule: rule}, ops.Staircase{Steps: 3}},
			{"staircase255", ops.Staircase{Steps: 255, Rule: rule}, ops.Staircase{Steps: 255}},
			{"staircase65535", ops.Staircase{Steps: 65535, Rule: rule}, ops.Staircase{Steps: 65535}},
		} {
			b.Run(name+"/"+c.name, func(b *testing.B) {
				defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1)) // here: package testing sets it for every benchmark
				ours, soft := time.Duration(math.MaxInt64), time.Duration(math.MaxInt64)
				for b.Loop() {
					ours, soft = shortest(b, c.act, ours), shortest(b, c.soft, soft)
				}
				b.ReportMetric(0, "ns/op") // it would be that of both
				b.ReportMetric(n/1e6/ours.Seconds(), "Munits/s")
				b.ReportMetric(float64(ours)/float64(soft), "xSoftHinge")
			})
		}
	}
}
