package main

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ftprop/ftprop/data"
	"github.com/ftprop/ftprop/examples/compare/experiment"
	"github.com/ftprop/ftprop/internal/filelock"
	"github.com/ftprop/ftprop/internal/gtest"
	"github.com/pkg/errors"
)

// The test binary is the program where this variable is set: the tests that kill it need a process.
const asProgram = "FTPROP_COMPARE_TEST_RUN"

func TestMain(m *testing.M) {
	if os.Getenv(asProgram) != "" {
		main()
		return
	}
	os.Exit(m.Run())
}

// small is a comparison of a few seconds, with a state in all that has one.
func small(dir string, more ...string) []string {
	return append([]string{"-hidden", "12,8", "-epochs", "4", "-seeds", "2", "-act", "sign,relu", "-weights", "none,sign", "-bn", "-augment", "-validation", "0.1", "-decay-at", "1/2",
		"-inspect", "40", "-keep-weights", "-checkpoint-every", "3", "-out", dir}, more...)
}

// runsOfSmall is how many it has: three methods of sign and ReLU, each with and without sign weights, and two seeds.
const runsOfSmall = 12

// wantSame compares what two comparisons leave, but for seconds and picture.
func wantSame(t *testing.T, whole, dir string) {
	t.Helper()
	want, got := gtest.Contents(t, whole, experiment.TimesFile, pictureFile), gtest.Contents(t, dir, experiment.TimesFile, pictureFile)
	if len(want) != 1+runsOfSmall { // a table, and the weights of each run
		t.Errorf("%d files", len(want))
	}
	for name, b := range want {
		if got[name] != b {
			t.Errorf("%s differs from that of a comparison without interruption", name)
		}
	}
	for name := range got {
		if _, ok := want[name]; !ok {
			t.Errorf("%s is left over", name)
		}
	}
}

// However often a comparison is interrupted or killed, and wherever, it ends with the files of one that was not.
func TestInterruptedIsUninterrupted(t *testing.T) {
	if gtest.Race {
		t.Skip("SKIPPED: numbers, not goroutines, are what this is about")
	}
	if testing.Short() {
		t.Skip("starts processes")
	}
	whole, dir := t.TempDir(), t.TempDir()
	began := time.Now()
	if err := run(context.Background(), small(whole), new(bytes.Buffer), new(bytes.Buffer)); err != nil {
		t.Fatal(err)
	}
	took := time.Since(began)
	seed := uint64(time.Now().UnixNano())
	t.Log("seed", seed)
	rng := rand.New(rand.NewPCG(3, seed))
	within := 0 // interruptions with a checkpoint of a run
	for n := range 8 {
		after := time.Duration((0.1 + 0.2*rng.Float64()) * float64(took))
		var ended bool
		if n%2 == 0 {
			ended = interrupt(t, after, dir)
		} else {
			ended = kill(t, after, dir)
		}
		if ended {
			break
		}
		if left, _ := filepath.Glob(filepath.Join(dir, "compare-runs", "*", "checkpoint.ftprop")); len(left) > 0 {
			within++
		}
	}
	t.Logf("%d times in the middle of a run", within)
	if within == 0 {
		t.Error("no interruption in the middle of a run")
	}
	if err := run(context.Background(), small(dir), new(bytes.Buffer), new(bytes.Buffer)); err != nil {
		t.Fatal(err)
	}
	wantSame(t, whole, dir)
}

// interrupt is Ctrl-C some time after the start.
func interrupt(t *testing.T, after time.Duration, dir string) (ended bool) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	timer := time.AfterFunc(after, cancel)
	defer timer.Stop()
	var log bytes.Buffer
	err := run(ctx, small(dir, "-workers", "1"), new(bytes.Buffer), &log)
	if err != nil && (!errors.Is(err, context.Canceled) || ctx.Err() == nil) || err != nil && strings.Contains(log.String(), "are complete") && !strings.Contains(log.String(), "the same command goes on") {
		t.Fatalf("interruption: %v, %s", err, &log)
	}
	return err == nil
}

