// SPDX-License-Identifier: MIT

package kcp

import "syscall"

// wsaETIMEDOUT is Winsock's WSAETIMEDOUT, which package syscall lacks.
const wsaETIMEDOUT = syscall.Errno(10060)

// Windows knows each twice: the portable name that package syscall invented
// and what its sockets really report.
var (
	resetErrors    = []error{syscall.ECONNRESET, syscall.WSAECONNRESET}
	timedOutErrors = []error{syscall.ETIMEDOUT, wsaETIMEDOUT}
)
