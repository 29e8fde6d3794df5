// Package solvers holds optimisers that take PyTorch's steps, as implementations of gorgonia.Solver, and FullBatch, which
// trains threshold networks by search.
//
// Adam (and AdamW), SGD and RMSProp are plain structs: their zero fields mean PyTorch's defaults, their pointers
// implement gorgonia.Solver, and after a run of the machine
//
//	solver := &solvers.Adam{LearnRate: 1e-3}
//	err := solver.Step(gorgonia.NodesToValueGrads(net.Params()))
//
// changes the weights in one pass and sets the gradients to zero, as Gorgonia's own solvers do.
//
// # What every gorgonia.Solver here promises
//
//   - The arithmetic is PyTorch's (1.13), formula by formula: float32 weights in float32, float64 in float64,
//     coefficients in float64. Products and sums are rounded one by one, so that results do not depend on the processor
//     nor on the number of cores. (PyTorch itself fuses some of them where its build can: expect agreement within rounding.)
//     Every 16 steps what a solver remembers is set to 0 where it is below the smallest normal number (1e-38 in float32):
//     it could only cost time there.
//   - A step happens entirely or not at all: parameters, gradients and configuration are all checked first, and on an
//     error weights, gradients and state are untouched. A caller that goes on regardless must zero the gradients,
//     because Gorgonia's machines add to them. One error is found only afterwards: that a weight, or what is remembered of it,
//     has become infinite or NaN. Then the step is done, all of it, and what is to be kept must come from before.
//   - Errors, never panics, for: a missing gradient, NaN or infinity in one, elements that are neither float32 nor
//     float64, tensors that are not contiguous in row-major order, options above 1e30, and parameters whose number, shape or
//     dtype changed since the first step. The message names the parameter, and the element where it is about one.
//   - The state can be saved and restored exactly: training on after a restore gives the same bits as not having stopped.
//   - After the first step nothing is allocated but what starting goroutines takes.
//
// A solver remembers parameters by their place in the slice that Step gets: keep the order. A solver is for one model (SGD without
// momentum, which remembers nothing, for any) and one goroutine.
//
// # Learning rates that change
//
// Scheduled holds any solver with a Schedule, a function from step to learning rate.
//
// # Search instead of steps: FullBatch
//
// FullBatch is no gorgonia.Solver: it trains networks of threshold units, given as plain tensors, on a whole data set by
// feasible target propagation itself (Friesen & Domingos, ICLR 2018, algorithm 1). How targets decompose a network shows
// on the exclusive or, with two hidden units and one output, all sign units:
//
//	sample   x        label
//	0       -1 -1      -1
//	1       +1 -1      +1
//	2       -1 +1      +1
//	3       +1 +1      -1
//
// No single unit has these labels. Were there weights (w1, w2, b), then t (w1 x1 + w2 x2 + b) > 0 for every sample; but the four
// left-hand sides add up to 0, because
//
//	sum_i t_i (x_i, 1) = -(-1,-1,1) + (1,-1,1) + (-1,1,1) - (1,1,1) = (0, 0, 0)
//
// The multipliers (1, 1, 1, 1) prove that there are none: this is an Inseparable Certificate, and all its Verify does is that
// sum. Now give each hidden unit a target for every sample,
//
//	sample   x        T_1 = (t_1, t_2)   label
//	0       -1 -1     -1 +1              -1
//	1       +1 -1     +1 +1              +1
//	2       -1 +1     +1 +1              +1
//	3       +1 +1     +1 -1              -1
//
// and the network falls into three perceptrons that know nothing of each other: unit 1 has to map x to t_1, unit 2 x to t_2, and the
// output (t_1, t_2) to the label. Each is linearly separable: t_1 = sign(x1 + x2 + 1) ("or"), t_2 = sign(1 - x1 - x2)
// ("not both"), label = sign(t_1 + t_2 - 1), all with margin 1, which is what Separable Certificates show. So this setting of the
// targets is feasible, and three convex problems replace one that has no gradient. Had t_1 been the label, unit 1
// would have had the problem above, and its certificate would have said so: the combinatorial part, which a Strategy
// searches, is to find targets for which no unit has such a proof against it.
//
// The strategies are GradientSign (the paper's), LocalSearch (the default), Beam and Exhaustive, which proves that a tiny network
// cannot do what is asked. Only the first makes sense as a target setter of the mini-batch operations, and there it is their default
// already: see Strategy. examples/fullbatch compares all of them on Boolean functions and handwritten digits.
package solvers
