package main

import (
	"bytes"
	"context"
	"encoding/json"
	"math"
	"os"
	"strings"
	"testing"

	"github.com/ftprop/ftprop/comm"
	"github.com/ftprop/ftprop/internal/gtest"
	"github.com/pkg/errors"
	"gorgonia.org/gorgonia"
)

// Figures that can be reckoned by hand.
func TestCostModel(t *testing.T) {
	w := network{latency: 1e-5, bandwidth: 1e9}
	for _, c := range []struct {
		n           int
		bytes, want float64
	}{
		{1, 1e6, 0}, {2, 1e6, 1e-3 + 2e-5}, {4, 1e6, 1.5e-3 + 6e-5}, {256, 0, 510e-5},
	} {
		if got := w.sum(c.n, c.bytes); math.Abs(got-c.want) > 1e-12 {
			t.Errorf("%d ranks, %v bytes: %v s, want %v", c.n, c.bytes, got, c.want)
		}
	}
	// Two buckets and a half: three times the latency.
	if got, want := w.allReduce(2, 2.5*bucket, 0), 2.5*bucket/1e9+3*2e-5; math.Abs(got-want) > 1e-12 {
		t.Errorf("all-reduce %v s, want %v", got, want)
	}
	if w.allReduce(1, 1e9, 1) != 0 || w.allReduce(2, bucket, 1) != 1 {
		t.Error("one rank exchanges, or packing takes no time")
	}
	if e := efficiency(0.3, 0.1); math.Abs(e-0.75) > 1e-12 {
		t.Errorf("efficiency %v", e)
	}
}

func TestCluster(t *testing.T) {
	var out bytes.Buffer
	args := strings.Fields("-cluster -model convnet4 -batch 64 -step-ms 50 -local-ms 1 -latency-us 10")
	if err := run(context.Background(), args, &out, new(bytes.Buffer)); err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	if len(lines) != 2+8 || !strings.Contains(lines[0], "4.3 million parameters, batch 64 on each node, 50.0 ms") {
		t.Fatalf("%s", &out)
	}
	// 17.06 MB in 17 buckets, on two nodes: at 1.25 GB/s 13.65 ms, and 17 times two messages of 10 us.
	if f := strings.Fields(lines[2]); f[0] != "2" || f[1] != "128" || f[2] != "14.0" || f[3] != "78.2" {
		t.Errorf("%v", f)
	}
	if f := strings.Fields(lines[9]); f[0] != "256" || f[1] != "16384" {
		t.Errorf("%v", f)
	}
	// With what is timed here.
	out.Reset()
	if err := run(context.Background(), strings.Fields("-cluster -model mlp -steps 1"), &out, new(bytes.Buffer)); err != nil || strings.Count(out.String(), "\n") != 10 {
		t.Errorf("%v: %s", err, &out)
	}
	for args, word := range map[string]string{
		"-step-ms 3": "-step-ms is for -cluster", "-cluster -allreduce": "want one of them", "-cluster -step-ms -1": "-step-ms -1", "-cluster -latency-us NaN": "NaN",
		"-cluster -engine stock": "-engine", "-cluster -model vgg": "alexnet", "-cluster -steps 0": "-steps 0", "-cluster -batch 1": "-batch 1",
	} {
		gtest.WantError(t, args, run(context.Background(), strings.Fields(args), new(bytes.Buffer), new(bytes.Buffer)), word)
	}
	if os.Getenv("OMPI_COMM_WORLD_SIZE") == "" {
		gtest.WantError(t, "alone", run(context.Background(), []string{"-allreduce", "-model", "mlp"}, new(bytes.Buffer), new(bytes.Buffer)), "-allreduce", "mpirun")
	}
}

// What is measured of ranks that are goroutines are times, whatever they are.
func TestExchange(t *testing.T) {
	m, err := modelByName("mlp")
	if err != nil {
		t.Fatal(err)
	}
	net, err := m.network(2, gorgonia.Rectify)
	if err != nil {
		t.Fatal(err)
	}
	err = comm.Local(2, func(c comm.Comm) error {
		ps, bytes := paramsOf(net)
		e := &exchange{Steps: 3}
		if err := e.measure(context.Background(), c, ps, bytes); err != nil {
			return err
		}
		if e.Ranks != 2 || e.Parameters < 1000 || !(e.MedianMS > 0 && e.LatencyUS > 0 && e.GBitPerS > 0 && e.LocalMS > 0 && e.PredictedMS > 0) {
			return errors.Errorf("%+v", e)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

// The test binary is the program where this variable is set.
const asProgram = "FTPROP_BENCH_TEST_RUN"

func TestMain(m *testing.M) {
	if os.Getenv(asProgram) != "" {
		main()
		return
	}
	os.Exit(m.Run())
}

func TestAllReduce(t *testing.T) {
	args := strings.Fields("-allreduce -model mlp -steps 3")
	cmd := gtest.MpirunPrograms(t, args, args)
	cmd.Env = append(os.Environ(), asProgram+"=1")
	out, err := cmd.Output()
	var e exchange
	if err != nil || json.Unmarshal(out, &e) != nil || e.Ranks != 2 || !(e.MedianMS > 0) || !(e.PredictedMS > 0) || e.Library == "" {
		t.Errorf("%v: %s", err, out)
	}
}
