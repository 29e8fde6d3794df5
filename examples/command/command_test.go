package command

import (
	"bufio"
	"bytes"
	"context"
	"flag"
	"fmt"
	"io"
	"math"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/ftprop/ftprop/internal/gtest"
	"github.com/pkg/errors"
)

func TestStatus(t *testing.T) {
	for _, c := range []struct {
		err    error
		status int
		log    string
	}{
		{nil, 0, ""},
		{flag.ErrHelp, 0, ""},
		{errors.Wrap(context.Canceled, "training"), 130, "name: interrupted\n"},
		{errors.New("no such file"), 1, "name: no such file\n"},
		{Reported{errors.New("no such file")}, 1, ""},
		{errors.Wrap(Reported{context.Canceled}, "training"), 130, ""},
	} {
		var log bytes.Buffer
		if got := status("name", c.err, &log); got != c.status || log.String() != c.log {
			t.Errorf("%v: status %d, %q, want %d, %q", c.err, got, log.String(), c.status, c.log)
		}
	}
}

// The test binary is a program where this variable is set.
const asProgram = "FTPROP_COMMAND_TEST_RUN"

func TestMain(m *testing.M) {
	dir := os.Getenv(asProgram)
	if dir == "" {
		os.Exit(m.Run())
	}
	Main("name", func(ctx context.Context, args []string, out, log io.Writer) error {
		switch args[0] {
		case "print": // much, and a file after it
			for range 1000 {
				if _, err := fmt.Fprintln(out, strings.Repeat("x", 1000)); err != nil {
					return err
				}
				fmt.Fprintln(log, "a line of progress")
			}
			return os.WriteFile(dir+"/file", nil, 0o644)
		case "deaf": // takes no notice of the context
			fmt.Fprintln(out, "ready")
			<-ctx.Done()
			fmt.Fprintln(out, "asked to stop")
			time.Sleep(time.Minute)
			return ctx.Err()
		}
		fmt.Fprintln(out, "ready")
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(time.Second):
			return nil
		}
	})
}

func program(t *testing.T, args ...string) (cmd *exec.Cmd, dir string) {
	t.Helper()
	dir = t.TempDir()
	cmd = exec.Command(args[0], args[1:]...)
	cmd.Env = append(os.Environ(), asProgram+"="+dir)
	return cmd, dir
}

// A reader that leaves, or a disk that is full, keeps no program from writing its files.
func TestOutputCloses(t *testing.T) {
	for _, c := range []struct {
		shell, log string
		status     int
	}{
		{`"$0" print | head -1 >&2`, "", 0},
		{`"$0" print 2>&1 | head -1 >&2`, "", 0},
		{`"$0" print >/dev/full`, "name: standard output: write /dev/stdout: no space left on device", 1},
	} {
		cmd, dir := program(t, "sh", "-c", c.shell, os.Args[0])
		var log bytes.Buffer
		cmd.Stderr = &log
		_ = cmd.Run()
		for range 100 { // the pipe's first program may not be done
			if _, err := os.Stat(dir + "/file"); err == nil {
				break
			}
			time.Sleep(50 * time.Millisecond)
		}
		if _, err := os.Stat(dir + "/file"); err != nil || cmd.ProcessState.ExitCode() != c.status || !strings.Contains(log.String(), c.log) {
			t.Errorf("%s: status %d, %v, %s", c.shell, cmd.ProcessState.ExitCode(), err, lastLine(log.String()))
		}
	}
	// The program's own status, of a pipe without a reader.
	cmd, dir := program(t, os.Args[0], "print")
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	r.Close()
	cmd.Stdout = w
	if err := cmd.Run(); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(dir + "/file"); err != nil {
		t.Error(err)
	}
}

func lastLine(s string) string {
	lines := strings.Split(strings.TrimSpace(s), "\n")
	return lines[len(lines)-1]
}

