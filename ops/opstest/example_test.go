package opstest_test

import (
	"fmt"

	"github.com/ftprop/ftprop/ops"
	"github.com/ftprop/ftprop/ops/opstest"
)

// Cubic is a rule of one's own: the loss falls with the cube of the margin m = tz.
type Cubic struct{}

func (Cubic) Loss(ops.Levels) (ops.Loss, error) { return cubicLoss{}, nil }

type cubicLoss struct{}

func (cubicLoss) Value(z, t float64) float64 { return -t * z * z * z }
func (cubicLoss) Grad(z, t float64) float64  { return -t * 3 * z * z }

// Hasty is Cubic with a mistake.
type Hasty struct{}

func (Hasty) Loss(ops.Levels) (ops.Loss, error) { return hastyLoss{}, nil }

type hastyLoss struct{ cubicLoss }

func (hastyLoss) Grad(z, t float64) float64 { return -t * 2 * z * z }

// printer stands for the *testing.T of a test.
type printer struct{ failed bool }

func (p *printer) Helper()               {}
func (p *printer) Errorf(string, ...any) { p.failed = true }
func (p *printer) Fatalf(string, ...any) { p.failed = true }

func ExampleRule() {
	for _, r := range []ops.Rule{Cubic{}, Hasty{}} {
		var t printer // in a test the *testing.T
		opstest.Rule(&t, r)
		fmt.Printf("%T failed: %v\n", r, t.failed)
	}
	// Output:
	// opstest_test.Cubic failed: false
	// opstest_test.Hasty failed: true
}
