package atomicfile

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

func TestWrite(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "out.txt")
	text := func(s string, err error) func(io.Writer) error {
		return func(w io.Writer) error { io.WriteString(w, s); return err }
	}
	if err := Write(path, text("first", nil)); err != nil {
		t.Fatal(err)
	}
	full := errors.New("no space left")
	if err := Write(path, text("half a seco", full)); !errors.Is(err, full) {
		t.Errorf("got %v, want %v", err, full)
	}
	got, err := os.ReadFile(path)
	if err != nil || string(got) != "first" {
		t.Errorf("file holds %q, %v", got, err)
	}
	if files, _ := os.ReadDir(dir); len(files) != 1 {
		t.Errorf("%d files left, want 1", len(files))
	}
	if err := Write(filepath.Join(dir, "nowhere", "out.txt"), text("", nil)); err == nil {
		t.Error("written to a directory that is not there")
	}
}

// What a killed writer leaves goes, and nothing else.
func TestRemoveLeftovers(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "out.txt")
	for _, name := range []string{"out.txt", ".out.txt-123", ".out.txt-4", ".other-5"} {
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	RemoveLeftovers(path)
	left, err := os.ReadDir(dir)
	if err != nil || len(left) != 2 || left[0].Name() != ".other-5" || left[1].Name() != "out.txt" {
		t.Errorf("left: %v, %v", left, err)
	}
}

