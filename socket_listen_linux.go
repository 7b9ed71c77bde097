// SPDX-License-Identifier: MIT

package kcp

import (
	"os"

	"golang.org/x/sys/unix"
)

// socketsPerPort bounds the sockets on one port.
const socketsPerPort = socketsMax

// reusePort lets further sockets of the same user share the port (socket(7)).
func reusePort(fd uintptr) error {
	err := unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEPORT, 1)
	return os.NewSyscallError("setsockopt", err)
}
