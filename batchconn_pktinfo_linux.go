// SPDX-License-Identifier: MIT

package kcp

import "golang.org/x/sys/unix"

// systemSource is struct in_pktinfo of ip(7): interface, ipi_spec_dst, ipi_addr. The second is the
// local address of a received datagram, and the source of one to send.
var systemSource = sourceCodec{
	option: unix.IP_PKTINFO, receive: unix.IP_PKTINFO, send: unix.IP_PKTINFO,
	size:        unix.SizeofInet4Pktinfo,
	destination: 4, sourceAt: 4,
}
