// SPDX-License-Identifier: MIT

package kcp

import "golang.org/x/sys/unix"

// systemSource is struct in_pktinfo of netinet/in.h: interface, ipi_spec_dst, ipi_addr. The second
// is the source of a datagram to send, the third the destination of a received one.
var systemSource = sourceCodec{
	option: unix.IP_RECVPKTINFO, receive: unix.IP_PKTINFO, send: unix.IP_PKTINFO,
	size:        unix.SizeofInet4Pktinfo,
	destination: 8, sourceAt: 4,
}
