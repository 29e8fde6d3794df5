package pictures

import (
	"bytes"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"io"
	"math"
	"testing"

	"github.com/ftprop/ftprop/diagnostics"
	"github.com/ftprop/ftprop/internal/gtest"
	"github.com/ftprop/ftprop/nodes"
	"github.com/ftprop/ftprop/ops"
	"gorgonia.org/gorgonia"
	"gorgonia.org/tensor"
)

// drawn draws a picture and checks that it is one, of the promised width, with something in it.
func drawn(t *testing.T, name string, draw func(io.Writer) error) image.Image {
	t.Helper()
	var b bytes.Buffer
	if err := draw(&b); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	img, err := png.Decode(&b)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	if w := img.Bounds().Dx(); w != 1200 {
		t.Errorf("%s is %d pixels wide, want 1200", name, w)
	}
	if n := ink(img); n < 2000 {
		t.Errorf("%s has %d pixels that are not white", name, n)
	}
	return img
}

// ink counts pixels that are not white.
func ink(img image.Image) int {
	const step = 5
	n := 0
	for y := 0; y < img.Bounds().Dy(); y += step {
		for x := 0; x < img.Bounds().Dx(); x += step {
			if r, g, b, _ := img.At(x, y).RGBA(); r+g+b < 3*0xffff {
				n += step * step
			}
		}
	}
	return n
}

func layers(n int, agreement float64) []diagnostics.LayerStats {
	var out []diagnostics.LayerStats
	for i := range n {
		out = append(out, diagnostics.LayerStats{
			Name: fmt.Sprintf("block.nonlin%d", i+1), Agreement: agreement / float64(i+1), Thresholds: []float64{0},
			Z: diagnostics.Histogram{Min: -1, Max: 2, Counts: []int{1, 5, 2}},
		})
	}
	return out
}

func TestLines(t *testing.T) {
	nan := math.NaN()
	for name, panels := range map[string][]Panel{
		"none":       nil,
		"empty":      {{X: "x", Y: "y"}},
		"one point":  {{X: "x", Y: "y", Lines: []Series{{Name: "a", Y: []float64{1}}}}},
		"all NaN":    {{X: "x", Y: "y", Lines: []Series{{Name: "a", Y: []float64{nan, nan}}}}},
		"constant":   {{X: "x", Y: "y", Lines: []Series{{Name: "a", Y: []float64{3, 3, 3}}}}},
		"three":      {{Title: "a"}, {Title: "b"}, {Title: "c", Lines: []Series{{Name: "a", X: []float64{0.1, 0.2}, Y: []float64{1, nan}}}}},
		"many lines": {{Lines: many(20)}, {Lines: many(3)}},
	} {
		if name == "none" {
			if err := Lines(io.Discard, name); err != nil {
				t.Error(err)
			}
			continue
		}
		drawn(t, name, func(w io.Writer) error { return Lines(w, name, panels...) })
	}
	err := Lines(io.Discard, "", Panel{Lines: []Series{{Y: []float64{1, math.Inf(1)}}}})
	if err == nil {
		t.Error("infinity: no error")
	}
}

// A series has one colour in all panels, bands stay within the axis, and a logarithmic axis is refused what it has no place for.
func TestMultiples(t *testing.T) {
	a, b := Series{Name: "a", Y: []float64{1, 2, 3}, Lo: []float64{0, 1, 2}, Hi: []float64{3, 3, 9}}, Series{Name: "b", Y: []float64{2, 2, 2}, Dashed: true}
	for _, columns := range []int{1, 2, 3} {
		img := drawn(t, fmt.Sprint(columns), func(w io.Writer) error {
			return Multiples(w, "multiples", columns, Panel{Title: "both", YMin: 0.5, YMax: 4, Lines: []Series{a, b}}, Panel{Title: "one", Lines: []Series{b}})
		})
		for i := range 4 {
			if n := pixels(img, Color(i)); (n > 0) != (i < 2) && i < 3 { // black is the text's
				t.Errorf("%d columns: %d pixels in colour %d", columns, n, i)
			}
		}
	}
	s := Series{Name: "s", X: []float64{0.001, 0.1, 10}, Y: []float64{1, 2, 3}}
	drawn(t, "logarithmic", func(w io.Writer) error {
		return Multiples(w, "", 3, Panel{LogX: true, Lines: []Series{s}}, Panel{LogX: true})
	})
	empty := Series{Name: "e", Y: []float64{math.NaN()}}
	drawn(t, "nothing to draw", func(w io.Writer) error {
		return Multiples(w, "", 2, Panel{Lines: []Series{empty, a}}, Panel{Lines: []Series{empty}})
	})
	gtest.WantError(t, "lengths", Multiples(io.Discard, "", 2, Panel{Lines: []Series{{Name: "short", X: []float64{1}, Y: []float64{1, 2}}}}), "short", "2 values")
	s.X = []float64{0, 0.1, 10}
	gtest.WantError(t, "0 on a logarithmic axis", Multiples(io.Discard, "", 3, Panel{Title: "p", LogX: true, Lines: []Series{s}}), "logarithmic", `"p"`)
}

