package experiment

import (
	"math"
	"testing"
)

// Of lines without seconds, as those of a table that came alone, nothing is added up.
func TestSecondsOf(t *testing.T) {
	nan := &Run{Seconds: math.NaN()}
	for _, c := range []struct {
		runs []*Run
		want string
	}{
		{[]*Run{{Seconds: 2}, {Seconds: 3}}, "2.5"}, {[]*Run{nan, {Seconds: 3}}, "3.0"}, {[]*Run{nan}, "not known"}, {nil, "not known"},
	} {
		if got := secondsOf(c.runs); got != c.want {
			t.Errorf("%d runs: %s, want %s", len(c.runs), got, c.want)
		}
	}
}
