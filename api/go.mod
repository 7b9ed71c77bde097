module github.com/seedkcp/kcp/api

go 1.25.0

require (
	golang.org/x/exp v0.0.0-20250819193227-8b4c13bb791b
	golang.org/x/tools v0.44.0
)

require (
	golang.org/x/mod v0.35.0 // indirect
	golang.org/x/sync v0.20.0 // indirect
)
