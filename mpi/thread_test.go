//go:build linux && (amd64 || arm64)

package mpi

import (
	"fmt"
	"os"
	"syscall"
	"testing"
	"time"

	"github.com/ebitengine/purego"
	"github.com/ftprop/ftprop/internal/gtest"
)

// The thread that has called a library stays when the connection is closed: what ends it are destructors of a library
// that may be unloaded, and purego up to v0.10 wrote over the address to which a thread's first function returns. Several, because one of them may
// be the initial thread, which never ends.
func TestThreadStays(t *testing.T) {
	libc, err := purego.Dlopen("libc.so.6", purego.RTLD_NOW)
	if err != nil {
		t.Skipf("no libc to call: %v", err)
	}
	var pid func() int32
	purego.RegisterLibFunc(&pid, libc, "getpid")
	var threads []int
	for range 4 {
		w := &world{calls: make(chan func() error), results: make(chan error)}
		w.library = &library{finalize: func() int32 {
			threads = append(threads, syscall.Gettid())
			if int(pid()) != os.Getpid() {
				t.Error("another process")
			}
			return 0
		}}
		go w.serve()
		for range 2 { // the second time is none
			if err := w.finish(); err != nil {
				t.Error(err)
			}
		}
		gtest.WantError(t, "after Close", w.Barrier(), "mpi: the connection is closed")
	}
	if len(threads) != 4 {
		t.Fatalf("MPI_Finalize was called %d times, want 4", len(threads))
	}
	time.Sleep(50 * time.Millisecond)
	for _, id := range threads {
		if _, err := os.Stat(fmt.Sprintf("/proc/self/task/%d", id)); err != nil {
			t.Errorf("the thread has ended: %v", err)
		}
	}
}
