module example.com/replacetest

go 1.25.0

require github.com/xtaci/kcp-go/v5 v5.6.24

require (
	github.com/emmansun/gmsm v0.41.1 // indirect
	github.com/flynn/noise v1.1.0 // indirect
	github.com/klauspost/cpuid/v2 v2.3.0 // indirect
	github.com/klauspost/reedsolomon v1.14.2 // indirect
	github.com/pkg/errors v0.9.1 // indirect
	golang.org/x/crypto v0.55.0 // indirect
	golang.org/x/sys v0.47.0 // indirect
)

replace github.com/xtaci/kcp-go/v5 => ../..
