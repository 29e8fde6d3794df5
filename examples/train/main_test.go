package main

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"image"
	"image/png"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/ftprop/ftprop/examples/setup"
	"github.com/ftprop/ftprop/internal/gtest"
	"github.com/ftprop/ftprop/train"
	"github.com/pkg/errors"
)

// The test binary is the program where this variable is set: the tests that kill it need a process.
const asProgram = "FTPROP_TRAIN_TEST_RUN"

func TestMain(m *testing.M) {
	if os.Getenv(asProgram) != "" {
		main()
		return
	}
	os.Exit(m.Run())
}

// program runs it and returns what it prints.
func program(t *testing.T, args ...string) (out, log string, err error) {
	t.Helper()
	var o, l bytes.Buffer
	err = run(context.Background(), args, &o, &l)
	return o.String(), l.String(), err
}

// tiny is a training that takes a fraction of a second, with dropout-free but stateful parts: batch norm, momentum, schedule. Under the race
// detector it has fewer images.
func tiny(dir string, more ...string) []string {
	if gtest.Race {
		more = append([]string{"-limit", "500"}, more...)
	}
	return append([]string{"-recipe", "digits", "-bn", "-hidden", "16,16", "-opt", "sgd", "-momentum", "0.9", "-decay-at", "2", "-augment", "-epochs", "3", "-out", dir}, more...)
}

func read(t *testing.T, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestDigits(t *testing.T) {
	dir := t.TempDir()
	out, log, err := program(t, "-recipe", "digits", "-epochs", "6", "-validation", "0.1", "-out", dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"mlp with sign on digits", "val. top-1", "nonlin2", "curves.png"} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in\n%s", want, out)
		}
	}
	if !strings.Contains(log, "epoch 6 of 6") {
		t.Errorf("log:\n%s", log)
	}
	lines := strings.Split(strings.TrimSpace(string(read(t, filepath.Join(dir, "log.jsonl")))), "\n")
	var last train.Epoch
	if err := json.Unmarshal([]byte(lines[len(lines)-1]), &last); err != nil || len(lines) != 6 {
		t.Fatalf("%d lines, %v", len(lines), err)
	}
	if last.Test.Top1 < 90 || last.Validation == nil || len(last.Layers) != 2 || last.Layers[0].Agreement <= 0 {
		t.Errorf("last epoch: %+v", last)
	}
	if !bytes.HasPrefix(read(t, filepath.Join(dir, "curves.png")), []byte("\x89PNG")) {
		t.Error("curves.png is no PNG")
	}
	// What was saved evaluates to what the log says.
	out, _, err = program(t, "-recipe", "digits", "-eval", filepath.Join(dir, train.LastFile))
	if err != nil || !strings.Contains(out, fmt.Sprintf("top-1 %.2f %%", last.Test.Top1)) {
		t.Errorf("%v: %s, want top-1 %.2f", err, out, last.Test.Top1)
	}
	out, _, err = program(t, "-recipe", "digits", "-eval", filepath.Join(dir, train.LastFile), "-fixed-point", "-input-max", "1", "-input-bits", "2")
	var top1 float64
	if _, after, _ := strings.Cut(out, "top-1 "); err == nil {
		_, err = fmt.Sscan(after, &top1)
	}
	if err != nil || top1 == last.Test.Top1 || top1 < last.Test.Top1-20 { // two bits are few
		t.Errorf("in fixed point: %v: %s, before %.2f", err, out, last.Test.Top1)
	}
}

// However often a training is interrupted, and wherever, its weights are those of one that was not.
func TestInterruptedIsUninterrupted(t *testing.T) {
	t.Run("plain", func(t *testing.T) { interrupted(t) })
	if gtest.Race {
		return // weights are numbers, not goroutines
	}
	for _, more := range []string{"-weights sign", "-weights sign-scaled -weight-rule SoftHinge", "-weights ternary", "-weights 3 -opt adam -momentum 0", "-weights sign -all-weights -opt bop -momentum 0 -bop-gamma 0.1"} {
		t.Run(more, func(t *testing.T) { interrupted(t, strings.Fields(more)...) })
	}
	t.Run("bireal", func(t *testing.T) {
		interrupted(t, strings.Fields("-arch resnet18 -order bireal -bn=true -hidden 2,2,3,4 -weights sign -opt bop -momentum 0 -bop-gamma 0.1 -limit 160 -batch 4")...)
	})
}

