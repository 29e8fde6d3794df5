module github.com/ftprop/ftprop/internal/turn/asm

go 1.25.0

require github.com/mmcloughlin/avo v0.6.0

require (
	github.com/ftprop/ftprop/internal/asm v0.0.0
	golang.org/x/mod v0.23.0 // indirect
	golang.org/x/sync v0.11.0 // indirect
	golang.org/x/tools v0.30.0 // indirect
)

replace github.com/ftprop/ftprop/internal/asm => ../../asm
