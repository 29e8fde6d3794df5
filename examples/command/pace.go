package command

import (
	"fmt"
	"time"
)

// Pace says how fast steps go where there is no terminal for a bar: a line every 10 seconds.
type Pace struct {
	last  time.Time
	since int // steps since last
}

// NewPace returns a pace that starts now.
func NewPace() Pace { return Pace{last: time.Now()} }

// Step counts a step. If a line is due it returns the rate since the last one, and the time for the steps that are left, as words.
func (p *Pace) Step(left int) (words string, due bool) {
	p.since++
	d := time.Since(p.last)
	if d <= 10*time.Second {
		return "", false
	}
	rate := float64(p.since) / d.Seconds()
	p.last, p.since = time.Now(), 0
	return fmt.Sprintf("%.1f steps/s, %v left", rate, time.Duration(float64(left)/rate*float64(time.Second)).Round(time.Second)), true
}
