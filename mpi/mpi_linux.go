//go:build linux && (amd64 || arm64)

package mpi

import (
	"fmt"
	"math"
	"os"
	"runtime"
	"strings"
	"sync"
	"unsafe"

	"github.com/ebitengine/purego"
	"github.com/ftprop/ftprop/comm"
	"github.com/ftprop/ftprop/internal/launch"
	"github.com/ftprop/ftprop/internal/vec"
	"github.com/pkg/errors"
)

// library is what is used of an MPI library. All functions return an error code, 0 for none. ints of C are int32.
type library struct {
	abi
	version string

	initThread    func(argc, argv uintptr, required int32, provided *int32) int32
	finalize      func() int32
	abort         func(comm uintptr, code int32) int32
	commRank      func(comm uintptr, rank *int32) int32
	commSize      func(comm uintptr, size *int32) int32
	setErrhandler func(comm, handler uintptr) int32
	errorString   func(code int32, text *byte, n *int32) int32
	allreduce     func(in uintptr, x unsafe.Pointer, n int32, of, op, comm uintptr) int32
	bcast         func(x unsafe.Pointer, n int32, of uintptr, root int32, comm uintptr) int32
	allgather     func(in unsafe.Pointer, n int32, of uintptr, out unsafe.Pointer, m int32, to, comm uintptr) int32
	allgatherv    func(in unsafe.Pointer, n int32, of uintptr, out unsafe.Pointer, counts, offsets *int32, to, comm uintptr) int32
	barrier       func(comm uintptr) int32

	alltoallv         func(in unsafe.Pointer, counts, offsets *int32, of uintptr, out unsafe.Pointer, outCounts, outOffsets *int32, to, comm uintptr) int32
	allgathervInPlace func(in, n, of uintptr, x unsafe.Pointer, counts, offsets *int32, to, comm uintptr) int32
}

// load opens the first library of the names that is there.
func load(names []string) (*library, error) {
	var handle uintptr
	var why []string
	for _, name := range names {
		// Open MPI 4's own plug-ins look for its symbols among the global ones.
		h, err := purego.Dlopen(name, purego.RTLD_NOW|purego.RTLD_GLOBAL)
		if err == nil {
			handle = h
			break
		}
		why = append(why, err.Error())
	}
	if handle == 0 {
		return nil, errors.Errorf("no MPI library (on Debian: apt-get install openmpi-bin libopenmpi-dev; FTPROP_MPI names one elsewhere): %s", strings.Join(why, "; "))
	}
	symbol := func(name string) (uintptr, error) {
		at, err := purego.Dlsym(handle, name)
		return at, errors.Wrap(err, "the MPI library")
	}
	l := &library{}
	var version func(text *byte, n *int32) int32
	for name, f := range map[string]any{
		"MPI_Get_library_version": &version, "MPI_Init_thread": &l.initThread, "MPI_Finalize": &l.finalize, "MPI_Abort": &l.abort,
		"MPI_Comm_rank": &l.commRank, "MPI_Comm_size": &l.commSize, "MPI_Comm_set_errhandler": &l.setErrhandler, "MPI_Error_string": &l.errorString,
		"MPI_Allreduce": &l.allreduce, "MPI_Bcast": &l.bcast, "MPI_Allgather": &l.allgather, "MPI_Allgatherv": &l.allgatherv, "MPI_Barrier": &l.barrier, "MPI_Alltoallv": &l.alltoallv,
	} {
		at, err := symbol(name)
		if err != nil {
			return nil, err
		}
		purego.RegisterFunc(f, at)
		if name == "MPI_Allgatherv" { // with a constant in the place of an address
			purego.RegisterFunc(&l.allgathervInPlace, at)
		}
	}
	const most = 8192 // MPI_MAX_LIBRARY_VERSION_STRING of MPICH, the longest
	text, n := make([]byte, most+1), int32(0)
	if code := version(&text[0], &n); code != 0 {
		return nil, errors.Errorf("MPI_Get_library_version: error %d", code)
	}
	l.version = strings.TrimSpace(string(text[:min(max(n, 0), most)]))
	open, err := family(l.version)
	if err != nil {
		return nil, err
	}
	if l.abi = mpich; open {
		l.abi, err = openMPI(symbol)
	}
	return l, err
}

// failure is the error of a code.
func (l *library) failure(function string, code int32) error {
	if code == 0 {
		return nil
	}
	const most = 1024 // at least MPI_MAX_ERROR_STRING of all
	text, n := make([]byte, most), int32(0)
	if l.errorString(code, &text[0], &n) != 0 {
		n = 0
	}
	return errors.Errorf("%s: error %d: %s", function, code, strings.TrimSpace(string(text[:min(max(n, 0), most)])))
}

