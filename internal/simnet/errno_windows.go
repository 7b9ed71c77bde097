// SPDX-License-Identifier: MIT

package simnet

import "syscall"

type errno = syscall.Errno

// The errors that a kernel has for a datagram socket, as Winsock numbers them:
// the constants of package syscall are numbers that Windows never returns.
const (
	EAGAIN       errno = 10035 // WSAEWOULDBLOCK
	ECONNREFUSED errno = 10061 // WSAECONNREFUSED
	ECONNRESET   errno = 10054 // WSAECONNRESET
	EMSGSIZE     errno = 10040 // WSAEMSGSIZE
	ENETUNREACH  errno = 10051 // WSAENETUNREACH
	ENOBUFS      errno = 10055 // WSAENOBUFS
	EPERM        errno = 10013 // WSAEACCES

	errAddrInUse errno = 10048 // WSAEADDRINUSE
)

const (
	readCall  = "wsarecvfrom"
	writeCall = "wsasendto"
)
