//go:build race

package gtest

// Race says that the race detector is on.
const Race = true
