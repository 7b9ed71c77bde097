// SPDX-License-Identifier: MIT

package kcp

import "golang.org/x/sys/unix"

// systemSource is the bare address of ip(4), IP_RECVDSTADDR and IP_SENDSRCADDR.
var systemSource = sourceCodec{
	option: unix.IP_RECVDSTADDR, receive: unix.IP_RECVDSTADDR, send: unix.IP_SENDSRCADDR, size: 4,
}
