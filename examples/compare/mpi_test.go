package main

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/ftprop/ftprop/examples/compare/experiment"
	"github.com/ftprop/ftprop/internal/gtest"
)

// ranked returns the command that runs the program as two ranks.
func ranked(t *testing.T, args []string) *exec.Cmd {
	t.Helper()
	cmd := gtest.MpirunPrograms(t, args, args)
	cmd.Env = append(os.Environ(), asProgram+"=1")
	return cmd
}

// Two ranks write the files of one process, and say it once, also when they are interrupted.
func TestMPI(t *testing.T) {
	whole, dir := t.TempDir(), t.TempDir()
	cmd := ranked(t, small(dir, "-mpi", "-workers", "1"))
	if err := run(context.Background(), small(whole), new(bytes.Buffer), new(bytes.Buffer)); err != nil {
		t.Fatal(err)
	}
	// Ctrl-C when there is something.
	var log bytes.Buffer
	cmd.Stderr = &log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	for began := time.Now(); time.Since(began) < time.Minute; time.Sleep(time.Millisecond) {
		if _, err := os.Stat(filepath.Join(dir, experiment.TableFile)); err == nil {
			break
		}
	}
	_ = cmd.Process.Signal(syscall.SIGINT)
	err := cmd.Wait()
	// mpirun passes it on after a second, in which a fast machine may have trained all.
	if trained := strings.Count(log.String(), ": test accuracy "); trained < runsOfSmall && err != nil &&
		(strings.Count(log.String(), "compare: interrupted") != 1 || strings.Count(log.String(), "the same command goes on") != 1) {
		t.Errorf("%v, after %d of %d runs:\n%s", err, trained, runsOfSmall, &log)
	}
	var out bytes.Buffer
	cmd = ranked(t, small(dir, "-mpi", "-workers", "1"))
	cmd.Stdout = &out
	if err := cmd.Run(); err != nil || strings.Count(out.String(), "Target agreement") != 1 || strings.Count(out.String(), "Wrote ") != 1 {
		t.Errorf("%v:\n%s", err, &out)
	}
	wantSame(t, whole, dir)
}

// A search on ranks ranks alike.
func TestMPISearch(t *testing.T) {
	whole, dir := t.TempDir(), t.TempDir()
	args := func(dir string, more ...string) []string {
		return append(strings.Fields("-hidden 8 -act sign -rules SSTE,SoftHinge,EDE -epochs 4 -seeds 1 -validation 0.1 -search 1 -out "+dir), more...)
	}
	cmd := ranked(t, args(dir, "-mpi"))
	if b, err := cmd.CombinedOutput(); err != nil || strings.Count(string(b), "go run ./examples/compare") != 1 || strings.Contains(string(b), "-mpi") {
		t.Fatalf("%v\n%s", err, b)
	}
	if err := run(context.Background(), args(whole), new(bytes.Buffer), new(bytes.Buffer)); err != nil {
		t.Fatal(err)
	}
	a, errA := os.ReadFile(filepath.Join(whole, searchFile))
	b, errB := os.ReadFile(filepath.Join(dir, searchFile))
	if errA != nil || errB != nil || !bytes.Equal(a, b) {
		t.Errorf("%v, %v:\n%s\nwant\n%s", errA, errB, b, a)
	}
}

// What is wrong on one rank ends both.
func TestMPIBadInput(t *testing.T) {
	for _, c := range []struct {
		name, one, other string
		words            []string
	}{
		{"flags", "", "-seeds 3", []string{"compare: ranks differ in their flags", `rank 1 has "-seeds=3"`}},
		{"flag", "", "-seedz 3", []string{"compare: rank 1: ", "-seedz"}},
		{"divergence", "-lr 1e29", "-lr 1e29", []string{"compare: rank ", "ReLU, seed ", "epoch 1"}},
		{"folder", "-out main_test.go/folder", "-out main_test.go/folder", []string{"compare: rank 0: -out main_test.go/folder"}},
	} {
		args := "-mpi -act relu -epochs 3 -hidden 8 -out " + t.TempDir() + " "
		cmd := gtest.MpirunPrograms(t, strings.Fields(args+c.one), strings.Fields(args+c.other))
		cmd.Env = append(os.Environ(), asProgram+"=1")
		b, err := cmd.CombinedOutput()
		if err == nil {
			t.Errorf("%s: status 0", c.name)
		}
		for _, w := range c.words {
			if !strings.Contains(string(b), w) {
				t.Errorf("%s: no %q in\n%s", c.name, w, b)
			}
		}
	}
}
