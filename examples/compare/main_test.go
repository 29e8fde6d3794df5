package main

import (
	"bytes"
	"context"
	"encoding/csv"
	"image/png"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/ftprop/ftprop/internal/gtest"
	"github.com/pkg/errors"
)

// The command end to end, on the digits, smaller.
func TestRun(t *testing.T) {
	dir := t.TempDir()
	var out, log bytes.Buffer
	args := []string{"-epochs", "2", "-seeds", "2", "-hidden", "16,8", "-out", dir}
	if err := run(context.Background(), args, &out, &log); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"64-16-8-10", "Sign", "qReLU (2 bits)", "Baselines", "FTP-SH", "SSTE", "Threshold ReLU", "±", "Seconds a run", "Target agreement", "layer 2", "Difference of pairs", "Sign, FTP-SH: against SSTE"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("output does not say %q:\n%s", want, &out)
		}
	}
	if n := strings.Count(log.String(), "test accuracy"); n != 12 {
		t.Errorf("%d lines of progress, want one for each of 12 runs:\n%s", n, &log)
	}
	f, err := os.Open(filepath.Join(dir, "compare.png"))
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
	table, err := os.Open(filepath.Join(dir, "compare.csv"))
	if err != nil {
		t.Fatal(err)
	}
	defer table.Close()
	rows, err := csv.NewReader(table).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	if len(rows) != 1+6*2 || len(rows[0]) != 14 {
		t.Errorf("%d rows of %d, want a head and 12 of 14", len(rows), len(rows[0]))
	}
	for _, r := range rows[1:] {
		if n := len(strings.Fields(r[9])); r[6] != "2" || r[7] != "2" || n != 2 {
			t.Errorf("%d accuracies in %v", n, r)
		}
	}
}

// The numbers depend on the seeds alone, not on how many runs go on at a time.
func TestWorkersDoNotMatter(t *testing.T) {
	var tables []string
	for _, workers := range []string{"1", "3"} {
		dir := t.TempDir()
		var out, log bytes.Buffer
		args := []string{"-epochs", "1", "-seeds", "2", "-hidden", "12", "-act", "sign,relu", "-rules", "SoftHinge", "-workers", workers, "-out", dir}
		if err := run(context.Background(), args, &out, &log); err != nil {
			t.Fatal(err)
		}
		b, err := os.ReadFile(filepath.Join(dir, "compare.csv"))
		if err != nil {
			t.Fatal(err)
		}
		tables = append(tables, string(b))
	}
	if tables[0] != tables[1] {
		t.Errorf("with one worker\n%s\nwith three\n%s", tables[0], tables[1])
	}
}

func TestInterrupted(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	var out, log bytes.Buffer
	if err := run(ctx, []string{"-out", t.TempDir()}, &out, &log); err != context.Canceled {
		t.Errorf("got %v, want %v", err, context.Canceled)
	}
}

// Files come before tables: who reads those may be gone.
func TestOutputCloses(t *testing.T) {
	dir := t.TempDir()
	args := []string{"-epochs", "1", "-seeds", "1", "-hidden", "8", "-act", "sign", "-rules", "SSTE", "-out", dir}
	if err := run(context.Background(), args, gtest.Closed{}, new(bytes.Buffer)); !errors.Is(err, gtest.ErrClosed) {
		t.Error(err)
	}
	for _, f := range []string{"compare.png", "compare.csv"} {
		if info, err := os.Stat(filepath.Join(dir, f)); err != nil || info.Size() == 0 {
			t.Errorf("%s: %v", f, err)
		}
	}
}

// What cannot be written is found before training.
func TestUnwritable(t *testing.T) {
	for _, f := range []string{"compare.png", "compare.csv"} {
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
	}, "epochs", "seeds", "seed", "workers", "hidden", "batch", "inspect", "eval-batch", "limit", "checkpoint-every")
}