// kill runs a small comparison in a process of its own, and ends that.
func kill(t *testing.T, after time.Duration, dir string) (ended bool) {
	t.Helper()
	return killed(t, after, small(dir))
}

// killed runs the program in a process of its own, and ends that.
func killed(t *testing.T, after time.Duration, args []string) (ended bool) {
	t.Helper()
	cmd := exec.Command(os.Args[0], args...)
	cmd.Env = append(os.Environ(), asProgram+"=1")
	var log bytes.Buffer
	cmd.Stderr = &log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- cmd.Wait() }()
	select {
	case err := <-done:
		if err != nil {
			t.Fatalf("%v\n%s", err, &log)
		}
		return true
	case <-time.After(after):
		_ = cmd.Process.Kill()
		<-done
		return false
	}
}

// A comparison that is there is added to, never mixed with another or replaced unasked.
func TestSecondComparison(t *testing.T) {
	dir := t.TempDir()
	args := func(more ...string) []string {
		return append([]string{"-hidden", "8", "-epochs", "2", "-seeds", "2", "-act", "sign", "-rules", "SSTE", "-out", dir}, more...)
	}
	read := func(file string) string {
		t.Helper()
		b, err := os.ReadFile(filepath.Join(dir, file))
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	var out, log bytes.Buffer
	compare := func(args []string) error {
		out.Reset()
		log.Reset()
		return run(context.Background(), args, &out, &log)
	}
	if err := compare(args()); err != nil {
		t.Fatal(err)
	}
	table, seconds, first := read(experiment.TableFile), read(experiment.TimesFile), out.String()
	if err := compare(args()); err != nil || read(experiment.TableFile) != table || read(experiment.TimesFile) != seconds || !strings.Contains(log.String(), "2 runs are in") {
		t.Errorf("again: %v, %s", err, &log)
	}
	if a, b := strings.Split(first, "Wrote")[0], strings.Split(out.String(), "Wrote")[0]; a != b {
		t.Errorf("from the table:\n%s\nfrom training:\n%s", b, a)
	}
	done := filepath.Join(dir, "compare-runs", "sign_SSTE_none_adam_seed2")
	if err := os.MkdirAll(done, 0o777); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(done, "last.safetensors"), []byte("x"), 0o666); err != nil {
		t.Fatal(err)
	}
	if err := compare(args()); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Dir(done)); err == nil {
		t.Error("the checkpoint of a complete run is left over")
	}
	for _, more := range [][]string{{"-lr", "0.5"}, {"-epochs", "3"}, {"-limit", "500"}, {"-inspect", "9"}} {
		gtest.WantError(t, more[0], compare(args(more...)), "-out "+dir, "another comparison", strings.Join(more, " "), "-overwrite")
	}
	if read(experiment.TableFile) != table {
		t.Error("a refused comparison has changed the table")
	}
	// More seeds and rules, of which some come before what is there.
	if err := compare(args("-seeds", "3", "-rules", "SoftHinge,SSTE")); err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(log.String(), "test accuracy"); n != 4 {
		t.Errorf("%d runs, want 4 new ones: %s", n, &log)
	}
	more := read(experiment.TableFile)
	for line := range strings.Lines(table) {
		if !strings.Contains(more, line) {
			t.Errorf("no line %s in %s", line, more)
		}
	}
	other := t.TempDir()
	if err := compare(args("-seeds", "3", "-rules", "SoftHinge,SSTE", "-out", other)); err != nil {
		t.Fatal(err)
	}
	if b, err := os.ReadFile(filepath.Join(other, experiment.TableFile)); err != nil || string(b) != more {
		t.Errorf("made at once, the table is\n%s\nbit by bit\n%s", b, more)
	}
	// Lines that are not asked for stay.
	if err := compare(args("-seed", "9", "-seeds", "1")); err != nil {
		t.Fatal(err)
	}
	if got := read(experiment.TableFile); !strings.HasPrefix(got, more) || strings.Count(got, "\n") != strings.Count(more, "\n")+1 {
		t.Errorf("another seed: %s", got)
	}
	// What a killed process leaves, too, is replaced, and nothing else.
	runs := filepath.Join(dir, "compare-runs")
	for _, f := range []string{"sign_SSTE_none_adam_seed1/checkpoint.ftprop", "sign_SSTE_none_adam_seed1/.checkpoint.ftprop-123", "sign_SSTE_none_adam_seed1/.lock", "relu_none_adam_seed4/last.safetensors", "mine"} {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(runs, f)), 0o777); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(runs, f), []byte("x"), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	defer func() {
		if left, err := filepath.Glob(filepath.Join(runs, "*")); err != nil || len(left) != 1 {
			t.Errorf("left: %v, %v, want mine", left, err)
		}
	}()
	if err := compare(args("-lr", "0.5", "-overwrite")); err != nil || strings.Count(read(experiment.TableFile), "\n") != 3 {
		t.Error(err, read(experiment.TableFile))
	}
}