// The first signal asks, the second ends; those that were ignored when the program began, stay ignored.
func TestSignals(t *testing.T) {
	for _, c := range []struct {
		name   string
		args   []string
		send   []syscall.Signal
		status int            // of the program
		by     syscall.Signal // or the signal that ended it
	}{
		{"interrupt", []string{os.Args[0], "wait"}, []syscall.Signal{syscall.SIGINT}, 130, 0},
		{"terminate", []string{os.Args[0], "wait"}, []syscall.Signal{syscall.SIGTERM}, 130, 0},
		{"hang up", []string{os.Args[0], "wait"}, []syscall.Signal{syscall.SIGHUP}, 130, 0},
		{"twice", []string{os.Args[0], "deaf"}, []syscall.Signal{syscall.SIGINT, syscall.SIGINT}, 0, syscall.SIGINT},
		{"hang up, then interrupt", []string{os.Args[0], "deaf"}, []syscall.Signal{syscall.SIGHUP, syscall.SIGINT}, 0, syscall.SIGINT},
		{"nohup", []string{"sh", "-c", `trap "" HUP; exec "$0" wait`, os.Args[0]}, []syscall.Signal{syscall.SIGHUP}, 0, 0},
		{"all ignored", []string{"sh", "-c", `trap "" HUP INT TERM; exec "$0" wait`, os.Args[0]}, []syscall.Signal{syscall.SIGHUP, syscall.SIGINT, syscall.SIGTERM}, 0, 0},
	} {
		if c.args[0] == os.Args[0] && slices.ContainsFunc(c.send, func(s syscall.Signal) bool { return signal.Ignored(s) }) {
			t.Logf("%s: left out, since these tests themselves run with a signal ignored", c.name)
			continue
		}
		cmd, _ := program(t, c.args...)
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		var log bytes.Buffer
		cmd.Stderr = &log
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		end := time.AfterFunc(20*time.Second, func() { _ = cmd.Process.Kill() })
		lines := bufio.NewReader(out)
		for _, s := range c.send {
			if line, err := lines.ReadString('\n'); err != nil && c.by != 0 {
				t.Fatalf("%s: %q, %v", c.name, line, err)
			}
			if err := cmd.Process.Signal(s); err != nil {
				t.Fatal(err)
			}
		}
		_ = cmd.Wait()
		end.Stop()
		ws := cmd.ProcessState.Sys().(syscall.WaitStatus)
		if c.by != 0 && (!ws.Signaled() || ws.Signal() != c.by) || c.by == 0 && ws.ExitStatus() != c.status {
			t.Errorf("%s: status %d, signal %v, want %d, %v", c.name, ws.ExitStatus(), ws.Signal(), c.status, c.by)
		}
		if c.status == 130 && lastLine(log.String()) != "name: interrupted" {
			t.Errorf("%s: log %q", c.name, log.String())
		}
	}
}

func TestParse(t *testing.T) {
	flags := func() *flag.FlagSet {
		f := flag.NewFlagSet("name", flag.ContinueOnError)
		f.Int("seeds", 4, "`number` of seeds")
		return f
	}
	for _, c := range []struct{ args, words string }{
		{"-speed 1", "-speed: -help lists the flags"}, {"-seeds x", `"x" for flag -seeds`}, {"-seeds 99999999999999999999", "-seeds"}, {"digits", `unexpected argument "digits"`},
	} {
		var log bytes.Buffer
		err := Parse(flags(), strings.Fields(c.args), &log)
		if err == nil || !strings.Contains(err.Error(), c.words) || !strings.Contains(err.Error(), "-help") || strings.Contains(err.Error(), "\n") || log.Len() > 0 {
			t.Errorf("%s: %v, log %q, want one line that says %q", c.args, err, &log, c.words)
		}
	}
	var log bytes.Buffer
	if err := Parse(flags(), []string{"-help"}, &log); !errors.Is(err, flag.ErrHelp) || !strings.Contains(log.String(), "number of seeds (default 4)") {
		t.Errorf("%v: %s", err, &log)
	}
	f := flags()
	if err := Parse(f, []string{"-seeds", "5"}, &log); err != nil || f.Lookup("seeds").Value.String() != "5" {
		t.Error(err)
	}
}

func TestCheck(t *testing.T) {
	for n, right := range map[int]bool{0: false, 1: true, 10: true, 11: false, -1: false, 1e9: false, math.MaxInt: false, math.MinInt: false} {
		err := Check(Count{"epochs", 5, 1, 10}, Count{"seeds", n, 1, 10})
		if want := fmt.Sprintf("-seeds %d: want 1 to 10", n); right != (err == nil) || !right && err.Error() != want {
			t.Errorf("%d: %v", n, err)
		}
	}
}

func TestFields(t *testing.T) {
	for list, want := range map[string]string{"": "[]", "a": "[a]", " a, ,b b,": "[a|b b]", ",": "[]"} {
		if got := "[" + strings.Join(Fields(list), "|") + "]"; got != want {
			t.Errorf("%q: %s, want %s", list, got, want)
		}
	}
}

// However narrow the terminal, a bar has one line of it.
func TestBar(t *testing.T) {
	for _, width := range []int{1, 10, 40, 60, 80, 200} {
		var out bytes.Buffer
		b := bar(&narrow{&out, func() int { return width }}, "epoch 100", 123456)
		for _, step := range []int{1, 60000, 123455} {
			if err := b.Set(step); err != nil {
				t.Fatal(err)
			}
			time.Sleep(110 * time.Millisecond)
		}
		if err := b.Finish(); err != nil {
			t.Fatal(err)
		}
		for _, line := range strings.FieldsFunc(out.String(), func(r rune) bool { return r == '\r' || r == '\n' }) {
			if n := utf8.RuneCountInString(line); n >= width {
				t.Errorf("%d columns for %q", width, line)
			}
		}
		if width >= 40 && (!strings.Contains(out.String(), "epoch 100") || !strings.Contains(out.String(), "48%")) {
			t.Errorf("%d columns: %q", width, &out)
		}
	}
	if Bar(new(bytes.Buffer), "x", 1) != nil {
		t.Error("a bar without a terminal")
	}
}

func TestFolder(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a", "b")
	for range 2 { // missing, and there
		if err := Folder(dir); err != nil {
			t.Fatal(err)
		}
	}
	if info, err := os.Stat(dir); err != nil || !info.IsDir() {
		t.Fatal(err)
	}
	gtest.WantError(t, "a file", Folder("command_test.go"), "-out command_test.go", "not a directory")
}
