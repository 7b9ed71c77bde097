// SPDX-License-Identifier: MIT

//go:build !windows && !plan9

package kcp

import "syscall"

var (
	resetErrors    = []error{syscall.ECONNRESET}
	timedOutErrors = []error{syscall.ETIMEDOUT}
	tooLargeErrors = []error{syscall.EMSGSIZE}
	// passingErrors are errors of a packet socket that concern a single datagram, the way to a
	// peer, or a lack of memory.
	passingErrors = []error{
		syscall.EACCES, syscall.EADDRNOTAVAIL, syscall.ECONNREFUSED,
		syscall.EHOSTDOWN, syscall.EHOSTUNREACH,
		syscall.EMSGSIZE, syscall.ENETDOWN, syscall.ENETRESET,
		syscall.ENETUNREACH, syscall.ENOBUFS, syscall.ENOMEM,
		syscall.ENOPROTOOPT, syscall.EOPNOTSUPP, syscall.EPERM, syscall.EPROTO,
	}
)
