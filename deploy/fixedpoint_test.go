package deploy_test

import (
	"testing"

	"github.com/ftprop/ftprop/deploy"
	"github.com/ftprop/ftprop/internal/gtest"
	"github.com/ftprop/ftprop/nodes"
	"gorgonia.org/gorgonia"
	"gorgonia.org/tensor"
)

// What one reader of a product adds to it is no part of what another reads: such networks, whose weights would have to be rounded in two ways, are
// refused for that and nothing else.
func TestFixedPointOfAProductOfTwoReaders(t *testing.T) {
	for name, build := range map[string]func(n net, p *gorgonia.Node) (a, b *gorgonia.Node){
		"two biases": func(n net, p *gorgonia.Node) (a, b *gorgonia.Node) {
			return n.must(nodes.Add(p, n.given("b1", []float64{1, 2}, 1, 2))), n.must(nodes.Add(p, n.given("b2", []float64{3, 4}, 1, 2)))
		},
		"a bias and none": func(n net, p *gorgonia.Node) (a, b *gorgonia.Node) {
			return n.must(nodes.Add(p, n.given("b1", []float64{1, 2}, 1, 2))), p
		},
		"none and a bias": func(n net, p *gorgonia.Node) (a, b *gorgonia.Node) {
			return p, n.must(nodes.Add(p, n.given("b1", []float64{1, 2}, 1, 2)))
		},
		"two normalisations": func(n net, p *gorgonia.Node) (a, b *gorgonia.Node) {
			return n.norm("n1", p, []float64{1, 2}, []float64{1, 1}), n.norm("n2", p, []float64{3, -1}, []float64{0, 1})
		},
		"a normalisation and a bias": func(n net, p *gorgonia.Node) (a, b *gorgonia.Node) {
			return n.norm("n1", p, []float64{1, 2}, []float64{1, 1}), n.must(nodes.Add(p, n.given("b2", []float64{3, 4}, 1, 2)))
		},
		"a bias and a normalisation": func(n net, p *gorgonia.Node) (a, b *gorgonia.Node) {
			return n.must(nodes.Add(p, n.given("b2", []float64{3, 4}, 1, 2))), n.norm("n1", p, []float64{1, 2}, []float64{1, 1})
		},
	} {
		for _, together := range []bool{true, false} {
			n := newNet(t, tensor.Float64)
			x := n.param("x", 1, 2)
			p := n.linear("w", x, 2, 1, 2, 3, -4)
			a, b := build(n, p)
			h := n.must(nodes.Add(a, b)) // both are there before there are thresholds
			if !together {
				h = n.must(nodes.Add(n.linear("left", n.must(nodes.Sign(a)), 2, 1, 0, 0, 1), n.linear("right", n.must(nodes.Sign(b)), 2, 1, 0, 0, 1)))
			}
			h = n.must(nodes.Sign(h))
			y := n.linear("last", h, 2, 1, 0, 0, 1)
			_, err := traced(t, x, y).FixedPoint(deploy.FixedPointOptions{})
			gtest.WantError(t, name, err, `"w" is read by two layers`)
		}
	}
}
