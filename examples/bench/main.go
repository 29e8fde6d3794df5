// Bench times training steps of the paper's networks, forward, backward and Adam, and prints one line of JSON.
//
//	go run ./examples/bench -model convnet4 -act sign -engine ftprop
//
// The engine is ftprop (the drop-in layers and solver) or stock (Gorgonia's own layers and solver; only the activation
// is ours). Time what is compared in turns: machines are noisy.
//
// With -forward it times evaluation in place of training, by a deploy.Predictor:
//
//	go run ./examples/bench -forward -model resnet18 -act relu -batch 1
//
// With -infer it times the network in integers, as package infer runs it, on random images:
//
//	go run ./examples/bench -infer -model convnet4 -act sign -weights 8 -batch 64 -threads 2
//
// Weights are the initial ones, and batch normalisations have the statistics of random images. To time a network without what it takes to
// build it in memory, or the same network in another program, write it to a file first:
//
//	go run ./examples/bench -model resnet18 -act sign -write-float float.onnx -write-integer integer.onnx
//	go run ./examples/bench -infer -load integer.onnx -batch 1
//
// Under mpirun, -allreduce times the exchange of gradients, and -cluster predicts what more machines would do:
//
//	mpirun -n 2 ./bench -allreduce -model resnet18
//	go run ./examples/bench -cluster -model resnet18
package main

import (
	"context"
	"encoding/json"
	"flag"
	"io"
	"math/rand/v2"
	"runtime"
	"runtime/pprof"
	"slices"
	"strings"
	"time"

	"github.com/ftprop/ftprop/examples/command"
	"github.com/ftprop/ftprop/examples/setup"
	"github.com/ftprop/ftprop/internal/atomicfile"
	"github.com/ftprop/ftprop/internal/gemm"
	"github.com/ftprop/ftprop/models"
	"github.com/ftprop/ftprop/nodes"
	"github.com/ftprop/ftprop/solvers"
	"github.com/ftprop/ftprop/train"
	"github.com/pkg/errors"
	"gorgonia.org/gorgonia"
	"gorgonia.org/tensor"
)

func main() { command.Main("bench", run) }

// result is the line that is printed.
type result struct {
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
	// GFLOPs counts the multiply-adds of forward, input and weight gradients, twice; the first layer has no input
	// gradient, which is counted all the same.
	GFLOPs         float64 `json:"gflop_per_s"`
	PeakShare      float64 `json:"share_of_gemm_peak"`
	PeakRSSMB      int64   `json:"peak_rss_mb"`
	AllocsPerStep  uint64  `json:"allocs_per_step"`
	KBytesPerStep  uint64  `json:"alloc_kb_per_step"`
	LossFirst      float64 `json:"loss_first"`
	LossLast       float64 `json:"loss_last"`
	GemmPeakGFLOPs float64 `json:"gemm_peak_gflop_per_s"`
}

// activation is nodes.ActivationByName, but that relu is Gorgonia's for both engines.
func activation(name string) (nodes.Activation, error) {
	if name == "relu" {
		return gorgonia.Rectify, nil
	}
	return nodes.ActivationByName(name)
}

