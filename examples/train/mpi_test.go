package main

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/ftprop/ftprop/internal/gtest"
	"github.com/ftprop/ftprop/train"
)

// ranked returns the command that runs the program as n ranks with the same flags.
func ranked(t *testing.T, n int, args []string) *exec.Cmd {
	t.Helper()
	lines := make([][]string, n)
	for i := range lines {
		lines[i] = args
	}
	return eachRanked(t, lines...)
}

// eachRanked is ranked with flags for each rank.
func eachRanked(t *testing.T, lines ...[]string) *exec.Cmd {
	t.Helper()
	cmd := gtest.MpirunPrograms(t, lines...)
	cmd.Env = append(os.Environ(), asProgram+"=1")
	return cmd
}

// together is a training of several ranks with a state in all that has one.
func together(dir string, more ...string) []string {
	return tiny(dir, append([]string{"-mpi", "-batch", "16", "-sync-bn", "-lr-per-rank", "-warmup", "1.5", "-validation", "0.1", "-inspect", "0", "-limit", "700"}, more...)...)
}

// Ranks write what one process does, once, and the same in each run, however often they are interrupted.
func TestMPI(t *testing.T) {
	whole, again := t.TempDir(), t.TempDir()
	var out bytes.Buffer
	cmd := ranked(t, 2, together(whole, "-epochs", "20", "-tensorboard", filepath.Join(whole, "events")))
	cmd.Stdout = &out
	if err := cmd.Run(); err != nil {
		t.Fatalf("%v\n%s", err, &out)
	}
	if n := strings.Count(out.String(), "batch 16 on each of 2 ranks, 20 epochs"); n != 1 || strings.Count(out.String(), "val. top-1") != 1 {
		t.Errorf("it is said %d times:\n%s", n, &out)
	}
	for _, f := range []string{train.CheckpointFile, train.BestFile, train.LastFile, logFile, curvesFile} {
		read(t, filepath.Join(whole, f))
	}
	if events, _ := filepath.Glob(filepath.Join(whole, "events", "*")); len(events) != 1 {
		t.Errorf("event files %v", events)
	}
	// Some moments at which one rank is asked to stop: mpirun asks all, but seconds after Ctrl-C. A step that is shared out and one that is not are the
	// same to the bit with two ranks, and so are their checkpoints.
	args := together(again, "-epochs", "20", "-checkpoint-every", "1")
	for stops := 0; ; {
		args = append(args, fmt.Sprintf("-shard=%v", stops%2 == 1))
		a := args
		_, err := os.Stat(filepath.Join(again, train.CheckpointFile))
		if err == nil {
			a = append(args, "-resume")
		}
		cmd := ranked(t, 2, a)
		var log bytes.Buffer
		cmd.Stderr = &log
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		if stops < 2 {
			within(t, 20*time.Second, &log, func() bool {
				b, err := os.Stat(filepath.Join(again, train.CheckpointFile))
				return err == nil && time.Since(b.ModTime()) < time.Second
			})
			if pid := processOf(cmd.Process.Pid, stops%2); pid != 0 {
				_ = syscall.Kill(pid, syscall.SIGTERM)
			}
		}
		err = cmd.Wait()
		if err == nil {
			break
		}
		stops++
		if !strings.Contains(log.String(), "train: interrupted") || strings.Count(log.String(), "-resume goes on from") != 1 || cmd.ProcessState.ExitCode() == 0 {
			t.Fatalf("%v:\n%s", err, &log)
		}
	}
	for _, f := range []string{train.BestFile, train.LastFile} {
		if !bytes.Equal(read(t, filepath.Join(whole, f)), read(t, filepath.Join(again, f))) {
			t.Errorf("%s differs", f)
		}
	}
	cmd = ranked(t, 3, together(whole, "-epochs", "20", "-resume"))
	b, err := cmd.CombinedOutput()
	if err == nil || !strings.Contains(string(b), "rank 0: it was written by 2 ranks, and here are 3") {
		t.Errorf("three ranks go on where two stood: %v\n%s", err, b)
	}
}

