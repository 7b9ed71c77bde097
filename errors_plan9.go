// SPDX-License-Identifier: MIT

package kcp

import "syscall"

// Plan 9 has error strings instead of numbers. Package syscall has none for a reset.
var (
	resetErrors    = []error{syscall.NewError("connection reset")}
	timedOutErrors = []error{syscall.ETIMEDOUT}
	tooLargeErrors []error
	passingErrors  []error
)
