// Build makes the notebooks of examples/notebooks from its test files, and brings home what Jupyter has made of them. run.sh
// runs it; by hand:
//
//	go run ./examples/notebooks/build -out DIR       # DIR/1_drop_in.ipynb, ..., without outputs
//	go run ./examples/notebooks/build -collect DIR   # checks executed notebooks, and puts them into examples/notebooks
package main

import (
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/ftprop/ftprop/examples/command"
	"github.com/ftprop/ftprop/examples/notebooks/ipynb"
	"github.com/ftprop/ftprop/internal/atomicfile"
	"github.com/pkg/errors"
)

func main() { command.Short("build", run) }

// run is the program.
func run(args []string, out, log io.Writer) error {
	flags := flag.NewFlagSet("build", flag.ContinueOnError)
	dir := flags.String("notebooks", filepath.Join("examples", "notebooks"), "`folder` of the test files and the notebooks")
	to := flags.String("out", "", "`folder` for notebooks without outputs")
	from := flags.String("collect", "", "`folder` with executed notebooks")
	if err := command.Parse(flags, args, log); err != nil {
		return err
	}
	if (*to == "") == (*from == "") {
		return errors.New("give either -out DIR or -collect DIR: see -help")
	}
	if *from != "" {
		return collect(*from, *dir, out)
	}
	files, err := filepath.Glob(filepath.Join(*dir, "[0-9]_*_test.go"))
	if err != nil {
		return err
	}
	if len(files) == 0 {
		return errors.Errorf("no test files like 1_name_test.go in %s", *dir)
	}
	for _, f := range files {
		src, err := os.ReadFile(f)
		if err != nil {
			return err
		}
		n, err := ipynb.FromTest(f, src)
		if err != nil {
			return err
		}
		if err := os.MkdirAll(*to, 0o755); err != nil {
			return errors.Wrap(err, "-out")
		}
		if err := atomicfile.Write(filepath.Join(*to, strings.TrimSuffix(filepath.Base(f), "_test.go")+".ipynb"), n.Write); err != nil {
			return err
		}
	}
	return nil
}

// collect checks executed notebooks, all before it takes one.
func collect(from, dir string, out io.Writer) error {
	files, err := filepath.Glob(filepath.Join(from, "*.ipynb"))
	if err != nil {
		return err
	}
	if len(files) == 0 {
		return errors.Errorf("no notebooks in %s", from)
	}
	var done []*ipynb.Notebook
	for _, f := range files {
		r, err := os.Open(f)
		if err != nil {
			return err
		}
		n, err := ipynb.Read(r)
		r.Close()
		if err == nil {
			n.Clean()
			err = n.CheckExecuted()
		}
		if err != nil {
			return errors.WithMessage(err, f)
		}
		done = append(done, n)
	}
	for i, n := range done {
		path := filepath.Join(dir, filepath.Base(files[i]))
		if err := atomicfile.Write(path, n.Write); err != nil {
			return err
		}
		fmt.Fprintln(out, "Wrote", path)
	}
	return nil
}
