// SPDX-License-Identifier: MIT

//go:build unix

package kcp

import (
	"math"
	"syscall"
)

// openFiles returns how many files the process may have open.
func openFiles() int {
	var limit syscall.Rlimit
	if syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit) != nil {
		return math.MaxInt
	}
	// Cur is signed on some systems, but not negative.
	return int(min(uint64(limit.Cur), math.MaxInt))
}
