package main

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"io"
	"math"
	"math/rand/v2"
	"os"
	"runtime"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/ftprop/ftprop/data"
	"github.com/ftprop/ftprop/deploy"
	"github.com/ftprop/ftprop/examples/command"
	"github.com/ftprop/ftprop/examples/setup"
	"github.com/ftprop/ftprop/infer"
	"github.com/ftprop/ftprop/internal/atomicfile"
	"github.com/ftprop/ftprop/internal/regular"
	"github.com/ftprop/ftprop/models"
	"github.com/ftprop/ftprop/nodes"
	"github.com/ftprop/ftprop/ops"
	"github.com/pkg/errors"
)

// inference is what the command line says of timing networks in integers.
type inference struct {
	on                       bool
	weights, kernels         string
	threads                  int
	load                     string
	writeFloat, writeInteger string

	given        map[string]bool
	name, act    string // of the network
	batch, steps int
	profile      string
}

func (o *inference) flags(f *flag.FlagSet) {
	f.BoolVar(&o.on, "infer", false, "time the network in integers, run by package infer, in place of its training")
	f.StringVar(&o.weights, "weights", "8", "`bits` of weights with -infer, 2 to 16, or sign: all but the first and the last layer's are a scale times -1 and 1")
	f.StringVar(&o.kernels, "kernels", "", "instruction `set` with -infer: "+strings.Join(infer.Kernels(), ", ")+" (default the first)")
	f.IntVar(&o.threads, "threads", 0, "`goroutines` of a run with -infer, at most GOMAXPROCS (default as many)")
	f.StringVar(&o.load, "load", "", "time the network in integers of a `file`, and build none")
	f.StringVar(&o.writeInteger, "write-integer", "", "write the network in integers to a `file`; it is timed only if -steps is given")
	f.StringVar(&o.writeFloat, "write-float", "", "write the same network with ReLU, in full precision, as ONNX to a `file`; nothing is timed unless -steps is given")
}

// wanted says whether it is about inference at all. Flags that are for that alone are errors otherwise.
func (o *inference) wanted() (bool, error) {
	if o.on || o.load != "" || o.writeFloat != "" || o.writeInteger != "" {
		return true, nil
	}
	for _, name := range []string{"weights", "kernels", "threads"} {
		if o.given[name] {
			return false, errors.Errorf("-%s is for -infer", name)
		}
	}
	return false, nil
}

// check looks at what does not depend on a network.
func (o *inference) check() error {
	if o.given["engine"] {
		return errors.New("-engine is for training, not for -infer")
	}
	if o.load != "" {
		for _, name := range []string{"model", "act", "weights", "write-float", "write-integer"} {
			if o.given[name] {
				return errors.Errorf("-%s: the file of -load is the network", name)
			}
		}
	}
	for _, f := range []struct{ name, path string }{{"write-float", o.writeFloat}, {"write-integer", o.writeInteger}} {
		if f.path == "" {
			continue
		}
		if err := atomicfile.Check(f.path); err != nil {
			return errors.WithMessage(err, "-"+f.name)
		}
	}
	most := runtime.GOMAXPROCS(0)
	if o.threads > most {
		return errors.Errorf("-threads %d: no more than %d would run at once: want at most GOMAXPROCS", o.threads, most)
	}
	if o.kernels != "" && !slices.Contains(infer.Kernels(), o.kernels) {
		return errors.Errorf("-kernels %q: this processor has %s", o.kernels, strings.Join(infer.Kernels(), ", "))
	}
	return command.Check(command.Count{Flag: "batch", N: o.batch, Least: 1, Most: 4096}, command.Count{Flag: "steps", N: o.steps, Least: 1, Most: 1_000_000},
		command.Count{Flag: "threads", N: o.threads, Least: 0, Most: most})
}

// bits are those of weights, and whether most are signs.
func (o *inference) bits() (n int, signs bool, err error) {
	if o.weights == "sign" {
		return 8, true, nil
	}
	n, err = strconv.Atoi(o.weights)
	if err != nil || n < 2 || n > 16 {
		return 0, false, errors.Errorf("-weights %q: want 2 to 16 bits, or sign", o.weights)
	}
	return n, false, nil
}

