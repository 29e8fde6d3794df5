package tensorboard

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// An independent reader: nothing of it is shared with the writer, not the table of the checksum either.

// checksum is the CRC32C bit by bit: the reversed polynomial of Castagnoli, G. et al. (1993), as RFC 3720, appendix B.4 has it.
func checksum(data []byte) uint32 {
	crc := ^uint32(0)
	for _, b := range data {
		crc ^= uint32(b)
		for range 8 {
			low := crc & 1
			crc >>= 1
			if low == 1 {
				crc ^= 0x82f63b78
			}
		}
	}
	return ^crc
}

// unmask is the inverse of the mask, as TensorFlow's crc32c::Unmask has it.
func unmask(m uint32) uint32 {
	r := m - 0xa282ead8
	return r>>17 | r<<15
}

// records splits a file, with its checksums.
func records(b []byte) (out [][]byte, err error) {
	for len(b) > 0 {
		if len(b) < 12 {
			return out, io.ErrUnexpectedEOF
		}
		n := uint64(0)
		for i := range 8 {
			n |= uint64(b[i]) << (8 * i)
		}
		if got := unmask(binary.LittleEndian.Uint32(b[8:])); got != checksum(b[:8]) {
			return out, fmt.Errorf("checksum of a length: %08x", got)
		}
		if uint64(len(b)) < 16+n {
			return out, io.ErrUnexpectedEOF
		}
		data := b[12 : 12+n]
		if got := unmask(binary.LittleEndian.Uint32(b[12+n:])); got != checksum(data) {
			return out, fmt.Errorf("checksum of data: %08x", got)
		}
		out, b = append(out, data), b[16+n:]
	}
	return out, nil
}

// field is one of a message: the number, or the bytes.
type field struct {
	number, wire int
	n            uint64
	b            []byte
}

func fields(t *testing.T, b []byte) []field {
	t.Helper()
	number := func() (n uint64) {
		for shift := 0; ; shift += 7 {
			if len(b) == 0 || shift > 63 {
				t.Fatal("damaged varint")
			}
			c := b[0]
			b = b[1:]
			if n |= uint64(c&0x7f) << shift; c < 0x80 {
				return n
			}
		}
	}
	take := func(n int) []byte {
		if n > len(b) {
			t.Fatalf("%d bytes are left of %d", len(b), n)
		}
		v := b[:n]
		b = b[n:]
		return v
	}
	var out []field
	for len(b) > 0 {
		k := number()
		f := field{number: int(k >> 3), wire: int(k & 7)}
		switch f.wire {
		case 0:
			f.n = number()
		case 1:
			f.n = binary.LittleEndian.Uint64(take(8))
		case 2:
			f.b = take(int(number()))
		case 5:
			f.n = uint64(binary.LittleEndian.Uint32(take(4)))
		default:
			t.Fatalf("wire type %d", f.wire)
		}
		out = append(out, f)
	}
	return out
}

// seen is an event as the reader sees it.
type seen struct {
	wall          float64
	step          int64
	version, tag  string
	scalar        float32
	histogram     *Histogram
	session       uint64
	scalarPresent bool
}

func readAll(t *testing.T, path string) []seen {
	t.Helper()
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	rs, err := records(raw)
	if err != nil {
		t.Fatal(err)
	}
	var out []seen
	for _, r := range rs {
		var s seen
		for _, f := range fields(t, r) {
			switch [2]int{f.number, f.wire} {
			case [2]int{1, 1}:
				s.wall = math.Float64frombits(f.n)
			case [2]int{2, 0}:
				s.step = int64(f.n)
			case [2]int{3, 2}:
				s.version = string(f.b)
			case [2]int{7, 2}:
				s.session = fields(t, f.b)[0].n
			case [2]int{5, 2}:
				for _, v := range fields(t, f.b) {
					for _, f := range fields(t, v.b) {
						switch [2]int{f.number, f.wire} {
						case [2]int{1, 2}:
							s.tag = string(f.b)
						case [2]int{2, 5}:
							s.scalar, s.scalarPresent = math.Float32frombits(uint32(f.n)), true
						case [2]int{5, 2}:
							s.histogram = readHistogram(t, f.b)
						default:
							t.Errorf("value: field %+v", f)
						}
					}
				}
			default:
				t.Errorf("event: field %+v", f)
			}
		}
		out = append(out, s)
	}
	return out
}