func interrupted(t *testing.T, more ...string) {
	whole := t.TempDir()
	if _, _, err := program(t, tiny(whole, more...)...); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	rng := rand.New(rand.NewPCG(1, 2))
	for n := 0; ; n++ {
		args := tiny(dir, more...)
		if n > 0 {
			args = append(args, "-resume")
		}
		ctx, cancel := context.WithCancel(context.Background())
		left := 1 + rng.IntN(60) // checks of the context until it is cancelled
		var log bytes.Buffer
		err := run(&countdown{ctx, cancel, &left}, args, new(bytes.Buffer), &log)
		cancel()
		if err == nil {
			if n < 2 {
				t.Fatalf("only %d interruptions", n)
			}
			break
		}
		if !errors.Is(err, context.Canceled) || !strings.Contains(log.String(), "Stopped at epoch") || !strings.Contains(log.String(), "-resume") {
			t.Fatalf("interruption: %v, %s", err, log.String())
		}
		if n > 100 {
			t.Fatal("no end")
		}
	}
	for _, f := range []string{train.LastFile, train.BestFile} {
		if !bytes.Equal(read(t, filepath.Join(whole, f)), read(t, filepath.Join(dir, f))) {
			t.Errorf("%s differs", f)
		}
	}
}

// countdown is a context that is cancelled when it has been asked so many times.
type countdown struct {
	context.Context
	cancel func()
	left   *int
}

func (c *countdown) Err() error {
	if *c.left--; *c.left == 0 {
		c.cancel()
	}
	return c.Context.Err()
}

// start starts the program in a process of its own.
func start(t *testing.T, args []string) (cmd *exec.Cmd, log *bytes.Buffer) {
	t.Helper()
	cmd, log = exec.Command(os.Args[0], args...), new(bytes.Buffer)
	cmd.Env = append(os.Environ(), asProgram+"=1")
	cmd.Stderr = log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return cmd, log
}

// Killed at random moments, 20 times, the program always finds a whole checkpoint, and ends with the same weights.
func TestKilled(t *testing.T) {
	if testing.Short() {
		t.Skip("starts processes")
	}
	whole, dir := t.TempDir(), t.TempDir()
	args := func(dir string, more ...string) []string {
		return tiny(dir, append([]string{"-epochs", "16", "-checkpoint-every", "2", "-inspect", "0"}, more...)...)
	}
	if _, _, err := program(t, args(whole)...); err != nil {
		t.Fatal(err)
	}
	seed := uint64(time.Now().UnixNano())
	t.Log("seed", seed)
	rng := rand.New(rand.NewPCG(3, seed))
	ck := filepath.Join(dir, train.CheckpointFile)
	// How long a process takes until its first checkpoint depends on the machine and the race detector. It is killed at a
	// random moment of twice that: as often before as after one.
	began := time.Now()
	first, out := start(t, args(dir))
	for {
		if _, err := os.Stat(ck); err == nil {
			break
		}
		if time.Since(began) > time.Minute {
			_ = first.Process.Kill()
			_ = first.Wait()
			t.Fatalf("no checkpoint after a minute\n%s", out)
		}
		time.Sleep(time.Millisecond)
	}
	within := 2 * time.Since(began)
	_ = first.Process.Kill()
	_ = first.Wait()
	killed, resumed := 1, 0
	kills := 20
	if gtest.Race { // where each takes ten times as long
		kills = 4
	}
	for again := false; killed < kills; {
		a := args(dir)
		if _, err := os.Stat(ck); again {
			a = append(a, "-overwrite")
		} else if err == nil {
			a = append(a, "-resume")
			resumed++
		}
		again = false
		cmd, out := start(t, a)
		done := make(chan error, 1)
		go func() { done <- cmd.Wait() }()
		select {
		case err := <-done:
			if err != nil {
				t.Fatalf("after %d kills: %v\n%s", killed, err, out)
			}
			again = true // it was faster than the killing: from the start, for more
		case <-time.After(time.Duration(rng.Int64N(int64(within)))):
			_ = cmd.Process.Kill()
			<-done
			killed++
		}
	}
	if _, err := os.Stat(ck); err != nil || resumed < kills/5 {
		t.Fatalf("resumed only %d times, %v", resumed, err)
	}
	cmd, last := start(t, append(args(dir), "-resume"))
	if err := cmd.Wait(); err != nil {
		t.Fatalf("%v\n%s", err, last)
	}
	if !bytes.Equal(read(t, filepath.Join(whole, train.LastFile)), read(t, filepath.Join(dir, train.LastFile))) {
		t.Error("the weights differ from those of a training that was left alone")
	}
	if left, _ := filepath.Glob(filepath.Join(dir, ".*-[0-9]*")); len(left) > 0 {
		t.Errorf("%d temporary files are left: %v", len(left), left)
	}
}

