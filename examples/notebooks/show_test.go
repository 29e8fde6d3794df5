//go:build !race

package notebooks_test

import (
	"bytes"
	"fmt"
	"image/png"
	"io"
)

// Cells are no test of what runs at the same time, and the race detector makes them ten times slower: hence the constraint.

// In a notebook the functions below show pictures and numbers; see ipynb/preamble.go.txt. Here they only see to it that there is
// something to show, since numbers differ in the last digits between processors.

// show takes a picture.
func show(draw func(io.Writer) error) {
	var b bytes.Buffer
	err := draw(&b)
	if err == nil {
		_, err = png.Decode(&b)
	}
	if err != nil {
		fmt.Println("picture:", err)
	}
}

// report takes text.
func report(write func(io.Writer) error) {
	var b bytes.Buffer
	if err := write(&b); err != nil || b.Len() == 0 {
		fmt.Println("text:", b.Len(), err)
	}
}

// say takes a line.
func say(format string, a ...any) { _ = fmt.Sprintf(format+"\n", a...) }
