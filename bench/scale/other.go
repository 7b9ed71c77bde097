// SPDX-License-Identifier: MIT

//go:build !linux

// Command scale needs Linux: it reads /proc and compares with recvmmsg and sendmmsg.
package main

import (
	"fmt"
	"os"
)

func main() {
	fmt.Fprintln(os.Stderr, "scale: needs Linux")
	os.Exit(1)
}
