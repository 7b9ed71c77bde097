// SPDX-License-Identifier: MIT

package kcp

import "syscall"

// Plan 9 has error strings instead of numbers, and none for a reset that
// package syscall names.
var (
	resetErrors    = []error{syscall.NewError("connection reset")}
	timedOutErrors = []error{syscall.ETIMEDOUT}
	passingErrors  []error
)
