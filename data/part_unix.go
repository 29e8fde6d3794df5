//go:build unix

package data

import (
	"os"
	"syscall"
)

// linked says whether a file has more than one name.
func linked(info os.FileInfo) bool {
	s, ok := info.Sys().(*syscall.Stat_t)
	return ok && s.Nlink > 1
}
