// SPDX-License-Identifier: MIT

//go:build unix

package main

import (
	"time"

	"golang.org/x/sys/unix"
)

// cpuTime returns what the process has used of the processors so far, in user and in kernel mode.
func cpuTime() time.Duration {
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
