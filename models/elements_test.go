package models

import (
	"bytes"
	"reflect"
	"testing"

	"github.com/ftprop/ftprop/deploy"
	"github.com/ftprop/ftprop/internal/gtest"
	"github.com/ftprop/ftprop/nodes"
	"github.com/ftprop/ftprop/ops"
	"gorgonia.org/gorgonia"
	"gorgonia.org/tensor"
)

// A weight in any layout is stored, exported, rounded and run as the same numbers in row-major order are; Load, which writes to it, and
// PackSigns and PackLevels refuse other layouts than that.
func TestWeightsOfEveryLayout(t *testing.T) {
	for _, dt := range gtest.Dtypes() {
		x := gorgonia.NewTensor(gorgonia.NewGraph(), dt, 2, gorgonia.WithShape(2, 3), gorgonia.WithName("x"))
		net, err := MLP(x, Config{Act: nodes.Sign, Classes: 2, Widths: []int{4}, Seed: 1})
		if err != nil {
			t.Fatal(err)
		}
		input := gtest.Dense(dt, []float64{1, -2, 0.5, -1, 3, 0.25}, 2, 3)
		results := func() map[string]any {
			out := map[string]any{}
			keep := func(what string, f func() (any, error)) {
				v, err := f()
				if err != nil {
					t.Errorf("%s: %v", what, err)
				}
				out[what] = v
			}
			keep("Save", func() (any, error) { var b bytes.Buffer; err := net.Save(&b); return b.String(), err })
			keep("ExportONNX", func() (any, error) {
				var b bytes.Buffer
				err := net.ExportONNX(&b, deploy.ONNXOptions{})
				return b.String(), err
			})
			keep("FixedPoint", func() (any, error) {
				fixed, err := net.FixedPoint(deploy.FixedPointOptions{})
				if err != nil {
					return nil, err
				}
				var b bytes.Buffer
				err = fixed.Save(&b)
				return b.String(), err
			})
			keep("PackActivations", func() (any, error) { return net.PackActivations(input) })
			return out
		}
		name := "fc1.weight"
		shape := net.Param(name).Shape()
		elements := gtest.Floats(t, net.Param(name).Value())
		want := results()
		var file bytes.Buffer
		if err := net.Save(&file); err != nil {
			t.Fatal(err)
		}
		for _, l := range gtest.Layouts(t, dt, elements, shape...) {
			if err := gorgonia.Let(net.Param(name), l.Dense); err != nil {
				t.Fatalf("%s: %v", l.Name, err)
			}
			for what, got := range results() {
				if !reflect.DeepEqual(got, want[what]) {
					t.Errorf("%v, %s, %s: differs from row-major", dt, l.Name, what)
				}
			}
			err := net.Load(bytes.NewReader(file.Bytes()))
			if !l.Plain {
				gtest.WantError(t, l.Name, err, "fc1.weight", "row-major")
			} else if err != nil {
				t.Errorf("%s: %v", l.Name, err)
			}
		}
		signs := []float64{1, -1, -1, 1, 1, -1}
		all := gtest.Dense(dt, signs, 2, 3)
		want2, err := deploy.PackLevels(all, ops.Sign{}.Threshold().Levels)
		if err != nil {
			t.Fatal(err)
		}
		for _, l := range gtest.Layouts(t, dt, signs, 2, 3) {
			for what, f := range map[string]func(gorgonia.Value) (*deploy.Bits, error){
				"PackSigns": deploy.PackSigns,
				"PackLevels": func(v gorgonia.Value) (*deploy.Bits, error) {
					return deploy.PackLevels(v, ops.Sign{}.Threshold().Levels)
				},
			} {
				got, err := f(l.Dense)
				if !l.Plain {
					gtest.WantError(t, l.Name+", "+what, err, "row-major")
				} else if err != nil || !reflect.DeepEqual(got, want2) {
					t.Errorf("%s, %s: %v, %v: want %v", l.Name, what, got, err, want2)
				}
			}
		}
	}
	_, err := deploy.PackSigns((*tensor.Dense)(nil))
	gtest.WantError(t, "nil", err, "nil")
}
