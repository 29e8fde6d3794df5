package data

import (
	"bufio"
	"compress/gzip"
	_ "embed" // for digits.csv.gz
	"io"
	"strconv"
	"strings"

	"github.com/pkg/errors"
)

// A string rather than bytes: nothing can alter it.
//
//go:embed digits.csv.gz
var digitsCSV string

const (
	digitsSide = 8  // pixels
	digitsMax  = 16 // the value of a fully inked pixel
)

// Digits returns the embedded set of 1797 handwritten digits: 1x8x8 pixels scaled
// from 0..16 to [0, 1], 10 classes. Each call decodes a set of its own, which the
// caller may alter. An error means that the embedded file is damaged.
//
// Source: E. Alpaydin and C. Kaynak, "Optical Recognition of Handwritten Digits",
// UCI Machine Learning Repository, 1998 (its test set, as distributed with
// scikit-learn). Licence: CC BY 4.0; see DIGITS.md.
func Digits() (*Set, error) {
	z, err := gzip.NewReader(strings.NewReader(digitsCSV))
	if err != nil {
		return nil, errors.Wrap(err, "data: embedded digits")
	}
	s, err := parseDigits(z)
	return s, errors.Wrap(err, "data: embedded digits")
}

// parseDigits reads one image a line: 64 comma separated pixels, then the label.
func parseDigits(r io.Reader) (*Set, error) {
	s := &Set{Channels: 1, Height: digitsSide, Width: digitsSide, Classes: 10}
	lines := bufio.NewScanner(r)
	for n := 1; lines.Scan(); n++ {
		fields := strings.Split(lines.Text(), ",")
		if want := s.Features() + 1; len(fields) != want {
			return nil, errors.Errorf("line %d: %d fields, want %d (%d pixels and a label)", n, len(fields), want, want-1)
		}
		for i, field := range fields {
			v, err := strconv.Atoi(field)
			if err != nil {
				return nil, errors.Wrapf(err, "line %d, field %d", n, i+1)
			}
			if i == s.Features() {
				if v < 0 || v >= s.Classes {
					return nil, errors.Errorf("line %d: label %d, want 0 to %d", n, v, s.Classes-1)
				}
				s.Y = append(s.Y, v)
				continue
			}
			if v < 0 || v > digitsMax {
				return nil, errors.Errorf("line %d, field %d: pixel %d, want 0 to %d", n, i+1, v, digitsMax)
			}
			s.X = append(s.X, float32(v)/digitsMax)
		}
	}
	if err := lines.Err(); err != nil {
		return nil, err
	}
	if s.N() == 0 {
		return nil, errors.New("no lines, want one an image")
	}
	return s, nil
}