func readHistogram(t *testing.T, b []byte) *Histogram {
	h := new(Histogram)
	for _, f := range fields(t, b) {
		switch f.number {
		case 1, 2, 3, 4, 5:
			*[]*float64{&h.Min, &h.Max, &h.Num, &h.Sum, &h.SumSquares}[f.number-1] = math.Float64frombits(f.n)
		case 6, 7:
			to := []*[]float64{&h.Limits, &h.Counts}[f.number-6]
			for ; len(f.b) > 0; f.b = f.b[8:] {
				*to = append(*to, math.Float64frombits(binary.LittleEndian.Uint64(f.b)))
			}
		default:
			t.Errorf("histogram: field %+v", f)
		}
	}
	return h
}

// What is written is what is read.
func TestRoundTrip(t *testing.T) {
	if checksum([]byte("123456789")) != 0xe3069283 { // the check value of CRC32C
		t.Fatal("the reader's checksum is wrong")
	}
	dir := filepath.Join(t.TempDir(), "runs", "first")
	before := float64(time.Now().UnixNano()) / 1e9
	w, err := Create(dir)
	if err != nil {
		t.Fatal(err)
	}
	z := []float64{-2, -1, -1, 0, 0.25, 3, math.NaN(), math.Inf(1)}
	h := HistogramOf(z)
	want := []seen{
		{version: version},
		{tag: "train/loss", step: 1, scalar: 0.6931472, scalarPresent: true},
		{tag: "train/loss", step: 1 << 40, scalar: 0, scalarPresent: true},
		{tag: "größe", step: 0, scalar: float32(math.Inf(-1)), scalarPresent: true},
		{tag: "z/" + strings.Repeat("long", 100), step: 300, histogram: &h},
		{tag: "empty", step: 301, histogram: &Histogram{}},
		{step: 7, session: 1},
	}
	for _, s := range want[1:] {
		switch {
		case s.session == 1:
			err = w.Restart(int(s.step))
		case s.histogram != nil:
			err = w.Histogram(s.tag, int(s.step), *s.histogram)
		default:
			err = w.Scalar(s.tag, int(s.step), float64(s.scalar))
		}
		if err != nil {
			t.Fatalf("%s: %v", s.tag, err)
		}
	}
	if err := w.Scalar("nan", 1, math.NaN()); err != nil {
		t.Fatal(err)
	}
	got := readAll(t, w.Path()) // before Close: TensorBoard reads while training goes on
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if n := len(got) - 1; got[n].tag != "nan" || !math.IsNaN(float64(got[n].scalar)) {
		t.Errorf("last event %+v, want NaN", got[n])
	}
	got = got[:len(got)-1]
	if len(got) != len(want) {
		t.Fatalf("%d events, want %d", len(got), len(want))
	}
	for i, g := range got {
		if g.wall < before || g.wall > before+60 {
			t.Errorf("event %d: time %v", i, g.wall)
		}
		g.wall = 0
		gh, wh := g.histogram, want[i].histogram
		g.histogram, want[i].histogram = nil, nil
		if g != want[i] || (gh == nil) != (wh == nil) {
			t.Errorf("event %d: %+v, want %+v", i, g, want[i])
		}
		if gh != nil && (fmt.Sprint(*gh) != fmt.Sprint(*wh)) {
			t.Errorf("event %d: %+v, want %+v", i, *gh, *wh)
		}
	}
	if h.Num != 6 || h.Min != -2 || h.Max != 3 || h.Sum != -0.75 || h.SumSquares != 15.0625 || len(h.Counts) != bins {
		t.Errorf("histogram %+v", h)
	}
	// Every limit is the upper end of its bin: values on it are in it.
	for i, l := range h.Limits {
		n := 0.0
		for _, v := range z {
			if v <= l && (i == 0 || v > h.Limits[i-1]) && !math.IsInf(v, 0) {
				n++
			}
		}
		if n != h.Counts[i] {
			t.Errorf("bin %d up to %v: %v values, want %v", i, l, h.Counts[i], n)
		}
	}
}

