package hugepages

import "golang.org/x/sys/unix"

// advise lets memory that has not been used be in large pages from its first use, and moves what has been used (from Linux 6.1 on).
func advise(memory []byte) {
	if unix.Madvise(memory, unix.MADV_HUGEPAGE) == nil {
		_ = unix.Madvise(memory, unix.MADV_COLLAPSE)
	}
}
