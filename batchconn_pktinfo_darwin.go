// SPDX-License-Identifier: MIT

package kcp

import "golang.org/x/sys/unix"

// systemSource is struct in_pktinfo of netinet/in.h: interface, ipi_spec_dst, ipi_addr. A datagram is sent from the second;
// the third is what it was sent to.
var systemSource = sourceCodec{
	option: unix.IP_RECVPKTINFO, receive: unix.IP_PKTINFO, send: unix.IP_PKTINFO, size: unix.SizeofInet4Pktinfo,
	destination: 8, sourceAt: 4,
}