// within waits until something is so.
func within(t *testing.T, d time.Duration, log fmt.Stringer, so func() bool) {
	t.Helper()
	for began := time.Now(); !so(); time.Sleep(time.Millisecond) {
		if time.Since(began) > d {
			t.Fatalf("after %v:\n%s", d, log)
		}
	}
}

// What is wrong on one rank ends all, with a line that says which, and from which nothing is missing.
func TestMPIBadInput(t *testing.T) {
	full := t.TempDir()
	if _, _, err := program(t, tiny(full)...); err != nil {
		t.Fatal(err)
	}
	folder := func(shade uint8) []string {
		return []string{"-data", "folder", "-crop", "8", "-batch", "4", "-augment=false", "-dir", pictureFolder(t, shade)}
	}
	for _, c := range []struct {
		name  string
		more  [2][]string
		words []string
	}{
		{"another rate", [2][]string{nil, {"-lr", "0.5"}}, []string{"train: ranks differ in their flags", `rank 0 has "-lr=0.001", rank 1 has "-lr=0.5"`}},
		{"another flag", [2][]string{nil, {"-lrate", "0.5"}}, []string{"train: rank 1: ", "-lrate", "-help"}},
		{"two other flags", [2][]string{{"-size", "x"}, {"-lrate", "0.5"}}, []string{"train: rank 0: ", "-size"}},
		{"another folder", [2][]string{nil, {"-out", full}}, []string{"train: ranks differ in their flags", "rank 1 has \"-out=" + full}},
		{"other images", [2][]string{folder(1), folder(90)}, []string{"train: ranks differ in their images of folder"}},
		{"no images", [2][]string{folder(1), append(folder(1), "-dir", "/nowhere")}, []string{"train: rank 1: ", "/nowhere"}},
		{"evaluation", [2][]string{{"-eval", "x"}, {"-eval", "x"}}, []string{"train: -mpi is for training"}},
		{"fixed point", [2][]string{{"-fixed-point"}, {"-fixed-point"}}, []string{"train: -fixed-point is for -eval"}},
		{"few images", [2][]string{{"-limit", "1"}, {"-limit", "1"}}, []string{"train: rank 0: -batch 32 on each of 2 ranks: there are only 1"}},
		{"no norms", [2][]string{{"-sync-bn", "-bn=false"}, {"-sync-bn", "-bn=false"}}, []string{"train: rank 0: -sync-bn", "-bn"}},
		{"a training in -out", [2][]string{{"-out", full}, {"-out", full}}, []string{"train: rank 0: -out", "holds a training", "-resume"}},
		{"not a number", [2][]string{{"-lr", "1e29", "-act", "relu"}, {"-lr", "1e29", "-act", "relu"}}, []string{"train: epoch 1", "rank 0: ", "checkpoint"}},
	} {
		dir := t.TempDir()
		var lines [2][]string
		for i, more := range c.more {
			lines[i] = tiny(dir, append([]string{"-mpi"}, more...)...)
		}
		cmd := eachRanked(t, lines[0], lines[1])
		var log bytes.Buffer
		cmd.Stderr = &log
		out, err := cmd.Output()
		if err == nil || len(out) > 0 && c.name != "not a number" {
			t.Errorf("%s: %v, %s", c.name, err, out)
		}
		said := ""
		for line := range strings.Lines(log.String()) {
			if strings.HasPrefix(line, "train: ") && !strings.HasPrefix(line, "train: stopping") { // which mpirun asks for where a rank is slow
				said += line
			}
		}
		for _, w := range c.words {
			if !strings.Contains(said, w) {
				t.Errorf("%s: no %q in\n%s", c.name, w, &log)
			}
		}
		if n := strings.Count(said, "\n"); n != 1 {
			t.Errorf("%s: it is said %d times:\n%s", c.name, n, &log)
		}
	}
	// Of several without -mpi each would train alike.
	log, err := ranked(t, 2, tiny(t.TempDir())).CombinedOutput()
	if err == nil || !strings.Contains(string(log), "train: mpirun has started 2 of this program: with -mpi") {
		t.Errorf("without -mpi: %v\n%s", err, log)
	}
}