// Of two trainings begun at once into one folder one goes through, and the other is told so. Nothing is lost.
func TestTwoAtOnce(t *testing.T) {
	if testing.Short() {
		t.Skip("starts processes")
	}
	whole := map[string]string{}
	for _, seed := range []string{"1", "2"} {
		dir := t.TempDir()
		if _, _, err := program(t, tiny(dir, "-seed", seed)...); err != nil {
			t.Fatal(err)
		}
		whole[seed] = string(read(t, filepath.Join(dir, train.LastFile)))
	}
	rounds := 5
	if gtest.Race {
		rounds = 1
	}
	for n := range rounds {
		dir := filepath.Join(t.TempDir(), "out")
		a, logA := start(t, tiny(dir, "-seed", "1"))
		time.Sleep(time.Duration(rand.IntN(60)) * time.Millisecond)
		b, logB := start(t, tiny(dir, "-seed", "2"))
		errA, errB := a.Wait(), b.Wait()
		winner, log := "1", logB.String()
		if errA != nil {
			winner, log = "2", logA.String()
		}
		if (errA == nil) == (errB == nil) || !strings.Contains(log, dir) || !strings.Contains(log, "-out") {
			t.Fatalf("pair %d: %v and %v, want one to go through and the other to name -out:\n%s\n%s", n, errA, errB, logA, logB)
		}
		if string(read(t, filepath.Join(dir, train.LastFile))) != whole[winner] || string(read(t, filepath.Join(dir, train.BestFile))) != whole[winner] {
			t.Errorf("pair %d: the weights are not those of the one that went through", n)
		}
		if _, _, err := program(t, tiny(dir, "-seed", winner, "-resume")...); err != nil {
			t.Errorf("pair %d: %v", n, err)
		}
	}
}

// A second training without -resume says what to type instead, and leaves the first as it was.
func TestSecondRun(t *testing.T) {
	dir := t.TempDir()
	if _, _, err := program(t, tiny(dir)...); err != nil {
		t.Fatal(err)
	}
	contents := func() (all string) {
		for _, f := range []string{train.CheckpointFile, train.BestFile, train.LastFile, logFile, curvesFile} {
			all += string(read(t, filepath.Join(dir, f)))
		}
		return all
	}
	before := contents()
	_, _, err := program(t, tiny(dir, "-seed", "2")...)
	gtest.WantError(t, "second", err, "-out "+dir+" holds a training", "-resume", "-overwrite")
	_, _, err = program(t, tiny(dir, "-overwrite", "-resume")...)
	gtest.WantError(t, "both", err, "give one of them")
	if contents() != before {
		t.Error("what was refused has changed files")
	}
	if _, _, err := program(t, tiny(dir, "-resume")...); err != nil { // there is nothing left to do
		t.Error(err)
	}
	if err := os.Remove(filepath.Join(dir, train.CheckpointFile)); err != nil {
		t.Fatal(err)
	}
	_, _, err = program(t, tiny(dir)...)
	gtest.WantError(t, "weights alone", err, train.BestFile+" and "+train.LastFile, "-overwrite")
	if strings.Contains(err.Error(), "-resume") {
		t.Errorf("there is nothing to resume from: %v", err)
	}
	other := t.TempDir()
	if _, _, err := program(t, tiny(other, "-seed", "2")...); err != nil {
		t.Fatal(err)
	}
	if _, _, err := program(t, tiny(dir, "-seed", "2", "-overwrite")...); err != nil {
		t.Fatal(err)
	}
	for _, f := range []string{train.BestFile, train.LastFile} {
		if !bytes.Equal(read(t, filepath.Join(dir, f)), read(t, filepath.Join(other, f))) {
			t.Errorf("%s is not that of the training that replaced the first", f)
		}
	}
}

