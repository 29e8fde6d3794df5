// Package solvers holds optimisers that take PyTorch's steps, as implementations of gorgonia.Solver.
//
// [Adam] (and AdamW), [SGD] and [RMSProp] are plain structs: their zero fields mean PyTorch's defaults, their pointers
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
//     Every 16 steps weights, and what a solver remembers of them, are set to 0 where they are below the smallest normal number (1e-38 in float32):
//     they could only cost time there. Adam has such numbers as 0 from the start in float32.
//   - A step happens entirely or not at all: parameters, gradients and configuration are all checked first, and on an
//     error weights, gradients and state are untouched. So it is with all groups of Groups together. A caller that goes on
//     regardless must zero the gradients, because Gorgonia's machines add to them. One error is found only afterwards: that
//     a weight, or what is remembered of it, has become infinite or NaN. Then the step is done, all of it, and what is to be
//     kept must come from before.
//   - Errors, never panics, for: a missing gradient, NaN or infinity in one, elements that are neither float32 nor
//     float64, tensors that are not contiguous in row-major order, options above 1e30, and parameters whose number, shape or
//     dtype changed since the first step. The message names the parameter, and the element where it is about one.
//   - The state can be saved and restored exactly: training on after a restore gives the same bits as not having stopped.
//   - After the first step nothing is allocated but what starting goroutines takes.
//
// A solver remembers parameters by their place in the slice that Step gets: keep the order. A solver is for one model (SGD without
// momentum, which remembers nothing, for any) and one goroutine.
//
// # What is here
//
//   - Steps: [Adam], [SGD], [RMSProp].
//   - Binary weights: [Bop] flips them, without latent weights; [Clip] keeps latent weights within [-1, 1].
//   - Some of the parameters: [Groups] gives each [Group] of them a solver of its own.
//   - Learning rates that change: [Scheduled] holds any solver with a [Schedule], a function from step to learning rate; [StepDecay],
//     [Cosine] and [Warmup] make schedules. [LearnRater] is what it asks of the solver.
//   - Many processes: [AllReduce] averages the gradients of all ranks of a comm.Comm, before any solver, and can share out the step over them;
//     [GatherState] returns the state then.
//   - Stopping and going on: a [Stateful] solver gives and takes its [State], a [Tensor] for each parameter and slot.
//   - Solvers that hold solvers: [Scheduled], [Clip], [Groups] and [AllReduce] hold those of this package, each other, and those of
//     elsewhere, for which they check the model before a step and the weights after it. Each is a [Wrapper].
//
// Networks of threshold units can also be trained without steps, by search for their targets: see package search.
package solvers
