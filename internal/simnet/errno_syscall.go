// SPDX-License-Identifier: MIT

//go:build !windows && !plan9

package simnet

import "syscall"

type errno = syscall.Errno

// The errors that a kernel has for a datagram socket, as this system has them. They match those of
// package syscall by errors.Is, except on Windows and Plan 9.
const (
	EAGAIN       = syscall.EAGAIN
	ECONNREFUSED = syscall.ECONNREFUSED
	ECONNRESET   = syscall.ECONNRESET
	EMSGSIZE     = syscall.EMSGSIZE
	ENETUNREACH  = syscall.ENETUNREACH
	ENOBUFS      = syscall.ENOBUFS
	EPERM        = syscall.EPERM

	errAddrInUse = syscall.EADDRINUSE
)

const (
	readCall  = "recvfrom"
	writeCall = "sendto"
)