// A checkpoint is taken up with equal settings only. Each flag is in one of the two lists: who adds one decides what it is.
func TestSetupHasAllThatWeightsDependOn(t *testing.T) {
	same := map[string]string{ // flag, another value
		"dir": "elsewhere", "download": "true", "workers": "3", "epochs": "7", "eval-batch": "9", "out": "elsewhere", "resume": "true", "overwrite": "true",
		"checkpoint-every": "5", "max-pixels": "99", "inspect": "3", "mpi": "true", "tensorboard": "elsewhere", "eval": "file", "fixed-point": "true", "input-max": "3", "input-bits": "5", "integer": "true",
		"recipe": "digits", // a name for other flags
		"shard":  "false",  // but for rounding, with three ranks or more: training goes on with it and without
	}
	differs := map[string]string{
		"data": "mnist", "size": "16", "channels": "3", "augment": "true", "validation": "0.1", "crop": "32", "arch": "convnet4", "act": "qrelu", "rule": "SSTE",
		"unweighted": "true", "bn": "true", "dropout": "0.5", "hidden": "8,8", "loss": "hinge", "opt": "adamw", "lr": "0.5", "wd": "0.5", "momentum": "0.5",
		"nesterov": "true", "decay-at": "2", "decay": "0.5", "batch": "8", "limit": "99", "seed": "2",
		"warmup": "2", "lr-per-rank": "true", "sync-bn": "true", "targets": "top-share0.5", "weights": "ternary", "weight-rule": "STE", "all-weights": "true", "order": "bireal", "bop-threshold": "1e-6", "bop-gamma": "1e-3",
	}
	setupOf := func(args ...string) string {
		o := new(options)
		if err := parse(o.flags(), o, args); err != nil {
			t.Fatal(err)
		}
		return o.train.Words(&o.data, "images", &o.net, o.seed)
	}
	plain := setupOf()
	new(options).flags().VisitAll(func(f *flag.Flag) {
		a, inSame := same[f.Name]
		b, inDiffers := differs[f.Name]
		if inSame == inDiffers {
			t.Errorf("-%s: do the weights depend on it? It must be in one of the lists", f.Name)
			return
		}
		if f.Name == "recipe" {
			return
		}
		if got := setupOf("-" + f.Name + "=" + a + b); (got == plain) != inSame {
			t.Errorf("-%s=%s: the setup is the same: %v, want %v", f.Name, a+b, got == plain, inSame)
		}
	})
	// The number of epochs counts where the learning rate depends on it.
	if setupOf("-decay-at", "1/2", "-epochs", "4") == setupOf("-decay-at", "1/2", "-epochs", "6") {
		t.Error("shares of 4 epochs are shares of 6")
	}
}

