// Gallery draws the pictures of rules that the documentation shows.
//
//	go run ./examples/gallery          # docs/rules.png and docs/rules-staircase.png
//	go run ./examples/gallery -out DIR
package main

import (
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/ftprop/ftprop/examples/command"
	"github.com/ftprop/ftprop/examples/pictures"
	"github.com/ftprop/ftprop/internal/atomicfile"
	"github.com/ftprop/ftprop/ops"
	"github.com/pkg/errors"
)

func main() { command.Short("gallery", run) }

// run is the program.
func run(args []string, out, log io.Writer) error {
	flags := flag.NewFlagSet("gallery", flag.ContinueOnError)
	dir := flags.String("out", "docs", "`folder` for the pictures")
	if err := command.Parse(flags, args, log); err != nil {
		return err
	}
	rules, err := pictures.NamedRules()
	if err != nil {
		return err
	}
	if err := os.MkdirAll(*dir, 0o755); err != nil {
		return errors.Wrap(err, "-out")
	}
	for _, p := range []struct {
		file, title string
		levels      ops.Levels
	}{
		{"rules.png", "Rules for sign units", ops.Levels{Lo: -1, Hi: 1, Steps: 1}},
		{"rules-staircase.png", "Rules for 2-bit quantised ReLU units (a staircase of 3 steps)", ops.Levels{Lo: 0, Hi: 1, Steps: 3}},
	} {
		path := filepath.Join(*dir, p.file)
		if err := atomicfile.Write(path, func(w io.Writer) error { return pictures.Rules(w, p.levels, rules, p.title) }); err != nil {
			return err
		}
		fmt.Fprintln(out, "Wrote", path)
	}
	return nil
}
