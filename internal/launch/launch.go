// Package launch says what a process can know of mpirun and its like from its environment, before it loads an MPI library.
package launch

import "strconv"

// Launcher is how a launcher tells a process that it is one of several: by environment variables. Size and Rank are "" where it does not say them.
type Launcher struct {
	Sign       string // that it is this launcher
	Size, Rank string // the number of processes, and of this one
	Open       bool   // it is Open MPI's
}

// launchers are those that are known, in the order in which they are looked for.
func launchers() []Launcher {
	return []Launcher{
		{"OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_RANK", true}, // mpirun of Open MPI
		{"PMI_SIZE", "PMI_SIZE", "PMI_RANK", false},                                    // mpiexec of MPICH and Intel MPI (Hydra), and Slurm with --mpi=pmi2
		{"MPI_LOCALNRANKS", "", "", false},                                             // Hydra
		{"PMIX_RANK", "", "PMIX_RANK", true},                                           // whatever has PMIx: prun, Slurm with --mpi=pmix
	}
}

// By returns the launcher of a process with an environment. ok is false where it was started by none that is known.
func By(getenv func(string) string) (l Launcher, ok bool) {
	for _, l := range launchers() {
		if getenv(l.Sign) != "" {
			return l, true
		}
	}
	return Launcher{}, false
}

// Ranks returns how many processes the launcher speaks of, 0 where it does not.
func Ranks(getenv func(string) string) int {
	l, _ := By(getenv)
	return number(getenv, l.Size, 0)
}

// Rank returns the number of this process, 0 for one that was started alone.
func Rank(getenv func(string) string) int {
	l, _ := By(getenv)
	return number(getenv, l.Rank, 0)
}

func number(getenv func(string) string, name string, otherwise int) int {
	if name == "" {
		return otherwise
	}
	n, err := strconv.Atoi(getenv(name))
	if err != nil || n < 0 {
		return otherwise
	}
	return n
}
