package setup_test

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/ftprop/ftprop/examples/setup"
	"github.com/ftprop/ftprop/ops/nn"
	"gorgonia.org/gorgonia"
	"gorgonia.org/tensor"
)

// The statistics are those of the batch, whatever they were: of the first layer's products of an identity.
func TestCalibrate(t *testing.T) {
	n, _ := parsed(t, "-arch mlp -hidden 2 -bn -act relu")
	x := gorgonia.NewTensor(gorgonia.NewGraph(), tensor.Float32, 4, gorgonia.WithName("x"), gorgonia.WithShape(50, 1, 1, 2))
	net, err := n.Build(x, 3, 1)
	if err != nil {
		t.Fatal(err)
	}
	copy(net.Param("fc1.weight").Value().Data().([]float32), []float32{1, 0, 0, 1})
	if b := net.Param("fc1.bias"); b != nil {
		clear(b.Value().Data().([]float32))
	}
	rng := rand.New(rand.NewPCG(1, 2))
	images := make([]float32, 100)
	var sum, squares [2]float64
	for i := range images {
		images[i] = float32(rng.NormFloat64()*float64(1+i%2) + 3)
		sum[i%2] += float64(images[i])
		squares[i%2] += float64(images[i]) * float64(images[i])
	}
	for range 2 {
		if err := setup.Calibrate(net, images); err != nil {
			t.Fatal(err)
		}
	}
	norms := 0
	for _, node := range net.Input.Graph().AllNodes() {
		op, ok := node.Op().(*nn.BatchNorm)
		if !ok {
			continue
		}
		norms++
		mean, variance := op.Running()
		for c := range mean {
			m := sum[c] / 50
			v := (squares[c] - 50*m*m) / 49
			if !(math.Abs(mean[c]-m) < 1e-4) || !(math.Abs(variance[c]-v) < 1e-3) {
				t.Errorf("channel %d: mean %v, variance %v, want %v, %v", c, mean[c], variance[c], m, v)
			}
		}
	}
	if norms != 1 {
		t.Errorf("%d normalisations", norms)
	}
}
