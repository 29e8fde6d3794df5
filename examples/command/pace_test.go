package command

import (
	"testing"
	"time"
)

// A line is due after 10 seconds, with the rate since the one before.
func TestPace(t *testing.T) {
	p := NewPace()
	if words, due := p.Step(100); due || words != "" {
		t.Errorf("%q at once", words)
	}
	p.last = p.last.Add(-20 * time.Second)
	p.since = 199
	if words, due := p.Step(100); !due || words != "10.0 steps/s, 10s left" {
		t.Errorf("%q, %v", words, due)
	}
	if _, due := p.Step(99); due {
		t.Error("due again")
	}
}
