package pictures

import (
	"io"

	"github.com/ftprop/ftprop/ops"
	"github.com/pkg/errors"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
)

// Rule is a rule with the name to draw it under.
type Rule struct {
	Name string
	Rule ops.Rule
}

// NamedRules returns all rules that ops.RuleByName knows; annealed ones as they are when three quarters of the training are done.
func NamedRules() ([]Rule, error) {
	var rules []Rule
	for _, name := range ops.RuleNames() {
		r, err := ops.RuleByName(name)
		if err != nil {
			return nil, err
		}
		if a, ok := r.(ops.Annealed); ok {
			name += " at 3/4"
			if r, err = a.At(0.75); err != nil {
				return nil, err
			}
		}
		rules = append(rules, Rule{name, r})
	}
	return rules, nil
}

// Rules draws a gallery of rules: over the pre-activation z the output h of a unit with the given levels, its layer loss for
// the target t = +1, and the derivative dz that it passes on for an upstream gradient g = -1, which sets that target with the
// weight 1. Larger values than the scale shows are cut off.
func Rules(w io.Writer, levels ops.Levels, rules []Rule, title string) error {
	if len(rules) == 0 {
		return errors.New("pictures: no rules to draw")
	}
	if err := levels.Validate(); err != nil {
		return err
	}
	lo, hi := (levels.Lo+levels.Hi)/2-1.5*(levels.Hi-levels.Lo), (levels.Lo+levels.Hi)/2+1.5*(levels.Hi-levels.Lo)
	var legend []entry
	var cells []cell
	for _, r := range rules {
		loss, err := r.Rule.Loss(levels)
		if err != nil {
			return errors.WithMessagef(err, "pictures: rule %s", r.Name)
		}
		p := newPlot("", "")
		legend = nil
		for i, f := range []struct {
			name string
			of   func(z float64) float64
		}{
			{"output h", levels.Quantize},
			{"layer loss l(z, t) for t = +1", func(z float64) float64 { return loss.Value(z, 1) }},
			{"derivative dz for g = -1", func(z float64) float64 { return loss.Grad(z, 1) }},
		} {
			line, err := plotter.NewLine(sampled(f.of, lo, hi))
			if err != nil {
				return errors.Wrapf(err, "pictures: rule %s", r.Name)
			}
			line.LineStyle.Width = vg.Points(1.6)
			line.Color = Color([]int{3, 0, 1}[i])
			line.Dashes = [][]vg.Length{{vg.Points(1.2), vg.Points(1.8)}, nil, {vg.Points(5), vg.Points(2)}}[i]
			p.Add(line)
			legend = append(legend, entry{name: f.name, line: line.LineStyle})
		}
		p.X.Min, p.X.Max, p.Y.Min, p.Y.Max = lo, hi, -2.3, 3.2
		cells = append(cells, cell{plot: p, title: r.Name})
	}
	legend = append(legend, entry{name: "horizontal: pre-activation z"})
	return write(w, title, legend, cells, min(4, len(rules)), 128*pixel)
}

// sampled evaluates f so densely that its steps stand upright.
func sampled(f func(float64) float64, lo, hi float64) plotter.XYs {
	const n = 1200
	xy := make(plotter.XYs, n+1)
	for i := range xy {
		x := lo + (hi-lo)*(float64(i)+0.37)/(n+1) // off the kinks, which lie at round numbers
		xy[i] = plotter.XY{X: x, Y: f(x)}
	}
	return xy
}
