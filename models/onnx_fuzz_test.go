package models_test

import (
	"bytes"
	"fmt"
	"math"
	"testing"

	"github.com/ftprop/ftprop/deploy"
	"github.com/ftprop/ftprop/models"
	"github.com/ftprop/ftprop/nodes"
	"github.com/ftprop/ftprop/ops"
	"gorgonia.org/gorgonia"
	"gorgonia.org/tensor"
)

// Networks of all kinds and weights of all sizes: what is exported parses again as a sound graph, or an error says why it cannot be and
// nothing is written.
func FuzzExportONNX(f *testing.F) {
	for seed := range uint64(24) {
		f.Add(seed*0x9e3779b97f4a7c15, 1.0, 0.0, 1.0, uint16(3))
	}
	f.Add(uint64(1), 1e38, -1.0, 1.0, uint16(5))
	f.Add(uint64(2), math.NaN(), -0.3, 1.7, uint16(6))
	f.Add(uint64(3), 1e300, 1.0, 1+1e-12, uint16(2))
	f.Add(uint64(4), 1e-50, -1e38, 3e38, uint16(65535))
	f.Add(uint64(5), 0.0, 0.0, 0.0, uint16(4))
	f.Fuzz(func(t *testing.T, choice uint64, scale, lo, hi float64, steps uint16) {
		pick := func(n uint64) int { // the next of n choices
			k := choice % n
			choice /= n
			return int(k)
		}
		hard := true
		var act nodes.Activation
		switch pick(8) {
		case 0:
			act = nodes.Sign
		case 1:
			act = nodes.Step01
		case 2:
			act = func(x *gorgonia.Node) (*gorgonia.Node, error) { return nodes.QReLU(x, 1+pick(16)) }
		case 3, 4:
			if steps %= 300; pick(50) == 0 { // a staircase of many steps has a long list of thresholds
				steps *= 200
			}
			act = nodes.Act(ops.Staircase{Steps: int(steps), Lo: lo, Hi: hi})
		case 5:
			hard, act = false, func(x *gorgonia.Node) (*gorgonia.Node, error) { return nodes.LeakyReLU(x, lo) }
		case 6:
			hard, act = false, func(x *gorgonia.Node) (*gorgonia.Node, error) { return gorgonia.ApplyOp(ops.ThresholdReLU(hi), x) }
		case 7:
			hard, act = false, []nodes.Activation{nodes.ReLU, nodes.HardTanh, nodes.HardSigmoid, nodes.CAbs, then()}[pick(5)]
		}
		cfg := models.Config{Act: act, BatchNorm: pick(2) == 1, Classes: 1 + pick(3), Seed: choice}
		dt := []tensor.Dtype{tensor.Float32, tensor.Float64}[pick(2)]
		o := deploy.ONNXOptions{Thresholds: forms()[pick(3)], Hidden: true}
		var net *models.Net
		var err error
		switch pick(6) {
		default:
			for range 1 + pick(3) {
				cfg.Widths = append(cfg.Widths, 1+pick(4))
			}
			shape := [][]int{{1, 3}, {2, 1}, {1, 2, 1, 2}}[pick(3)]
			net, err = models.MLP(input(dt, shape...), cfg)
		case 0:
			cfg.Widths = []int{1 + pick(2), 1 + pick(2), 1 + pick(3)}
			net, err = models.ConvNet4(input(dt, 1, 1+pick(2), 4, 4+pick(3)), cfg)
		case 1:
			if pick(8) == 0 { // they are large
				cfg.Widths = []int{1, 1 + pick(2), 1, 2}
				net, err = models.ResNet18(input(dt, 1, 1, 8, 8), cfg)
			} else {
				cfg.Widths = []int{1}
				net, err = models.MLP(input(dt, 1, 1), cfg)
			}
		}
		if err != nil {
			return // levels that cannot be
		}
		for _, p := range net.Params() {
			switch x := p.Value().Data().(type) {
			case []float32:
				for i := range x {
					x[i] *= float32(scale)
				}
			case []float64:
				for i := range x {
					x[i] *= scale
				}
			}
		}
		if pick(8) == 0 {
			if fixed, err := net.FixedPoint(deploy.FixedPointOptions{InputBits: 2 + pick(15)}); err == nil {
				net = fixed
			}
		}
		var b bytes.Buffer
		if err := net.ExportONNX(&b, o); err != nil {
			if b.Len() > 0 {
				t.Errorf("%d bytes beside %v", b.Len(), err)
			}
			return
		}
		checkONNX(t, fmt.Sprint(net.Name(), " ", net.Identity().Activation), net, decodeONNX(t, b.Bytes()), hard && o.Thresholds != deploy.StandardOperators)
	})
}
