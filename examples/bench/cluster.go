package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"runtime"
	"slices"
	"text/tabwriter"
	"time"

	"github.com/ftprop/ftprop/comm"
	"github.com/ftprop/ftprop/examples/command"
	"github.com/ftprop/ftprop/internal/gemm"
	"github.com/ftprop/ftprop/models"
	"github.com/ftprop/ftprop/mpi"
	"github.com/ftprop/ftprop/nodes"
	"github.com/ftprop/ftprop/ops"
	"github.com/ftprop/ftprop/solvers"
	"github.com/pkg/errors"
	"gorgonia.org/gorgonia"
	"gorgonia.org/tensor"
)

// cluster is what the command line says of training on several machines.
type cluster struct {
	allReduce, predict         bool
	stepMS, localMS, latencyUS float64
	given                      map[string]bool
	name                       string
	batch, steps               int
}

func (o *cluster) flags(f *flag.FlagSet) {
	f.BoolVar(&o.allReduce, "allreduce", false, "under mpirun: time the exchange of the network's gradients, -steps times")
	f.BoolVar(&o.predict, "cluster", false, "print what training on 2 to 256 nodes would come to, by the cost model of docs/cluster.md")
	f.Float64Var(&o.stepMS, "step-ms", 0, "for -cluster: `milliseconds` of a step of one node (default: timed here)")
	f.Float64Var(&o.localMS, "local-ms", 0, "for -cluster: `milliseconds` in which a node packs and unpacks its gradients (default: timed here)")
	f.Float64Var(&o.latencyUS, "latency-us", 20, "for -cluster: `microseconds` of a message from node to node")
}

// wanted says whether one of the two is asked for.
func (o *cluster) wanted() (bool, error) {
	for _, name := range []string{"step-ms", "local-ms", "latency-us"} {
		if o.given[name] && !o.predict {
			return false, errors.Errorf("-%s is for -cluster", name)
		}
	}
	switch {
	case o.allReduce && o.predict:
		return false, errors.New("-allreduce times what there is, -cluster predicts what there is not: want one of them")
	case !o.allReduce && !o.predict:
		return false, nil
	}
	for _, name := range []string{"engine", "forward", "cpuprofile"} {
		if o.given[name] {
			return false, errors.Errorf("-%s is not for -allreduce and -cluster", name)
		}
	}
	for _, v := range []float64{o.stepMS, o.localMS, o.latencyUS} {
		if !(v >= 0 && v < 1e9) {
			return false, errors.Errorf("-step-ms %v -local-ms %v -latency-us %v: want times", o.stepMS, o.localMS, o.latencyUS)
		}
	}
	return true, command.Check(command.Count{Flag: "steps", N: o.steps, Least: 1, Most: 1_000_000})
}

// network is what the exchange of its gradients costs. Times are in seconds.
type network struct {
	latency   float64 // of a message
	bandwidth float64 // of a node, in bytes a second, in each direction
}

// bucket is the size of a bucket of solvers.AllReduce, in bytes.
const bucket = 1 << 20

// sum is the time in which n ranks in a ring add up so many bytes: each sends (n-1)/n of them twice, in 2(n-1) messages one after the other.
//
// Source: Patarasuk & Yuan (2009), Bandwidth optimal all-reduce algorithms for clusters of workstations.
func (w network) sum(n int, bytes float64) float64 {
	if n < 2 {
		return 0
	}
	k := float64(n)
	return 2*(k-1)/k*bytes/w.bandwidth + 2*(k-1)*w.latency
}

// allReduce is the time of solvers.AllReduce for gradients of so many bytes, which a node packs and unpacks in the time local: that goes on while buckets
// are summed, and the slower of both counts, or on one thread both. It begins when all gradients are there, so that no part of it goes on beside a forward or
// backward pass.
func (w network) allReduce(n int, bytes, local float64) float64 {
	if n < 2 {
		return 0
	}
	total := 0.0
	for left := bytes; left > 0; left -= bucket {
		total += w.sum(n, min(left, bucket))
	}
	if runtime.GOMAXPROCS(0) == 1 {
		return total + local
	}
	return max(total, local)
}

// efficiency is the share of the images a second that n nodes would have if exchanging gradients took no time.
func efficiency(step, allReduce float64) float64 { return step / (step + allReduce) }

