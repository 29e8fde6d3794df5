package main

import (
	"bytes"
	"context"
	"image/png"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/ftprop/ftprop/examples/fullbatch/experiment"
	"github.com/ftprop/ftprop/internal/gtest"
	"github.com/pkg/errors"
)

// The command end to end.
func TestRun(t *testing.T) {
	dir := t.TempDir()
	var out, log bytes.Buffer
	if err := run(context.Background(), []string{"-task", "xor,mux3,autoencoder", "-seeds", "1", "-budget", "300ms", "-out", dir}, &out, &log); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"xor", "mux3", "8-4-8", "local", "beam", "gradient", "exhaustive", "FTP-SH", "SSTE", "1/1", "Feasible"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("output does not say %q:\n%s", want, &out)
		}
	}
	if n := strings.Count(log.String(), "\n"); n != 18 {
		t.Errorf("%d lines of progress, want one for each of 18 runs:\n%s", n, &log)
	}
	f, err := os.Open(filepath.Join(dir, "fullbatch.png"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	img, err := png.Decode(f)
	if err != nil {
		t.Fatal(err)
	}
	if b := img.Bounds(); b.Dx() < 600 || b.Dy() < 200 {
		t.Errorf("picture of %v", b)
	}
}

// The tasks that have to be solved are, from 9 of 10 seeds, with every unit certified and every certificate verified.
func TestSolvesBooleanTasks(t *testing.T) {
	seeds, enough := 10, 9
	if gtest.Race || testing.Short() {
		seeds, enough = 2, 2
	}
	start := time.Now()
	for _, task := range experiment.BooleanTasks() {
		if !task.Must {
			continue
		}
		n := 0
		for seed := 1; seed <= seeds; seed++ {
			r, err := experiment.Solve(context.Background(), task, experiment.Strategies()[0], seed, 20*time.Second)
			if err != nil {
				t.Fatal(err)
			}
			if r.Solved && r.Certified && r.Train == 100 {
				n++
			}
		}
		t.Logf("%s %s: %d of %d", task.Name, task.Sizes(), n, seeds)
		if n < enough {
			t.Errorf("%s: solved from %d of %d seeds", task.Name, n, seeds)
		}
	}
	t.Logf("%.1f s", time.Since(start).Seconds())
}

// Cancelled, the command prints what there is.
func TestInterrupted(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), 300*time.Millisecond)
	defer cancel()
	var out, log bytes.Buffer
	err := run(ctx, []string{"-task", "digits", "-strategy", "gradient", "-seeds", "1", "-budget", "1m", "-workers", "1", "-out", t.TempDir()}, &out, &log)
	if err == nil {
		t.Fatal("no error")
	}
	for _, want := range []string{"Not complete", "Cancelled", "digits"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("output does not say %q:\n%s", want, &out)
		}
	}
}

// The picture comes before the table: who reads that may be gone.
func TestOutputCloses(t *testing.T) {
	dir := t.TempDir()
	args := []string{"-task", "xor", "-strategy", "local", "-seeds", "1", "-budget", "100ms", "-out", dir}
	if err := run(context.Background(), args, gtest.Closed{}, new(bytes.Buffer)); !errors.Is(err, gtest.ErrClosed) {
		t.Error(err)
	}
	if info, err := os.Stat(filepath.Join(dir, "fullbatch.png")); err != nil || info.Size() == 0 {
		t.Error(err)
	}
	if err := os.Remove(filepath.Join(dir, "fullbatch.png")); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mkfifo(filepath.Join(dir, "fullbatch.png"), 0o600); err != nil {
		t.Fatal(err)
	}
	var out, log bytes.Buffer
	gtest.WantError(t, "named pipe", run(context.Background(), args, &out, &log), "-out", "fullbatch.png", "named pipe")
	if log.Len() > 0 {
		t.Errorf("it has searched: %s", &log)
	}
}

func TestCounts(t *testing.T) {
	gtest.Counts(t, func(args ...string) error {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		return run(ctx, append([]string{"-task", "xor", "-budget", "1ms", "-out", t.TempDir()}, args...), new(bytes.Buffer), new(bytes.Buffer))
	}, "seeds", "workers", "check")
	err := run(context.Background(), []string{"-budget", "2562047h"}, new(bytes.Buffer), new(bytes.Buffer))
	gtest.WantError(t, "budget", err, "-budget 2562047h0m0s", "1000h")
}

func TestCheck(t *testing.T) {
	var out, log bytes.Buffer
	if err := run(context.Background(), []string{"-check", "20"}, &out, &log); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"20 random networks", "exhaustive", "local", "beam", "gradient", "100.0"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("output does not say %q:\n%s", want, &out)
		}
	}
}

func TestBadArguments(t *testing.T) {
	for what, c := range map[string]struct {
		args  []string
		words []string
	}{
		"task":        {[]string{"-task", "chess"}, []string{"-task", "chess", "parity4"}},
		"strategy":    {[]string{"-strategy", "luck"}, []string{"-strategy", "luck", "local"}},
		"no strategy": {[]string{"-strategy", ","}, []string{"no strategies"}},
		"seeds":       {[]string{"-seeds", "0"}, []string{"0 seeds"}},
		"budget":      {[]string{"-budget", "0s"}, []string{"budget of 0s"}},
		"workers":     {[]string{"-workers", "0"}, []string{"0 workers"}},
		"check":       {[]string{"-check", "-3"}, []string{"-check -3"}},
		"out":         {[]string{"-out", "main_test.go/folder"}, []string{"-out main_test.go/folder", "not a directory"}},
		"argument":    {[]string{"digits"}, []string{"digits", "-help"}},
		"flag":        {[]string{"-speed", "1"}, []string{"-speed"}},
	} {
		var out, log bytes.Buffer
		gtest.WantError(t, what, run(context.Background(), c.args, &out, &log), c.words...)
	}
}
