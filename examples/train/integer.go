package main

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"os"

	"github.com/ftprop/ftprop/examples/setup"
	"github.com/ftprop/ftprop/infer"
	"github.com/ftprop/ftprop/internal/regular"
	"github.com/pkg/errors"
)

// checkInteger returns an error for flags that mean nothing beside -integer, and for -integer without what it is for.
func (o *options) checkInteger() error {
	if !o.integer {
		return nil
	}
	if o.eval == "" {
		return errors.New("-integer is for -eval: examples/export makes integers of what was trained")
	}
	for _, name := range []string{"arch", "act", "rule", "unweighted", "bn", "dropout", "hidden", "weights", "weight-rule", "loss", "eval-batch", "fixed-point", "input-max", "input-bits"} {
		if o.given[name] {
			return errors.Errorf("-%s is not for -integer", name)
		}
	}
	return nil
}

// evaluateIntegers evaluates a network in integers.
func (o *options) evaluateIntegers(ctx context.Context, s setup.Sets, out io.Writer) error {
	f, _, err := regular.Open(o.eval, setup.MostBytes)
	if err != nil {
		return errors.Wrap(err, "-eval")
	}
	defer f.Close()
	if kindOf(f) == safetensors {
		return errors.Errorf("-eval %s holds weights: without -integer they are evaluated, and examples/export -integer makes integers of them", o.eval)
	}
	net, err := infer.Load(f)
	if err != nil {
		return errors.WithMessagef(err, "-eval %s", o.eval)
	}
	score, err := o.data.Score(ctx, net, s, o.train.Workers)
	if err != nil {
		return errors.WithMessagef(err, "-eval %s", o.eval)
	}
	fmt.Fprintf(out, "%s on %d images of %s: top-1 %.2f %%, top-5 %.2f %%, %.0f images/s\n", o.eval, score.Images, o.data.Name, score.Top1, score.Top5, score.PerSecond)
	return nil
}

// fileKind is what a file seems to be, by its first bytes.
type fileKind int

const (
	neither fileKind = iota
	safetensors
	onnx
)

// kindOf looks at a file's first bytes, and leaves it at its beginning. A safetensors file has the length of its header and then the header, a JSON
// object; an ONNX file begins with its version, field 1.
func kindOf(f *os.File) fileKind {
	var head [9]byte
	if _, err := f.ReadAt(head[:], 0); err != nil {
		return neither
	}
	switch {
	case head[8] == '{' && binary.LittleEndian.Uint64(head[:8]) < setup.MostBytes:
		return safetensors
	case head[0] == 0x08 && head[1] < 0x80:
		return onnx
	}
	return neither
}
