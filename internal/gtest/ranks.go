package gtest

import (
	"context"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"
)

// rankOf is the environment variable that names the test which a process is a rank of.
const rankOf = "FTPROP_TEST_RANK"

// IsRank says that this process is a rank of the test: one of those that Mpirun has started.
func IsRank(t *testing.T) bool { return os.Getenv(rankOf) == t.Name() }

// Mpirun returns a command that runs the test in n ranks of this test program, in which IsRank is true. It skips the test, and says so, where
// mpirun is not installed, where FTPROP_MPI_TESTS is 0, and under the race detector, which sees nothing of other processes.
func Mpirun(t *testing.T, n int) *exec.Cmd {
	t.Helper()
	var name []string
	for _, part := range strings.Split(t.Name(), "/") {
		name = append(name, "^"+part+"$")
	}
	cmd := mpirun(t, []string{"-n", strconv.Itoa(n)}, "-test.run", strings.Join(name, "/"), "-test.count=1", "-test.v")
	cmd.Env = append(os.Environ(), rankOf+"="+t.Name())
	return cmd
}

// MpirunPrograms returns a command that runs this test program in ranks, each with a command line of its own, and skips the test as Mpirun does. What the
// test program then does is to be said by an environment variable.
func MpirunPrograms(t *testing.T, ranks ...[]string) *exec.Cmd {
	t.Helper()
	var args []string
	for i, line := range ranks {
		if i > 0 {
			args = append(args, ":", "-n", "1", program(t))
		}
		args = append(args, line...)
	}
	return mpirun(t, []string{"-n", "1"}, args...)
}

// program is this test program.
func program(t *testing.T) string {
	t.Helper()
	path, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// mpirun returns the command with what it always takes, and ends it after five minutes.
func mpirun(t *testing.T, n []string, line ...string) *exec.Cmd {
	t.Helper()
	if Race {
		t.Skip("SKIPPED: ranks are not started under the race detector")
	}
	if os.Getenv("FTPROP_MPI_TESTS") == "0" {
		t.Skip("SKIPPED: FTPROP_MPI_TESTS=0")
	}
	launcher, err := exec.LookPath("mpirun")
	if err != nil {
		t.Skip("SKIPPED: no mpirun (on Debian: apt-get install openmpi-bin libopenmpi-dev)")
	}
	version, err := exec.Command(launcher, "--version").CombinedOutput()
	if err != nil {
		t.Skipf("SKIPPED: %s --version: %v", launcher, err)
	}
	var args []string
	if strings.Contains(string(version), "Open MPI") || strings.Contains(string(version), "OpenRTE") {
		// Ranks that wait let others run, on any core: they may be more than there are cores, and other tests run beside them.
		args = append(args, "--oversubscribe", "--bind-to", "none", "--mca", "mpi_yield_when_idle", "1")
		if os.Getuid() == 0 {
			args = append(args, "--allow-run-as-root")
		}
	}
	args = append(append(append(args, n...), program(t)), line...)
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	t.Cleanup(cancel)
	return exec.CommandContext(ctx, launcher, args...)
}

// RunRanks runs f as n ranks of the test under mpirun, and fails the test if one fails. It calls f in processes of their own.
func RunRanks(t *testing.T, n int, f func(t *testing.T)) {
	t.Helper()
	if IsRank(t) {
		f(t)
		return
	}
	out, err := Mpirun(t, n).CombinedOutput()
	if ran := strings.Count(string(out), "--- PASS: "+t.Name()+" "); err != nil || ran != n {
		t.Fatalf("%d of %d ranks pass, mpirun: %v\n%s", ran, n, err, out)
	}
}
