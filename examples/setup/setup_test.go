package setup_test

import (
	"flag"
	"testing"

	"github.com/ftprop/ftprop/examples/setup"
	"github.com/ftprop/ftprop/internal/gtest"
	"gorgonia.org/gorgonia"
	"gorgonia.org/tensor"
)

func TestBuild(t *testing.T) {
	build := func(args ...string) error {
		var n setup.Network
		f := flag.NewFlagSet("test", flag.ContinueOnError)
		n.Flags(f)
		if err := f.Parse(args); err != nil {
			t.Fatal(err)
		}
		x := gorgonia.NewTensor(gorgonia.NewGraph(), tensor.Float32, 4, gorgonia.WithName("x"), gorgonia.WithShape(2, 1, 8, 8))
		net, err := n.Build(x, 7, 1)
		if err == nil && net.Logits.Shape()[1] != 7 {
			t.Errorf("%v: logits %v", args, net.Logits.Shape())
		}
		return err
	}
	for _, act := range []string{"sign", "step01", "qrelu", "qrelu4", "staircase5", "relu", "trelu", "threshold-relu", "hardtanh", "hardsigmoid", "cabs", "tanh", "sigmoid"} {
		if err := build("-act", act, "-hidden", "4, 3", "-rule", "SSTE", "-unweighted", "-bn"); err != nil {
			t.Errorf("%s: %v", act, err)
		}
	}
	for flag, value := range map[string]string{"arch": "vgg", "act": "qrelu17", "rule": "none", "hidden": "4,0", "dropout": "1"} {
		gtest.WantError(t, flag, build("-"+flag, value), value)
	}
}