// param is a parameter and its gradient, as solvers take them.
type param struct{ value, grad *tensor.Dense }

func (p param) Value() gorgonia.Value         { return p.value }
func (p param) Grad() (gorgonia.Value, error) { return p.grad, nil }

// paramsOf makes parameters of the network's shapes, and says how many bytes gradients have.
func paramsOf(net *models.Net) (ps []gorgonia.ValueGrad, bytes float64) {
	for _, n := range net.Params() {
		dense := func() *tensor.Dense {
			return tensor.New(tensor.WithShape(n.Shape().Clone()...), tensor.Of(tensor.Float32))
		}
		ps = append(ps, param{dense(), dense()})
		bytes += 4 * float64(n.Shape().TotalSize())
	}
	return ps, bytes
}

// idle is a solver that leaves everything as it is.
type idle struct{}

func (idle) Step([]gorgonia.ValueGrad) error { return nil }

// still is two ranks of which the other sends nothing, in no time.
type still struct{}

func (still) Rank() int                                         { return 0 }
func (still) Size() int                                         { return 2 }
func (still) SumFloat32([]float32) error                        { return nil }
func (still) SumFloat64([]float64) error                        { return nil }
func (still) ReduceScatterFloat32([]float32, []comm.Part) error { return nil }
func (still) ReduceScatterFloat64([]float64, []comm.Part) error { return nil }
func (still) AllGatherFloat32([]float32, []comm.Part) error     { return nil }
func (still) AllGatherFloat64([]float64, []comm.Part) error     { return nil }
func (still) Broadcast([]byte, int) error                       { return nil }
func (still) Gather(b []byte) ([][]byte, error)                 { return [][]byte{b, b}, nil }
func (still) Barrier() error                                    { return nil }
func (still) Abort(error)                                       {}

var _ comm.Comm = still{}

// timed returns the sorted times of f in seconds, after it has run twice to warm up.
func timed(ctx context.Context, times int, f func() error) ([]float64, error) {
	var out []float64
	for k := range times + 2 {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		began := time.Now()
		if err := f(); err != nil {
			return nil, err
		}
		if k >= 2 {
			out = append(out, time.Since(began).Seconds())
		}
	}
	slices.Sort(out)
	return out, nil
}

// exchange is the line that is printed of -allreduce. Latency and bandwidth are those with which a ring would take as long as sums of one number,
// and of a bucket, have taken; the prediction is the cost model's with these.
type exchange struct {
	Library     string  `json:"library"`
	Model       string  `json:"model"`
	Parameters  int     `json:"parameters"`
	Ranks       int     `json:"ranks"`
	Steps       int     `json:"steps"`
	MedianMS    float64 `json:"median_ms"`
	MinMS       float64 `json:"min_ms"`
	LatencyUS   float64 `json:"latency_us"`
	GBitPerS    float64 `json:"gbit_per_s"`
	LocalMS     float64 `json:"local_ms"`
	PredictedMS float64 `json:"predicted_ms"`
}

// measure times the exchange of gradients.
func (e *exchange) measure(ctx context.Context, c comm.Comm, ps []gorgonia.ValueGrad, bytes float64) error {
	local, err := localTime(ctx, e.Steps, ps)
	if err != nil {
		return err
	}
	together := func(f func() error) ([]float64, error) {
		return timed(ctx, e.Steps, func() error { // without the time until the last one comes
			if err := c.Barrier(); err != nil {
				return err
			}
			return f()
		})
	}
	empty, err := together(func() error { return nil })
	if err != nil {
		return err
	}
	s := &solvers.AllReduce{Solver: idle{}, Comm: c}
	all, err := together(func() error { return s.Step(ps) })
	if err != nil {
		return err
	}
	one, part := make([]float32, 1), make([]float32, bucket/4)
	small, err := together(func() error { return c.SumFloat32(one) })
	if err != nil {
		return err
	}
	large, err := together(func() error { return c.SumFloat32(part) })
	if err != nil {
		return err
	}
	median := func(x []float64) float64 { return max(x[len(x)/2]-empty[len(empty)/2], 1e-9) }
	n := float64(c.Size())
	w := network{latency: median(small) / (2 * (n - 1))}
	w.bandwidth = 2 * (n - 1) / n * bucket / max(median(large)-median(small), 1e-9)
	e.Ranks, e.Parameters = c.Size(), int(bytes/4)
	e.MedianMS, e.MinMS = 1e3*median(all), 1e3*max(all[0]-empty[0], 0)
	e.LatencyUS, e.GBitPerS, e.LocalMS = 1e6*w.latency, 8e-9*w.bandwidth, 1e3*local
	e.PredictedMS = 1e3 * w.allReduce(c.Size(), bytes, local)
	return nil
}

