// SPDX-License-Identifier: MIT

//go:build !linux

package kcp

import (
	"net"
	"net/netip"
)

// routeMTU returns the MTU of the interface of a connected socket.
func routeMTU(conn *net.UDPConn, _ netip.Addr) (mtu int) { return interfaceMTU(conn) }

// interfaceMTU returns the MTU of the interface that has the local address of conn, 0 if there is
// none.
func interfaceMTU(conn *net.UDPConn) int {
	local, ok := conn.LocalAddr().(*net.UDPAddr)
	if !ok {
		return 0
	}
	all, _ := net.Interfaces()
	for i := range all {
		addrs, _ := all[i].Addrs()
		for _, a := range addrs {
			if n, ok := a.(*net.IPNet); ok && n.IP.Equal(local.IP) {
				return all[i].MTU
			}
		}
	}
	return 0
}
