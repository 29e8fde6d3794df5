package main

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/ftprop/ftprop/internal/gtest"
)

// Both engines train every network, and the line is JSON with figures in it.
func TestRun(t *testing.T) {
	for _, args := range [][]string{
		{"-model", "mlp", "-act", "qrelu"}, {"-model", "convnet4", "-batch", "2"}, {"-model", "convnet8", "-batch", "2"},
		{"-model", "mlp", "-engine", "stock"}, {"-model", "convnet4", "-batch", "2", "-engine", "stock", "-act", "relu"},
	} {
		if name := args[1]; gtest.Race && (name == "convnet8" || len(args) == 8) { // minutes of the arithmetic of convnet4, and of Gorgonia's
			continue
		}
		var out, log bytes.Buffer
		if err := run(context.Background(), append(args, "-steps", "1"), &out, &log); err != nil {
			t.Errorf("%v: %v", args, err)
			continue
		}
		var r result
		if err := json.Unmarshal(out.Bytes(), &r); err != nil {
			t.Fatal(err)
		}
		if !(r.MedianMS > 0) || !(r.GFLOPs > 0) || r.PeakRSSMB == 0 || !(r.LossLast < r.LossFirst+1) {
			t.Errorf("%v: %+v", args, r)
		}
	}
}

func TestCounts(t *testing.T) {
	gtest.Counts(t, func(args ...string) error {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		return run(ctx, append([]string{"-model", "mlp"}, args...), new(bytes.Buffer), new(bytes.Buffer))
	}, "batch", "steps")
}

// The profile is whole, or an older one stays.
func TestProfile(t *testing.T) {
	dir := t.TempDir()
	path, fifo := filepath.Join(dir, "profile"), filepath.Join(dir, "fifo")
	args := []string{"-model", "mlp", "-steps", "1", "-cpuprofile"}
	if err := run(context.Background(), append(args, path), new(bytes.Buffer), new(bytes.Buffer)); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(path); err != nil || info.Size() == 0 {
		t.Error(err)
	}
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	gtest.WantError(t, "named pipe", run(context.Background(), append(args, fifo), new(bytes.Buffer), new(bytes.Buffer)), "-cpuprofile", "named pipe")
}

func TestBadArguments(t *testing.T) {
	for what, c := range map[string]struct {
		args []string
		word string
	}{
		"model": {[]string{"-model", "vgg"}, "convnet8"}, "activation": {[]string{"-act", "gelu"}, "qrelu"},
		"engine": {[]string{"-engine", "torch"}, "stock"}, "batch": {[]string{"-batch", "1"}, "2 or more"}, "steps": {[]string{"-steps", "0"}, "-steps 0"},
	} {
		var out, log bytes.Buffer
		gtest.WantError(t, what, run(context.Background(), c.args, &out, &log), c.word)
	}
}