// What is not a table as this program writes it is never taken for one.
func TestDamagedTable(t *testing.T) {
	dir := t.TempDir()
	args := []string{"-hidden", "8", "-epochs", "2", "-seeds", "1", "-act", "sign", "-rules", "SSTE", "-out", dir}
	if err := run(context.Background(), args, new(bytes.Buffer), new(bytes.Buffer)); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, experiment.TableFile)
	good, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for what, b := range map[string]string{
		"cut": string(good[:len(good)-200]), "empty": "", "another program": "a,b\n1,2\n", "twice": string(good) + strings.SplitAfter(string(good), "\n")[1],
		"accuracy": strings.Replace(string(good), ",2,2,", ",2,1,", 1), "epochs": strings.Replace(string(good), ",2,2,", ",3,2,", 1), "epoch 0": strings.Replace(string(good), ",2,2,", ",2,0,", 1),
		"seed": strings.Replace(string(good), ",adam,1,", ",adam,x,", 1),
	} {
		if err := os.WriteFile(file, []byte(b), 0o666); err != nil {
			t.Fatal(err)
		}
		if b == string(good) {
			t.Fatal(what, "is whole")
		}
		gtest.WantError(t, what, run(context.Background(), args, new(bytes.Buffer), new(bytes.Buffer)), "-out", experiment.TableFile)
		if now, err := os.ReadFile(file); err != nil || string(now) != b {
			t.Errorf("%s: it has been replaced", what)
		}
	}
	if err := run(context.Background(), append(args, "-overwrite"), new(bytes.Buffer), new(bytes.Buffer)); err != nil {
		t.Fatal(err)
	}
	if now, err := os.ReadFile(file); err != nil || !bytes.Equal(now, good) {
		t.Error("-overwrite:", err)
	}
}

// Two at once would spoil each other's runs.
func TestTwoAtOnce(t *testing.T) {
	dir := t.TempDir()
	lock, err := filelock.Acquire(filepath.Join(dir, ".compare.lock"))
	if err != nil {
		t.Fatal(err)
	}
	err = run(context.Background(), []string{"-epochs", "1", "-out", dir, "-overwrite"}, new(bytes.Buffer), new(bytes.Buffer))
	gtest.WantError(t, "two", err, "-out "+dir, "another comparison writes there")
	if err := lock.Close(); err != nil {
		t.Fatal(err)
	}
}

