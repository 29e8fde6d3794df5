// Package train trains networks, in float32 or float64.
//
// A network of package models, on images of package data:
//
//   - [New] makes a [Trainer] of a [Config]: epochs of shuffled batches, validation and test, checkpoints from which training goes on as if it
//     had never stopped, the weights of the best epoch. [Step] and [Epoch] are what it reports while it trains; [Table] prints the epochs.
//   - [Evaluator] gives the [Metrics] of a network on a whole data set, between the steps of training or beside it.
//   - [LockFolder] and [Left] are for programs that write to the folder of a training before it begins.
//
// Any other Gorgonia graph, or a loop of one's own:
//
//   - [Stepper] takes one step: forward, backward, a check of the loss, and the step of any Gorgonia solver. A Trainer is built on it.
//
// Both take a [LossFunc]: cross entropy, one of package nodes, or one's own.
package train
