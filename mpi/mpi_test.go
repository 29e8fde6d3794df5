package mpi

import (
	"bytes"
	"fmt"
	"math"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/ftprop/ftprop/comm"
	"github.com/ftprop/ftprop/internal/gtest"
	"github.com/pkg/errors"
)

func TestCollectives(t *testing.T) {
	for _, n := range []int{1, 2, 4} {
		t.Run(fmt.Sprint(n), func(t *testing.T) { gtest.RunRanks(t, n, func(t *testing.T) { collectives(t, n) }) })
	}
}

func collectives(t *testing.T, n int) {
	w, err := Init()
	if err != nil {
		t.Fatal(err)
	}
	_, err = Init()
	gtest.WantError(t, "a second time", err, "mpi: a process can be a rank once")
	r := w.Rank()
	if w.Size() != n || r < 0 || r >= n || w.Version() == "" {
		t.Fatalf("rank %d of %d, %q", r, w.Size(), w.Version())
	}
	for _, size := range []int{0, 1, 1000, 50_000} {
		x, y := make([]float32, size), make([]float64, size)
		for i := range x {
			x[i], y[i] = float32(math.Sin(float64(i+r))), math.Sin(float64(i+r))
		}
		if err := w.SumFloat32(x); err != nil {
			t.Fatal(err)
		}
		if err := w.SumFloat64(y); err != nil {
			t.Fatal(err)
		}
		for i := range x {
			want := 0.0
			for rank := range n {
				want += math.Sin(float64(i + rank))
			}
			if math.Abs(y[i]-want) > 1e-14 || math.Abs(float64(x[i])-want) > 1e-6 {
				t.Fatalf("sums %v and %v, want %v", x[i], y[i], want)
			}
		}
		if err := comm.Agree(w, "sums", fmt.Sprint(x, y)); err != nil {
			t.Fatal("the bits of sums differ between ranks")
		}
	}
	inParts(t, w)
	b := []byte{byte(r), 3}
	if err := w.Broadcast(b, n-1); err != nil || b[0] != byte(n-1) || b[1] != 3 {
		t.Errorf("broadcast %v, %v", b, err)
	}
	all, err := w.Gather(bytes.Repeat([]byte{byte('a' + r)}, 3*r))
	if err != nil || len(all) != n {
		t.Fatalf("gathered %q, %v", all, err)
	}
	for rank, b := range all {
		if string(b) != strings.Repeat(string(rune('a'+rank)), 3*rank) {
			t.Errorf("rank %d gave %q", rank, b)
		}
	}
	gtest.WantError(t, "no such root", w.Broadcast(b, n), "mpi: Broadcast from rank")
	if n > 1 {
		var mine error
		if r == n-1 {
			mine = errors.New("out of paper")
		}
		gtest.WantError(t, "an error", comm.Check(w, mine), fmt.Sprintf("rank %d: out of paper", n-1))
	}
	if err := w.Barrier(); err != nil {
		t.Error(err)
	}
	// Go's own signals still work: a nil pointer is a panic, and the collector goes on.
	func() {
		defer func() {
			if recover() == nil {
				t.Error("no panic")
			}
		}()
		var p *World
		_ = p.Comm
	}()
	if err := w.Close(); err != nil {
		t.Error(err)
	}
}

// inParts compares sums and collections of parts with those of goroutines, bit for bit: of all sizes, uneven, empty, apart from each other.
func inParts(t *testing.T, w *World) {
	n := w.Size()
	given := func(rank, i int) float64 { return math.Sin(float64(i + 31*rank)) }
	for _, each := range []int{0, 1, 1000, 50_000} {
		parts, size := make([]comm.Part, n), 0
		for r := range parts {
			parts[r] = comm.Part{Offset: size + 3, Len: each * ((r + 1) % 3)}
			size += 3 + parts[r].Len
		}
		steps := func(c comm.Comm) (x []float32, y []float64, err error) {
			x, y = make([]float32, size), make([]float64, size)
			for i := range x {
				x[i], y[i] = float32(given(c.Rank(), i)), given(c.Rank(), i)
			}
			if err = c.ReduceScatterFloat32(x, parts); err == nil {
				err = c.ReduceScatterFloat64(y, parts)
			}
			if err == nil && c.Rank() == 0 { // what is not a part stays
				x[0], y[1] = 7, 7
			}
			if err == nil {
				err = c.AllGatherFloat32(x, parts)
			}
			if err == nil {
				err = c.AllGatherFloat64(y, parts)
			}
			return x, y, err
		}
		x, y, err := steps(w)
		if err != nil {
			t.Fatal(err)
		}
		err = comm.Local(n, func(c comm.Comm) error {
			a, b, err := steps(c)
			if err == nil && c.Rank() == w.Rank() && (!slices.Equal(a, x) || !slices.Equal(b, y)) {
				return errors.Errorf("parts of %d elements differ from those of goroutines", each)
			}
			return err
		})
		if err != nil {
			t.Error(err)
		}
	}
	gtest.WantError(t, "parts", w.AllGatherFloat32(nil, make([]comm.Part, n+1)), "mpi: ", "parts for")
	gtest.WantError(t, "parts", w.ReduceScatterFloat64(make([]float64, 3), []comm.Part{{Offset: 2, Len: 2}, {Offset: 4}, {Offset: 4}, {Offset: 4}}[:n]), "mpi: part 0 of 2 elements")
}

