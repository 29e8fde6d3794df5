package data

import (
	"bytes"
	"context"
	"crypto/md5"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/ftprop/ftprop/internal/gtest"
)

// mirror serves a data set "toy" of one file and says what it was asked for.
type mirror struct {
	*httptest.Server
	body []byte

	mu     sync.Mutex
	ranges []string // of each request
	// handle answers request number n, from 0; nil, or false, serves the file.
	handle func(n int, w http.ResponseWriter, r *http.Request) bool
}

func newMirror(t *testing.T) *mirror {
	m := &mirror{body: bytes.Repeat([]byte("0123456789abcdef"), 20000)}
	m.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		m.mu.Lock()
		n := len(m.ranges)
		m.ranges = append(m.ranges, r.Header.Get("Range"))
		m.mu.Unlock()
		if r.URL.Path != "/toy.bin" {
			http.NotFound(w, r)
			return
		}
		if m.handle == nil || !m.handle(n, w, r) {
			http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(m.body))
		}
	}))
	t.Cleanup(m.Close)
	return m
}

// cut sends the first half of what is asked for and drops the connection.
func (m *mirror) cut(w http.ResponseWriter, r *http.Request) {
	from := 0
	fmt.Sscanf(r.Header.Get("Range"), "bytes=%d-", &from)
	w.Header().Set("Content-Length", fmt.Sprint(len(m.body)-from))
	if from > 0 {
		w.Header().Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", from, len(m.body)-1, len(m.body)))
		w.WriteHeader(http.StatusPartialContent)
	}
	w.Write(m.body[from : from+(len(m.body)-from)/2])
	w.(http.Flusher).Flush()
	panic(http.ErrAbortHandler)
}

func (m *mirror) downloader() Downloader {
	a, b := md5.Sum(m.body), sha256.Sum256(m.body)
	return Downloader{
		BaseURL: m.URL, Backoff: time.Millisecond,
		sets: []remoteSet{{"toy", "http://nowhere.invalid/", []remoteFile{
			{"toy.bin", int64(len(m.body)), hex.EncodeToString(a[:]), hex.EncodeToString(b[:])},
		}}},
	}
}

// wantFiles compares what lies in a folder.
func wantFiles(t *testing.T, what, dir string, names ...string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, e := range entries {
		got = append(got, e.Name())
	}
	if fmt.Sprint(got) != fmt.Sprint(names) {
		t.Errorf("%s: the folder holds %v, want %v", what, got, names)
	}
}

