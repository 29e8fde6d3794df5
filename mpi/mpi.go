package mpi

import (
	"github.com/ftprop/ftprop/comm"
	"github.com/pkg/errors"
)

// World is the connection of this process to all that mpirun has started with it.
//
// MPI takes the sum of all ranks in an order of its own, which is the same for all ranks, and in each run with as many of them on as many
// machines. ReduceScatter takes that of its parts in the order of the ranks. With two ranks these are the same bits. Error codes of the library become errors. Abort ends all ranks, and so does mpirun where one dies.
type World struct{ comm.Comm }

// Init loads the MPI library, and makes this process a rank, which it can be once. It returns an error where there is no library, or the
// program was not started by mpirun or its like. The library is that of the MPI which started the program, or what the environment variable
// FTPROP_MPI names. The caller must Close it.
func Init() (*World, error) {
	w, err := start()
	if err != nil {
		return nil, errors.WithMessage(err, "mpi")
	}
	return &World{w}, nil
}

// Version is what the library says that it is.
func (w *World) Version() string { return w.Comm.(*world).version }

// Close ends this rank's part when all others have called it, too. A rank that has failed must not: it is to Abort, or to end.
func (w *World) Close() error {
	return errors.WithMessage(w.Comm.(*world).finish(), "mpi")
}
