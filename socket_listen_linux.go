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
	return os.NewSyscallError("setsockopt", unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEPORT, 1))
}
