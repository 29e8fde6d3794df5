//go:build !amd64

package tile

func available() []*Set { return nil }
