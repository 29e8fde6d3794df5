//go:build !linux || !amd64

package amx

// Other systems are not known to keep a thread's tiles.
func available() bool { return false }
