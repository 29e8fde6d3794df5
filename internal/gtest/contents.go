package gtest

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// Contents returns what the files below a folder hold, by their paths from it, but for those of some names.
func Contents(t *testing.T, dir string, but ...string) map[string]string {
	t.Helper()
	out := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() || slices.Contains(but, d.Name()) {
			return err
		}
		b, err := os.ReadFile(path)
		out[strings.TrimPrefix(path, dir)] = string(b)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}