// Without mpirun or a library -mpi is an error that says what to type, and flags that are for it are none without.
func TestMPIAlone(t *testing.T) {
	for _, name := range []string{"OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "MPI_LOCALNRANKS", "PMIX_RANK"} {
		if os.Getenv(name) != "" {
			t.Skip("SKIPPED: under mpirun")
		}
	}
	out := filepath.Join(t.TempDir(), "out")
	_, _, err := program(t, tiny(out, "-mpi")...)
	gtest.WantError(t, "alone", err, "-mpi: ", "not started by MPI", "mpirun -n 2")
	_, _, err = program(t, tiny(out, "-lr-per-rank")...)
	gtest.WantError(t, "rate", err, "-lr-per-rank is for -mpi")
	_, _, err = program(t, tiny(out, "-sync-bn")...)
	gtest.WantError(t, "norms", err, "-sync-bn is for -mpi")
	_, _, err = program(t, tiny(out, "-shard=false")...)
	gtest.WantError(t, "shards", err, "-shard is for -mpi")
	_, _, err = program(t, tiny(out, "-warmup", "-1")...)
	gtest.WantError(t, "warm-up", err, "-warmup -1")
	t.Setenv("FTPROP_MPI", "/nowhere/libmpi.so")
	cmd := exec.Command(os.Args[0], tiny(out, "-mpi")...) // a process can load one once
	cmd.Env = append(os.Environ(), asProgram+"=1")
	log, err := cmd.CombinedOutput()
	if err == nil || !strings.Contains(string(log), "train: -mpi: mpi: no MPI library") || !strings.Contains(string(log), "apt-get install openmpi-bin") {
		t.Errorf("without a library: %v, %s", err, log)
	}
	if _, err := os.Stat(out); err == nil {
		t.Error("-out has been made")
	}
}

// The learning rate climbs over the first epochs, the same when training is interrupted.
func TestWarmup(t *testing.T) {
	dir := t.TempDir()
	_, _, err := program(t, tiny(dir, "-warmup", "1.5")...)
	if err != nil {
		t.Fatal(err)
	}
	_, _, err = program(t, tiny(dir, "-warmup", "2", "-resume")...)
	gtest.WantError(t, "another warm-up", err, "it was written for", "-warmup 1.5")
	if !gtest.Race {
		interrupted(t, "-warmup", "1.5")
	}
}

// kills is the variable that says how many times TestMPIKilled kills.
const kills = "FTPROP_MPI_KILLS"

