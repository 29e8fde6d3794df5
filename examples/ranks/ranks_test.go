package ranks

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"

	"github.com/ftprop/ftprop/comm"
	"github.com/ftprop/ftprop/examples/command"
	"github.com/ftprop/ftprop/examples/setup"
	"github.com/ftprop/ftprop/internal/gtest"
	"github.com/pkg/errors"
)

// program is one with the flags -mpi and -n.
func program(args ...string) *Program {
	f := flag.NewFlagSet("test", flag.ContinueOnError)
	var on bool
	Flag(f, &on, "work together")
	f.Int("n", 1, "a `number`")
	return &Program{Name: "test", Flags: f, Args: args, Parsed: command.Parse(f, args, io.Discard)}
}

// A program alone exchanges nothing.
func TestAlone(t *testing.T) {
	var r Ranks
	own := errors.New("out of paper")
	if !r.First() || r.N() != 1 || r.Check(t.Context(), own) != own || r.Check(t.Context(), nil) != nil || r.Agree("all", "x") != nil {
		t.Error("it is not alone")
	}
	if err := r.InTurn(t.Context(), func() error { return own }); err != own {
		t.Error(err)
	}
	sets, err := r.Open(t.Context(), &setup.Data{Name: "digits"}, io.Discard)
	if err != nil || sets.Train.N() != 1438 {
		t.Error(err)
	}
}

func TestTogether(t *testing.T) {
	order := make(chan int, 3)
	err := comm.Local(3, func(c comm.Comm) error {
		r := Ranks{c}
		if r.First() != (c.Rank() == 0) || r.N() != 3 {
			return errors.Errorf("rank %d of %d", c.Rank(), r.N())
		}
		if err := r.InTurn(context.Background(), func() error { order <- c.Rank(); return nil }); err != nil {
			return err
		}
		err := r.InTurn(context.Background(), func() error {
			if c.Rank() == 2 {
				return errors.New("out of paper")
			}
			return nil
		})
		if err == nil || err.Error() != "rank 2: out of paper" {
			return errors.Errorf("rank %d: %v", c.Rank(), err)
		}
		if err := r.Agree("colours", fmt.Sprint(c.Rank()/2)); err == nil || !strings.Contains(err.Error(), "ranks differ in colours") {
			return errors.Errorf("rank %d: %v", c.Rank(), err)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if a, b, c := <-order, <-order, <-order; a != 0 || b != 1 || c != 2 {
		t.Errorf("in turn: %d, %d, %d", a, b, c)
	}
}

func TestWanted(t *testing.T) {
	for line, want := range map[string]bool{"": false, "-mpi": true, "-n 2 -mpi": true, "-mpi=false": false, "-x -mpi": true, "-n x --mpi=true": true, "-x": false} {
		if got := program(strings.Fields(line)...).wanted(); got != want {
			t.Errorf("%q: wanted %v", line, got)
		}
	}
}

// Without -mpi a program runs alone, unless mpirun has started several of it.
func TestRunAlone(t *testing.T) {
	if os.Getenv("OMPI_COMM_WORLD_SIZE") != "" {
		t.Skip("SKIPPED: under mpirun")
	}
	run := func(args ...string) (ran bool, err error) {
		err = program(args...).Run(t.Context(), io.Discard, io.Discard, func(r Ranks, _, _ io.Writer) error {
			ran = r.Comm == nil
			return nil
		})
		return ran, err
	}
	if ran, err := run("-n", "3"); !ran || err != nil {
		t.Error(err)
	}
	_, err := run("-n", "x")
	gtest.WantError(t, "a flag", err, "-n", "-help")
	_, err = run("-mpi")
	gtest.WantError(t, "alone", err, "-mpi: mpi: ", "mpirun")
	t.Setenv("OMPI_COMM_WORLD_SIZE", "2")
	ran, err := run()
	gtest.WantError(t, "two", err, "mpirun has started 2", "-mpi=false")
	if again, err := run("-mpi=false"); ran || !again || err != nil {
		t.Error(err)
	}
	t.Setenv("OMPI_COMM_WORLD_SIZE", "1")
	if ran, err := run(); !ran || err != nil {
		t.Error(err)
	}
}

// The first rank tells an error of all, and a rank one that the others do not know.
func TestErrors(t *testing.T) {
	for what, c := range map[string]struct {
		f    func(r Ranks) error
		want string
	}{
		"of all": {func(r Ranks) error {
			return r.Check(context.Background(), map[int]error{1: errors.New("out of paper")}[r.Comm.Rank()])
		}, "test: rank 1: out of paper\n"},
		"of one": {func(r Ranks) error { return map[int]error{1: errors.New("out of paper")}[r.Comm.Rank()] }, "test: rank 1: out of paper\n"},
	} {
		t.Run(what, func(t *testing.T) {
			if gtest.IsRank(t) {
				var log bytes.Buffer
				err := program("-mpi").Run(context.Background(), io.Discard, &log, func(r Ranks, _, _ io.Writer) error { return c.f(r) })
				fmt.Print(log.String())
				if err != nil && !errors.As(err, new(command.Reported)) {
					fmt.Println("not reported:", err)
				}
				if err != nil {
					os.Exit(1)
				}
				return
			}
			out, err := gtest.Mpirun(t, 2).CombinedOutput()
			if err == nil || strings.Count(string(out), c.want) != 1 || strings.Contains(string(out), "not reported") {
				t.Errorf("%v:\n%s", err, out)
			}
		})
	}
}
