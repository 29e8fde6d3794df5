package models_test

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/ftprop/ftprop/internal/gtest"
	"github.com/ftprop/ftprop/models"
	"github.com/ftprop/ftprop/nodes"
	"github.com/ftprop/ftprop/ops"
	"gorgonia.org/tensor"
)

// Every setting shows in every network, or is refused by it: none is ignored.
func TestNoSettingIsIgnored(t *testing.T) {
	widths := func(n, w int) []int { return slices.Repeat([]int{w}, n) }
	networks := []struct {
		name   string
		build  constructor
		shape  []int
		widths int
	}{
		{"MLP", models.MLP, []int{2, 4}, 2},
		{"ConvNet4", models.ConvNet4, []int{2, 1, 8, 8}, 3},
		{"ConvNet8", models.ConvNet8, []int{2, 3, 32, 32}, 7},
		{"AlexNet", models.AlexNet, []int{2, 3, 68, 68}, 7},
		{"ResNet18", models.ResNet18, []int{2, 1, 8, 8}, 4},
		{"ResNet34", models.ResNet34, []int{2, 1, 8, 8}, 4},
		{"ResNet18ImageNet", models.ResNet18ImageNet, []int{2, 3, 32, 32}, 4},
	}
	// For each field of Config another value than base has, and the words of the error of those that refuse it.
	settings := map[string]struct {
		set     func(c *models.Config)
		refused func(network string) []string
	}{
		"Classes":   {func(c *models.Config) { c.Classes = 7 }, nil},
		"Act":       {func(c *models.Config) { c.Act = nodes.ReLU }, nil},
		"BatchNorm": {func(c *models.Config) { c.BatchNorm = true }, nil},
		"Widths":    {func(c *models.Config) { c.Widths = slices.Repeat([]int{3}, len(c.Widths)) }, nil},
		"Seed":      {func(c *models.Config) { c.Seed = 2 }, nil},
		"Order": {func(c *models.Config) { c.Order = models.BiReal }, func(network string) []string {
			if strings.HasPrefix(network, "ResNet") {
				return nil
			}
			return []string{"order BiReal", "residual blocks"}
		}},
		"Weights": {func(c *models.Config) { c.Weights = ops.SignWeights{} }, nil},
		"AllWeights": {func(c *models.Config) { c.AllWeights = true }, func(string) []string {
			return []string{"AllWeights without Weights"}
		}},
		"Name": {func(c *models.Config) { c.Name = "mine" }, func(string) []string { return []string{"Name \"mine\""} }},
		"Dropout": {func(c *models.Config) { c.Dropout = 0.25 }, func(network string) []string {
			if network == "ConvNet8" {
				return nil
			}
			return []string{"dropout 0.25", "ConvNet8"}
		}},
	}
	// shows is all of a network that settings can change.
	shows := func(net *models.Net) string {
		s := fmt.Sprint(net.Logits.Shape(), net.Buffers(), net.Params()[0].Value().Data())
		for _, p := range net.Params() {
			s += fmt.Sprint(p.Name(), p.Shape())
		}
		for _, n := range net.Input.Graph().AllNodes() {
			if n.Op() != nil {
				s += fmt.Sprint(n.Op())
			}
		}
		return s
	}
	for _, field := range reflect.VisibleFields(reflect.TypeFor[models.Config]()) {
		setting, ok := settings[field.Name]
		if !ok {
			if field.IsExported() {
				t.Errorf("Config.%s is not tested", field.Name)
			}
			continue
		}
		for _, n := range networks {
			base := models.Config{Widths: widths(n.widths, 2), Seed: 1}
			net, err := n.build(input(tensor.Float32, n.shape...), base)
			net = must(t, net, err)
			changed := base
			setting.set(&changed)
			other, err := n.build(input(tensor.Float32, n.shape...), changed)
			if setting.refused != nil && setting.refused(n.name) != nil {
				gtest.WantError(t, n.name+", "+field.Name, err, append(setting.refused(n.name), "models: "+n.name)...)
				continue
			}
			other = must(t, other, err)
			if always := field.Name == "BatchNorm" && net.Config().BatchNorm; always { // with a zero value that cannot be told from a choice
				if len(net.Buffers()) == 0 || !other.Config().BatchNorm {
					t.Errorf("%s says that it has batch normalisation", n.name)
				}
				continue
			}
			if shows(net) == shows(other) {
				t.Errorf("%s ignores %s", n.name, field.Name)
			}
			if net.Config().BatchNorm != (len(net.Buffers()) > 0) {
				t.Errorf("%s: Config says %v of batch normalisation", n.name, net.Config().BatchNorm)
			}
		}
	}
}
