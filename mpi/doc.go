// Package mpi connects ranks by MPI: Open MPI, MPICH, and what has MPICH's binary interface (Intel MPI, MVAPICH).
//
// [Init] loads the installed library when it is called. Neither to build this package nor to run a program that imports it without calling
// Init takes an MPI, a C compiler or cgo, and one program serves all these libraries. On Debian
//
//	apt-get install openmpi-bin libopenmpi-dev
//
// installs one, and
//
//	mpirun -n 4 ./program
//
// runs four ranks. It works on Linux, on amd64 and arm64; elsewhere Init returns an error.
package mpi