// The bytes of a file's first event, of TensorFlow itself but for the time.
func TestBytes(t *testing.T) {
	w, err := create(t.TempDir(), func() time.Time { return time.Unix(0, 0) })
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	raw, err := os.ReadFile(w.Path())
	if err != nil {
		t.Fatal(err)
	}
	head := []byte{0x18, 0, 0, 0, 0, 0, 0, 0, 0xa3, 0x7f, 0x4b, 0x22, 0x09}
	if !bytes.HasPrefix(raw, head) || !bytes.Contains(raw, []byte("\x1a\x0dbrain.Event:2")) {
		t.Errorf("% x", raw)
	}
}

func TestFromBins(t *testing.T) {
	h := FromBins(-1, 1, []int{1, 0, 3, 0})
	want := Histogram{Min: -1, Max: 1, Num: 4, Sum: -0.75 + 3*0.25, SumSquares: 0.5625 + 3*0.0625, Limits: []float64{-0.5, 0, 0.5, 1}, Counts: []float64{1, 0, 3, 0}}
	if fmt.Sprint(h) != fmt.Sprint(want) {
		t.Errorf("%+v, want %+v", h, want)
	}
	if h := FromBins(2, 2, []int{5, 0, 0}); h.Num != 5 || !slices.Equal(h.Counts, []float64{5}) || !slices.Equal(h.Limits, []float64{2}) || h.Sum != 10 {
		t.Errorf("one value: %+v", h)
	}
	for _, values := range [][]float64{nil, {math.NaN()}, {3}, {-math.MaxFloat64, math.MaxFloat64}} {
		h := HistogramOf(values)
		if err := h.validate(); err != nil {
			t.Errorf("%v: %v", values, err)
		}
		if n := len(values); n > 0 && values[0] == values[0] && h.Num != float64(n) {
			t.Errorf("%v: %+v", values, h)
		}
	}
}

