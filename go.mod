module github.com/seedkcp/kcp

go 1.25.0

// Session keys come from a Noise handshake, whose state machine is better not written once more.
// github.com/flynn/noise has all of it, is tested with the published vectors, and needs x/crypto.

require (
	github.com/emmansun/gmsm v0.41.1
	github.com/flynn/noise v1.1.0
	github.com/klauspost/reedsolomon v1.14.2
	github.com/pkg/errors v0.9.1
	golang.org/x/crypto v0.55.0
	golang.org/x/net v0.58.0
	golang.org/x/sys v0.47.0
)

require github.com/klauspost/cpuid/v2 v2.3.0 // indirect
