// Package opstest checks rules, activations and other operations of one's own, as testing/iotest does readers.
//
// Rule takes a rule alone: its losses against their definition and finite differences, and the operation that an activation with it
// becomes. Gradients takes any operation with a derivative in the ordinary sense. Both run both of Gorgonia's machines, which call
// different methods of an operation (the tape machine SymDiff, the Lisp machine DoDiff), in float32 and in float64.
//
//	func TestCubic(t *testing.T) { opstest.Rule(t, Cubic{}) }
package opstest

// TB is what the checks report to: a *testing.T, for one.
type TB interface {
	Helper()
	Errorf(format string, args ...any)
	Fatalf(format string, args ...any)
}
