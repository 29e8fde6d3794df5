package deploy_test

import (
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/ftprop/ftprop/deploy"
	"github.com/ftprop/ftprop/internal/intnet"
	"github.com/ftprop/ftprop/nodes"
	"gorgonia.org/tensor"
)

// Padding adds zeros to a normalised image, which are no zeros of pixels.
func TestQuantisedPixels(t *testing.T) {
	nine := slices.Repeat([]float64{1}, 9)
	n := newNet(t, tensor.Float64)
	x := n.param("x", 1, 1, 3, 3)
	y := n.classifier(n.must(nodes.Sign(n.conv("w", x, 1, 3, 1, 1, nine...))))
	in := quantised(t, x, y, deploy.QuantiseOptions{Pixels: &deploy.PixelInput{Mean: []float64{0.2}, Std: []float64{0.5}}})
	l := layer[*intnet.Units](t, in, "Sign")
	// A mean of 51 for each of the filter's 4, 6 or 9 elements in the image.
	if want := []int32{-204, -306, -204, -306, -459, -306, -204, -306, -204}; !slices.Equal(l.Sum.Bias, want) || !slices.Equal(l.Thresholds, []int32{1}) {
		t.Errorf("bias %v, want %v; thresholds %v", l.Sum.Bias, want, l.Thresholds)
	}
	// Without padding thresholds have it, exactly: A > 9 51.3.
	n = newNet(t, tensor.Float64)
	x = n.param("x", 1, 1, 3, 3)
	y = n.classifier(n.must(nodes.Sign(n.conv("w", x, 1, 3, 0, 1, nine...))))
	in = quantised(t, x, y, deploy.QuantiseOptions{Pixels: &deploy.PixelInput{Mean: []float64{51.3 / 255}}})
	if l := layer[*intnet.Units](t, in, "Sign"); l.Sum.Bias != nil || !slices.Equal(l.Thresholds, []int32{462}) {
		t.Errorf("bias %v, thresholds %v", l.Sum.Bias, l.Thresholds)
	}

	rng := rand.New(rand.NewPCG(5, 6))
	pixels := func(count int, mean, std []float64) (p []uint8, x []float64) {
		for i := range 20 * count {
			c := i % count / (count / len(mean))
			v := uint8(rng.IntN(256))
			p, x = append(p, v), append(x, (float64(v)/255-mean[c])/std[c])
		}
		return p, x
	}
	mean, std := []float64{0.4, 0.2, 0.6}, []float64{0.25, 0.25, 0.25}
	for name, c := range map[string]struct{ kernel, pad, stride, dilation int }{
		"padded": {3, 1, 1, 1}, "far": {3, 3, 2, 1}, "dilated": {2, 2, 1, 2}, "even": {4, 2, 3, 1}, "alone": {1, 1, 1, 1}, "not padded": {3, 0, 2, 1},
	} {
		rng = rand.New(rand.NewPCG(5, 6))
		// Weights of 0, 1 and -1 are exact, and so is all but the rounded constants, which these biases and integer means leave without effect.
		n := newNet(t, tensor.Float64)
		x := n.param("x", 1, 3, 6, 7)
		w := make([]float64, 4*3*c.kernel*c.kernel)
		for i := range w {
			w[i] = 0.5 * float64(rng.IntN(3)-1)
		}
		f, b := n.given("w", w, 4, 3, c.kernel, c.kernel), n.given("b", []float64{0.001, 0.301, -0.5, 0.003}, 4)
		z := n.must(nodes.Conv2dBias(x, f, b, []int{c.kernel, c.kernel}, []int{c.pad, c.pad}, []int{c.stride, c.stride}, []int{c.dilation, c.dilation}))
		y := n.classifier(n.must(nodes.QReLU(z, 2)))
		in := quantised(t, x, y, deploy.QuantiseOptions{Pixels: &deploy.PixelInput{Mean: mean, Std: std}})
		p, v := pixels(3*6*7, mean, std)
		if l := layer[*intnet.Units](t, in, "Staircase"); (l.Sum.Bias != nil) != (c.pad > 0) {
			t.Errorf("%s: bias %v", name, l.Sum.Bias)
		}
		agree(t, name, in, x, y, v, p)
	}

	// A sum of two products of pixels.
	m := newNet(t, tensor.Float64)
	x = m.param("x", 1, 3, 4, 4)
	w := make([]float64, 2*3*9)
	for i := range w {
		w[i] = 0.25 * float64(rng.IntN(3)-1)
	}
	z := m.must(nodes.Add(m.conv("v", x, 2, 3, 1, 1, w...), m.conv("w", x, 2, 1, 0, 1, 1, -1, 1, 0.5, -0.5, 0)))
	y = m.classifier(m.must(nodes.QReLU(m.norm("norm", z, []float64{1, -1}, []float64{0.3003, 0.1007}), 2)))
	p, v := pixels(3*4*4, mean, std)
	in = quantised(t, x, y, deploy.QuantiseOptions{Pixels: &deploy.PixelInput{Mean: mean, Std: std}})
	if l := layer[*intnet.Units](t, in, "Staircase"); l.Sum.Terms[0].Mul == nil {
		t.Errorf("%+v: no multipliers", l.Sum)
	}
	agree(t, "two products", in, x, y, v, p)

	// Of features each may have its own.
	n = newNet(t, tensor.Float64)
	x = n.param("x", 1, 3)
	y = n.linear("w", n.must(nodes.Sign(n.linear("v", x, 2, 1, -1, 0, 1, 1, -1))), 1, 1, 2)
	mean, std = []float64{0.2, 0.4, 0.6}, []float64{1, 1, 1}
	p, v = pixels(3, mean, std)
	agree(t, "features", quantised(t, x, y, deploy.QuantiseOptions{Pixels: &deploy.PixelInput{Mean: mean}}), x, y, v, p)
	mean, std = []float64{0, 0, 0}, []float64{1, 1, 1}
	p, v = pixels(3, mean, std)
	agree(t, "no normalisation", quantised(t, x, y, deploy.QuantiseOptions{Pixels: &deploy.PixelInput{}}), x, y, v, p)
}