func TestBadArguments(t *testing.T) {
	for what, c := range map[string]struct {
		args  []string
		words []string
	}{
		"rule":          {[]string{"-rules", "Hinge9"}, []string{"Hinge9", "SoftHinge"}},
		"activation":    {[]string{"-act", "gelu"}, []string{"gelu", "qrelu", "thresholdrelu"}},
		"staircase":     {[]string{"-act", "staircase1"}, []string{"staircase1", "2 to 65535"}},
		"bits":          {[]string{"-act", "qreluX"}, []string{"qreluX", "2 to 16"}},
		"nothing":       {[]string{"-act", ""}, []string{"nothing to compare"}},
		"no rule":       {[]string{"-rules", "", "-act", "sign"}, []string{"nothing to compare"}},
		"width":         {[]string{"-hidden", "12,x"}, []string{"-hidden", "x"}},
		"zero width":    {[]string{"-hidden", "0"}, []string{"-hidden", "0"}},
		"epochs":        {[]string{"-epochs", "-1"}, []string{"-epochs -1"}},
		"seeds":         {[]string{"-seeds", "0"}, []string{"-seeds 0"}},
		"batch":         {[]string{"-batch", "5000"}, []string{"-batch 5000", "1438"}},
		"learning rate": {[]string{"-lr", "0"}, []string{"-lr 0"}},
		"NaN rate":      {[]string{"-lr", "NaN"}, []string{"-lr NaN"}},
		"decay":         {[]string{"-wd", "-1"}, []string{"-wd -1"}},
		"validation":    {[]string{"-validation", "1"}, []string{"-validation 1"}},
		"weights":       {[]string{"-weights", "sign,9"}, []string{"no weights", "9", "none"}},
		"weight rule":   {[]string{"-weights", "sign", "-weight-rules", "Hinge9"}, []string{"Hinge9", "SoftHinge"}},
		"Bop":           {[]string{"-opt", "adam,bop", "-weights", "sign", "-bop-gamma", "2"}, []string{"-bop-gamma 2"}},
		"Bop's flags":   {[]string{"-bop-gamma", "0.1"}, []string{"-bop-gamma is for -opt bop"}},
		"no momentum":   {[]string{"-momentum", "0.9", "-opt", "adam,adamw"}, []string{"-momentum is for -opt sgd and rmsprop, not adam,adamw"}},
		"only Bop":      {[]string{"-opt", "bop", "-weights", "none,ternary"}, []string{"nothing to compare"}},
		"all weights":   {[]string{"-all-weights"}, []string{"-all-weights is for -weights"}},
		"order":         {[]string{"-order", "bireal"}, []string{"-order bireal", "not mlp"}},
		"no weights":    {[]string{"-weight-rules", "STE"}, []string{"-weight-rules is for -weights"}},
		"twice":         {[]string{"-act", "relu,ReLU"}, []string{"ReLU is there twice"}},
		"the same":      {[]string{"-act", "qrelu,qrelu2"}, []string{"qReLU (2 bits), SSTE is there twice"}},
		"solver":        {[]string{"-opt", "adam,newton"}, []string{"newton", "rmsprop"}},
		"reference":     {[]string{"-reference", "STE"}, []string{"-reference STE", "SSTE,SoftHinge"}},
		"recipe":        {[]string{"-recipe", "convnet5"}, []string{"convnet5", "convnet4-mnist-sign"}},
		"network":       {[]string{"-arch", "vgg"}, []string{"vgg", "convnet4"}},
		"dropout":       {[]string{"-dropout", "0.5"}, []string{"dropout 0.5", "ConvNet8"}},
		"data":          {[]string{"-data", "mnist", "-dir", "/nowhere/at/all"}, []string{"/nowhere/at/all", "-dir"}},
		"out":           {[]string{"-out", "main_test.go/folder"}, []string{"-out main_test.go/folder", "not a directory"}},
		"argument":      {[]string{"digits"}, []string{"digits", "-help"}},
		"flag":          {[]string{"-speed", "1"}, []string{"-speed"}},
	} {
		var out, log bytes.Buffer
		err := run(context.Background(), c.args, &out, &log)
		gtest.WantError(t, what, err, c.words...)
	}
}

// A learning rate that makes the weights explode ends in an error that says where, not in a table.
func TestDivergence(t *testing.T) {
	var out, log bytes.Buffer
	err := run(context.Background(), []string{"-act", "sign", "-lr", "1e38", "-epochs", "3", "-seeds", "1", "-hidden", "8", "-out", t.TempDir()}, &out, &log)
	if err == nil || !strings.Contains(err.Error(), "epoch") {
		t.Errorf("got %v, want an error that names the epoch", err)
	}
}

// Columns of weights: signs reach nearly what full precision does, with the settings as they are.
func TestWeights(t *testing.T) {
	if gtest.Race {
		t.Skip("SKIPPED: numbers, not goroutines, are what this is about")
	}
	dir := t.TempDir()
	var out, log bytes.Buffer
	if err := run(context.Background(), []string{"-act", "sign", "-weights", "none,sign,ternary,4", "-epochs", "12", "-seeds", "1", "-out", dir}, &out, &log); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"Sign, sign weights", "Sign, ternary weights", "Sign, 4-bit weights", "Sign, sign weights, FTP-SH: against weights none"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in\n%s", want, &out)
		}
	}
	f, err := os.Open(filepath.Join(dir, "compare.csv"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	rows, err := csv.NewReader(f).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range rows[1:] {
		if a, err := strconv.ParseFloat(r[8], 64); err != nil || a < 92 {
			t.Errorf("%v: test accuracy %s", r[:6], r[8])
		}
	}
}
