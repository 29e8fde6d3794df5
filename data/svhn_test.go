package data

import (
	"bytes"
	"compress/zlib"
	"encoding/binary"
	"errors"
	"io/fs"
	"math"
	"path/filepath"
	"runtime"
	"runtime/metrics"
	"slices"
	"testing"
	"testing/iotest"

	"github.com/ftprop/ftprop/internal/gtest"
)

// matFile begins a file; arrays follow.
func matFile(order binary.AppendByteOrder) []byte {
	head := append([]byte("MATLAB 5.0 MAT-file, Platform: GLNXA64"), bytes.Repeat([]byte{' '}, 116)...)[:116]
	head = append(head, make([]byte, 8)...)
	head = order.AppendUint16(head, 0x0100)
	if order == binary.AppendByteOrder(binary.LittleEndian) {
		return append(head, "IM"...)
	}
	return append(head, "MI"...)
}

// matElement is an element with its padding; short ones are packed into the tag.
func matElement(order binary.AppendByteOrder, kind uint32, data []byte) []byte {
	if len(data) > 0 && len(data) <= 4 {
		b := order.AppendUint32(nil, uint32(len(data))<<16|kind)
		return append(append(b, data...), make([]byte, 4-len(data))...)
	}
	b := order.AppendUint32(order.AppendUint32(nil, kind), uint32(len(data)))
	b = append(b, data...)
	return append(b, make([]byte, -len(data)&7)...)
}

func matNumeric(order binary.AppendByteOrder, name string, class, kind uint32, data []byte, dims ...int32) []byte {
	b := matElement(order, matUint32, order.AppendUint32(order.AppendUint32(nil, class), 0))
	var d []byte
	for _, n := range dims {
		d = order.AppendUint32(d, uint32(n))
	}
	b = append(b, matElement(order, matInt32, d)...)
	b = append(b, matElement(order, matInt8, []byte(name))...)
	b = append(b, matElement(order, kind, data)...)
	return append(order.AppendUint32(order.AppendUint32(nil, matMatrix), uint32(len(b))), b...)
}

func matPack(order binary.AppendByteOrder, array []byte) []byte {
	var buf bytes.Buffer
	w := zlib.NewWriter(&buf)
	w.Write(array)
	w.Close()
	return append(order.AppendUint32(order.AppendUint32(nil, matCompressed), uint32(buf.Len())), buf.Bytes()...)
}

// svhnPixel is the image from which the tests' values of PIL come.
func svhnPixel(y, x, c int) uint8 { return uint8(x*x*7 + y*13 + c*29 + x*y*5) }

// svhnX holds n images; image i is svhnPixel, i brighter.
func svhnX(n int) []byte {
	var b []byte
	for i := range n {
		for c := range 3 {
			for x := range 32 {
				for y := range 32 {
					b = append(b, svhnPixel(y, x, c)+uint8(i))
				}
			}
		}
	}
	return b
}

func svhnFile(labels ...byte) []byte {
	o := binary.LittleEndian
	n := int32(len(labels))
	b := matFile(o)
	b = append(b, matPack(o, matNumeric(o, "X", 9, matUint8, svhnX(len(labels)), 32, 32, 3, n))...)
	return append(b, matPack(o, matNumeric(o, "y", 9, matUint8, labels, n, 1))...)
}