// pictureFolder is a folder of 16 images of a shade, of two classes.
func pictureFolder(t *testing.T, shade uint8) string {
	t.Helper()
	dir := t.TempDir()
	for i := range 8 {
		img := image.NewGray(image.Rect(0, 0, 10+i, 12))
		for k := range img.Pix {
			img.Pix[k] = shade + uint8(k*i)
		}
		for _, part := range []string{"train", "val"} {
			path := filepath.Join(dir, part, string('a'+rune(i%2)), fmt.Sprint(i, ".png"))
			if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
				t.Fatal(err)
			}
			var b bytes.Buffer
			if err := png.Encode(&b, img); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, b.Bytes(), 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	return dir
}

// Images are known by what they are: a folder of others is another training's, the same ones elsewhere are not.
func TestResumeWithOtherImages(t *testing.T) {
	folder := func(shade uint8) string { return pictureFolder(t, shade) }
	out := t.TempDir()
	args := func(dir, crop string, more ...string) []string {
		return append([]string{"-data", "folder", "-dir", dir, "-crop", crop, "-arch", "mlp", "-hidden", "4", "-batch", "4", "-epochs", "1", "-inspect", "0", "-out", out}, more...)
	}
	dir := folder(1)
	if _, _, err := program(t, args(dir, "8")...); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(dir, dir+"-moved"); err != nil {
		t.Fatal(err)
	}
	dir += "-moved"
	if _, _, err := program(t, args(dir, "8", "-resume", "-epochs", "2")...); err != nil {
		t.Error(err)
	}
	_, _, err := program(t, args(dir, "7", "-resume")...)
	gtest.WantError(t, "crop", err, "it was written for", "-crop 8", "-crop 7")
	_, _, err = program(t, args(folder(90), "8", "-resume")...)
	gtest.WantError(t, "other images", err, "it was written for", "images")
	_, _, err = program(t, args(dir, "8", "-resume", "-epochs", "3", "-max-pixels", "150")...)
	gtest.WantError(t, "pixels", err, "-max-pixels", ".png", "want at most 150")
}

func TestCounts(t *testing.T) {
	gtest.Counts(t, func(args ...string) error {
		_, _, err := program(t, tiny(t.TempDir(), args...)...)
		return err
	}, "epochs", "batch", "eval-batch", "inspect", "limit", "checkpoint-every", "workers", "size", "crop", "max-pixels", "channels", "hidden", "decay-at")
	_, _, err := program(t, tiny(t.TempDir(), "-size", "1024", "-channels", "1024")...)
	gtest.WantError(t, "all together", err, "-batch", "-size", "values")
}

// Files come before tables, and what cannot be written is found before data is read.
func TestFiles(t *testing.T) {
	dir := t.TempDir()
	if err := run(context.Background(), tiny(dir), gtest.Closed{}, new(bytes.Buffer)); !errors.Is(err, gtest.ErrClosed) {
		t.Error(err)
	}
	for _, f := range []string{train.CheckpointFile, train.BestFile, train.LastFile, logFile, curvesFile} {
		read(t, filepath.Join(dir, f))
		blocked := t.TempDir()
		if err := syscall.Mkfifo(filepath.Join(blocked, f), 0o600); err != nil {
			t.Fatal(err)
		}
		_, log, err := program(t, tiny(blocked, "-data", "cifar10", "-dir", "none")...)
		gtest.WantError(t, f, err, "-out", f, "named pipe")
		if log != "" {
			t.Errorf("%s: %s", f, log)
		}
	}
	_, _, err := program(t, tiny(dir, "-eval", "/dev/zero")...)
	gtest.WantError(t, "endless weights", err, "-eval", "/dev/zero", "no regular file")
	_, log, err := program(t, "-speed", "1")
	gtest.WantError(t, "unknown flag", err, "-speed", "-help")
	if log != "" {
		t.Errorf("beside the error: %s", log)
	}
}

func TestBadInput(t *testing.T) {
	dir := t.TempDir()
	if _, _, err := program(t, tiny(dir)...); err != nil {
		t.Fatal(err)
	}
	ck := filepath.Join(dir, train.CheckpointFile)
	good := read(t, ck)
	damaged := func(name string, b []byte) []string {
		d := filepath.Join(t.TempDir(), name)
		if err := os.MkdirAll(d, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(d, train.CheckpointFile), b, 0o644); err != nil {
			t.Fatal(err)
		}
		return tiny(d, "-resume")
	}
	flip := bytes.Clone(good)
	flip[len(flip)/2] ^= 4
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, []byte("text"), 0o644); err != nil {
		t.Fatal(err)
	}
	// A folder where the checkpoint should be, which no file can replace: like a disk that is full.
	blocked := t.TempDir()
	if err := os.MkdirAll(filepath.Join(blocked, train.CheckpointFile, "x"), 0o755); err != nil {
		t.Fatal(err)
	}
	out := t.TempDir()
	for _, c := range []struct {
		name  string
		args  []string
		words []string
	}{
		{"cut checkpoint", damaged("a", good[:len(good)-10]), []string{"bytes long", "cut short"}},
		{"flipped bit", damaged("b", flip), []string{"checksum"}},
		{"foreign file", damaged("c", []byte("a text that is no checkpoint of anything")), []string{"not a checkpoint"}},
		{"empty", damaged("d", nil), []string{"not a checkpoint"}},
		{"no checkpoint", tiny(t.TempDir(), "-resume"), []string{"no such file"}},
		{"other activation", tiny(dir, "-resume", "-act", "qrelu"), []string{"it was written for", "-act sign", "-act qrelu"}},
		{"other targets", tiny(dir, "-resume", "-targets", "feasible"), []string{"it was written for", "-targets feasible"}},
		{"unknown targets", tiny(out, "-targets", "best"), []string{"-targets", "best", "top-shareX"}},
		{"too large a share", tiny(out, "-targets", "top-share2"), []string{"Share is 2"}},
		{"targets of a baseline", tiny(out, "-act", "relu", "-targets", "feasible"), []string{"-targets is for threshold activations"}},
		{"other network", tiny(dir, "-resume", "-hidden", "16"), []string{"-hidden"}},
		{"recipe", []string{"-recipe", "nosuch"}, []string{"no recipe \"nosuch\"", "convnet4-fashion-sign"}},
		{"learning rate 0", tiny(out, "-lr", "0"), []string{"-lr 0: want a positive number"}},
		{"learning rate NaN", tiny(out, "-lr", "NaN"), []string{"-lr NaN"}},
		{"weight decay", tiny(out, "-wd", "-1"), []string{"-wd -1"}},
		{"loss turns NaN", tiny(out, "-lr", "1e38", "-act", "relu"), []string{"epoch", "checkpoint"}},
		{"activation", tiny(out, "-act", "nosuch"), []string{"-act \"nosuch\"", "qrelu"}},
		{"rule", tiny(out, "-rule", "nosuch"), []string{"nosuch", "SoftHinge"}},
		{"weights", tiny(out, "-weights", "9"), []string{"-weights", "no weights \"9\"", "ternary"}},
		{"weight rule", tiny(out, "-weights", "4", "-weight-rule", "nosuch"), []string{"-weight-rule", "nosuch", "SoftHinge"}},
		{"weight rule alone", tiny(out, "-weight-rule", "STE"), []string{"-weight-rule is for -weights"}},
		{"weights of two layers", tiny(out, "-weights", "4", "-hidden", "9"), []string{"Weights", "the first and the last"}},
		{"other weights", tiny(dir, "-resume", "-weights", "4"), []string{"it was written for", "-weights 4"}},
		{"Bop without signs", tiny(out, "-opt", "bop"), []string{"-opt bop", "-weights sign"}},
		{"Bop of scaled signs", tiny(out, "-opt", "bop", "-weights", "sign-scaled"), []string{"-opt bop", "-weights sign", `"sign-scaled"`}},
		{"Bop's share", tiny(out, "-opt", "bop", "-weights", "sign", "-bop-gamma", "1.5"), []string{"-bop-gamma 1.5"}},
		{"Bop's threshold", tiny(out, "-opt", "bop", "-weights", "sign", "-bop-threshold", "NaN"), []string{"-bop-threshold NaN"}},
		{"Bop's flags", tiny(out, "-bop-gamma", "0.1"), []string{"-bop-gamma is for -opt bop, not sgd"}},
		{"momentum of Adam", tiny(out, "-opt", "adam"), []string{"-momentum is for -opt sgd and rmsprop, not adam"}},
		{"Nesterov with RMSProp", tiny(out, "-opt", "rmsprop", "-nesterov"), []string{"-nesterov is for -opt sgd, not rmsprop"}},
		{"all weights alone", tiny(out, "-all-weights"), []string{"-all-weights is for -weights"}},
		{"order", tiny(out, "-order", "nosuch"), []string{"-order \"nosuch\"", "bireal"}},
		{"order of an mlp", tiny(out, "-order", "bireal"), []string{"-order bireal: want bireal with a resnet, xnor with convnet4 and -bn, not mlp"}},
		{"network", tiny(out, "-arch", "nosuch"), []string{"-arch", "convnet8"}},
		{"network and size", tiny(out, "-arch", "convnet8", "-hidden", "", "-channels", "3"), []string{"32x32"}},
		{"solver", tiny(out, "-opt", "nosuch"), []string{"-opt", "rmsprop"}},
		{"loss", tiny(out, "-loss", "nosuch"), []string{"-loss", "cross-entropy"}},
		{"data", tiny(out, "-data", "nosuch"), []string{"-data", "svhn"}},
		{"no data", tiny(out, "-data", "cifar10", "-dir", filepath.Join(out, "none")), []string{"-download", "none"}},
		{"batch", tiny(out, "-batch", "5000"), []string{"-batch 5000", "training images"}},
		{"epochs", tiny(out, "-epochs", "0"), []string{"-epochs 0"}},
		{"argument", tiny(out, "digits"), []string{"unexpected argument"}},
		{"folder is a file", tiny(file), []string{"-out"}},
		{"checkpoint cannot be written", tiny(blocked), []string{"checkpoint.ftprop", "no checkpoint was written before"}},
		{"weights", tiny(out, "-eval", file), []string{"-eval", "safetensors"}},
		{"weights missing", tiny(out, "-eval", filepath.Join(out, "none")), []string{"no such file"}},
		{"fixed point", tiny(out, "-fixed-point"), []string{"-fixed-point is for -eval"}},
		{"hidden", tiny(out, "-hidden", "a"), []string{"-hidden \"a\""}},
		{"decay", tiny(out, "-decay-at", "0"), []string{"-decay-at"}},
	} {
		_, _, err := program(t, c.args...)
		gtest.WantError(t, c.name, err, c.words...)
	}
	if !bytes.Equal(good, read(t, ck)) {
		t.Error("a failed resume has changed the checkpoint")
	}
}

