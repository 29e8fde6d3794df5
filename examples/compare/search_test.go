package main

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ftprop/ftprop/internal/gtest"
)

// searching is a search of a second or two: five methods, three rungs.
func searching(dir string, more ...string) []string {
	return append([]string{"-hidden", "12,8", "-epochs", "4", "-seeds", "1", "-act", "sign", "-rules", "SSTE,SoftHinge,EDE,AnnealedSoftHinge3,SoftHinge+top-share0.5",
		"-validation", "0.2", "-inspect", "40", "-checkpoint-every", "5", "-search", "2", "-out", dir}, more...)
}

// found returns what a search leaves, but for seconds.
func found(t *testing.T, dir string) map[string]string {
	t.Helper()
	out := map[string]string{}
	for _, f := range []string{searchFile, "search-1-epochs/compare.csv", "search-2-epochs/compare.csv", "search-4-epochs/compare.csv"} {
		b, err := os.ReadFile(filepath.Join(dir, f))
		if err != nil {
			t.Fatal(err)
		}
		out[f] = string(b)
	}
	return out
}

// A search halves its candidates, says how it went, does nothing twice, and prints the command that confirms the best.
func TestSearch(t *testing.T) {
	dir := t.TempDir()
	var out, log bytes.Buffer
	if err := run(context.Background(), searching(dir), &out, &log); err != nil {
		t.Fatalf("%v\n%s", err, &log)
	}
	got := found(t, dir)
	for f, lines := range map[string]int{searchFile: 1 + 5 + 3 + 2, "search-1-epochs/compare.csv": 6, "search-2-epochs/compare.csv": 4, "search-4-epochs/compare.csv": 3} {
		if n := strings.Count(got[f], "\n"); n != lines {
			t.Errorf("%s has %d lines, want %d:\n%s", f, n, lines, got[f])
		}
	}
	for _, want := range []string{"Rung 1 of 3: 5 methods, 1 epochs", "Rung 2 of 3: 3 methods, 2 epochs", "Rung 3 of 3: 2 methods, 4 epochs"} {
		if !strings.Contains(log.String(), want) {
			t.Errorf("no %q in %s", want, &log)
		}
	}
	for _, want := range []string{"1. Sign, ", "5. Sign, ", "FTP-SH, top-share0.5", "Sign, EDE", "AnnealedSoftHinge3", "go run ./examples/compare "} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in %s", want, &out)
		}
	}
	first := out.String()
	out.Reset()
	log.Reset()
	if err := run(context.Background(), searching(dir), &out, &log); err != nil || out.String() != first || strings.Contains(log.String(), "test accuracy") {
		t.Errorf("again: %v\n%s%s", err, &out, &log)
	}
	for f, b := range found(t, dir) {
		if got[f] != b {
			t.Errorf("again: %s differs", f)
		}
	}
	gtest.WantError(t, "other settings", run(context.Background(), searching(dir, "-lr", "0.5"), &out, &log), "another comparison", "-overwrite")
	var command string
	for line := range strings.Lines(first) {
		if strings.HasPrefix(line, "go run") {
			command = line
		}
	}
	for _, want := range []string{"-epochs 8", "-seed 2", "-seeds 4", "SSTE", "-hidden=12,8"} {
		if !strings.Contains(command, want) {
			t.Errorf("no %q in %s", want, command)
		}
	}
	if strings.Contains(command, "-validation") {
		t.Errorf("confirmed by images that have chosen: %s", command)
	}
	out.Reset()
	if err := run(context.Background(), append(strings.Fields(command)[3:], "-epochs", "2"), &out, &log); err != nil || !strings.Contains(out.String(), "Difference of pairs") {
		t.Errorf("%s: %v\n%s", command, err, &out)
	}
}

// A search that was killed, wherever, ends with the files of one that was not.
func TestKilledSearch(t *testing.T) {
	if gtest.Race {
		t.Skip("SKIPPED: numbers, not goroutines, are what this is about")
	}
	if testing.Short() {
		t.Skip("starts processes")
	}
	whole, dir := t.TempDir(), t.TempDir()
	began := time.Now()
	if err := run(context.Background(), searching(whole), new(bytes.Buffer), new(bytes.Buffer)); err != nil {
		t.Fatal(err)
	}
	took := time.Since(began)
	for n := range 4 {
		if killed(t, took*time.Duration(n+1)/5, searching(dir)) {
			break
		}
	}
	if err := run(context.Background(), searching(dir), new(bytes.Buffer), new(bytes.Buffer)); err != nil {
		t.Fatal(err)
	}
	want := found(t, whole)
	for f, b := range found(t, dir) {
		if want[f] != b {
			t.Errorf("%s differs from that of a search without interruption:\n%s\n%s", f, b, want[f])
		}
	}
}

func TestBadSearches(t *testing.T) {
	dir := t.TempDir()
	for what, c := range map[string]struct{ args, words []string }{
		"no validation":  {[]string{"-search", "2"}, []string{"-validation"}},
		"weights":        {[]string{"-search", "2", "-validation", "0.1", "-keep-weights"}, []string{"-keep-weights"}},
		"epochs":         {[]string{"-search", "2", "-validation", "0.1", "-search-epochs", "5", "-epochs", "4"}, []string{"-search-epochs 5", "at most"}},
		"epochs alone":   {[]string{"-search-epochs", "5"}, []string{"-search"}},
		"targets":        {[]string{"-targets", "best"}, []string{"best", "top-shareX"}},
		"a rule's":       {[]string{"-rules", "SSTE+best"}, []string{"best", "top-shareX"}},
		"a share over 1": {[]string{"-targets", "top-share2"}, []string{"Share is 2"}},
		"annealed to -1": {[]string{"-rules", "EDE-1"}, []string{"EDE-1"}},
	} {
		gtest.WantError(t, what, run(context.Background(), append(c.args, "-out", dir), new(bytes.Buffer), new(bytes.Buffer)), c.words...)
	}
}

// Annealed rules and targets are methods like others, with and without targets of their own.
func TestTargets(t *testing.T) {
	dir := t.TempDir()
	var out bytes.Buffer
	args := []string{"-unweighted", "-hidden", "8", "-epochs", "2", "-seeds", "2", "-act", "sign,relu", "-rules", "SSTE,EDE", "-targets", "grad-sign,top-share0.25", "-out", dir}
	if err := run(context.Background(), args, &out, new(bytes.Buffer)); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"SSTE, top-share0.25", "EDE, top-share0.25: against SSTE", "EDE: against SSTE"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in %s", want, &out)
		}
	}
	gtest.WantError(t, "without thresholds", run(context.Background(), []string{"-act", "relu", "-targets", "feasible", "-out", dir}, &out, &out), "-targets is for threshold")
	b, err := os.ReadFile(filepath.Join(dir, "compare.csv"))
	if err != nil || strings.Count(string(b), "sign,EDE+top-share0.25,") != 2 || strings.Count(string(b), "sign,EDE,") != 2 {
		t.Errorf("%v\n%s", err, b)
	}
}
