package par

import (
	"errors"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
)

func TestLoop(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(4))
	var calls [5]atomic.Int32
	bad := false
	l := NewLoop(len(calls), func(part int) error {
		calls[part].Add(1)
		switch {
		case bad && part == 1:
			return errors.New("one")
		case bad && part == 3:
			panic("three")
		}
		return nil
	})
	for range 100 {
		if err := l.Run(); err != nil {
			t.Fatal(err)
		}
	}
	for p := range calls {
		if n := calls[p].Load(); n != 100 {
			t.Errorf("part %d was called %d times", p, n)
		}
	}
	bad = true
	if err := l.Run(); err == nil || err.Error() != "one" {
		t.Errorf("got %v, want the error of part 1", err)
	}
	bad = false
	if err := l.Run(); err != nil {
		t.Errorf("an error is left: %v", err)
	}
	l = NewLoop(1, func(int) error { panic("boom") })
	if err := l.Run(); err == nil || !strings.Contains(err.Error(), "boom") {
		t.Errorf("got %v, want the panic as an error", err)
	}
}

func TestLoopAllocatesNothing(t *testing.T) {
	l := NewLoop(2, func(int) error { return nil })
	if n := testing.AllocsPerRun(100, func() { _ = l.Run() }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