// Runs of one seed are pairs: whatever is compared, they begin with the same weights and see the same images, augmented alike.
func TestPairs(t *testing.T) {
	if gtest.Race {
		t.Skip("SKIPPED: numbers, not goroutines, are what this is about")
	}
	for _, args := range []string{"", "-arch convnet8 -size 32 -channels 3 -hidden 2,2,2,2,2,2,4 -bn -dropout 0.5 -limit 100"} {
		o := new(options)
		if err := parse(o.flags(), o, append(strings.Fields(args), "-augment", "-validation", "0.2", "-act", "sign,qrelu,relu", "-weights", "none,sign,ternary,3", "-weight-rules", "SSTE,SoftHinge", "-opt", "adam,sgd")); err != nil {
			t.Fatal(err)
		}
		methods, err := o.methods()
		if err != nil {
			t.Fatal(err)
		}
		tr := training{o: o}
		if tr.sets, err = o.data.Open(t.Context(), nil); err != nil {
			t.Fatal(err)
		}
		of := func(m experiment.Method, seed int) (start string) {
			c, err := tr.Config(m, seed)
			if err != nil {
				t.Fatal(err)
			}
			for _, p := range c.Net.Params() {
				start += fmt.Sprint(p.Name(), gtest.Floats(t, p.Value()))
			}
			loader, err := data.NewLoader(c.Train, data.LoaderOptions{Batch: 5, Seed: c.Seed, DropLast: true})
			if err != nil {
				t.Fatal(err)
			}
			defer loader.Close()
			for range 3 {
				b, err := loader.Next(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				start += fmt.Sprint(b.X, b.Y)
			}
			return start
		}
		want := of(methods[0], 1)
		for _, m := range methods[1:] {
			if of(m, 1) != want {
				t.Errorf("%q: %v begins otherwise than %v", args, m, methods[0])
			}
		}
		if of(methods[0], 2) == want {
			t.Errorf("%q: seeds begin alike", args)
		}
	}
}

// All that lines depend on is in what they say of their settings, or in columns of their own. Each flag is in one of the lists: who adds one
// decides what it is.
func TestSettings(t *testing.T) {
	columns := []string{"act", "rules", "targets", "weights", "weight-rules", "opt", "seed", "seeds"}
	same := []string{"dir", "download", "max-pixels", "workers", "eval-batch", "out", "overwrite", "keep-weights", "checkpoint-every", "reference", "recipe", "search-epochs", "mpi"}
	differs := map[string]string{
		"data": "mnist", "size": "16", "channels": "3", "augment": "true", "validation": "0.1", "crop": "32", "arch": "convnet4", "unweighted": "true", "bn": "true",
		"dropout": "0.5", "hidden": "8,8", "loss": "hinge", "lr": "0.5", "wd": "0.5", "momentum": "0.5", "nesterov": "true", "decay-at": "2", "decay": "0.5", "batch": "8",
		"warmup": "2", "limit": "99", "epochs": "7", "inspect": "9", "all-weights": "true", "order": "bireal", "bop-threshold": "1e-6", "bop-gamma": "1e-3", "search": "2",
	}
	settings := func(args ...string) string {
		o := new(options)
		if err := parse(o.flags(), o, args); err != nil {
			t.Fatal(err)
		}
		return training{o: o, images: "images"}.settings()
	}
	plain := settings()
	new(options).flags().VisitAll(func(f *flag.Flag) {
		value, ok := differs[f.Name]
		if n := slices.Contains(columns, f.Name); n == ok && !slices.Contains(same, f.Name) {
			t.Errorf("-%s is in none or several of the lists", f.Name)
		}
		if ok && settings("-"+f.Name+"="+value) == plain {
			t.Errorf("-%s does not change the settings", f.Name)
		}
	})
	if settings("-act", "relu", "-rules", "STE", "-weights", "sign", "-weight-rules", "STE", "-opt", "sgd", "-seed", "4") != plain {
		t.Error("what is compared changes the settings")
	}
	if settings("-arch", "mlp", "-seeds", "9", "-batch", "64") != plain {
		t.Error("defaults are not what they are")
	}
}

// Networks and images are those of examples/train, with its recipes, and the epoch that validation chooses is reported.
func TestConvNet(t *testing.T) {
	dir := t.TempDir()
	var out, log bytes.Buffer
	args := strings.Fields("-recipe convnet4-cifar10-sign-sste -data digits -size 28 -hidden 4,4,8 -limit 200 -epochs 3 -seeds 2 -act sign -validation 0.2 -out " + dir)
	if err := run(context.Background(), args, &out, &log); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"8x8), 160 for training", "convnet4, 3 epochs", "adam 0.00025", "by validation", "last epoch", "Sign, FTP-SH: against SSTE", "layer 3"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in\n%s", want, &out)
		}
	}
	b, err := os.ReadFile(filepath.Join(dir, experiment.TableFile))
	if err != nil || !strings.Contains(string(b), "-augment=true") || !strings.Contains(string(b), `-decay-at ""199/300,249/300 of 3 epochs""`) {
		t.Errorf("%v: the recipe's settings are not in\n%s", err, b)
	}
}