// run writes and times what is asked for.
func (o *inference) run(ctx context.Context, out io.Writer) error {
	if err := o.check(); err != nil {
		return err
	}
	net, size, err := o.network()
	if err != nil || net == nil {
		return err
	}
	runtime.GC() // what is measured is the network alone
	debug.FreeOSMemory()
	r := inferred{Engine: "infer", Kernels: o.kernels, Model: o.name, Act: o.act, Weights: o.weights, Batch: o.batch, Threads: o.threads, Steps: o.steps, ModelBytes: size}
	if o.load != "" {
		r.Model, r.Act, r.Weights = strings.ToLower(net.Name()), "", ""
	}
	if r.Kernels == "" {
		r.Kernels = infer.Kernels()[0]
	}
	if r.Threads == 0 {
		r.Threads = runtime.GOMAXPROCS(0)
	}
	if err := profiled(o.profile, func() error { return r.measure(ctx, net) }); err != nil {
		return err
	}
	return json.NewEncoder(out).Encode(r)
}

// network returns the network to time, or nil if there is none, and the size of its file.
func (o *inference) network() (net *infer.Network, size int64, err error) {
	how := infer.Options{Threads: o.threads, Kernels: o.kernels}
	if o.load != "" {
		f, size, err := regular.Open(o.load, setup.MostBytes)
		if err != nil {
			return nil, 0, errors.WithMessage(err, "-load")
		}
		defer f.Close()
		net, err := how.Load(f)
		return net, size, errors.WithMessagef(err, "-load %s", o.load)
	}
	file, err := o.files()
	if err != nil || (o.writeFloat != "" || o.writeInteger != "") && !o.given["steps"] {
		return nil, 0, err
	}
	net, err = how.Load(bytes.NewReader(file))
	return net, int64(len(file)), err
}

// files builds the network, writes the files that are asked for, and returns the one of integers.
func (o *inference) files() ([]byte, error) {
	bits, signs, err := o.bits()
	if err != nil {
		return nil, err
	}
	m, err := modelByName(o.name)
	if err != nil {
		return nil, err
	}
	act, err := nodes.ActivationByName(o.act)
	if err != nil {
		return nil, err
	}
	norm := data.NormCIFAR10()
	if o.name == "mlp" {
		norm = data.NormMNIST()
	}
	if o.writeFloat != "" {
		net, err := m.calibrated(nodes.ReLU, false, norm)
		if err != nil {
			return nil, err
		}
		if err := atomicfile.Write(o.writeFloat, func(w io.Writer) error { return net.ExportONNX(w, deploy.ONNXOptions{}) }); err != nil {
			return nil, errors.WithMessage(err, "-write-float")
		}
		if o.writeInteger == "" && !o.given["steps"] {
			return nil, nil
		}
	}
	net, err := m.calibrated(act, signs, norm)
	if err != nil {
		return nil, err
	}
	integer, err := net.Quantise(deploy.QuantiseOptions{Bits: bits, Pixels: setup.Pixels(norm, math.MaxUint8)})
	if err != nil {
		return nil, err
	}
	var file bytes.Buffer
	if _, err := integer.WriteTo(&file); err != nil {
		return nil, err
	}
	if o.writeInteger == "" {
		return file.Bytes(), nil
	}
	err = atomicfile.Write(o.writeInteger, func(w io.Writer) error {
		_, err := w.Write(file.Bytes())
		return err
	})
	return file.Bytes(), errors.WithMessage(err, "-write-integer")
}