// What the library finds wrong becomes an error, with its words.
func TestErrorCodes(t *testing.T) {
	gtest.RunRanks(t, 1, func(t *testing.T) {
		w, err := Init()
		if err != nil {
			t.Fatal(err)
		}
		l := w.Comm.(*world)
		err = l.do(func() error { return l.failure("MPI_Bcast", l.bcast(nil, 1, l.bytes, 7, l.world)) })
		gtest.WantError(t, "no such root", err, "MPI_Bcast: error ", "root")
		if err := w.Close(); err != nil {
			t.Error(err)
		}
	})
}

func TestWithoutMPI(t *testing.T) {
	if os.Getenv("OMPI_COMM_WORLD_SIZE") != "" {
		t.Skip("under mpirun")
	}
	_, err := Init()
	gtest.WantError(t, "without mpirun", err, "mpi: ", "mpirun -n 2")
	_, err = load([]string{"libnosuch.so.1", "libneither.so"})
	gtest.WantError(t, "without a library", err, "no MPI library", "apt-get install openmpi-bin", "libnosuch.so.1", "libneither.so")
	_, err = load([]string{"libc.so.6"})
	gtest.WantError(t, "another library", err, "MPI_")
}

// One rank that aborts, is killed, or fails ends the others.
func TestDeaths(t *testing.T) {
	for what, die := range map[string]func(w *World){
		"abort": func(w *World) { w.Abort(errors.New("out of paper")) },
		"kill":  func(w *World) { _ = syscall.Kill(os.Getpid(), syscall.SIGKILL) },
		"exit":  func(w *World) { os.Exit(3) },
		"panic": func(w *World) { panic("help") },
	} {
		t.Run(what, func(t *testing.T) {
			if gtest.IsRank(t) {
				w, err := Init()
				if err != nil {
					t.Fatal(err)
				}
				if w.Rank() == 1 {
					die(w)
				}
				t.Fatal(w.Barrier()) // does not come back
			}
			cmd := gtest.Mpirun(t, 3)
			began := time.Now()
			out, err := cmd.CombinedOutput()
			if err == nil || time.Since(began) > time.Minute {
				t.Errorf("mpirun ends with %v after %v", err, time.Since(began))
			}
			if what == "abort" && !strings.Contains(string(out), "rank 1: out of paper") {
				t.Errorf("the message does not say why:\n%s", out)
			}
		})
	}
}

// Ctrl-C reaches the ranks, whose handlers are Go's.
func TestInterrupt(t *testing.T) {
	if gtest.IsRank(t) {
		w, err := Init()
		if err != nil {
			t.Fatal(err)
		}
		asked := make(chan os.Signal, 1)
		signal.Notify(asked, os.Interrupt, syscall.SIGTERM)
		if err := w.Barrier(); err != nil {
			t.Fatal(err)
		}
		if w.Rank() == 0 {
			_ = syscall.Kill(os.Getppid(), syscall.SIGINT)
		}
		s := <-asked
		fmt.Printf("rank %d: asked to stop by %v\n", w.Rank(), s)
		return
	}
	out, err := gtest.Mpirun(t, 2).CombinedOutput()
	if err == nil {
		t.Error("mpirun ends with status 0")
	}
	for r := range 2 {
		if !strings.Contains(string(out), fmt.Sprintf("rank %d: asked to stop by", r)) {
			t.Errorf("rank %d was not asked:\n%s", r, out)
		}
	}
}
