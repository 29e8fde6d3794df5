package infer

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/ftprop/ftprop/internal/intnet"
)

// paper lays the paper's networks with random weights, for timing.
type paper struct {
	*rand.Rand
	net   *intnet.Network
	steps int
	signs bool // weights of all but the first and the last layer
}

func newPaper(c, h, w, steps int, signs bool) *paper {
	return &paper{rand.New(rand.NewPCG(1, 2)), &intnet.Network{Name: "Paper", Input: intnet.Input{Shape: intnet.Shape{C: c, H: h, W: w}}}, steps, signs}
}

func (p *paper) lay(l intnet.Layer) int {
	p.net.Layers = append(p.net.Layers, l)
	return len(p.net.Layers)
}

func (p *paper) conv(from, in, out, kernel, stride, pad int) intnet.Term {
	w := make([]int8, out*in*kernel*kernel)
	for i := range w {
		if w[i] = int8(p.IntN(255) - 127); p.signs && from > 0 {
			w[i] = int8(2*p.IntN(2) - 1)
		}
	}
	k, s := [2]int{kernel, kernel}, [2]int{stride, stride}
	return intnet.Term{From: from, Product: &intnet.Product{Out: out, Kernel: k, Stride: s, Pad: [2]int{pad, pad}, Dilation: [2]int{1, 1}, Weights: w}}
}

func (p *paper) units(out int, terms ...intnet.Term) int {
	l := &intnet.Units{Name: fmt.Sprintf("layer%d", len(p.net.Layers)+1), Sum: intnet.Sum{Terms: terms}, Steps: p.steps, Step: 1}
	if p.steps == 1 {
		l.Step, l.Zero = 2, 1
	}
	for range out {
		t := p.IntN(100) - 50
		for range p.steps {
			l.Thresholds = append(l.Thresholds, int32(t))
			t += p.IntN(500)
		}
	}
	return p.lay(l)
}

func (p *paper) pool(of int) int {
	return p.lay(&intnet.MaxPool{Name: "pool", Of: of, Kernel: [2]int{2, 2}, Stride: [2]int{2, 2}})
}

func (p *paper) logits(t intnet.Term) *intnet.Network {
	n := t.Product.Out
	p.signs = false
	p.lay(&intnet.Logits{Name: "logits", Sum: intnet.Sum{Terms: []intnet.Term{t}}, Scale: make([]float32, n), Offset: make([]float32, n)})
	return p.net
}

func convNet4(steps int, signs bool) *intnet.Network {
	p := newPaper(3, 32, 32, steps, signs)
	h := p.pool(p.units(32, p.conv(0, 3, 32, 5, 1, 3)))
	h = p.pool(p.units(64, p.conv(h, 32, 64, 5, 1, 2)))
	h = p.units(1024, p.conv(h, 64, 1024, 8, 1, 0))
	p.signs = false
	return p.logits(p.conv(h, 1024, 10, 1, 1, 0))
}

func convNet8(steps int, signs bool) *intnet.Network {
	p := newPaper(3, 40, 40, steps, signs)
	h, in := p.pool(p.units(48, p.conv(0, 3, 48, 5, 1, 0))), 48
	for i, c := range []struct{ out, k, pad int }{{64, 3, 1}, {64, 3, 1}, {128, 3, 0}, {128, 3, 1}, {128, 3, 0}, {512, 5, 0}} {
		h = p.units(c.out, p.conv(h, in, c.out, c.k, 1, c.pad))
		if in = c.out; i == 1 {
			h = p.pool(h)
		}
	}
	p.signs = false
	return p.logits(p.conv(h, 512, 10, 1, 1, 0))
}

func resNet18(steps int, signs bool) *intnet.Network {
	p := newPaper(3, 32, 32, steps, signs)
	h, in := p.units(64, p.conv(0, 3, 64, 3, 1, 1)), 64
	for _, stage := range []struct{ out, stride int }{{64, 1}, {128, 2}, {256, 2}, {512, 2}} {
		for _, stride := range []int{stage.stride, 1} {
			b := p.units(stage.out, p.conv(h, in, stage.out, 3, stride, 1))
			sum, short := p.conv(b, stage.out, stage.out, 3, 1, 1), intnet.Term{From: h}
			if in != stage.out {
				short = p.conv(h, in, stage.out, 1, stride, 0)
			}
			sum.Mul, short.Mul = make([]int32, stage.out), make([]int32, stage.out)
			for o := range sum.Mul {
				sum.Mul[o], short.Mul[o] = 100+int32(o%28), 1000+int32(o)
			}
			h, in = p.units(stage.out, sum, short), stage.out
		}
	}
	h = p.lay(&intnet.SumPool{Name: "mean", Of: h, Kernel: [2]int{4, 4}, Stride: [2]int{1, 1}})
	p.signs = false
	return p.logits(p.conv(h, 512, 10, 1, 1, 0))
}

func mlp(steps int, signs bool) *intnet.Network {
	p := newPaper(784, 1, 1, steps, signs)
	p.net.Input.Flat = true
	h := p.units(512, p.conv(0, 784, 512, 1, 1, 0))
	h = p.units(512, p.conv(h, 512, 512, 1, 1, 0))
	p.signs = false
	return p.logits(p.conv(h, 512, 10, 1, 1, 0))
}

// BenchmarkRun is of the paper's networks, by kernels, batch and threads.
func BenchmarkRun(b *testing.B) {
	for _, c := range []struct {
		name string
		net  *intnet.Network
	}{
		{"convnet4", convNet4(1, false)}, {"convnet8", convNet8(1, false)}, {"resnet18", resNet18(1, false)}, {"resnet18-2bit", resNet18(3, false)},
		{"resnet18-signs", resNet18(1, true)}, {"mlp", mlp(1, false)},
	} {
		for _, kernels := range Kernels() {
			if kernels == "portable" {
				continue
			}
			for _, batch := range []int{64, 1} {
				for _, threads := range []int{2, 1} {
					b.Run(fmt.Sprintf("%s/%s/batch%d/threads%d", c.name, kernels, batch, threads), func(b *testing.B) {
						n, err := Options{Threads: threads, Kernels: kernels}.network(c.net, false)
						if err != nil {
							b.Fatal(err)
						}
						in, out := make([]uint8, batch*c.net.Input.Shape.Size()), make([]float32, batch*n.Classes())
						for i := range in {
							in[i] = uint8(i * i >> 3)
						}
						for b.Loop() {
							if err := n.Run(out, in); err != nil {
								b.Fatal(err)
							}
						}
						b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N*batch), "us/image")
						b.ReportMetric(float64(n.plan.multiplyAdds())*float64(b.N*batch)/b.Elapsed().Seconds()/1e9, "GMAC/s")
					})
				}
			}
		}
	}
}