func TestRecipes(t *testing.T) {
	out, _, err := program(t, "-recipe", "list")
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for _, r := range setup.Recipes() {
		if seen[r.Name] || !strings.Contains(out, r.Name) {
			t.Errorf("%s is twice in the list, or not in what is printed", r.Name)
		}
		seen[r.Name] = true
		o := new(options)
		if err := parse(o.flags(), o, []string{"-recipe", r.Name}); err != nil {
			t.Errorf("%s: %v", r.Name, err)
			continue
		}
		if err := o.check(); err != nil {
			t.Errorf("%s: %v", r.Name, err)
		}
		if _, err := o.net.Activation(); err != nil {
			t.Errorf("%s: %v", r.Name, err)
		}
		if _, ok := setup.Architectures()[o.net.Arch]; !ok {
			t.Errorf("%s: -arch %s", r.Name, o.net.Arch)
		}
	}
	// A flag beside a recipe prevails, wherever it stands.
	o := new(options)
	if err := parse(o.flags(), o, []string{"-lr", "0.5", "-recipe", "resnet18-cifar10-qrelu", "-epochs", "2"}); err != nil {
		t.Fatal(err)
	}
	if tr := o.train; tr.Rate != 0.5 || tr.Epochs != 2 || tr.Momentum != 0.9 || tr.WD != 1e-5 || o.net.Act != "qrelu" || tr.DecayAt != "29/90,59/90" {
		t.Errorf("%+v", o)
	}
}

