//go:build !linux

package hugepages

// advise does nothing: other systems choose by themselves.
func advise([]byte) {}
