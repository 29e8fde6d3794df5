package experiment

import (
	"strings"
	"testing"
)

// Every combination has a name of its own, in tables and in flags, and weights in full precision have no rule.
func TestMethods(t *testing.T) {
	for _, c := range []struct {
		choices Choices
		want    []string // methods, and their flags
	}{
		{Choices{Acts: []string{"Sign", "relu"}, Rules: []string{"sste", "SoftHinge"}}, []string{
			"Sign, SSTE: sign SSTE none  ", "Sign, FTP-SH: sign SoftHinge none  ", "ReLU: relu  none  "}},
		{Choices{Acts: []string{"qrelu", "trelu"}, Rules: []string{"SoftHinge"}, Weights: []string{"none", "sign", "4"}}, []string{
			"qReLU (2 bits), FTP-SH: qrelu SoftHinge none  ", "qReLU (2 bits), sign weights, FTP-SH: qrelu SoftHinge sign SSTE ",
			"qReLU (2 bits), 4-bit weights, FTP-SH: qrelu SoftHinge 4 SSTE ",
			"Threshold ReLU: trelu  none  ", "Threshold ReLU, sign weights: trelu  sign SSTE ", "Threshold ReLU, 4-bit weights: trelu  4 SSTE "}},
		{Choices{Acts: []string{"sign"}, Rules: []string{"SoftHinge"}, Weights: []string{"none", "ternary"}, WeightRules: []string{"SSTE", "softhinge"}, Opts: []string{"adam", "sgd"}}, []string{
			"Sign, FTP-SH, adam: sign SoftHinge none  adam", "Sign, FTP-SH, sgd: sign SoftHinge none  sgd",
			"Sign, ternary weights, FTP-SH, weights by SSTE, adam: sign SoftHinge ternary SSTE adam", "Sign, ternary weights, FTP-SH, weights by SSTE, sgd: sign SoftHinge ternary SSTE sgd",
			"Sign, ternary weights, FTP-SH, weights by SoftHinge, adam: sign SoftHinge ternary SoftHinge adam", "Sign, ternary weights, FTP-SH, weights by SoftHinge, sgd: sign SoftHinge ternary SoftHinge sgd"}},
		{Choices{Acts: []string{"sign"}, Rules: []string{"SSTE"}, Weights: []string{"none", "sign"}, Opts: []string{"adam", "bop"}}, []string{
			"Sign, SSTE, adam: sign SSTE none  adam", "Sign, sign weights, SSTE, adam: sign SSTE sign SSTE adam", "Sign, sign weights, SSTE, bop: sign SSTE sign SSTE bop"}},
		{Choices{Acts: []string{"sign", "relu"}, Rules: []string{"SoftHinge0.5", "SoftHinge+Feasible", "ede+grad-sign"}, Targets: []string{"grad-sign", "top-share0.25"}}, []string{
			"Sign, SoftHinge0.5: sign SoftHinge0.5 none  ", "Sign, SoftHinge0.5, top-share0.25: sign SoftHinge0.5+top-share0.25 none  ",
			"Sign, FTP-SH, feasible: sign SoftHinge+feasible none  ", "Sign, EDE: sign EDE none  ", "ReLU: relu  none  "}},
	} {
		ms, err := c.choices.Methods()
		if err != nil {
			t.Error(err)
			continue
		}
		var got []string
		for _, m := range ms {
			f := m.Flags
			got = append(got, m.String()+": "+strings.Join([]string{f.Act, f.Rule, f.Weights, f.WeightRule, f.Opt}, " "))
			if m.Hard != (f.Rule != "") || m.Act == nil {
				t.Errorf("%v: hard %v, rule %q", m, m.Hard, f.Rule)
			}
		}
		if strings.Join(got, "\n") != strings.Join(c.want, "\n") {
			t.Errorf("%+v:\n%s\nwant\n%s", c.choices, strings.Join(got, "\n"), strings.Join(c.want, "\n"))
		}
	}
}
