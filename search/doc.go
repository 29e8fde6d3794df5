// Package search trains networks of threshold units, given as plain tensors, on a whole data set by feasible target
// propagation itself (Friesen & Domingos, ICLR 2018, algorithm 1): it searches for targets of the hidden units that every unit can
// reach, and proves for each unit whether it can.
//
//	layers := []search.Layer{{W: w1, B: b1}, {W: w2, B: b2}}   // sign units; the weights are the start, and the result
//	result, err := search.FullBatch{Seed: 1}.Fit(layers, x, y) // x (N, in), labels y (N, out) of -1 and +1
//	fmt.Println(result.Status, result.Missed)                  // Feasible 0
//	err = result.Verify()                                      // nil: every unit's certificate holds
//
// It is for small problems: for large ones see package nodes, which trains mini-batch by mini-batch.
//
// # What is here
//
//   - Training: [FullBatch] fits a network, a slice of [Layer], to labels, as its [Output] says, within a [Budget] for each hidden layer,
//     and reports its [Progress]. A [LayerLoss] says how badly a unit misses. [Forward] evaluates the network.
//   - What comes out: a [Result] with its [Status], one [LayerResult] a layer, one [Certificate] a unit.
//   - Proofs: a [Certificate] has a [Verdict], and shows it by weights or by a [Multiplier] for each of some constraints. [Certify]
//     decides a single unit.
//   - Ways to search: a [Strategy] is [LocalSearch] (the default), [Beam], [GradientSign] (the paper's) or [Exhaustive], which proves that a tiny
//     network cannot do what is asked; or your own: given a [Problem] it starts a [Proposer], which makes one [Proposal] after the other and
//     is told the [Setting] that each has led to. A Proposer that can tell that it has seen all targets is a [Completer], too.
//
// Only GradientSign makes sense as a target setter of the mini-batch operations, and there it is their default already: see [Strategy].
// examples/fullbatch compares all of them on Boolean functions and handwritten digits.
//
// # How targets decompose a network
//
// It shows on the exclusive or, with two hidden units and one output, all sign units:
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
package search
