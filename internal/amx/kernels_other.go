//go:build !amd64

package amx

var products [36]func(p *Product)

func splitAVX512(*Split) { panic("amx: not available") }
