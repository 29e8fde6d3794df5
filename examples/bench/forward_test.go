package main

import (
	"bytes"
	"context"
	"encoding/json"
	"runtime"
	"strings"
	"testing"

	"github.com/ftprop/ftprop/internal/gtest"
)

// Every network is timed in evaluation, one image included.
func TestForward(t *testing.T) {
	for _, args := range []string{
		"-model mlp -act relu -batch 1", "-model mlp -batch 3", "-model convnet4 -act relu -batch 1", "-model convnet8 -act qrelu -batch 2", "-model resnet18 -act relu -batch 1",
	} {
		var out, log bytes.Buffer
		if err := run(context.Background(), append(strings.Fields(args), "-forward", "-steps", "2"), &out, &log); err != nil {
			t.Errorf("%s: %v", args, err)
			continue
		}
		var r forward
		d := json.NewDecoder(&out)
		d.DisallowUnknownFields()
		if err := d.Decode(&r); err != nil {
			t.Fatal(err)
		}
		if r.Engine != "forward" || !(r.MinMS > 0) || !(r.MedianMS >= r.MinMS) || !(r.ImagesPerS > 0) || !(r.GFLOPs > 0) || !(r.PeakRSSMB > 0) ||
			r.Steps != 2 || r.Threads != runtime.GOMAXPROCS(0) || !strings.Contains(args, r.Model) {
			t.Errorf("%s: %+v", args, r)
		}
	}
}

func TestForwardBadArguments(t *testing.T) {
	for args, words := range map[string][]string{
		"-forward -engine stock": {"-engine"}, "-forward -infer": {"-forward", "-infer"}, "-forward -batch 0": {"-batch 0"}, "-forward -steps 0": {"-steps 0"},
		"-forward -model vgg": {"convnet8"}, "-forward -act gelu": {"gelu"}, "-forward -load none": {"-forward", "-load"},
	} {
		gtest.WantError(t, args, run(context.Background(), strings.Fields(args), new(bytes.Buffer), new(bytes.Buffer)), words...)
	}
	gtest.Counts(t, func(args ...string) error {
		return run(context.Background(), append([]string{"-forward", "-model", "mlp"}, args...), new(bytes.Buffer), new(bytes.Buffer))
	}, "batch", "steps")
}
