package gtest

// Splice returns base with the drop bytes from at on replaced by patch, both cut to what there is: any file at all, with at 0, drop the
// whole and patch the file. A fuzzer that is given files as such changes keeps what it has to remember short, and Go's, which tries to
// leave out every run of bytes of an input that reaches something new, does not spend its time on those that matter to nobody.
func Splice(base []byte, at, drop uint16, patch []byte) []byte {
	from := min(int(at), len(base))
	to := min(from+int(drop), len(base))
	b := make([]byte, 0, from+len(patch)+len(base)-to)
	return append(append(append(b, base[:from]...), patch...), base[to:]...)
}
