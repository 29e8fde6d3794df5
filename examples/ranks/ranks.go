// Package ranks makes a program one of several that mpirun has started together: what its flag -mpi asks for.
package ranks

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"github.com/ftprop/ftprop/comm"
	"github.com/ftprop/ftprop/examples/command"
	"github.com/ftprop/ftprop/examples/setup"
	"github.com/ftprop/ftprop/internal/gemm"
	"github.com/ftprop/ftprop/internal/launch"
	"github.com/ftprop/ftprop/mpi"
	"github.com/pkg/errors"
)

// Ranks connects a program to its other ranks. The zero value is that of a program alone, which is the first and exchanges nothing.
type Ranks struct{ comm.Comm }

// First reports whether this rank is the one that writes files and says how the program gets on.
func (r Ranks) First() bool { return r.Comm == nil || r.Comm.Rank() == 0 }

// N is the number of ranks.
func (r Ranks) N() int {
	if r.Comm == nil {
		return 1
	}
	return r.Comm.Size()
}

// Check is comm.CheckContext: what is wrong on one rank is an error on all. A program alone gets its own error back.
func (r Ranks) Check(ctx context.Context, err error) error {
	if r.Comm == nil {
		return err
	}
	return comm.CheckContext(ctx, r.Comm, err)
}

// Agree returns an error unless all ranks have the same text.
func (r Ranks) Agree(what, text string) error {
	if r.Comm == nil {
		return nil
	}
	return comm.Agree(r.Comm, what, text)
}

// InTurn calls f on one rank after the other, and returns the error of one on all.
func (r Ranks) InTurn(ctx context.Context, f func() error) error {
	for turn := range r.N() {
		var err error
		if r.Comm == nil || r.Comm.Rank() == turn {
			err = f()
		}
		if err := r.Check(ctx, err); err != nil {
			return err
		}
	}
	return nil
}

// Log returns where the process is to write what all ranks would write alike: nowhere, but for the first. It asks no MPI.
func Log(w io.Writer) io.Writer {
	if launch.Rank(os.Getenv) > 0 {
		return io.Discard
	}
	return w
}

// flagName is the name of the flag.
const flagName = "mpi"

// Flag defines the flag -mpi, with a text that says what for.
func Flag(f *flag.FlagSet, on *bool, usage string) {
	f.BoolVar(on, flagName, false, usage+"; start it as mpirun -n 2 PROGRAM -mpi (docs/cluster.md)")
}

// Program is what Run runs.
type Program struct {
	Name   string
	Flags  *flag.FlagSet // parsed, with -mpi among them
	Args   []string      // of the command line
	Parsed error         // that reading them has ended with
	Differ []string      // names of flags that may differ from rank to rank
}

// Run calls f, with -mpi as one of several ranks of the same version and with the same flags. The first rank's out and log are those given, and what
// the others write is dropped. An error of f must be one of all ranks, as those of Check, Agree and train.Trainer.Run are: the first rank tells it.
//
// A process that mpirun has started as one of several without -mpi gets an error: they would train alike, and write to one folder.
func (p *Program) Run(ctx context.Context, out, log io.Writer, f func(r Ranks, out, log io.Writer) error) error {
	if !p.wanted() {
		if p.Parsed != nil {
			return p.Parsed
		}
		if n := launch.Ranks(os.Getenv); n > 1 && !p.given() {
			return errors.Errorf("mpirun has started %d of this program: with -mpi they work together, with -mpi=false each for itself", n)
		}
		return f(Ranks{}, out, log)
	}
	w, err := mpi.Init()
	if err != nil {
		return errors.WithMessage(err, "-mpi")
	}
	r := Ranks{w}
	own := log
	if !r.First() {
		out, log = io.Discard, io.Discard
	}
	if err = p.agree(ctx, r, w.Version()); err == nil {
		err = f(r, out, log)
	}
	return p.end(w, err, own)
}

// wanted says whether there is -mpi on the command line, even if something else in it is wrong.
func (p *Program) wanted() bool {
	if p.Flags.Lookup(flagName).Value.String() == "true" {
		return true
	}
	return p.Parsed != nil && slices.ContainsFunc(p.Args, func(arg string) bool {
		return slices.Contains([]string{"-mpi", "--mpi", "-mpi=true", "--mpi=true", "-mpi=1", "--mpi=1"}, arg)
	})
}

func (p *Program) given() (yes bool) {
	p.Flags.Visit(func(f *flag.Flag) { yes = yes || f.Name == flagName })
	return yes
}

// agree returns an error unless all ranks are the same program with the same flags.
func (p *Program) agree(ctx context.Context, r Ranks, library string) error {
	if err := r.Agree("their versions", version()+library); err != nil {
		return err
	}
	if err := r.Check(ctx, p.Parsed); err != nil {
		return err
	}
	var flags strings.Builder
	p.Flags.VisitAll(func(f *flag.Flag) {
		if !slices.Contains(p.Differ, f.Name) {
			fmt.Fprintf(&flags, "-%s=%s\n", f.Name, f.Value)
		}
	})
	return r.Agree("their flags", flags.String())
}

// version says what numbers depend on besides flags and images.
func version() string {
	var w strings.Builder
	fmt.Fprintf(&w, "%s on %s/%s\nkernels for %s\n", runtime.Version(), runtime.GOOS, runtime.GOARCH, gemm.Kernels())
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return w.String()
	}
	fmt.Fprintf(&w, "%s %s\n", info.Main.Path, info.Main.Version)
	for _, m := range info.Deps {
		fmt.Fprintf(&w, "%s %s\n", m.Path, m.Version)
	}
	for _, s := range info.Settings {
		if strings.HasPrefix(s.Key, "vcs.") || s.Key == "GOAMD64" {
			fmt.Fprintf(&w, "%s %s\n", s.Key, s.Value)
		}
	}
	return w.String()
}

// patience is how long a rank with an error waits for the others, which have the same.
const patience = 5 * time.Second

// end ends a rank with the error of all: the first tells it, and only then do the others end, for of a rank that ends with an error mpirun ends the
// others. A rank whose error the others do not know tells it itself, and ends so.
func (p *Program) end(w *mpi.World, err error, log io.Writer) error {
	if err == nil {
		return w.Close()
	}
	if w.Rank() == 0 {
		err = command.Report(p.Name, err, log)
	}
	done := make(chan error, 1)
	go func() {
		failure := w.Barrier()
		if failure == nil {
			failure = w.Close()
		}
		done <- failure
	}()
	select {
	case failure := <-done:
		if failure == nil {
			return command.Report(p.Name, err, io.Discard)
		}
	case <-time.After(patience):
	}
	if w.Rank() > 0 {
		err = command.Report(fmt.Sprintf("%s: rank %d", p.Name, w.Rank()), err, log)
	}
	return err
}

// Open reads a data set. A rank that fetches it does so when those before it have: they may have the same folder.
func (r Ranks) Open(ctx context.Context, d *setup.Data, log io.Writer) (sets setup.Sets, err error) {
	read := func() (err error) {
		sets, err = d.Open(ctx, command.DownloadBar(log))
		return err
	}
	if d.Download {
		err = r.InTurn(ctx, read)
	} else {
		err = r.Check(ctx, read())
	}
	return sets, err
}
