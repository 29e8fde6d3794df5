package notebooks_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ftprop/ftprop/examples/notebooks/ipynb"
)

// The notebooks in the repository have the code of the tests, and have been run: after a change, run.sh.
func TestNotebooksAreCurrent(t *testing.T) {
	files, err := filepath.Glob("[0-9]_*_test.go")
	if err != nil || len(files) != 8 {
		t.Fatal(files, err)
	}
	for _, f := range files {
		src, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		want, err := ipynb.FromTest(f, src)
		if err != nil {
			t.Fatal(err)
		}
		r, err := os.Open(strings.TrimSuffix(f, "_test.go") + ".ipynb")
		if err != nil {
			t.Error(err)
			continue
		}
		got, err := ipynb.Read(r)
		r.Close()
		if err != nil {
			t.Errorf("%s: %v", f, err)
			continue
		}
		if err := ipynb.Same(want, got); err != nil {
			t.Errorf("%s has changed since run.sh: %v", f, err)
		}
		if err := got.CheckExecuted(); err != nil {
			t.Errorf("%s: %v", f, err)
		}
		pictures := 0
		for _, c := range got.Cells {
			for _, o := range c.Outputs {
				if o.Data["image/png"] != nil {
					pictures++
				}
			}
		}
		if pictures == 0 {
			t.Errorf("%s: no pictures", f)
		}
	}
}
