package nodes

import (
	"github.com/ftprop/ftprop/internal/opkit"
	"github.com/ftprop/ftprop/ops"
	"gorgonia.org/gorgonia"
)

// The output losses. All take logits (N, C) and one-hot labels (N, C) of the same dtype and return a
// scalar, the mean over the N samples. Shapes that do not fit are an error when the graph is built, NaN or
// infinite logits and labels that are not one-hot at run time. Logits of +-1e4 give finite values and
// derivatives. s is +1 for the label's class and -1 for the others.

// CrossEntropy returns -mean sum y log softmax(logits). Labels may be distributions over the classes, which
// sum to 1.
func CrossEntropy(logits, labels *gorgonia.Node) (*gorgonia.Node, error) {
	return outputLoss(ops.CrossEntropy, logits, labels)
}

// Hinge returns the one-against-all hinge loss, mean sum max(0, 1 - s logits).
func Hinge(logits, labels *gorgonia.Node) (*gorgonia.Node, error) {
	return outputLoss(ops.Hinge, logits, labels)
}

// SquaredHinge returns the one-against-all squared hinge loss, mean sum max(0, 1 - s logits)^2.
func SquaredHinge(logits, labels *gorgonia.Node) (*gorgonia.Node, error) {
	return outputLoss(ops.SquaredHinge, logits, labels)
}

// TruncHinge returns the one-against-all hinge loss cut off at 2, mean sum min(2, max(0, 1 - s logits)).
func TruncHinge(logits, labels *gorgonia.Node) (*gorgonia.Node, error) {
	return outputLoss(ops.TruncHinge, logits, labels)
}

// HingeSoftmax returns Hinge of log softmax(logits).
func HingeSoftmax(logits, labels *gorgonia.Node) (*gorgonia.Node, error) {
	return outputLoss(ops.HingeSoftmax, logits, labels)
}

// TruncHingeSoftmax returns TruncHinge of log softmax(logits).
func TruncHingeSoftmax(logits, labels *gorgonia.Node) (*gorgonia.Node, error) {
	return outputLoss(ops.TruncHingeSoftmax, logits, labels)
}

func outputLoss(op ops.OutputLoss, logits, labels *gorgonia.Node) (*gorgonia.Node, error) {
	if err := check(op, logits, labels); err != nil {
		return nil, err
	}
	if logits.Dtype() != labels.Dtype() {
		return nil, opkit.Errorf("nodes", "%v: logits are %v and labels %v: they must have the same dtype", op, logits.Dtype(), labels.Dtype())
	}
	if !logits.Shape().Eq(labels.Shape()) {
		return nil, opkit.Errorf("nodes", "%v: logits have shape %v and labels %v: both must be (N, C), labels one-hot", op, logits.Shape(), labels.Shape())
	}
	if logits.Dims() != 2 {
		return nil, opkit.Errorf("nodes", "%v: logits have shape %v, but must have shape (N, C)", op, logits.Shape())
	}
	return apply(op, logits, labels)
}
