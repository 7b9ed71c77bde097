module github.com/seedkcp/kcp

go 1.25.0

require (
	github.com/emmansun/gmsm v0.41.1
	github.com/klauspost/reedsolomon v1.14.2
	github.com/pkg/errors v0.9.1
	golang.org/x/crypto v0.55.0
	golang.org/x/net v0.58.0
	golang.org/x/sys v0.47.0
)

require github.com/klauspost/cpuid/v2 v2.3.0 // indirect
