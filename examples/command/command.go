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

	"github.com/pkg/errors"
)

// Main calls run with the command line, and a context that ends with Ctrl-C or SIGTERM, and ends the process as Exit does.
func Main(name string, run func(ctx context.Context, args []string, out, log io.Writer) error) {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	Exit(name, err)
}

// Exit ends the process: with status 0 if there was no error or only help was asked for, 130 if the program was interrupted, and 1
// otherwise, with the error after the program's name.
func Exit(name string, err error) { os.Exit(status(name, err, os.Stderr)) }

// status returns the exit status for an error, and reports it.
func status(name string, err error, log io.Writer) int {
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