// world is the connection to all ranks. Its calls run on one thread, the one that has called MPI_Init_thread, as MPI_THREAD_FUNNELED
// asks for.
type world struct {
	*library
	rank, size int
	calls      chan func() error
	results    chan error
	closed     bool // of serve: MPI_Finalize has been called

	f32 []float32 // scratch: what other ranks have given
	f64 []float64
}

// errClosed is the error of a call after Close: MPI would end the process.
var errClosed = errors.New("the connection is closed")

// initialised says that this process has called MPI_Init_thread, which it may do once.
var initialised sync.Mutex

func start() (*world, error) {
	names, err := names(os.Getenv)
	if err != nil {
		return nil, err
	}
	if !initialised.TryLock() {
		return nil, errors.New("a process can be a rank once")
	}
	w := &world{calls: make(chan func() error), results: make(chan error)}
	go w.serve()
	return w, w.do(func() error { return w.begin(names) })
}

// serve runs the calls, for as long as there is the process. The thread must not end, as it would with the goroutine that is locked to it:
// MPI_Finalize unloads plug-ins, whose destructors the end of a thread might call. And on amd64 purego, up to v0.10, wrote the address of a
// call's arguments above its own frame, over the address to which a thread's first function returns: a segmentation fault when the
// thread ended, unless it was the initial one.
func (w *world) serve() {
	runtime.LockOSThread()
	for f := range w.calls {
		err := errClosed
		if !w.closed {
			err = f()
		}
		w.results <- err
	}
}

func (w *world) do(f func() error) error {
	w.calls <- f
	return <-w.results
}

func (w *world) begin(names []string) (err error) {
	before := current()
	defer before.restore()
	if w.library, err = load(names); err != nil {
		return err
	}
	const funneled = 1
	var provided int32
	if err := w.failure("MPI_Init_thread", w.initThread(0, 0, funneled, &provided)); err != nil {
		return err
	}
	if provided < funneled {
		return errors.Errorf("%s serves one thread only", w.version)
	}
	var rank, size int32
	if err := w.failure("MPI_Comm_set_errhandler", w.setErrhandler(w.world, w.errorsReturn)); err != nil {
		return err
	}
	if err := w.failure("MPI_Comm_rank", w.commRank(w.world, &rank)); err != nil {
		return err
	}
	if err := w.failure("MPI_Comm_size", w.commSize(w.world, &size)); err != nil {
		return err
	}
	w.rank, w.size = int(rank), int(size)
	if want := launch.Ranks(os.Getenv); want != 0 && want != w.size {
		return errors.Errorf("%d ranks were started, and the library (%s) knows %d: mpirun and library are of different MPIs (FTPROP_MPI names another library)", want, w.version, size)
	}
	return nil
}

// most is the number of elements of one call: it takes an int of C.
const most = 1 << 28

func (w *world) Rank() int { return w.rank }
func (w *world) Size() int { return w.size }

func (w *world) SumFloat32(x []float32) error { return sum(w, x, w.float32) }
func (w *world) SumFloat64(x []float64) error { return sum(w, x, w.float64) }

func sum[T float32 | float64](w *world, x []T, of uintptr) error {
	return parts(w, x, func(x []T) error {
		return w.failure("MPI_Allreduce", w.allreduce(w.inPlace, unsafe.Pointer(&x[0]), int32(len(x)), of, w.sum, w.world))
	})
}

func (w *world) ReduceScatterFloat32(x []float32, parts []comm.Part) error {
	return reduceScatter(w, x, parts, w.float32, &w.f32)
}

func (w *world) ReduceScatterFloat64(x []float64, parts []comm.Part) error {
	return reduceScatter(w, x, parts, w.float64, &w.f64)
}

// reduceScatter sends each rank its part, and adds up what comes: MPI_Reduce_scatter would want all parts to touch, a copy of them, and an order
// of its own.
func reduceScatter[T float32 | float64](w *world, x []T, parts []comm.Part, of uintptr, scratch *[]T) error {
	counts, offsets, total, err := w.layout(parts, len(x))
	if err != nil || total == 0 {
		return err
	}
	mine := comm.Of(parts[w.rank], x)
	counts[w.rank] = 0
	inCounts, inOffsets := make([]int32, w.size), make([]int32, w.size)
	n := int64(0)
	for r := range w.size {
		if inOffsets[r] = int32(n); r != w.rank {
			inCounts[r] = int32(len(mine))
			n += int64(len(mine))
		}
		if n > math.MaxInt32 {
			return errors.Errorf("mpi: a part of %d elements of each of %d ranks: want at most %d in all", len(mine), w.size, math.MaxInt32)
		}
	}
	if len(*scratch) <= int(n) {
		*scratch = make([]T, n+1) // so that there is a first element
	}
	in := *scratch
	err = w.do(func() error {
		return w.failure("MPI_Alltoallv", w.alltoallv(unsafe.Pointer(&x[0]), &counts[0], &offsets[0], of, unsafe.Pointer(&in[0]), &inCounts[0], &inOffsets[0], of, w.world))
	})
	if err != nil {
		return errors.WithMessage(err, "mpi")
	}
	given := func(r int) []T { return in[inOffsets[r]:][:inCounts[r]] }
	if w.rank > 0 { // sums are those of the ranks in their order, from the first one on
		for r := 1; r < w.rank; r++ {
			vec.Add(given(0), given(r))
		}
		vec.Sum(mine, given(0), mine)
	}
	for r := w.rank + 1; r < w.size; r++ {
		vec.Add(mine, given(r))
	}
	return nil
}

