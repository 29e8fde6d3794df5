package ftprop_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// Kernels have no instruction on vectors from before AVX: on Intel's processors such a one among those of AVX takes as long as a hundred others.
func TestKernelsHaveAVXOnly(t *testing.T) {
	before := regexp.MustCompile(`^\s+([A-UW-Z]\w*)\s.*\bX\d+\b`) // all of AVX begin with V
	files := 0
	err := filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, ".s") {
			return err
		}
		files++
		text, err := os.ReadFile(path)
		for i, line := range strings.Split(string(text), "\n") {
			if m := before.FindStringSubmatch(line); m != nil {
				t.Errorf("%s:%d: %s", path, i+1, m[1])
			}
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if files < 7 {
		t.Errorf("%d files of assembly", files)
	}
}