// What is written gets the mode that a file there had, and where there was none what the umask leaves.
func TestMode(t *testing.T) {
	dir := t.TempDir()
	old := syscall.Umask(0o027)
	defer syscall.Umask(old)
	for _, mode := range []os.FileMode{0, 0o600, 0o640, 0o644, 0o664, 0o444} { // 0: there is no file
		path := filepath.Join(dir, mode.String())
		want := mode
		if mode == 0 {
			want = 0o640
		} else {
			if err := os.WriteFile(path, []byte("old"), 0o600); err != nil {
				t.Fatal(err)
			}
			if err := os.Chmod(path, mode); err != nil {
				t.Fatal(err)
			}
		}
		err := Write(path, func(w io.Writer) error {
			// Nor does the file under its temporary name let others read what they may not.
			for _, e := range entries(t, dir) {
				if info, err := e.Info(); err != nil || info.Mode().Perm()&^(want|0o200) != 0 && strings.HasPrefix(e.Name(), "."+mode.String()) {
					t.Errorf("mode %v: under the name %s it is %v, %v", mode, e.Name(), info.Mode(), err)
				}
			}
			_, err := io.WriteString(w, "new")
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		if info, err := os.Stat(path); err != nil || info.Mode() != want || info.Size() != 3 {
			t.Errorf("mode %v: afterwards %v, %v, want %v", mode, info.Mode(), err, want)
		}
	}
}

func entries(t *testing.T, dir string) []os.DirEntry {
	t.Helper()
	e, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// What is no regular file stays what it is.
func TestRefuses(t *testing.T) {
	dir := t.TempDir()
	fifo, folder, loop := filepath.Join(dir, "fifo"), filepath.Join(dir, "folder"), filepath.Join(dir, "loop")
	if err := errors.Join(syscall.Mkfifo(fifo, 0o600), os.Mkdir(folder, 0o755), os.Symlink("loop", loop), os.Symlink(fifo, filepath.Join(dir, "to-fifo"))); err != nil {
		t.Fatal(err)
	}
	refused := map[string]string{
		fifo: "a named pipe", folder: "a folder", filepath.Join(dir, "to-fifo"): "a named pipe", loop: "too many links",
		dir + "/": "folder", filepath.Join(dir, "none", "x"): "no such file", filepath.Join(fifo, "x"): "not a directory",
	}
	files := 4
	// One of our own: who breaks this must not lose /dev/null to the test.
	if device := filepath.Join(dir, "null"); syscall.Mknod(device, syscall.S_IFCHR|0o600, 1<<8|3) == nil {
		refused[device] = "a device"
		files++
	}
	for path, words := range refused {
		for what, err := range map[string]error{
			"Write": Write(path, func(io.Writer) error { t.Error("asked for its contents"); return nil }), "Check": Check(path),
		} {
			if err == nil || !strings.Contains(err.Error(), words) || !strings.Contains(err.Error(), path) {
				t.Errorf("%s %s: %v, want an error that says %q", what, path, err, words)
			}
		}
	}
	if n := len(entries(t, dir)); n != files {
		t.Errorf("%d files, want the %d of before", n, files)
	}
	if info, err := os.Lstat(fifo); err != nil || info.Mode().Type() != os.ModeNamedPipe {
		t.Errorf("the pipe is now %v, %v", info.Mode(), err)
	}
}

// A link stays, and what it leads to is replaced, with its own mode, whether it is there or not.
func TestLinks(t *testing.T) {
	dir := t.TempDir()
	join := func(s ...string) string { return filepath.Join(append([]string{dir}, s...)...) }
	if err := errors.Join(
		os.MkdirAll(join("real", "deep"), 0o755), os.MkdirAll(join("away"), 0o755), os.WriteFile(join("real", "file"), []byte("old"), 0o600),
		os.Symlink(join("real", "deep"), join("away", "folder")), // its .. is real, not away
		os.Symlink("../file", join("real", "deep", "up")), os.Symlink("away/folder/up", join("twice")), os.Symlink("real/later", join("dangling")),
	); err != nil {
		t.Fatal(err)
	}
	for path, to := range map[string]string{join("twice"): join("real", "file"), join("away", "folder", "up"): join("real", "file"), join("dangling"): join("real", "later")} {
		if err := Check(path); err != nil {
			t.Error(err)
		}
		if err := Write(path, func(w io.Writer) error { _, err := io.WriteString(w, path); return err }); err != nil {
			t.Fatal(err)
		}
		if b, err := os.ReadFile(to); err != nil || string(b) != path {
			t.Errorf("%s: %q, %v", to, b, err)
		}
		if info, err := os.Lstat(path); err != nil || info.Mode().Type() != os.ModeSymlink {
			t.Errorf("%s is now %v, %v", path, info.Mode(), err)
		}
	}
	if info, err := os.Stat(join("real", "file")); err != nil || info.Mode() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	if n := len(entries(t, join("real"))); n != 3 {
		t.Errorf("%d files, want 3", n)
	}
}

// Names of folders and files are names, whatever they look like.
func TestLeftoversOfStrangeNames(t *testing.T) {
	for _, name := range []string{"a*", "[a-z]", "?", "a\\b", "x-*", "-"} {
		dir := t.TempDir()
		at, other := filepath.Join(dir, name), filepath.Join(dir, "ab")
		if err := errors.Join(os.MkdirAll(at, 0o755), os.MkdirAll(other, 0o755), os.Mkdir(filepath.Join(at, ".out-7"), 0o755)); err != nil {
			t.Fatal(err)
		}
		for _, f := range []string{filepath.Join(other, ".out-5"), filepath.Join(at, ".out-5"), filepath.Join(at, ".out-5-6"), filepath.Join(at, ".out-x")} {
			if err := os.WriteFile(f, nil, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		RemoveLeftovers(filepath.Join(at, "out"))
		if len(entries(t, other)) != 1 || len(entries(t, at)) != 3 {
			t.Errorf("folder %q: left are %v, beside it %v", name, entries(t, at), entries(t, other))
		}
		file := filepath.Join(other, name+".txt")
		fail := errors.New("full")
		if err := Write(file, func(io.Writer) error { return fail }); !errors.Is(err, fail) {
			t.Errorf("file %q: %v", name, err)
		}
		if err := Write(file, func(io.Writer) error { return nil }); err != nil {
			t.Errorf("file %q: %v", name, err)
		}
		RemoveLeftovers(file)
		if len(entries(t, other)) != 2 {
			t.Errorf("file %q: %v", name, entries(t, other))
		}
	}
	long := filepath.Join(t.TempDir(), strings.Repeat("n", 255))
	if err := Write(long, func(io.Writer) error { return nil }); err != nil {
		t.Errorf("a name of 255 bytes: %v", err)
	}
}

// A writer that panics leaves nothing behind.
func TestPanic(t *testing.T) {
	dir := t.TempDir()
	func() {
		defer func() { _ = recover() }()
		_ = Write(filepath.Join(dir, "out"), func(io.Writer) error { panic("broken") })
	}()
	if e := entries(t, dir); len(e) != 0 {
		t.Errorf("left: %v", e)
	}
}
