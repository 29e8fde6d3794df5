//go:build !linux || !(amd64 || arm64)

package mpi

import (
	"runtime"

	"github.com/ftprop/ftprop/comm"
	"github.com/pkg/errors"
)

// world is a connection that there is none of.
type world struct {
	comm.Comm
	version string
}

func start() (*world, error) {
	return nil, errors.Errorf("MPI on %s/%s: want Linux on amd64 or arm64", runtime.GOOS, runtime.GOARCH)
}

func (w *world) finish() error { return nil }