// calibrated is a network with its initial weights, if asked with those of all layers but the first and the last as signs times their mean
// magnitude in the channel, as XNOR-Net has them (Rastegari et al., 2016, arXiv:1603.05279), and batch normalisations that have the statistics of random images: with those of an initial network, 0 and 1, most units of some layers would be
// on one level.
func (m model) calibrated(act nodes.Activation, signs bool, norm data.Normalization) (*models.Net, error) {
	const images = 16
	if signs {
		m.config.Weights = ops.SignWeights{Scaled: true}
	}
	net, err := m.network(images, act)
	if err != nil {
		return nil, err
	}
	x := make([]float32, net.Input.Shape().TotalSize())
	rng := rand.New(rand.NewPCG(0, 1))
	area := net.Input.Shape()[2:].TotalSize()
	for i := range x {
		c := i / area % len(norm.Mean)
		x[i] = (float32(rng.IntN(256))/255 - norm.Mean[c]) / norm.Std[c]
	}
	return net, setup.Calibrate(net, x)
}

// inferred is the line that is printed.
type inferred struct {
	Engine     string  `json:"engine"`
	Kernels    string  `json:"kernels"`
	Model      string  `json:"model"`
	Act        string  `json:"act,omitempty"` // a file does not say
	Weights    string  `json:"weights,omitempty"`
	Batch      int     `json:"batch"`
	Threads    int     `json:"threads"`
	Steps      int     `json:"steps"`
	MedianMS   float64 `json:"median_ms"`
	MinMS      float64 `json:"min_ms"`
	ImagesPerS float64 `json:"images_per_s"`
	// PeakRSSMB is what the process had at most, with what building the network took unless that came from a file; RSSMB what it has
	// after the last run.
	PeakRSSMB    float64 `json:"peak_rss_mb"`
	RSSMB        float64 `json:"rss_mb"`
	ModelBytes   int64   `json:"model_bytes"` // of the file
	AllocsPerRun float64 `json:"allocs_per_run"`
}

// measure runs the network on random images.
func (r *inferred) measure(ctx context.Context, net *infer.Network) error {
	size := 1
	for _, d := range net.Shape() {
		size *= d
	}
	rng := rand.New(rand.NewPCG(0, 1))
	logits, pixels, reals := make([]float32, r.Batch*net.Classes()), make([]uint8, r.Batch*size), []float32(nil)
	for i := range pixels {
		pixels[i] = uint8(rng.IntN(256))
	}
	run := func() error { return net.Run(logits, pixels) }
	if net.Real() {
		reals = make([]float32, len(pixels))
		for i := range reals {
			reals[i] = float32(rng.NormFloat64())
		}
		run = func() error { return net.RunReal(logits, reals) }
	}

	const warmUp = 3
	times := make([]time.Duration, r.Steps)
	for range warmUp {
		if err := run(); err != nil {
			return err
		}
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for s := range times {
		if err := ctx.Err(); err != nil {
			return err
		}
		start := time.Now()
		if err := run(); err != nil {
			return err
		}
		times[s] = time.Since(start)
	}
	runtime.ReadMemStats(&after)
	r.PeakRSSMB, r.RSSMB = resident()
	r.AllocsPerRun = float64(after.Mallocs-before.Mallocs) / float64(r.Steps)
	slices.Sort(times)
	ms := func(d time.Duration) float64 { return float64(d.Nanoseconds()) / 1e6 }
	median := times[len(times)/2]
	r.MedianMS, r.MinMS = ms(median), ms(times[0])
	r.ImagesPerS = float64(r.Batch) / median.Seconds()
	return nil
}

// resident returns the memory that the process had at most, and has, in units of 2^20 bytes. Where there is no /proc the first is what getrusage knows,
// which on Linux includes what the process was forked from, as the go command, and the other is 0.
func resident() (peak, now float64) {
	if b, err := os.ReadFile("/proc/self/status"); err == nil {
		for line := range strings.Lines(string(b)) {
			f := strings.Fields(line)
			if len(f) != 3 {
				continue
			}
			kb, _ := strconv.ParseFloat(f[1], 64)
			switch f[0] {
			case "VmHWM:":
				peak = kb / 1024
			case "VmRSS:":
				now = kb / 1024
			}
		}
		return peak, now
	}
	return peakMB(), 0
}