func run(ctx context.Context, args []string, out, log io.Writer) error {
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	var (
		name   = flags.String("model", "convnet4", "`network`: mlp, convnet4, convnet8, resnet18, alexnet")
		act    = flags.String("act", "sign", "`activation`: "+strings.Join(nodes.ActivationNames(), ", "))
		batch  = flags.Int("batch", 0, "`images` a step (default 64, training resnet18 16, alexnet 32)")
		steps  = flags.Int("steps", 30, "timed `steps`, after 3 to warm up")
		engine = flags.String("engine", "ftprop", "`layers`: ftprop or stock")
		eval   = flags.Bool("forward", false, "time evaluation, by Net.Predictor, in place of training; -act relu is then the library's own")
		prof   = flags.String("cpuprofile", "", "`file` for a CPU profile, to be read by go tool pprof")
	)
	var o inference
	o.flags(flags)
	var several cluster
	several.flags(flags)
	if err := command.Parse(flags, args, log); err != nil {
		return err
	}
	o.given = setup.Given(flags)
	several.given = o.given
	several.name, several.batch, several.steps = *name, *batch, *steps
	if ok, err := several.wanted(); err != nil {
		return err
	} else if ok {
		return several.run(ctx, out)
	}
	if ok, err := o.wanted(); err != nil {
		return err
	} else if ok && *eval {
		return errors.New("-forward times a network in floating point: want it without -infer, -load, -write-float and -write-integer")
	} else if ok {
		o.name, o.act, o.batch, o.steps, o.profile = *name, *act, *batch, *steps, *prof
		if !o.given["batch"] {
			o.batch = 64
		}
		return o.run(ctx, out)
	}
	if *eval {
		return timeForward(ctx, out, o.given, *name, *act, *batch, *steps, *prof)
	}
	m, err := modelByName(*name)
	if err != nil {
		return err
	}
	a, err := activation(*act)
	if err != nil {
		return err
	}
	if *batch == 0 {
		*batch = m.batch
	}
	if *batch < 2 || *steps < 1 {
		return errors.Errorf("-batch %d -steps %d: want 2 or more images, 1 or more steps", *batch, *steps)
	}
	if err := command.Check(command.Count{Flag: "batch", N: *batch, Least: 2, Most: 4096}, command.Count{Flag: "steps", N: *steps, Least: 1, Most: 1_000_000}); err != nil {
		return err
	}
	if *engine != "ftprop" && *engine != "stock" {
		return errors.Errorf("no engine %q: want ftprop or stock", *engine)
	}
	net, err := m.network(*batch, a)
	if err != nil {
		return err
	}
	madds, err := multiplyAdds(net)
	if err != nil {
		return err
	}
	c := trainingOf(net)
	if *engine == "stock" {
		if c, err = stock(net); err != nil {
			return err
		}
		c.Solver = gorgonia.NewAdamSolver(gorgonia.WithLearnRate(2.5e-4), gorgonia.WithL2Reg(5e-4))
	}
	r := result{Engine: *engine, Kernels: gemm.Kernels(), Model: *name, Act: *act, Batch: *batch, Threads: runtime.GOMAXPROCS(0), Steps: *steps}
	if err := profiled(*prof, func() error { return r.measure(ctx, c, madds) }); err != nil {
		return err
	}
	return json.NewEncoder(out).Encode(r)
}

// profiled writes a CPU profile of f to a file, if there is to be one.
func profiled(path string, f func() error) error {
	if path == "" {
		return f()
	}
	var failed error
	err := atomicfile.Write(path, func(w io.Writer) error {
		if err := pprof.StartCPUProfile(w); err != nil {
			return err
		}
		defer pprof.StopCPUProfile()
		failed = f()
		return failed
	})
	if failed != nil {
		return failed
	}
	return errors.WithMessage(err, "-cpuprofile")
}

// model is a network of the paper: the size in which it is timed, and its constructor.
type model struct {
	input  []int // of a sample
	batch  int   // if none is given
	build  func(x *gorgonia.Node, cfg models.Config) (*models.Net, error)
	config models.Config
}

func modelByName(name string) (model, error) {
	switch name {
	case "mlp":
		return model{[]int{1, 28, 28}, 64, models.MLP, models.Config{}}, nil
	case "convnet4":
		return model{[]int{3, 32, 32}, 64, models.ConvNet4, models.Config{}}, nil
	case "convnet8":
		return model{[]int{3, 40, 40}, 64, models.ConvNet8, models.Config{BatchNorm: true}}, nil
	case "resnet18":
		return model{[]int{3, 32, 32}, 16, models.ResNet18, models.Config{}}, nil
	case "alexnet":
		return model{[]int{3, 224, 224}, 32, models.AlexNet, models.Config{BatchNorm: true}}, nil
	}
	return model{}, errors.Errorf("no model %q: want mlp, convnet4, convnet8, resnet18 or alexnet", name)
}