func TestSVHN(t *testing.T) {
	dir := write(t, map[string][]byte{
		"train_32x32.mat": svhnFile(1, 10, 9), "test_32x32.mat": svhnFile(5), "extra_32x32.mat": svhnFile(bytes.Repeat([]byte{3, 10}, 300)...),
	})
	train, test, err := SVHN(dir, SVHNOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if c, h, w := train.Shape(); train.N() != 3 || test.N() != 1 || c != 3 || h != 32 || w != 32 || train.NumClasses() != 10 {
		t.Errorf("%d + %d images of %dx%dx%d", train.N(), test.N(), c, h, w)
	}
	if train.Label(0) != 1 || train.Label(1) != 0 || train.Label(2) != 9 || test.Label(0) != 5 {
		t.Error("wrong labels")
	}
	for i := range 3 {
		for p, got := range train.Image(i) {
			if want := svhnPixel(p/32%32, p%32, p/1024) + uint8(i); got != want {
				t.Fatalf("image %d, pixel %d is %d, want %d", i, p, got, want)
			}
		}
	}
	train, test, err = SVHN(dir, SVHNOptions{Extra: true, Size: 40})
	if err != nil {
		t.Fatal(err)
	}
	if _, h, w := train.Shape(); train.N() != 603 || test.N() != 1 || h != 40 || w != 40 {
		t.Errorf("%d + %d images of %dx%d", train.N(), test.N(), h, w)
	}
	if train.Label(3) != 3 || train.Label(602) != 0 {
		t.Error("wrong labels of the extra images")
	}
	if !bytes.Equal(train.Image(0), train.Image(3)) || !bytes.Equal(train.Image(0), train.Image(3+512)) {
		t.Error("the same image twice, resized differently")
	}
	// Pillow 9.4: Image.resize((40, 40), Image.BILINEAR), the green of three rows.
	for y, row := range map[int][]int{
		0:  {29, 34, 47, 67, 97, 136, 185, 115, 52, 126, 211, 125, 151, 184, 99, 22, 136, 155, 105, 64, 33, 11, 127, 250, 228, 37, 35, 67, 107, 155, 214, 103, 103, 111, 25, 128, 62, 107, 160, 100},
		17: {205, 78, 68, 142, 200, 89, 166, 150, 103, 128, 165, 120, 72, 70, 128, 105, 93, 90, 94, 107, 130, 163, 140, 125, 170, 135, 110, 94, 85, 86, 95, 115, 144, 142, 97, 152, 127, 98, 115, 192},
		39: {176, 110, 42, 59, 187, 145, 113, 90, 75, 68, 72, 85, 106, 136, 174, 222, 101, 90, 165, 222, 110, 187, 170, 85, 33, 171, 139, 90, 49, 43, 225, 238, 234, 238, 225, 43, 49, 90, 139, 188},
	} {
		for x, want := range row {
			if got := int(train.Image(0)[1600+40*y+x]); max(got-want, want-got) > 1 {
				t.Errorf("row %d, column %d is %d, Pillow has %d", y, x, got, want)
			}
		}
	}
}

// Other ways to write the same.
func TestReadSVHNVariants(t *testing.T) {
	for name, o := range map[string]binary.AppendByteOrder{"little": binary.LittleEndian, "big": binary.BigEndian} {
		var doubles []byte
		for _, v := range []float64{10, 2} {
			u := make([]byte, 8)
			o.(binary.ByteOrder).PutUint64(u, math.Float64bits(v))
			doubles = append(doubles, u...)
		}
		x := matNumeric(o, "X", 9, matUint8, svhnX(2), 32, 32, 3, 2)
		y := matNumeric(o, "y", 6, matDouble, doubles, 2, 1)
		text := matNumeric(o, "note", 4, 16, []byte("hello"), 1, 5) // text is left unread
		other := matNumeric(o, "weights", 6, matDouble, doubles, 1, 2)
		for what, arrays := range map[string][][]byte{
			"plain": {x, y}, "packed": {matPack(o, x), matPack(o, y)}, "y first": {y, matPack(o, x)},
			"more": {matPack(o, text), text, x, other, matPack(o, other), y},
		} {
			b := append(matFile(o), bytes.Join(arrays, nil)...)
			m, err := ReadSVHN(iotest.HalfReader(bytes.NewReader(b)), 0)
			if err != nil {
				t.Fatalf("%s endian, %s: %v", name, what, err)
			}
			if m.N() != 2 || m.Label(0) != 0 || m.Label(1) != 2 || m.Image(1)[33] != svhnPixel(1, 1, 0)+1 {
				t.Errorf("%s endian, %s: read wrong", name, what)
			}
		}
	}
	o := binary.LittleEndian // MATLAB drops the last dimension of 1
	b := append(matFile(o), matNumeric(o, "X", 9, matUint8, svhnX(1), 32, 32, 3)...)
	b = append(b, matNumeric(o, "y", 9, matUint8, []byte{4}, 1, 1)...)
	if m, err := ReadSVHN(bytes.NewReader(b), 16); err != nil || m.N() != 1 || m.Label(0) != 4 || m.Features() != 768 {
		t.Errorf("one image: %v", err)
	}
}

func TestSVHNBadFiles(t *testing.T) {
	o := binary.LittleEndian
	whole := svhnFile(1, 10)
	x := matNumeric(o, "X", 9, matUint8, svhnX(2), 32, 32, 3, 2)
	y := matNumeric(o, "y", 9, matUint8, []byte{1, 2}, 2, 1)
	file := func(arrays ...[]byte) []byte { return append(matFile(o), bytes.Join(arrays, nil)...) }
	hdf := append([]byte("MATLAB 7.3 MAT-file"), make([]byte, 200)...)
	for what, c := range map[string]struct {
		b    []byte
		want string
	}{
		"empty":       {nil, "0 bytes, want a header of 128"},
		"foreign":     {bytes.Repeat([]byte("hello, world "), 20), "not a MATLAB 5 file"},
		"7.3":         {hdf, "HDF5"},
		"version":     {slices.Replace(slices.Clone(whole), 124, 126, 0, 2), "version 0x0200"},
		"no arrays":   {file(), "array X: missing, array y: missing"},
		"no y":        {file(x), "array y: missing"},
		"twice":       {file(x, y, x), "two arrays X"},
		"count":       {file(x, matNumeric(o, "y", 9, matUint8, []byte{1, 2, 3}, 3, 1)), "2 images in X and 3 labels in y"},
		"label 0":     {file(x, matNumeric(o, "y", 9, matUint8, []byte{1, 0}, 2, 1)), "label 0 of image 1, want 1 to 10"},
		"label 11":    {svhnFile(11), "label 11 of image 0"},
		"dimensions":  {file(matNumeric(o, "X", 9, matUint8, svhnX(2), 2, 32, 32, 3), y), "dimensions [2 32 32 3], want [32 32 3 N]"},
		"negative":    {file(matNumeric(o, "X", 9, matUint8, svhnX(2), 32, 32, 3, -2), y), "dimension -2"},
		"huge":        {file(matNumeric(o, "X", 9, matUint8, svhnX(2), 32, 32, 3, 1<<30), y), "at most"},
		"class":       {file(matNumeric(o, "X", 6, matUint8, svhnX(2), 32, 32, 3, 2), y), "class 6"},
		"bytes":       {file(matNumeric(o, "X", 9, matUint8, svhnX(1), 32, 32, 3, 2), y), "3072 bytes of elements, want 6144"},
		"half labels": {file(x, matNumeric(o, "y", 6, matDouble, make([]byte, 8), 2, 1)), "8 bytes of elements, want 16"},
		"fraction":    {file(x, matNumeric(o, "y", 6, matDouble, bytes.Repeat([]byte{0, 0, 0, 0, 0, 0, 0xf8, 0x3f}, 2), 2, 1)), "label 1.5"},
		"cut":         {whole[:len(whole)-3], "unexpected EOF"},
		"cut tag":     {append(slices.Clone(whole), 1, 2), "tag of an element"},
	} {
		_, _, err := SVHN(write(t, map[string][]byte{"train_32x32.mat": c.b, "test_32x32.mat": whole}), SVHNOptions{})
		gtest.WantError(t, what, err, "data: SVHN", "train_32x32.mat", c.want)
	}
	every := 1
	if gtest.Race { // one goroutine reads, and two images are little to share
		every = 8
	}
	for n := range whole {
		if n%(11*every) == 0 || n > len(whole)-20 {
			if _, err := ReadSVHN(bytes.NewReader(whole[:n]), 0); err == nil {
				t.Errorf("cut to %d of %d bytes: no error", n, len(whole))
			}
		}
	}
	want, err := ReadSVHN(bytes.NewReader(whole), 0)
	if err != nil {
		t.Fatal(err)
	}
	for at := matHeader; at < len(whole); at += 3 * every { // zlib has checksums
		b := slices.Clone(whole)
		b[at] ^= 4
		if m, err := ReadSVHN(bytes.NewReader(b), 0); err == nil && !bytes.Equal(m.Image(1), want.Image(1)) {
			t.Errorf("bit flipped in byte %d: other pixels and no error", at)
		}
	}
	for _, dir := range []string{t.TempDir(), filepath.Join(t.TempDir(), "none")} {
		_, _, err := SVHN(dir, SVHNOptions{})
		gtest.WantError(t, "missing", err, dir, "train_32x32.mat", "ufldl")
		if !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("error %v, want fs.ErrNotExist", err)
		}
	}
	_, _, err = SVHN(write(t, map[string][]byte{"train_32x32.mat": whole, "test_32x32.mat": whole}), SVHNOptions{Extra: true})
	gtest.WantError(t, "extra", err, "extra_32x32.mat")
	_, _, err = SVHN(t.TempDir(), SVHNOptions{Size: -1})
	gtest.WantError(t, "size", err, "size -1")
	broken := errors.New("disk on fire")
	for n := 0; n < len(whole); n += 101 * every {
		if _, err := ReadSVHN(&failing{data: whole[:n], err: broken}, 0); !errors.Is(err, broken) {
			t.Errorf("failing after %d bytes: error %v, want %v", n, err, broken)
		}
	}
}

