package main

import (
	"bytes"
	"context"
	"encoding/json"
	"testing"

	"github.com/ftprop/ftprop/internal/gtest"
)

// Both engines train every network, and the line is JSON with figures in it.
func TestRun(t *testing.T) {
	for _, args := range [][]string{
		{"-model", "mlp", "-act", "qrelu"}, {"-model", "convnet4", "-batch", "2"}, {"-model", "convnet8", "-batch", "2"},
		{"-model", "mlp", "-engine", "stock"}, {"-model", "convnet4", "-batch", "2", "-engine", "stock", "-act", "relu"},
	} {
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