func (m model) network(batch int, act nodes.Activation) (*models.Net, error) {
	shape := append([]int{batch}, m.input...)
	x := gorgonia.NewTensor(gorgonia.NewGraph(), tensor.Float32, len(shape), gorgonia.WithName("x"), gorgonia.WithShape(shape...))
	m.config.Act = act
	return m.build(x, m.config)
}

// multiplyAdds is what a forward pass of a batch takes.
func multiplyAdds(net *models.Net) (total int64, err error) {
	s, err := net.Summary()
	if err != nil {
		return 0, err
	}
	for _, o := range s.Operations {
		total += o.MultiplyAdds
	}
	return total * int64(net.Input.Shape()[0]), nil
}

// trainingOf is what is timed of a network: forward, backward and Adam.
func trainingOf(net *models.Net) train.StepperConfig {
	return train.StepperConfig{Input: net.Input, Logits: net.Logits, Params: net.Params(), Solver: &solvers.Adam{LearnRate: 2.5e-4, WeightDecay: 5e-4}, Lean: true}
}

// measure takes steps on random images. A forward pass takes so many multiply-adds.
func (r *result) measure(ctx context.Context, c train.StepperConfig, madds int64) error {
	stepper, err := train.NewStepper(c)
	if err != nil {
		return err
	}
	defer stepper.Close()
	rng := rand.New(rand.NewPCG(0, 1))
	xs := stepper.X.Float32s()
	for i := range xs {
		xs[i] = float32(rng.NormFloat64())
	}
	labels := make([]int, r.Batch)
	for i := range labels {
		labels[i] = rng.IntN(10)
	}
	if err := stepper.SetLabels(labels); err != nil {
		return err
	}

	const warmUp = 3
	var times []time.Duration
	var before, after runtime.MemStats
	for s := range r.Steps + warmUp {
		if err := ctx.Err(); err != nil {
			return err
		}
		if s == warmUp {
			runtime.ReadMemStats(&before)
		}
		start := time.Now()
		loss, err := stepper.Step()
		if err != nil {
			return err
		}
		if s >= warmUp {
			times = append(times, time.Since(start))
		}
		r.LossLast = loss
		if s == 0 {
			r.LossFirst = r.LossLast
		}
	}
	runtime.ReadMemStats(&after)
	slices.Sort(times)
	ms := func(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
	median := times[len(times)/2]
	r.MedianMS, r.MinMS = ms(median), ms(times[0])
	r.ImagesPerS = float64(r.Batch) / median.Seconds()
	r.GFLOPs = 6 * float64(madds) / median.Seconds() / 1e9
	r.AllocsPerStep = (after.Mallocs - before.Mallocs) / uint64(r.Steps)
	r.KBytesPerStep = (after.TotalAlloc - before.TotalAlloc) / uint64(r.Steps) / 1024
	r.PeakRSSMB = int64(peakMB())
	r.GemmPeakGFLOPs = gemmPeak()
	r.PeakShare = r.GFLOPs / r.GemmPeakGFLOPs
	return nil
}

// gemmPeak measures the best product of two 768x768 matrices in GFLOP/s, on all cores.
func gemmPeak() float64 {
	const n = 768
	a, b, c := make([]float32, n*n), make([]float32, n*n), make([]float32, n*n)
	r := rand.New(rand.NewPCG(1, 2)) // products of zeros are fast on matrix units
	for i := range a {
		a[i], b[i] = r.Float32(), r.Float32()
	}
	best := time.Duration(1 << 62)
	for range 20 {
		start := time.Now()
		gemm.S(false, false, n, n, n, 1, a, n, b, n, 0, c, n)
		best = min(best, time.Since(start))
	}
	return 2 * n * n * n / best.Seconds() / 1e9
}
