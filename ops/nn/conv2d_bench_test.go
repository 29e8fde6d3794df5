package nn

import (
	"fmt"
	"math"
	"testing"
	"time"

	"github.com/ftprop/ftprop/internal/conv"
	"github.com/ftprop/ftprop/internal/winograd"
)

// BenchmarkConv2d is of the convolutions of the networks in package models, each in all ways that can compute it, in turns. It reports for each
// way the multiply-adds of the definition in a second, in thousands of millions, of its fastest run.
func BenchmarkConv2d(b *testing.B) {
	for _, l := range []struct {
		name                               string
		n, c, side, o, kernel, pad, stride int
	}{
		{"ConvNet4.1", 64, 3, 32, 32, 5, 3, 1},
		{"ConvNet4.2", 64, 32, 17, 64, 5, 2, 1},
		{"ConvNet8.0", 64, 3, 40, 48, 5, 0, 1},
		{"ConvNet8.1", 64, 48, 18, 64, 3, 1, 1},
		{"ConvNet8.2", 64, 64, 18, 64, 3, 1, 1},
		{"ConvNet8.3", 64, 64, 9, 128, 3, 0, 1},
		{"ConvNet8.4", 64, 128, 7, 128, 3, 1, 1},
		{"ConvNet8.5", 64, 128, 7, 128, 3, 0, 1},
		{"ConvNet8.6", 64, 128, 5, 512, 5, 0, 1},
		{"ResNet18.first", 16, 3, 32, 64, 3, 1, 1},
		{"ResNet18.1", 16, 64, 32, 64, 3, 1, 1},
		{"ResNet18.2half", 16, 64, 32, 128, 3, 1, 2},
		{"ResNet18.2short", 16, 64, 32, 128, 1, 0, 2},
		{"ResNet18.2", 16, 128, 16, 128, 3, 1, 1},
		{"ResNet18.3half", 16, 128, 16, 256, 3, 1, 2},
		{"ResNet18.3short", 16, 128, 16, 256, 1, 0, 2},
		{"ResNet18.3", 16, 256, 8, 256, 3, 1, 1},
		{"ResNet18.4half", 16, 256, 8, 512, 3, 1, 2},
		{"ResNet18.4short", 16, 256, 8, 512, 1, 0, 2},
		{"ResNet18.4", 16, 512, 4, 512, 3, 1, 1},
		{"AlexNet.1", 8, 3, 224, 64, 11, 2, 4},
		{"AlexNet.2", 8, 64, 27, 192, 5, 2, 1},
		{"AlexNet.3", 8, 192, 13, 384, 3, 1, 1},
		{"ImageNet.first", 4, 3, 224, 64, 7, 3, 2},
	} {
		for _, n := range []int{l.n, 1} {
			g := testGeometry(n, l.c, l.side, l.side, l.kernel, l.kernel, [2]int{l.pad, l.pad}, [2]int{l.stride, l.stride}, [2]int{1, 1})
			g.o = l.o
			x, f, bias := numbers(g.n*g.c*g.h*g.w), numbers(g.o*g.rows()), numbers(g.o)
			y, dx, df := make([]float32, g.n*g.o*g.cols()), make([]float32, len(x)), make([]float32, len(f))
			dy := numbers(len(y))
			d := conv.Conv{N: g.n, C: g.c, H: g.h, W: g.w, O: g.o, KH: g.kh, KW: g.kw, OH: g.oh, OW: g.ow, Pad: g.pad, Stride: g.stride, Dilation: g.dilation}
			two := winograd.Conv{N: g.n, C: g.c, H: g.h, W: g.w, O: g.o, PadH: g.pad[0], PadW: g.pad[1], Filter: g.kh, Tile: 2}
			four := two
			four.Tile = 4
			fast := (g.kh == 3 || g.kh == 5) && g.stride[0] == 1 && two.Suits()
			for _, pass := range []struct {
				name string
				ways map[string]func() error
			}{
				{"forward", map[string]func() error{
					"columns": func() error { return columnsForward(&g, y, x, f, &conv.Epilogue{Shift: bias}) }, "direct": func() error { return d.Forward(y, x, f, conv.Epilogue{Shift: bias}) },
					"F2x2": func() error { return two.Forward(y, x, f, conv.Epilogue{Shift: bias}) }, "F4x4": func() error { return four.Forward(y, x, f, conv.Epilogue{Shift: bias}) },
				}},
				{"inputGrad", map[string]func() error{
					"columns": func() error { return columnsInputGrad(&g, dx, dy, f) }, "direct": func() error { return d.InputGrad(dx, dy, f) },
					"F2x2": func() error { return two.InputGrad(dx, dy, f) }, "F4x4": func() error { return four.InputGrad(dx, dy, f) },
				}},
				{"filterGrad", map[string]func() error{
					"columns": func() error { return columnsFilterGrad(&g, df, dy, x) }, "direct": func() error { return d.FilterGrad(df, dy, x) },
					"F2x2": func() error { return two.FilterGrad(df, dy, x) }, "F4x4": func() error { return four.FilterGrad(df, dy, x) },
				}},
			} {
				b.Run(fmt.Sprintf("%s/%d/%s", l.name, n, pass.name), func(b *testing.B) {
					least := map[string]float64{}
					for b.Loop() {
						for way, f := range pass.ways {
							if way[0] == 'F' && !fast || way == "F4x4" && g.kh == 5 {
								continue
							}
							start := time.Now()
							if err := f(); err != nil {
								b.Fatal(err)
							}
							if t := time.Since(start).Seconds(); t < least[way] || least[way] == 0 {
								least[way] = t
							}
						}
					}
					products := float64(g.n*g.o*g.cols()) * float64(g.rows())
					for way, t := range least {
						b.ReportMetric(math.Round(products/t/1e8)/10, way)
					}
				})
			}
		}
	}
}

func numbers(n int) []float32 {
	x := make([]float32, n)
	for i := range x {
		x[i] = float32(i%31)/16 - 1
	}
	return x
}
