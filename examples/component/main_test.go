package main

import (
	"bytes"
	"context"
	"encoding/csv"
	"image/png"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/ftprop/ftprop/examples/component/experiment"
	"github.com/ftprop/ftprop/internal/gtest"
	"github.com/pkg/errors"
)

// rowsOf reads the table of a run.
func rowsOf(t *testing.T, dir string) [][]string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(dir, tableFile))
	if err != nil {
		t.Fatal(err)
	}
	rows, err := csv.NewReader(bytes.NewReader(b)).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	return rows
}

// The command end to end, shorter.
func TestRun(t *testing.T) {
	dir := t.TempDir()
	seeds, runs := "2", 28
	if gtest.Race {
		seeds, runs = "1", 14
	}
	var out, log bytes.Buffer
	if err := run(context.Background(), []string{"-epochs", "1", "-seeds", seeds, "-out", dir}, &out, &log); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"sum of digits", "program choice", "look-up", "Posterior", "Search", "Flip", "REINFORCE", "SSTE stand-in", "±", "up to 255", "Wrote", "s in all"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("output does not say %q:\n%s", want, &out)
		}
	}
	if n := strings.Count(log.String(), "\n"); n != runs {
		t.Errorf("%d lines of progress, want one for each of %d runs:\n%s", n, runs, &log)
	}
	f, err := os.Open(filepath.Join(dir, pictureFile))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	img, err := png.Decode(f)
	if err != nil {
		t.Fatal(err)
	}
	if b := img.Bounds(); b.Dx() < 600 || b.Dy() < 300 {
		t.Errorf("picture of %v", b)
	}
	if rows := rowsOf(t, dir); len(rows) != 1+runs || len(rows[0]) != 9 {
		t.Errorf("%d rows of %d, want a head and %d of 9", len(rows), len(rows[0]), runs)
	}
}

// The numbers depend on the seeds alone, not on how many runs go on at a time.
func TestWorkersDoNotMatter(t *testing.T) {
	tasks := "lookup,choice"
	if gtest.Race { // workers share as much in one
		tasks = "lookup"
	}
	var tables []string
	for _, workers := range []string{"1", "3"} {
		dir := t.TempDir()
		if err := run(context.Background(), []string{"-epochs", "1", "-seeds", "2", "-tasks", tasks, "-workers", workers, "-out", dir}, new(bytes.Buffer), new(bytes.Buffer)); err != nil {
			t.Fatal(err)
		}
		s := ""
		for _, r := range rowsOf(t, dir) {
			s += strings.Join(r[:8], ",") + "\n" // all but the seconds
		}
		tables = append(tables, s)
	}
	if tables[0] != tables[1] {
		t.Errorf("with one worker\n%s\nwith three\n%s", tables[0], tables[1])
	}
}

// A few epochs of the searcher that is best are enough to be far above chance, in the test, from answers alone.
func TestPosteriorLearns(t *testing.T) {
	if gtest.Race {
		t.Skip("SKIPPED: numbers, not goroutines, are what this is about")
	}
	if gtest.Race {
		t.Skip("minutes under the race detector")
	}
	tasks, err := experiment.Tasks()
	if err != nil {
		t.Fatal(err)
	}
	for i, least := range []float64{70, 85, 80} {
		tasks[i].Epochs = 3
		run, err := experiment.Train(context.Background(), tasks[i], experiment.Methods()[0], 1, func() {})
		if err != nil {
			t.Fatal(err)
		}
		if right := run.Right[2]; right < least {
			t.Errorf("%s: %.1f %% right after 3 epochs, want %v", tasks[i].Name, right, least)
		}
	}
}

func TestInterrupted(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	var out, log bytes.Buffer
	if err := run(ctx, []string{"-out", t.TempDir()}, &out, &log); err != context.Canceled {
		t.Errorf("got %v, want %v", err, context.Canceled)
	}
	// After some runs: what is complete is shown.
	dir := t.TempDir()
	ctx, cancel = context.WithCancel(context.Background())
	defer cancel()
	err := run(ctx, []string{"-tasks", "choice", "-seeds", "50", "-epochs", "1", "-workers", "1", "-out", dir}, &out, cancelling{cancel})
	if !errors.Is(err, context.Canceled) || !strings.Contains(out.String(), "Not complete: ") || len(rowsOf(t, dir)) < 2 {
		t.Errorf("%v\n%s", err, &out)
	}
}

// cancelling cancels when a run is reported.
type cancelling struct{ cancel func() }

func (c cancelling) Write(p []byte) (int, error) { c.cancel(); return len(p), nil }

// Files come before tables: who reads those may be gone.
func TestOutputCloses(t *testing.T) {
	dir := t.TempDir()
	err := run(context.Background(), []string{"-epochs", "1", "-seeds", "1", "-tasks", "choice", "-out", dir}, gtest.Closed{}, new(bytes.Buffer))
	if !errors.Is(err, gtest.ErrClosed) {
		t.Error(err)
	}
	for _, f := range []string{pictureFile, tableFile} {
		if info, err := os.Stat(filepath.Join(dir, f)); err != nil || info.Size() == 0 {
			t.Errorf("%s: %v", f, err)
		}
	}
}

// What cannot be written is found before training.
func TestUnwritable(t *testing.T) {
	for _, f := range []string{pictureFile, tableFile} {
		dir := t.TempDir()
		if err := syscall.Mkfifo(filepath.Join(dir, f), 0o600); err != nil {
			t.Fatal(err)
		}
		var out, log bytes.Buffer
		gtest.WantError(t, f, run(context.Background(), []string{"-epochs", "100000", "-out", dir}, &out, &log), "-out", f, "named pipe")
		if log.Len() > 0 {
			t.Errorf("%s: it has trained: %s", f, &log)
		}
	}
}

func TestCounts(t *testing.T) {
	gtest.Counts(t, func(args ...string) error {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		return run(ctx, append(args, "-out", t.TempDir()), new(bytes.Buffer), new(bytes.Buffer))
	}, "epochs", "seeds", "workers")
}

func TestBadArguments(t *testing.T) {
	for what, c := range map[string]struct {
		args  []string
		words []string
	}{
		"task":     {[]string{"-tasks", "sum,product"}, []string{"-tasks", "product", "lookup"}},
		"nothing":  {[]string{"-tasks", ","}, []string{"-tasks", "nothing", "lookup"}},
		"seeds":    {[]string{"-seeds", "0"}, []string{"-seeds 0"}},
		"epochs":   {[]string{"-epochs", "-1"}, []string{"-epochs -1"}},
		"workers":  {[]string{"-workers", "0"}, []string{"-workers 0"}},
		"out":      {[]string{"-out", "main_test.go/folder"}, []string{"-out main_test.go/folder", "not a directory"}},
		"argument": {[]string{"digits"}, []string{"digits", "-help"}},
		"flag":     {[]string{"-speed", "1"}, []string{"-speed"}},
	} {
		var out, log bytes.Buffer
		gtest.WantError(t, what, run(context.Background(), c.args, &out, &log), c.words...)
	}
}