func TestDownload(t *testing.T) {
	m := newMirror(t)
	d := m.downloader()
	var last, calls int64
	d.Progress = func(file string, done, total int64) {
		if file != "toy.bin" || total != int64(len(m.body)) || done < last {
			t.Errorf("progress %s %d of %d after %d", file, done, total, last)
		}
		last, calls = done, calls+1
	}
	dir := filepath.Join(t.TempDir(), "new", "folder")
	if err := d.Download(t.Context(), "toy", dir); err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(filepath.Join(dir, "toy.bin"))
	if err != nil || !bytes.Equal(got, m.body) {
		t.Fatalf("%d bytes, %v", len(got), err)
	}
	if last != int64(len(m.body)) || calls < 3 {
		t.Errorf("progress ends at %d after %d calls", last, calls)
	}
	wantFiles(t, "complete", dir, "toy.bin")
	// Again: nothing to do. Damaged: fetched anew.
	if err := d.Download(t.Context(), "toy", dir); err != nil || len(m.ranges) != 1 {
		t.Errorf("%d requests, %v; want 1", len(m.ranges), err)
	}
	last = 0
	got[5] ^= 1
	if err := os.WriteFile(filepath.Join(dir, "toy.bin"), got, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := d.Download(t.Context(), "toy", dir); err != nil || len(m.ranges) != 2 {
		t.Errorf("%d requests, %v; want 2", len(m.ranges), err)
	}
	if got, _ = os.ReadFile(filepath.Join(dir, "toy.bin")); !bytes.Equal(got, m.body) {
		t.Error("a damaged file stays")
	}
}

// Two cuts, an answer 503, a stall, then the rest.
func TestDownloadResumes(t *testing.T) {
	m := newMirror(t)
	n := len(m.body)
	m.handle = func(k int, w http.ResponseWriter, r *http.Request) bool {
		switch k {
		case 0, 2:
			m.cut(w, r)
		case 1:
			http.Error(w, "busy", http.StatusServiceUnavailable)
			return true
		case 3:
			<-r.Context().Done() // silence
		}
		return false
	}
	d := m.downloader()
	d.Stall = 50 * time.Millisecond
	dir := t.TempDir()
	if err := d.Download(t.Context(), "toy", dir); err != nil {
		t.Fatal(err)
	}
	if got, err := os.ReadFile(filepath.Join(dir, "toy.bin")); err != nil || !bytes.Equal(got, m.body) {
		t.Errorf("%d bytes, %v", len(got), err)
	}
	want := fmt.Sprint([]string{"", fmt.Sprintf("bytes=%d-", n/2), fmt.Sprintf("bytes=%d-", n/2), fmt.Sprintf("bytes=%d-", n*3/4), fmt.Sprintf("bytes=%d-", n*3/4)})
	if fmt.Sprint(m.ranges) != want {
		t.Errorf("asked for %v, want %v", m.ranges, want)
	}
}

// The next program goes on with what the last one left, be it good or not.
func TestDownloadResumesLater(t *testing.T) {
	for what, c := range map[string]struct {
		left   func(body []byte) []byte
		ranges string
		no206  bool
	}{
		"good":           {func(b []byte) []byte { return b[:1000] }, "[bytes=1000-]", false},
		"whole":          {func(b []byte) []byte { return b }, "[]", false},
		"too long":       {func(b []byte) []byte { return append(b[:len(b):len(b)], 1) }, "[]", false},
		"of another":     {func(b []byte) []byte { return make([]byte, 1000) }, "[bytes=1000- ]", false},
		"without ranges": {func(b []byte) []byte { return make([]byte, 1000) }, "[bytes=1000-]", true},
	} {
		m := newMirror(t)
		if c.no206 {
			m.handle = func(_ int, w http.ResponseWriter, _ *http.Request) bool { w.Write(m.body); return true }
		}
		dir := write(t, map[string][]byte{".toy.bin.part": c.left(m.body)})
		if err := m.downloader().Download(t.Context(), "toy", dir); err != nil {
			t.Errorf("%s: %v", what, err)
		}
		if got, _ := os.ReadFile(filepath.Join(dir, "toy.bin")); !bytes.Equal(got, m.body) {
			t.Errorf("%s: read something else", what)
		}
		wantFiles(t, what, dir, "toy.bin")
		if got := fmt.Sprint(m.ranges); got != c.ranges && what != "too long" {
			t.Errorf("%s: asked for %s, want %s", what, got, c.ranges)
		}
	}
}

func TestDownloadErrors(t *testing.T) {
	for what, c := range map[string]struct {
		handle func(m *mirror, w http.ResponseWriter, r *http.Request)
		asked  int
		words  []string
		left   []string
	}{
		"wrong checksum": {func(m *mirror, w http.ResponseWriter, _ *http.Request) {
			w.Write(bytes.ToUpper(m.body))
		}, 1, []string{"MD5 is", "want"}, nil},
		"404": {func(_ *mirror, w http.ResponseWriter, r *http.Request) { http.NotFound(w, r) },
			1, []string{"404 Not Found"}, []string{".toy.bin.part"}},
		"too short": {func(m *mirror, w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "5")
			w.Write(m.body[:5])
		}, 1, []string{"the server has 5 bytes, want 320000"}, []string{".toy.bin.part"}},
		"too long, unannounced": {func(m *mirror, w http.ResponseWriter, _ *http.Request) {
			w.(http.Flusher).Flush()
			w.Write(m.body)
			w.Write(m.body)
		}, 1, []string{"goes on after 320000"}, []string{".toy.bin.part"}},
		"always cut": {func(m *mirror, w http.ResponseWriter, r *http.Request) { m.cut(w, r) },
			3, []string{"gave up after 3 tries", "cut after 280000 of 320000"}, []string{".toy.bin.part"}},
		"500": {func(_ *mirror, w http.ResponseWriter, r *http.Request) { http.Error(w, "", 500) },
			3, []string{"gave up after 3 tries", "500"}, []string{".toy.bin.part"}},
		"lying range": {func(m *mirror, w http.ResponseWriter, r *http.Request) {
			if r.Header.Get("Range") == "" {
				m.cut(w, r)
			}
			w.Header().Set("Content-Range", "bytes 0-9/10")
			w.WriteHeader(http.StatusPartialContent)
		}, 2, []string{`"bytes 0-9/10", want "bytes 160000-319999/320000"`}, []string{".toy.bin.part"}},
	} {
		m := newMirror(t)
		m.handle = func(_ int, w http.ResponseWriter, r *http.Request) bool { c.handle(m, w, r); return true }
		d, dir := m.downloader(), t.TempDir()
		d.Tries = 3
		err := d.Download(t.Context(), "toy", dir)
		gtest.WantError(t, what, err, append(c.words, "data: Download toy", m.URL+"/toy.bin")...)
		wantFiles(t, what, dir, c.left...)
		if len(m.ranges) != c.asked {
			t.Errorf("%s: %d requests, want %d", what, len(m.ranges), c.asked)
		}
	}
	err := Download(t.Context(), "toys", t.TempDir(), nil)
	gtest.WantError(t, "unknown", err, `"toys"`, "mnist, fashion-mnist, cifar10, cifar100, svhn")

	m := newMirror(t)
	m.Close()
	d := m.downloader()
	d.Tries = 2
	gtest.WantError(t, "no server", d.Download(t.Context(), "toy", t.TempDir()), "gave up after 2 tries", "refused")
	file := filepath.Join(write(t, map[string][]byte{"x": nil}), "x", "y")
	if err := d.Download(t.Context(), "toy", file); !errors.Is(err, syscall.ENOTDIR) {
		t.Errorf("a file for a folder: %v", err)
	}
}

