// SPDX-License-Identifier: MIT

package kcp

import (
	"errors"
	"net"
	"net/netip"
	"slices"
)

// udpHeaders4 and udpHeaders6 are what the headers of IP and UDP take of a packet.
const (
	udpHeaders4 = 20 + 8
	udpHeaders6 = 40 + 8
)

// routePayload returns the largest UDP payload that this host sends to an address in one packet, as
// its routes know it, or 0 if that is not known. It sends nothing.
func routePayload(to netip.AddrPort) int {
	conn, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(to))
	if err != nil {
		return 0
	}
	defer conn.Close()
	mtu := routeMTU(conn, to.Addr())
	headers := udpHeaders6
	if to.Addr().Unmap().Is4() {
		headers = udpHeaders4
	}
	return max(mtu-headers, 0)
}

// tooLarge reports whether an error of a write means that the datagram is larger than what the
// system or the path carries.
func tooLarge(err error) bool {
	return slices.ContainsFunc(tooLargeErrors, func(e error) bool { return errors.Is(err, e) })
}
