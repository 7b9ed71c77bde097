// SPDX-License-Identifier: MIT

package kcp

import "syscall"

// wsaETIMEDOUT is Winsock's WSAETIMEDOUT, which package syscall lacks.
const wsaETIMEDOUT = syscall.Errno(10060)

// wsaEMSGSIZE is Winsock's WSAEMSGSIZE, which package syscall lacks too.
const wsaEMSGSIZE = syscall.Errno(10040)

// Windows has two of each: the portable one that package syscall invented, and the one that its
// sockets return.
var (
	resetErrors    = []error{syscall.ECONNRESET, syscall.WSAECONNRESET}
	timedOutErrors = []error{syscall.ETIMEDOUT, wsaETIMEDOUT}
	tooLargeErrors = []error{syscall.EMSGSIZE, wsaEMSGSIZE}
	// passingErrors are errors of a packet socket that concern a single datagram, the way to a
	// peer, or a lack of memory: WSAEACCES, WSAEMSGSIZE, WSAEADDRNOTAVAIL, WSAENETDOWN,
	// WSAENETUNREACH, WSAENETRESET, WSAECONNRESET, WSAENOBUFS, WSAECONNREFUSED, WSAEHOSTDOWN and
	// WSAEHOSTUNREACH.
	passingErrors = []error{
		syscall.Errno(10013), wsaEMSGSIZE, syscall.Errno(10049),
		syscall.Errno(10050), syscall.Errno(10051),
		syscall.Errno(10052), syscall.WSAECONNRESET, syscall.Errno(10055),
		syscall.Errno(10061), syscall.Errno(10064),
		syscall.Errno(10065), syscall.ECONNREFUSED, syscall.ECONNRESET,
		syscall.EHOSTUNREACH, syscall.ENETUNREACH,
		syscall.ENOBUFS,
	}
)
