// SPDX-License-Identifier: MIT

//go:build !windows && !plan9

package main

import "syscall"

// errDiskFull is how the system says that there is no room.
const errDiskFull = syscall.ENOSPC
