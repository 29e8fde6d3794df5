package data

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"strings"
	"testing"
)

func TestDigits(t *testing.T) {
	raw, err := os.ReadFile("digits.csv.gz")
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(raw)
	if got := hex.EncodeToString(sum[:]); got != "46abec6b12486ad9e51943373abcf22bbea1b5a51a1619b361570d8893f1464a" {
		t.Errorf("digits.csv.gz has sha256 %s: it is not the published file", got)
	}
	s, err := Digits()
	if err != nil {
		t.Fatal(err)
	}
	counts := make([]int, s.Classes)
	for _, y := range s.Y {
		counts[y]++
	}
	if want := "[178 182 177 183 181 182 181 179 174 180]"; fmt.Sprint(counts) != want {
		t.Errorf("images a class: %v, want %s", counts, want)
	}
	for _, x := range s.X {
		if x < 0 || x > 1 {
			t.Fatalf("pixel %v outside [0, 1]", x)
		}
	}
}

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