// Files of one directory never replace each other, and sort in the order in which they were made.
func TestFilesSort(t *testing.T) {
	dir := t.TempDir()
	at := time.Unix(999_999_999, 0)
	var made []string
	for i := range 12 {
		if i == 11 {
			at = at.Add(time.Second)
		}
		w, err := create(dir, func() time.Time { return at })
		if err != nil {
			t.Fatal(err)
		}
		made = append(made, w.Path())
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if !slices.IsSorted(made) || len(slices.Compact(slices.Clone(made))) != 12 {
		t.Error(made)
	}
}

// Events of several goroutines come whole. A file that is cut short anywhere has whole events up to the cut.
func TestConcurrentAndCut(t *testing.T) {
	w, err := Create(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for g := range 4 {
		wg.Go(func() {
			for i := range 50 {
				if err := w.Scalar(fmt.Sprint("tag", g), i, float64(i)); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if n := len(readAll(t, w.Path())); n != 201 {
		t.Errorf("%d events", n)
	}
	raw, err := os.ReadFile(w.Path())
	if err != nil {
		t.Fatal(err)
	}
	for _, cut := range []int{1, 39, 41, len(raw) / 2, len(raw) - 1} {
		rs, err := records(raw[:cut])
		if whole, _ := records(raw); err != nil && err != io.ErrUnexpectedEOF || len(rs) >= len(whole) {
			t.Errorf("cut at %d: %d events, %v", cut, len(rs), err)
		}
	}
}

func TestErrors(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := Create(file); err == nil {
		t.Error("a file for a directory: no error")
	}
	w, err := Create(dir)
	if err != nil {
		t.Fatal(err)
	}
	for name, err := range map[string]error{
		"no tag":        w.Scalar("", 1, 1),
		"step":          w.Scalar("a", -1, 1),
		"restart":       w.Restart(-1),
		"lengths":       w.Histogram("a", 1, Histogram{Limits: []float64{1}}),
		"limits fall":   w.Histogram("a", 1, Histogram{Limits: []float64{1, 1}, Counts: []float64{1, 1}}),
		"limit NaN":     w.Histogram("a", 1, Histogram{Limits: []float64{math.NaN()}, Counts: []float64{1}}),
		"count below 0": w.Histogram("a", 1, Histogram{Limits: []float64{1}, Counts: []float64{-1}}),
	} {
		if err == nil || !strings.Contains(err.Error(), "tensorboard: ") {
			t.Errorf("%s: %v", name, err)
		}
	}
	if n := len(readAll(t, w.Path())); n != 1 {
		t.Errorf("%d events, want the first only", n)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Error("second Close:", err)
	}
	if err := w.Scalar("a", 1, 1); err == nil || !strings.Contains(err.Error(), "closed") {
		t.Errorf("after Close: %v", err)
	}
	// A write that fails is the last.
	if w, err = Create(dir); err != nil {
		t.Fatal(err)
	}
	if err := w.file.Close(); err != nil {
		t.Fatal(err)
	}
	first := w.Scalar("a", 1, 1)
	if second := w.Scalar("a", 2, 1); first == nil || second != first {
		t.Errorf("%v, %v", first, second)
	}
}

// Whatever is written, the file is whole records whose fields read back as what went in, or the call is refused and the file stays as it
// was.
func FuzzWriter(f *testing.F) {
	f.Add("loss", 3, 0.5, []byte{1, 2, 3})
	f.Add("", -1, math.NaN(), []byte{})
	f.Add("a\xff/b", math.MaxInt, math.Inf(-1), []byte{0, 0, 255, 7})
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, tag string, step int, value float64, counts []byte) {
		w := &Writer{now: time.Now, path: filepath.Join(dir, "events")}
		var err error
		if w.file, err = os.Create(w.path); err != nil {
			t.Fatal(err)
		}
		defer w.Close()
		h := Histogram{Min: value, Max: value, Num: value, Sum: value, SumSquares: value}
		for i, c := range counts {
			h.Limits, h.Counts = append(h.Limits, value+float64(i)*float64(c)), append(h.Counts, float64(c))
		}
		scalarErr, histogramErr := w.Scalar(tag, step, value), w.Histogram(tag, step, h)
		if err := w.Restart(step); (err != nil) != (step < 0) {
			t.Fatalf("restart at step %d: %v", step, err)
		}
		got := readAll(t, w.path)
		var want []seen
		if scalarErr == nil {
			want = append(want, seen{step: int64(step), tag: tag, scalar: float32(value), scalarPresent: true})
		}
		if histogramErr == nil {
			want = append(want, seen{step: int64(step), tag: tag, histogram: &h})
		}
		if step >= 0 {
			want = append(want, seen{step: int64(step), session: 1})
		}
		if len(got) != len(want) {
			t.Fatalf("%d events, want %d", len(got), len(want))
		}
		for i := range want {
			want[i].wall = got[i].wall // the clock's
			if a, b := fmt.Sprintf("%+v", flat(got[i])), fmt.Sprintf("%+v", flat(want[i])); a != b {
				t.Fatalf("event %d: %s, want %s", i, a, b)
			}
		}
	})
}

// flat is an event without pointers, to be printed and compared; NaN is equal to itself then.
func flat(s seen) any {
	h := Histogram{}
	if s.histogram != nil {
		h = *s.histogram
	}
	s.histogram = nil
	return []any{s, h}
}
