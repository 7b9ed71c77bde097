// SPDX-License-Identifier: MIT

//go:build !unix

package main

import (
	"runtime"
	"time"
)

// cpuTime is not known here: CPU columns stay empty.
func cpuTime() time.Duration { return 0 }

func kernelRelease() string { return runtime.GOOS }
