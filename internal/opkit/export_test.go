package opkit

import "gorgonia.org/gorgonia"

// Shares says whether a node shares memory, and how many operations have not said that they are done with it.
func Shares(n *gorgonia.Node) (shares bool, waiting int) {
	b := bufferOf(n)
	if b == nil || b.lent == nil {
		return false, 0
	}
	return true, b.lent.left
}
