package main

import (
	"context"
	"encoding/json"
	"io"
	"math/rand/v2"
	"runtime"
	"slices"
	"time"

	"github.com/ftprop/ftprop/deploy"
	"github.com/ftprop/ftprop/examples/command"
	"github.com/ftprop/ftprop/internal/gemm"
	"github.com/ftprop/ftprop/nodes"
	"github.com/pkg/errors"
	"gorgonia.org/tensor"
)

// forward is the line that is printed of a network in evaluation, as Net.Predictor runs it.
type forward struct {
	Engine     string  `json:"engine"`
	Kernels    string  `json:"kernels"`
	Model      string  `json:"model"`
	Act        string  `json:"act"`
	Batch      int     `json:"batch"`
	Threads    int     `json:"threads"`
	Steps      int     `json:"steps"`
	MedianMS   float64 `json:"median_ms"`
	MinMS      float64 `json:"min_ms"`
	ImagesPerS float64 `json:"images_per_s"`
	GFLOPs     float64 `json:"gflop_per_s"` // multiply-adds, twice
	PeakRSSMB  float64 `json:"peak_rss_mb"` // with what building the network took
	AllocsPer  float64 `json:"allocs_per_run"`
	KBytesPer  float64 `json:"alloc_kb_per_run"`

	madds int64
}

// timeForward does what -forward asks for.
func timeForward(ctx context.Context, out io.Writer, given map[string]bool, name, act string, batch, steps int, profile string) error {
	if given["engine"] {
		return errors.New("-engine is for training, not for -forward")
	}
	if !given["batch"] {
		batch = 64
	}
	if err := command.Check(command.Count{Flag: "batch", N: batch, Least: 1, Most: 4096}, command.Count{Flag: "steps", N: steps, Least: 1, Most: 1_000_000}); err != nil {
		return err
	}
	r, p, err := newForward(name, act, batch, steps)
	if err != nil {
		return err
	}
	if err := profiled(profile, func() error { return r.measure(ctx, p) }); err != nil {
		return err
	}
	return json.NewEncoder(out).Encode(r)
}

// newForward builds the network of a name for training, and from that the predictor that is timed.
func newForward(name, act string, batch, steps int) (*forward, *deploy.Predictor, error) {
	m, err := modelByName(name)
	if err != nil {
		return nil, nil, err
	}
	a, err := nodes.ActivationByName(act)
	if err != nil {
		return nil, nil, err
	}
	trained, err := m.network(2, a)
	if err != nil {
		return nil, nil, err
	}
	madds, err := multiplyAdds(trained)
	if err != nil {
		return nil, nil, err
	}
	p, err := trained.Predictor(batch)
	if err != nil {
		return nil, nil, err
	}
	return &forward{
		Engine: "forward", Kernels: gemm.Kernels(), Model: name, Act: act, Batch: batch, Threads: runtime.GOMAXPROCS(0), Steps: steps,
		madds: madds / int64(trained.Input.Shape()[0]) * int64(batch),
	}, p, nil
}

// measure runs the network on random images.
func (r *forward) measure(ctx context.Context, p *deploy.Predictor) error {
	x := tensor.New(tensor.Of(tensor.Float32), tensor.WithShape(p.InputShape()...))
	rng := rand.New(rand.NewPCG(0, 1))
	xs := x.Float32s()
	for i := range xs {
		xs[i] = float32(rng.NormFloat64())
	}

	const warmUp = 3
	times := make([]time.Duration, 0, r.Steps)
	var before, after runtime.MemStats
	for s := range r.Steps + warmUp {
		if err := ctx.Err(); err != nil {
			return err
		}
		if s == warmUp {
			runtime.ReadMemStats(&before)
		}
		start := time.Now()
		if _, err := p.Run(x); err != nil {
			return err
		}
		took := time.Since(start)
		if s >= warmUp {
			times = append(times, took)
		}
	}
	runtime.ReadMemStats(&after)
	r.PeakRSSMB, _ = resident()
	r.AllocsPer = float64(after.Mallocs-before.Mallocs) / float64(r.Steps)
	r.KBytesPer = float64(after.TotalAlloc-before.TotalAlloc) / float64(r.Steps) / 1024
	slices.Sort(times)
	median := times[len(times)/2]
	ms := func(d time.Duration) float64 { return float64(d.Nanoseconds()) / 1e6 }
	r.MedianMS, r.MinMS = ms(median), ms(times[0])
	r.ImagesPerS = float64(r.Batch) / median.Seconds()
	r.GFLOPs = 2 * float64(r.madds) / median.Seconds() / 1e9
	return nil
}
