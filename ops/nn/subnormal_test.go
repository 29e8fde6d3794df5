package nn

import (
	"fmt"
	"runtime"
	"testing"

	"github.com/ftprop/ftprop/internal/conv"
	"github.com/ftprop/ftprop/internal/vec"
)

// Gradients of deep networks get so small that their products are subnormal, which processors take a hundred times as long for. All ways to compute a
// convolution have them as 0 where they have kernels, and leave Go's arithmetic as it was.
func TestConvolutionsHaveSubnormalNumbersAsZero(t *testing.T) {
	if conv.Lanes() == 0 {
		t.Skip("the portable code computes with subnormal numbers")
	}
	for _, l := range []struct{ n, c, side, o, kernel, pad, stride int }{
		{8, 16, 16, 16, 3, 1, 1},  // 4x4 tiles
		{8, 128, 7, 128, 3, 1, 1}, // 2x2 tiles
		{16, 32, 17, 64, 5, 2, 1}, // filters of 5x5
		{8, 16, 16, 16, 3, 1, 2},  // package conv
		{8, 3, 16, 16, 3, 1, 2},   // columns, for the images' gradient
		{4, 512, 8, 16, 8, 0, 1},  // read where it lies
	} {
		t.Run(fmt.Sprintf("%+v", l), func(t *testing.T) {
			g := testGeometry(l.n, l.c, l.side, l.side, l.kernel, l.kernel, [2]int{l.pad, l.pad}, [2]int{l.stride, l.stride}, [2]int{1, 1})
			g.o = l.o
			// Products with filters of 1e-14 are about 1e-42, and sums of thousands of them are below 1e-38.
			scaled := func(n int, by float32) []float32 {
				x := numbers(n)
				vec.Scale(x, x, by)
				return x
			}
			tiny, tinier := float32(1e-14), float32(1e-28)
			pixels, outputs, weights := g.n*g.c*g.h*g.w, g.n*g.o*g.cols(), g.o*g.rows()
			f, dy := scaled(weights, tiny), scaled(outputs, tinier)
			y, dx, df := make([]float32, outputs), make([]float32, pixels), make([]float32, weights)
			runtime.LockOSThread()
			defer runtime.UnlockOSThread()
			for _, err := range []error{
				convForward(&g, y, scaled(pixels, tinier), f, &vec.Epilogue[float32]{}),
				convInputGrad(&g, dx, dy, f),
				convFilterGrad(&g, df, dy, scaled(pixels, tiny)),
			} {
				if err != nil {
					t.Fatal(err)
				}
			}
			for what, out := range map[string][]float32{"outputs": y, "gradient of the images": dx, "gradient of the filters": df} {
				for i, v := range out {
					if v != 0 {
						t.Fatalf("%s: element %d is %g", what, i, v)
					}
				}
			}
			if tiny*tinier == 0 {
				t.Error("subnormal numbers are 0 in Go, too")
			}
		})
	}
}
