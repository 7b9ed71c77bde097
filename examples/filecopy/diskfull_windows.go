// SPDX-License-Identifier: MIT

package main

import "syscall"

// errDiskFull is the system's error for a full disk, ERROR_DISK_FULL.
const errDiskFull = syscall.Errno(112)
