package data

import (
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
)

// other is a source of a type that nobody knows.
type other struct{ Source }

func (o other) Sample(i int, rng *rand.Rand, dst []float32) (int, error) {
	return o.Source.Sample(i, rng, dst)
}

func TestFingerprint(t *testing.T) {
	seen := map[string]string{}
	of := func(name string, src Source) string {
		t.Helper()
		p, err := Fingerprint(src)
		if err != nil {
			t.Fatal(err)
		}
		if again, err := Fingerprint(src); err != nil || again != p || len(p) != 16 {
			t.Errorf("%s: %q, and again %q, %v", name, p, again, err)
		}
		if before := seen[p]; before != "" && before != name {
			t.Errorf("%s has the fingerprint of %s", name, before)
		}
		seen[p] = name
		return p
	}
	set := func() *Set {
		return &Set{X: []float32{0, 1, 2, 3, 4, 5, 6, 7}, Y: []int{0, 1}, Channels: 1, Height: 2, Width: 2, Classes: 2}
	}
	of("set", set())
	of("set", set()) // the same of equal images
	s := set()
	s.X[7] = 8
	of("pixel", s)
	s = set()
	s.Y[0] = 1
	of("label", s)
	s = set()
	s.Classes = 3
	of("classes", s)
	for name, index := range map[string][]int{"first": {0}, "second": {1}, "turned": {1, 0}} {
		v, err := Subset(set(), index)
		if err != nil {
			t.Fatal(err)
		}
		of(name, v)
	}
	for _, last := range []uint8{7, 9} {
		img, err := NewImages([]uint8{0, 1, 2, 3, 4, 5, 6, last}, []int{0, 1}, 1, 2, 2, 2)
		if err != nil {
			t.Fatal(err)
		}
		of("bytes ending in "+string('0'+rune(last)), img)
	}
	of("set", other{set()})
	s = set()
	s.X[1] = 7
	of("unknown, pixel", other{s})

	// A folder of images is what it is wherever it stands.
	folder := func(change func(dir string), o FolderOptions) *Folder {
		dir := t.TempDir()
		for _, f := range []string{"a/1.jpg", "b/2.jpg"} {
			if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, f)), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(dir, f), []byte("\xff\xd8"+f), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		change(dir)
		f, err := ImageFolder(dir, o)
		if err != nil {
			t.Fatal(err)
		}
		return f
	}
	same := func(string) {}
	of("folder", folder(same, FolderOptions{}))
	of("folder", folder(same, FolderOptions{}))
	of("crop", folder(same, FolderOptions{Crop: 32, Resize: 64}))
	of("resize", folder(same, FolderOptions{Crop: 32, Resize: 65}))
	of("class", folder(func(dir string) { _ = os.Rename(dir+"/b", dir+"/c") }, FolderOptions{}))
	of("file", folder(func(dir string) { _ = os.Rename(dir+"/b/2.jpg", dir+"/b/3.jpg") }, FolderOptions{}))
	of("size", folder(func(dir string) { _ = os.WriteFile(dir+"/b/2.jpg", []byte("\xff\xd8"), 0o644) }, FolderOptions{}))
}