// pixels counts those of a colour.
func pixels(img image.Image, c color.RGBA) (n int) {
	for y := range img.Bounds().Dy() {
		for x := range img.Bounds().Dx() {
			if color.RGBAModel.Convert(img.At(x, y)) == c {
				n++
			}
		}
	}
	return n
}

func many(n int) []Series {
	var s []Series
	for i := range n {
		s = append(s, Series{Name: fmt.Sprint("line ", i), Y: []float64{float64(i), float64(2 * i), 3}})
	}
	return s
}

func TestAgreement(t *testing.T) {
	for _, n := range []int{1, 2, 20} {
		drawn(t, fmt.Sprint(n), func(w io.Writer) error {
			return Agreement(w, [][]diagnostics.LayerStats{layers(n, 0.5), layers(n, 0.75)}, "agreement")
		})
		p, err := AgreementPanel([][]diagnostics.LayerStats{layers(n, 0.5), layers(n, 0.75)})
		if err != nil || p.Lines[0].Y[1] != 75 {
			t.Errorf("%+v, %v", p, err)
		}
		if n == 20 && (len(p.Lines) != 8 || p.Lines[7].Name != "block.nonlin20" && p.Lines[7].Name != "nonlin20") {
			t.Errorf("%d lines of 20 layers", len(p.Lines))
		}
	}
	if Agreement(io.Discard, nil, "") == nil || Agreement(io.Discard, [][]diagnostics.LayerStats{layers(2, 1), layers(1, 1)}, "") == nil {
		t.Error("no layers, and different layers: no error")
	}
}

func TestHistograms(t *testing.T) {
	l := layers(3, 0.5)
	l[1].Z = diagnostics.Histogram{Min: 1, Max: 1, Counts: []int{4, 0, 0}}
	l[2].Thresholds = []float64{0, 0.5, 1}
	drawn(t, "histograms", func(w io.Writer) error { return Histograms(w, l, "z") })
	if Histograms(io.Discard, nil, "") == nil {
		t.Error("no layers: no error")
	}
}

func TestRules(t *testing.T) {
	rules, err := NamedRules()
	if err != nil || len(rules) != len(ops.RuleNames()) {
		t.Fatal(len(rules), err)
	}
	for _, lv := range []ops.Levels{{Lo: -1, Hi: 1, Steps: 1}, {Lo: 0, Hi: 1, Steps: 3}} {
		if gtest.Race { // drawing is slow under the detector
			rules = rules[:3]
		}
		drawn(t, fmt.Sprint(lv), func(w io.Writer) error { return Rules(w, lv, rules, "rules") })
	}
	if Rules(io.Discard, ops.Levels{}, rules, "") == nil || Rules(io.Discard, ops.Levels{Lo: -1, Hi: 1, Steps: 1}, nil, "") == nil {
		t.Error("no levels, and no rules: no error")
	}
}

// What Rules draws as dz is what the operations return in a graph for g = -1.
func TestRulesAreTheOperations(t *testing.T) {
	rules, err := NamedRules()
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range rules {
		for _, act := range []ops.Activation{ops.Sign{Rule: r.Rule}, ops.Staircase{Steps: 3, Rule: r.Rule}} {
			lv := act.Threshold().Levels
			loss, err := r.Rule.Loss(lv)
			if err != nil {
				t.Fatal(err)
			}
			xy := sampled(func(z float64) float64 { return loss.Grad(z, 1) }, lv.Lo-1, lv.Hi+1)
			z := make([]float64, len(xy))
			for i := range xy {
				z[i] = xy[i].X
			}
			g := gorgonia.NewGraph()
			in := gorgonia.NewVector(g, tensor.Float64, gorgonia.WithName("z"), gorgonia.WithShape(len(z)), gorgonia.WithValue(tensor.New(tensor.WithBacking(z))))
			h, err := nodes.Act(act)(in)
			if err != nil {
				t.Fatal(err)
			}
			cost := gorgonia.Must(gorgonia.Sum(gorgonia.Must(gorgonia.Neg(h)))) // g = -1
			dz, err := gorgonia.Grad(cost, in)
			if err != nil {
				t.Fatal(err)
			}
			var out, got gorgonia.Value
			gorgonia.Read(h, &out)
			gorgonia.Read(dz[0], &got)
			vm := gorgonia.NewTapeMachine(g)
			if err := vm.RunAll(); err != nil {
				t.Fatal(err)
			}
			for i, v := range got.Data().([]float64) {
				if math.Abs(v-xy[i].Y) > 1e-9*(1+math.Abs(v)) {
					t.Fatalf("%v at z = %v: dz = %v, drawn %v", act, z[i], v, xy[i].Y)
				}
				if h := out.Data().([]float64)[i]; math.Abs(h-lv.Quantize(z[i])) > 1e-12 {
					t.Fatalf("%v at z = %v: h = %v, drawn %v", act, z[i], h, lv.Quantize(z[i]))
				}
			}
			vm.Close()
		}
	}
}