func TestDownloadCancelled(t *testing.T) {
	m := newMirror(t)
	ctx, cancel := context.WithCancel(t.Context())
	m.handle = func(_ int, w http.ResponseWriter, r *http.Request) bool {
		w.Header().Set("Content-Length", fmt.Sprint(len(m.body)))
		w.Write(m.body[:len(m.body)/2])
		w.(http.Flusher).Flush()
		<-r.Context().Done()
		return true
	}
	d, dir := m.downloader(), t.TempDir()
	d.Progress = func(_ string, done, _ int64) {
		if done == int64(len(m.body)/2) {
			cancel()
		}
	}
	err := d.Download(ctx, "toy", dir)
	if !errors.Is(err, context.Canceled) || !strings.Contains(err.Error(), "160000 of 320000") {
		t.Errorf("error %v, want %v", err, context.Canceled)
	}
	wantFiles(t, "cancelled", dir, ".toy.bin.part")
	m.handle = nil
	if err := m.downloader().Download(t.Context(), "toy", dir); err != nil {
		t.Error(err)
	}
	wantFiles(t, "taken up", dir, "toy.bin")
}

// fullDisk has room for so many bytes.
type fullDisk struct {
	*os.File
	room *int
	sync error
}

func (f fullDisk) Write(b []byte) (int, error) {
	n := min(len(b), *f.room)
	*f.room -= n
	n, _ = f.File.Write(b[:n])
	if n < len(b) {
		return n, syscall.ENOSPC
	}
	return n, nil
}

func (f fullDisk) Sync() error { return f.sync }

func TestDownloadFullDisk(t *testing.T) {
	for _, room := range []int{0, 100000, 1 << 30} {
		m := newMirror(t)
		d, dir := m.downloader(), t.TempDir()
		d.open = func(name string) (partFile, error) {
			f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o644)
			return fullDisk{f, &room, syscall.ENOSPC}, err
		}
		err := d.Download(t.Context(), "toy", dir)
		if !errors.Is(err, syscall.ENOSPC) {
			t.Errorf("room %d: error %v, want %v", room, err, syscall.ENOSPC)
		}
		gtest.WantError(t, "full", err, "writing", "toy.bin")
		wantFiles(t, "full", dir, ".toy.bin.part")
		if len(m.ranges) != 1 {
			t.Errorf("%d requests, want 1", len(m.ranges))
		}
	}
}

// What the tables say at least has the form of what it should be.
func TestRemoteSets(t *testing.T) {
	var names []string
	for _, s := range remoteSets() {
		if !strings.HasPrefix(s.home, "http") || !strings.HasSuffix(s.home, "/") || len(s.files) == 0 {
			t.Errorf("%s: home %s", s.name, s.home)
		}
		for _, f := range s.files {
			a, err := hex.DecodeString(f.md5)
			b, err2 := hex.DecodeString(f.sha256)
			if err != nil || err2 != nil || len(a) != md5.Size || len(b) != 0 && len(b) != sha256.Size || f.size < 1 {
				t.Errorf("%s: %+v", s.name, f)
			}
		}
		names = append(names, s.name)
	}
	if fmt.Sprint(names) != fmt.Sprint(Datasets()) {
		t.Errorf("%v, want %v", Datasets(), names)
	}
}
