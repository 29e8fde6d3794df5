package data

import (
	"strings"
	"testing"
)

func TestDigitsPixels(t *testing.T) {
	s, err := Digits()
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Validate(); err != nil {
		t.Error(err)
	}
	if s.N() != 1797 || s.Features() != 64 || s.Channels != 1 || s.Classes != 10 {
		t.Errorf("%d images of %d channels and %d pixels, %d classes", s.N(), s.Channels, s.Features(), s.Classes)
	}
	sum := 0.0
	for _, x := range s.X {
		sum += float64(x) * digitsMax // exact: sixteenths
	}
	if sum != 561718 {
		t.Errorf("the ink adds up to %v, want 561718", sum)
	}
	s.X[0] = 1
	if again, _ := Digits(); again.X[0] != 0 {
		t.Error("two calls share their pixels")
	}
}

func TestParseDigitsErrors(t *testing.T) {
	row := strings.Repeat("1,", 64)
	for _, c := range []struct{ in, want string }{
		{"", "no lines"},
		{"1,2,3\n", "line 1: 3 fields, want 65"},
		{row + "1\n" + row + "10\n", "line 2: label 10, want 0 to 9"},
		{row + "-1\n", "label -1"},
		{"17," + row[2:] + "1\n", "line 1, field 1: pixel 17, want 0 to 16"},
		{"x," + row[2:] + "1\n", "line 1, field 1"},
		{strings.Repeat("1", 1<<17), "too long"},
	} {
		_, err := parseDigits(strings.NewReader(c.in))
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%.20q: error %v, want it to say %q", c.in, err, c.want)
		}
	}
}
