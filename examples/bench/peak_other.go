//go:build !unix

package main

// peakMB is 0: there is no portable way to ask.
func peakMB() float64 { return 0 }
