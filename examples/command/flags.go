package command

import (
	"flag"
	"fmt"
	"io"
	"strings"

	"github.com/pkg/errors"
)

// Parse reads the command line of a program whose settings are all flags. -help writes them to log; what is wrong with one of them is
// a line that says where help is, not the whole list.
func Parse(f *flag.FlagSet, args []string, log io.Writer) error {
	f.SetOutput(io.Discard)
	err := f.Parse(args)
	switch {
	case errors.Is(err, flag.ErrHelp):
		fmt.Fprintf(log, "Usage of %s:\n", f.Name())
		f.SetOutput(log)
		f.PrintDefaults()
		return err
	case err != nil:
		return errors.Errorf("%v: -help lists the flags", err)
	case f.NArg() > 0:
		return errors.Errorf("unexpected argument %q: all settings are flags, see -help", f.Arg(0))
	}
	return nil
}

// Count is the number that a flag was given, and what it may be.
type Count struct {
	Flag           string
	N, Least, Most int
}

// Check returns an error that names the first flag whose number is out of its bounds: numbers beyond any use would take all memory, or
// forever.
func Check(counts ...Count) error {
	for _, c := range counts {
		if c.N < c.Least || c.N > c.Most {
			return errors.Errorf("-%s %d: want %d to %d", c.Flag, c.N, c.Least, c.Most)
		}
	}
	return nil
}

// Fields splits a flag's value at commas. Spaces around what is between do not count, nor does what is empty.
func Fields(list string) []string {
	var out []string
	for _, s := range strings.Split(list, ",") {
		if s = strings.TrimSpace(s); s != "" {
			out = append(out, s)
		}
	}
	return out
}
