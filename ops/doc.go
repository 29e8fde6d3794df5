// Package ops holds hard-threshold activations for Gorgonia and what they are made of.
//
// A threshold Activation (Sign, Step01, Staircase) emits levels. Its derivative is zero, so in the backward pass it
// does something else with the gradient g of the layers above, as Threshold says: a TargetSetter turns g into a target for
// every unit, a Rule gives each unit a Loss of missing its target, and the derivative of that loss is passed on. That is
// feasible target propagation for mini-batches (Friesen & Domingos, ICLR 2018, arXiv:1710.11573, Algorithm 2); the
// straight-through estimator is the rule STE.
//
// Rules have the names of the reference implementation: RuleByName finds them, RuleNames lists them; ActivationByName finds
// activations. To follow a gradient read activation.go and backward.go, from SymDiff down. Target, LayerGrad,
// LayerLoss and Agreement are the steps of the backward pass as operations of their own. OutputLoss is the losses at the top
// of a network, Clip the full-precision activations to compare with.
//
// A WeightQuantiser (SignWeights, TernaryWeights, QuantWeights, LSQWeights) does to a parameter what an activation does to a layer: forward it emits
// the few values that a layer computes with, backward any Rule trains the latent weights behind them.
//
// A Component is a Go function without a derivative behind threshold units: a Searcher (Flip, Search, Posterior) finds what the units should
// have been.
//
// Package nodes puts all of these on nodes; package opstest checks rules and operations of one's own.
package ops
