package turn

import (
	"testing"

	"github.com/ftprop/ftprop/internal/gtest"
)

// Kernels fault here where they read or write outside of what they work on.
func TestKernelsStayInside(t *testing.T) {
	for _, atEnd := range []bool{false, true} {
		eachTurn(t, gtest.Walled(t, 5, 1<<15, atEnd))
	}
}
