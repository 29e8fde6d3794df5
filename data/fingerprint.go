package data

import (
	"bufio"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"hash"
	"math"
	"os"
	"path/filepath"

	"github.com/pkg/errors"
)

// Fingerprint returns a few hexadecimal digits that tell what images and labels a source has from those of another: where one
// training ends and another goes on, they must be the same. It looks at all of images that are in memory; of a [Folder] at names,
// classes and sizes of the files, and what they are made to; and of what else there may be at 64 samples.
func Fingerprint(src Source) (string, error) {
	sum := sha256.New()
	w := bufio.NewWriterSize(sum, 1<<16)
	if err := fingerprint(w, src); err != nil {
		return "", errors.Wrap(err, "data: Fingerprint")
	}
	return digits(w, sum)
}

func digits(w *bufio.Writer, sum hash.Hash) (string, error) {
	if err := w.Flush(); err != nil {
		return "", err
	}
	return hex.EncodeToString(sum.Sum(nil)[:8]), nil
}

func fingerprint(w *bufio.Writer, src Source) error {
	number := func(n ...int) {
		for _, v := range n {
			_ = binary.Write(w, binary.LittleEndian, int64(v)) // w goes to a hash, which takes all
		}
	}
	text := func(s string) {
		number(len(s))
		w.WriteString(s)
	}
	c, h, width := src.Shape()
	number(src.N(), src.NumClasses(), c, h, width)
	switch s := src.(type) {
	case *view:
		number(s.index...)
		return fingerprint(w, s.src)
	case *Folder:
		for _, name := range s.classes {
			text(name)
		}
		number(s.resize, s.crop)
		for _, f := range s.files {
			info, err := os.Stat(filepath.Join(s.dir, f.path))
			if err != nil {
				return err
			}
			text(f.path)
			number(f.class, int(info.Size()))
		}
		return nil
	}
	if raw := rawOf(src); raw != nil {
		for i := range src.N() {
			img, err := raw(i)
			if err != nil {
				return err
			}
			number(img.label)
			w.Write(img.pix)
			var b [4]byte
			for _, v := range img.x {
				binary.LittleEndian.PutUint32(b[:], math.Float32bits(v))
				w.Write(b[:])
			}
		}
		return nil
	}
	x := make([]float32, c*h*width)
	const samples = 64
	for k := range min(samples, src.N()) {
		label, err := src.Sample(k*src.N()/min(samples, src.N()), nil, x)
		if err != nil {
			return err
		}
		number(label)
		_ = binary.Write(w, binary.LittleEndian, x)
	}
	return nil
}
