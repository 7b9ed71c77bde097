// SPDX-License-Identifier: MIT

package simnet

// errno stands for the error numbers that Plan 9 does not have.
type errno string

func (e errno) Error() string   { return string(e) }
func (e errno) Timeout() bool   { return e == EAGAIN }
func (e errno) Temporary() bool { return e == EAGAIN || e == ECONNRESET }

// The errors that other kernels have for a datagram socket.
const (
	EAGAIN       errno = "resource temporarily unavailable"
	ECONNREFUSED errno = "connection refused"
	ECONNRESET   errno = "connection reset"
	EMSGSIZE     errno = "message too long"
	ENETUNREACH  errno = "network unreachable"
	ENOBUFS      errno = "no buffer space available"
	EPERM        errno = "operation not permitted"

	errAddrInUse errno = "address in use"
)

const (
	readCall  = "read"
	writeCall = "write"
)