// Headers that promise the most, with nothing behind them.
func TestSVHNHeaderDoesNotAllocate(t *testing.T) {
	o := binary.LittleEndian
	x := matNumeric(o, "X", 9, matUint8, nil, 32, 32, 3, svhnMost)
	o.PutUint32(x[len(x)-4:], svhnMost*3072)
	y := matNumeric(o, "y", 6, matDouble, nil, svhnMost, 1)
	o.PutUint32(y[len(y)-4:], 8*svhnMost)
	for _, array := range [][]byte{x, y} {
		o.PutUint32(array[4:], 1<<31-1)
		for _, b := range [][]byte{array, matPack(o, array)} {
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			_, err := ReadSVHN(bytes.NewReader(append(matFile(o), b...)), 0)
			runtime.ReadMemStats(&after)
			gtest.WantError(t, "nothing", err, "truncated")
			if n := after.TotalAlloc - before.TotalAlloc; n > 2<<20 {
				t.Errorf("allocated %d bytes for an empty array", n)
			}
		}
	}
}

// Images have one pixel here: what matters is found in small files, and soon.
func FuzzReadSVHN(f *testing.F) {
	o := binary.LittleEndian
	format := svhnFormat{side: 1, most: fuzzImages}
	x := matNumeric(o, "X", 9, matUint8, []byte("rgbRGB"), 1, 1, 3, 2)
	y := matNumeric(o, "y", 9, matUint8, []byte{1, 10}, 2, 1)
	one := slices.Concat(matNumeric(o, "y", 6, matDouble, []byte{0, 0, 0, 0, 0, 0, 8, 64}, 1, 1), matNumeric(o, "X", 9, matUint8, []byte("rgb"), 1, 1, 3))
	bases := [][]byte{nil, slices.Concat(matFile(o), x, y), slices.Concat(matFile(o), matPack(o, x), matPack(o, y)), append(matFile(o), one...), matFile(binary.BigEndian)}
	for i, b := range bases {
		f.Add(uint8(i), uint16(0), uint16(0), []byte{})
		f.Add(uint8(i), uint16(len(b)/2), uint16(len(b)), []byte{})
	}
	sample := []metrics.Sample{{Name: "/gc/heap/allocs:bytes"}} // ReadMemStats stops the world
	allocs := func() uint64 {
		metrics.Read(sample)
		return sample[0].Value.Uint64()
	}
	f.Fuzz(func(t *testing.T, base uint8, at, drop uint16, patch []byte) {
		if len(patch) > 128 {
			return
		}
		b := gtest.Splice(bases[int(base)%len(bases)], at, drop, patch)
		m, err := newSVHN(1)
		if err != nil {
			t.Fatal(err)
		}
		before := allocs()
		err = format.append(m, bytes.NewReader(b))
		// What is read is kept once, and there are no more images than allowed; a compressed element takes a reader of 45 kB, and has 11 bytes.
		if n := allocs() - before; n > 1<<21+4096*uint64(len(b)) {
			t.Errorf("allocated %d bytes for a file of %d", n, len(b))
		}
		if err != nil {
			return
		}
		if m.N() < 1 || m.N() > format.most || len(m.labels) != m.N() {
			t.Errorf("%d images", m.N())
		}
		for i := range m.N() {
			if m.Label(i) > 9 || len(m.Image(i)) != 3 {
				t.Errorf("image %d has label %d and %d pixels", i, m.Label(i), len(m.Image(i)))
			}
		}
	})
}
