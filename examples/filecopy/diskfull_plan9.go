// SPDX-License-Identifier: MIT

package main

import "syscall"

// errDiskFull is how the system says that there is no room.
const errDiskFull = syscall.ErrorString("file system full")
