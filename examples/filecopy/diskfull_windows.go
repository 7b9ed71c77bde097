// SPDX-License-Identifier: MIT

package main

import "syscall"

// errDiskFull is how the system says that there is no room: ERROR_DISK_FULL.
const errDiskFull = syscall.Errno(112)
