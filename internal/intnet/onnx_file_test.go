package intnet

import (
	"strings"
	"testing"

	"github.com/ftprop/ftprop/internal/gtest"
)

// No more is read than the limit and a byte.
func TestFileLimit(t *testing.T) {
	r := strings.NewReader(strings.Repeat("x", 100))
	_, err := readFile(r, 10)
	gtest.WantError(t, "a large file", err, "more than 10 bytes")
	if r.Len() != 89 {
		t.Errorf("%d bytes are left, want 89", r.Len())
	}
}