// A rank that is killed, whichever and whenever, ends the others within seconds, and nothing is lost since the last checkpoint.
func TestMPIKilled(t *testing.T) {
	n := 2
	if s := os.Getenv(kills); s != "" {
		var err error
		if n, err = strconv.Atoi(s); err != nil || n < 1 {
			t.Fatalf("%s=%s: want a number of kills", kills, s)
		}
	}
	args := func(dir string, more ...string) []string {
		return together(dir, append([]string{"-epochs", "40", "-checkpoint-every", "3", "-decay-at", "30"}, more...)...)
	}
	whole, dir := t.TempDir(), t.TempDir()
	began := time.Now()
	if b, err := ranked(t, 2, args(whole)).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, b)
	}
	took := time.Since(began)
	seed := uint64(time.Now().UnixNano())
	rng := rand.New(rand.NewPCG(3, seed))
	t.Logf("seed %d, a training left alone takes %v", seed, took)
	ck := filepath.Join(dir, train.CheckpointFile)
	resumed := 0
	for k := 0; k < n; {
		a := args(dir)
		if _, err := os.Stat(ck); err == nil {
			a, resumed = append(a, "-resume"), resumed+1
		}
		cmd := ranked(t, 2, a)
		var log bytes.Buffer
		cmd.Stdout, cmd.Stderr = &log, &log
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		done := make(chan error, 1)
		go func() { done <- cmd.Wait() }()
		// Most of the time is that of the start, and a training that goes on has a part of the whole before it.
		after := time.Duration((0.2 + 0.6*rng.Float64()) * float64(took))
		select {
		case err := <-done:
			if err != nil {
				t.Fatalf("after %d kills: %v\n%s", k, err, &log)
			}
			for _, f := range []string{train.CheckpointFile, train.BestFile, train.LastFile, logFile, curvesFile} { // it was faster than the killing
				_ = os.Remove(filepath.Join(dir, f))
			}
			continue
		case <-time.After(after):
		}
		who, victim := "mpirun", cmd.Process.Pid
		if k%5 != 4 {
			who = fmt.Sprint("rank ", k%2)
			if victim = processOf(cmd.Process.Pid, k%2); victim == 0 { // between two states
				victim, who = cmd.Process.Pid, "mpirun"
			}
		}
		others := []int{processOf(cmd.Process.Pid, 0), processOf(cmd.Process.Pid, 1)}
		killed := time.Now()
		_ = syscall.Kill(victim, syscall.SIGKILL)
		var err error
		select {
		case err = <-done: // all that have its output are gone
		case <-time.After(time.Minute):
			t.Fatalf("a minute after %s was killed ranks are there", who)
		}
		ended := time.Since(killed)
		if err == nil || ended > 10*time.Second || who != "mpirun" && log.Len() == 0 {
			t.Errorf("%s killed: status %v, %v until the others end, and they say\n%s", who, err, ended, &log)
		}
		for _, pid := range others { // those that the death of mpirun leaves behind notice it, too
			for {
				state, _ := process(pid)
				if pid == 0 || state == "" || state == "Z" {
					break
				}
				if time.Since(killed) > 10*time.Second {
					t.Errorf("%s killed: process %d is in state %s", who, pid, state)
					_ = syscall.Kill(pid, syscall.SIGKILL)
					break
				}
				time.Sleep(10 * time.Millisecond)
			}
		}
		t.Logf("kill %d: %s after %v: the others have ended after %v", k+1, who, after.Round(time.Millisecond), time.Since(killed).Round(time.Millisecond))
		k++
	}
	t.Logf("%d of %d went on from a checkpoint", resumed, n)
	a := args(dir)
	if _, err := os.Stat(ck); err == nil {
		a = append(a, "-resume")
	}
	if b, err := ranked(t, 2, a).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, b)
	}
	for _, f := range []string{train.BestFile, train.LastFile} {
		if !bytes.Equal(read(t, filepath.Join(whole, f)), read(t, filepath.Join(dir, f))) {
			t.Errorf("%s differs from that of a training that was left alone", f)
		}
	}
	if left, _ := filepath.Glob(filepath.Join(dir, ".*-[0-9]*")); len(left) > 0 {
		t.Errorf("%d temporary files are left: %v", len(left), left)
	}
}

// processOf returns the process of a rank below that of mpirun, 0 if there is none.
func processOf(mpirun, rank int) int {
	files, _ := filepath.Glob("/proc/[0-9]*/environ")
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil || !bytes.Contains(append([]byte{0}, b...), fmt.Appendf(nil, "\x00OMPI_COMM_WORLD_RANK=%d\x00", rank)) &&
			!bytes.Contains(append([]byte{0}, b...), fmt.Appendf(nil, "\x00PMI_RANK=%d\x00", rank)) {
			continue
		}
		pid, err := strconv.Atoi(filepath.Base(filepath.Dir(f)))
		for p := pid; err == nil && p > 1; _, p = process(p) {
			if p == mpirun {
				return pid
			}
		}
	}
	return 0
}

// process returns the state of a process, "" if it is gone, and its parent.
func process(pid int) (state string, parent int) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return "", 0
	}
	_, after, _ := strings.Cut(string(b), ") ")
	if _, err := fmt.Sscan(after, &state, &parent); err != nil {
		return "", 0
	}
	return state, parent
}
