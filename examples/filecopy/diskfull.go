// SPDX-License-Identifier: MIT

//go:build !windows && !plan9

package main

import "syscall"

// errDiskFull is the system's error for a full disk.
const errDiskFull = syscall.ENOSPC
