// Package command is what the main functions of programs have in common.
package command

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/ftprop/ftprop/internal/launch"
	"github.com/pkg/errors"
)

// Main calls run with the command line, and a context that ends with Ctrl-C, SIGTERM or SIGHUP, and ends the process: with status 0 if
// there was no error or only help was asked for, 130 if the program was interrupted, and 1 otherwise, with the error after the
// program's name. A second signal ends it at once.
//
// Writing to out never fails for run, so that it gets to write its files: once nobody reads out any more, what is written to it is
// dropped, and so it is after another error, a full disk's, which Main reports in the end.
func Main(name string, run func(ctx context.Context, args []string, out, log io.Writer) error) {
	log := io.Writer(os.Stderr)
	if launch.Rank(os.Getenv) > 0 { // the first rank says it for all
		log = io.Discard
	}
	ctx, stop := interruptible(name, log)
	finish(name, func(out io.Writer) error { return run(ctx, os.Args[1:], out, os.Stderr) }, stop)
}

// Short is Main for a program that is done in seconds: the first signal ends it.
func Short(name string, run func(args []string, out, log io.Writer) error) {
	finish(name, func(out io.Writer) error { return run(os.Args[1:], out, os.Stderr) }, func() {})
}

func finish(name string, run func(out io.Writer) error, stop func()) {
	// A write to a pipe without a reader would end the process. Ignored, the signal leaves an error for output.
	signal.Ignore(syscall.SIGPIPE)
	out := &output{w: os.Stdout}
	err := run(out)
	stop()
	if err == nil {
		err = out.failed()
	}
	os.Exit(status(name, err, os.Stderr))
}

// interruptible returns a context that ends with the first signal that asks the program to stop. The next one does what it does to
// programs that know nothing of it. Signals that were ignored when the program started, as nohup has it, stay so.
func interruptible(name string, log io.Writer) (ctx context.Context, stop func()) {
	var wanted []os.Signal
	for _, s := range []os.Signal{os.Interrupt, syscall.SIGTERM, syscall.SIGHUP} {
		if !signal.Ignored(s) {
			wanted = append(wanted, s)
		}
	}
	if len(wanted) == 0 { // none would mean all
		return context.WithCancel(context.Background())
	}
	ctx, cancel := context.WithCancel(context.Background())
	first := make(chan os.Signal, 1)
	signal.Notify(first, wanted...)
	go func() {
		select {
		case <-first:
			signal.Reset(wanted...)
			fmt.Fprintln(log, name+": stopping; once more ends it at once")
			cancel()
		case <-ctx.Done():
		}
	}()
	return ctx, cancel
}

// Reported is an error that has been told already: Main only ends the process with its status.
type Reported struct{ error }

// Unwrap returns the error.
func (r Reported) Unwrap() error { return r.error }

// Report makes an error a Reported, after it has told it as Main does.
func Report(name string, err error, log io.Writer) error {
	if err == nil {
		return nil
	}
	status(name, err, log)
	return Reported{err}
}

// output passes on what is written until that fails, and drops the rest.
type output struct {
	w   io.Writer
	err error
}

func (o *output) Write(p []byte) (int, error) {
	if o.err == nil {
		_, o.err = o.w.Write(p)
	}
	return len(p), nil
}

// failed returns why not all was written, nil if its reader has had enough.
func (o *output) failed() error {
	if errors.Is(o.err, syscall.EPIPE) {
		return nil
	}
	return errors.Wrap(o.err, "standard output")
}

// status returns the exit status for an error, and reports it.
func status(name string, err error, log io.Writer) int {
	if errors.As(err, new(Reported)) {
		log = io.Discard
	}
	switch {
	case err == nil, errors.Is(err, flag.ErrHelp):
		return 0
	case errors.Is(err, context.Canceled):
		fmt.Fprintln(log, name+": interrupted")
		return 130
	}
	fmt.Fprintf(log, "%s: %v\n", name, err)
	return 1
}

// Folder makes the folder of the flag -out where it is missing.
func Folder(dir string) error {
	return errors.Wrapf(os.MkdirAll(dir, 0o777), "-out %s", dir)
}