// Event files of a training that was interrupted: every run adds one, and all tags and steps are there.
func TestTensorBoard(t *testing.T) {
	dir, events := t.TempDir(), filepath.Join(t.TempDir(), "runs", "a")
	args := tiny(dir, "-validation", "0.1", "-tensorboard", events)
	left := 30
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	var log bytes.Buffer
	if err := run(&countdown{ctx, cancel, &left}, args, new(bytes.Buffer), &log); !errors.Is(err, context.Canceled) || !strings.Contains(log.String(), "-resume") {
		t.Fatalf("interruption: %v, %s", err, log.String())
	}
	if _, _, err := program(t, append(args, "-resume")...); err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob(filepath.Join(events, "events.out.tfevents.*"))
	if err != nil || len(files) != 2 {
		t.Fatalf("files %v, %v", files, err)
	}
	restart := []byte("\x3a\x02\x08\x01") // session_log {status: START}
	if bytes.Contains(read(t, files[0]), restart) || !bytes.Contains(read(t, files[1]), restart) {
		t.Error("only the second file should begin with a restart")
	}
	all := append(read(t, files[0]), read(t, files[1])...)
	for _, tag := range []string{
		"loss/batch", "loss/training", "loss/validation", "loss/test", "top-1 (%)/test", "top-5 (%)/test", "learning rate", "agreement (%)/nonlin1",
		"dead (%)/nonlin2", "saturated (%)/nonlin1", "flips (%)/nonlin2", "layer loss/nonlin1", "z/nonlin1", "z/nonlin2",
	} {
		want := 3 // epochs
		if n := bytes.Count(all, append([]byte{'\n', byte(len(tag))}, tag...)); n != want && tag != "loss/batch" || n == 0 {
			t.Errorf("%s: %d events", tag, n)
		}
	}
	// The log has the rate of each epoch's last step.
	var last train.Epoch
	lines := strings.Split(strings.TrimSpace(string(read(t, filepath.Join(dir, "log.jsonl")))), "\n")
	if err := json.Unmarshal([]byte(lines[len(lines)-1]), &last); err != nil || last.LearnRate < 0.99e-4 || last.LearnRate > 1.01e-4 {
		t.Errorf("learning rate %v, want 1e-4: %v", last.LearnRate, err)
	}
	// A folder that cannot be written is an error before training.
	_, _, err = program(t, tiny(t.TempDir(), "-tensorboard", files[0])...)
	gtest.WantError(t, "a file for a folder", err, "-tensorboard")
}