// localTime is the time in which a node packs and unpacks its gradients.
func localTime(ctx context.Context, steps int, ps []gorgonia.ValueGrad) (float64, error) {
	s := &solvers.AllReduce{Solver: idle{}, Comm: still{}}
	times, err := timed(ctx, steps, func() error { return s.Step(ps) })
	if err != nil {
		return 0, err
	}
	return times[len(times)/2], nil
}

// run does what is asked for.
func (o *cluster) run(ctx context.Context, out io.Writer) error {
	m, err := modelByName(o.name)
	if err != nil {
		return err
	}
	if o.batch == 0 {
		o.batch = m.batch
	}
	if err := command.Check(command.Count{Flag: "batch", N: o.batch, Least: 2, Most: 4096}); err != nil {
		return err
	}
	if o.allReduce {
		return o.time(ctx, m, out)
	}
	return o.table(ctx, m, out)
}

// time is one rank's part of -allreduce. An error of one ends all: mpirun sees to that.
func (o *cluster) time(ctx context.Context, m model, out io.Writer) error {
	w, err := mpi.Init()
	if err != nil {
		return errors.WithMessage(err, "-allreduce")
	}
	if w.Size() < 2 {
		return errors.New("-allreduce: one rank exchanges nothing: start it as mpirun -n 2 PROGRAM")
	}
	net, err := m.network(2, nodes.Act(ops.Sign{}))
	if err != nil {
		return err
	}
	ps, bytes := paramsOf(net)
	e := &exchange{Library: w.Version(), Model: o.name, Steps: o.steps}
	if err := e.measure(ctx, w, ps, bytes); err != nil {
		return err
	}
	if w.Rank() == 0 {
		if err := json.NewEncoder(out).Encode(e); err != nil {
			return err
		}
	}
	return w.Close()
}

// table prints what the cost model predicts.
func (o *cluster) table(ctx context.Context, m model, out io.Writer) error {
	act := nodes.Act(ops.Sign{})
	net, err := m.network(o.batch, act)
	if err != nil {
		return err
	}
	ps, bytes := paramsOf(net)
	step, local := o.stepMS/1e3, o.localMS/1e3
	if !o.given["local-ms"] {
		if local, err = localTime(ctx, o.steps, ps); err != nil {
			return err
		}
	}
	if !o.given["step-ms"] {
		r := result{Kernels: gemm.Kernels(), Model: o.name, Batch: o.batch, Steps: o.steps}
		if err := r.measure(ctx, trainingOf(net), 0); err != nil {
			return err
		}
		step = r.MedianMS / 1e3
	}
	fmt.Fprintf(out, "%s: %.1f million parameters, batch %d on each node, %.1f ms a step on one, %.1f ms to pack and unpack gradients, %g us a message\n",
		net.Name(), bytes/4e6, o.batch, 1e3*step, 1e3*local, o.latencyUS)
	return predictions(out, o.batch, step, bytes, local, o.latencyUS/1e6)
}

// predictions prints a line for each number of nodes.
func predictions(out io.Writer, batch int, step, bytes, local, latency float64) error {
	speeds := []float64{10, 100} // Gbit/s
	t := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprint(t, "nodes\tbatch of all\t")
	for _, s := range speeds {
		fmt.Fprintf(t, "all-reduce, ms (%g Gbit/s)\tefficiency, %%\t", s)
	}
	fmt.Fprintln(t)
	for n := 2; n <= 256; n *= 2 {
		fmt.Fprintf(t, "%d\t%d\t", n, n*batch)
		for _, s := range speeds {
			all := network{latency: latency, bandwidth: s * 1e9 / 8}.allReduce(n, bytes, local)
			fmt.Fprintf(t, "%.1f\t%.1f\t", 1e3*all, 100*efficiency(step, all))
		}
		fmt.Fprintln(t)
	}
	return t.Flush()
}
