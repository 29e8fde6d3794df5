package main

import "gorgonia.org/gorgonia"

func newSolver() gorgonia.Solver {
	return gorgonia.NewAdamSolver(gorgonia.WithLearnRate(2.5e-4), gorgonia.WithL2Reg(5e-4))
}
