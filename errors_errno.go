// SPDX-License-Identifier: MIT

//go:build !windows && !plan9

package kcp

import "syscall"

var (
	resetErrors    = []error{syscall.ECONNRESET}
	timedOutErrors = []error{syscall.ETIMEDOUT}
)
