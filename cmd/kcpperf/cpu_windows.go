// SPDX-License-Identifier: MIT

package main

import (
	"time"

	"golang.org/x/sys/windows"
)

// cpuTime returns what the process has used of the processors so far, in user and in kernel mode.
func cpuTime() time.Duration {
	var creation, exit, kernel, user windows.Filetime
	if err := windows.GetProcessTimes(windows.CurrentProcess(), &creation, &exit, &kernel, &user); err != nil {
		return 0
	}
	span := func(f windows.Filetime) time.Duration {
		return time.Duration(uint64(f.HighDateTime)<<32|uint64(f.LowDateTime)) * 100 // in units of 100 ns
	}
	return span(kernel) + span(user)
}
