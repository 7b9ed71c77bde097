// SPDX-License-Identifier: MIT

//go:build !linux || kcpbasic

package kcp

import "net"

// newPlatformConn returns nil: this system uses the portable path.
func newPlatformConn(*net.UDPConn) batchConn { return nil }
