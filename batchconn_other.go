// SPDX-License-Identifier: MIT

//go:build !linux || kcpbasic

package kcp

import "net"

// newPlatformConn returns nil: the portable path serves here.
func newPlatformConn(*net.UDPConn) batchConn { return nil }
