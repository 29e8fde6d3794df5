package mpi

import (
	"strings"

	"github.com/ftprop/ftprop/internal/launch"
	"github.com/pkg/errors"
)

// errNotStarted is the error of a program that was started as one.
var errNotStarted = errors.New("the program was not started by MPI: start it as mpirun -n 2 PROGRAM, or with srun --mpi=pmix")

// names returns what the library may be called, first what the launcher is likely to want.
func names(getenv func(string) string) ([]string, error) {
	if name := getenv("FTPROP_MPI"); name != "" {
		return []string{name}, nil
	}
	open, mpich := []string{"libmpi.so.40"}, []string{"libmpich.so.12", "libmpi.so.12"}
	switch l, ok := launch.By(getenv); {
	case !ok:
		return nil, errNotStarted
	case l.Open:
		return append(append(open, mpich...), "libmpi.so"), nil
	}
	return append(append(mpich, open...), "libmpi.so"), nil
}

// abi is what the header files of an MPI define: handles, which in Open MPI are addresses of variables and in MPICH numbers.
type abi struct {
	world, float32, float64, bytes, sum, errorsReturn uintptr
	inPlace                                           uintptr
}

// The numbers of MPICH's mpi.h, the same since MPICH 3.1 in all that keep to its binary interface (https://www.mpich.org/abi).
var mpich = abi{
	world: 0x44000000, float32: 0x4c00040a, float64: 0x4c00080b, bytes: 0x4c00010d, sum: 0x58000003, errorsReturn: 0x54000001,
	inPlace: ^uintptr(0), // (void *)-1
}

// openMPI returns the handles of Open MPI's mpi.h: the variables' addresses.
func openMPI(symbol func(name string) (uintptr, error)) (a abi, err error) {
	a.inPlace = 1
	for name, at := range map[string]*uintptr{
		"ompi_mpi_comm_world": &a.world, "ompi_mpi_float": &a.float32, "ompi_mpi_double": &a.float64, "ompi_mpi_byte": &a.bytes,
		"ompi_mpi_op_sum": &a.sum, "ompi_mpi_errors_return": &a.errorsReturn,
	} {
		if *at, err = symbol(name); err != nil {
			return a, err
		}
	}
	return a, nil
}

// family says which of the two interfaces a library has, by the text of MPI_Get_library_version.
func family(version string) (open bool, err error) {
	first, _, _ := strings.Cut(version, "\n")
	switch {
	case strings.Contains(version, "Open MPI"):
		return true, nil
	case strings.Contains(version, "MPICH"), strings.Contains(version, "Intel(R) MPI"), strings.Contains(version, "MVAPICH"):
		return false, nil
	}
	return false, errors.Errorf("the library says that it is %q: want Open MPI, or one with MPICH's binary interface", first)
}