func (w *world) AllGatherFloat32(x []float32, parts []comm.Part) error {
	return allGather(w, x, parts, w.float32)
}

func (w *world) AllGatherFloat64(x []float64, parts []comm.Part) error {
	return allGather(w, x, parts, w.float64)
}

func allGather[T float32 | float64](w *world, x []T, parts []comm.Part, of uintptr) error {
	counts, offsets, total, err := w.layout(parts, len(x))
	if err != nil || total == 0 {
		return err
	}
	err = w.do(func() error {
		return w.failure("MPI_Allgatherv", w.allgathervInPlace(w.inPlace, 0, of, unsafe.Pointer(&x[0]), &counts[0], &offsets[0], of, w.world))
	})
	return errors.WithMessage(err, "mpi")
}

// layout returns parts of n elements as MPI takes them.
func (w *world) layout(parts []comm.Part, n int) (counts, offsets []int32, total int, err error) {
	if err := comm.CheckParts(parts, w.size, n); err != nil {
		return nil, nil, 0, errors.WithMessage(err, "mpi")
	}
	if n > math.MaxInt32 {
		return nil, nil, 0, errors.Errorf("mpi: parts of %d elements, want at most %d", n, math.MaxInt32)
	}
	counts, offsets = make([]int32, w.size), make([]int32, w.size)
	for r, p := range parts {
		counts[r], offsets[r] = int32(p.Len), int32(p.Offset)
		total += p.Len
	}
	return counts, offsets, total, nil
}

func (w *world) Broadcast(b []byte, root int) error {
	if root < 0 || root >= w.size {
		return errors.Errorf("mpi: Broadcast from rank %d of %d", root, w.size)
	}
	return parts(w, b, func(b []byte) error {
		return w.failure("MPI_Bcast", w.bcast(unsafe.Pointer(&b[0]), int32(len(b)), w.bytes, int32(root), w.world))
	})
}

// parts calls f on w's thread with parts of x that are short enough.
func parts[T any](w *world, x []T, f func([]T) error) error {
	err := w.do(func() error {
		for len(x) > 0 {
			n := min(len(x), most)
			if err := f(x[:n]); err != nil {
				return err
			}
			x = x[n:]
		}
		return nil
	})
	return errors.WithMessage(err, "mpi")
}

func (w *world) Gather(b []byte) (out [][]byte, err error) {
	err = w.do(func() error {
		mine, lengths := int64(len(b)), make([]int64, w.size)
		if err := w.failure("MPI_Allgather", w.allgather(unsafe.Pointer(&mine), 8, w.bytes, unsafe.Pointer(&lengths[0]), 8, w.bytes, w.world)); err != nil {
			return err
		}
		counts, offsets, total := make([]int32, w.size), make([]int32, w.size), int64(0)
		for i, n := range lengths {
			counts[i], offsets[i] = int32(n), int32(total)
			if total += n; total > most {
				return errors.Errorf("Gather of %d bytes, want at most %d", total, most)
			}
		}
		all := make([]byte, total+1) // so that there is a first byte
		given := append([]byte{}, b...)
		given = append(given, 0)
		if err := w.failure("MPI_Allgatherv", w.allgatherv(unsafe.Pointer(&given[0]), int32(mine), w.bytes, unsafe.Pointer(&all[0]), &counts[0], &offsets[0], w.bytes, w.world)); err != nil {
			return err
		}
		for i, n := range counts {
			out = append(out, all[offsets[i]:offsets[i]+n:offsets[i]+n])
		}
		return nil
	})
	return out, errors.WithMessage(err, "mpi")
}

func (w *world) Barrier() error {
	err := w.do(func() error { return w.failure("MPI_Barrier", w.barrier(w.world)) })
	return errors.WithMessage(err, "mpi")
}

// Abort says on standard error why, and ends all ranks with status 1.
func (w *world) Abort(err error) {
	fmt.Fprintf(os.Stderr, "rank %d: %v\n", w.rank, err)
	_ = w.do(func() error { return w.failure("MPI_Abort", w.abort(w.world, 1)) })
	os.Exit(1) // of a rank that leaves so the launcher ends the others
}

func (w *world) finish() error {
	err := w.do(func() error {
		w.closed = true
		return w.failure("MPI_Finalize", w.finalize())
	})
	if err == errClosed {
		return nil // a second time
	}
	return err
}
