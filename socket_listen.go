// SPDX-License-Identifier: MIT

package kcp

import (
	"context"
	"net"
	"syscall"
)

// socketsMax is the most sockets on one port.
const socketsMax = 256

// listenSockets opens n sockets on the UDP address laddr, or fewer if the system does not spread
// peers over several. It first takes the port exclusively, so that a port in use is an error, and
// then shares it.
func listenSockets(ctx context.Context, laddr string, n int) ([]net.PacketConn, error) {
	if err := ctx.Err(); err != nil {
		// the resolver may not check it
		return nil, &net.OpError{Op: "listen", Net: "udp", Err: err}
	}
	var lc net.ListenConfig
	first, err := lc.ListenPacket(ctx, "udp", laddr)
	if err != nil {
		return nil, err
	}
	conns := []net.PacketConn{first}
	if n = min(n, socketsPerPort); n < 2 {
		return conns, nil
	}
	if err = controlSocket(first, reusePort); err == nil {
		lc.Control = func(_, _ string, raw syscall.RawConn) error {
			var failed error
			if err := raw.Control(func(fd uintptr) { failed = reusePort(fd) }); err != nil {
				return err
			}
			return failed
		}
		network, addr := sameSocket(laddr, first.LocalAddr())
		for err == nil && len(conns) < n {
			var c net.PacketConn
			if c, err = lc.ListenPacket(ctx, network, addr); err == nil {
				conns = append(conns, c)
			}
		}
	}
	if err != nil {
		for _, c := range conns {
			c.Close()
		}
		return nil, err
	}
	return conns, nil
}

// sameSocket returns how to open another socket like the one that laddr gave: on its port, and for
// the same families.
func sameSocket(laddr string, local net.Addr) (network, addr string) {
	host, _, _ := net.SplitHostPort(laddr)
	_, port, _ := net.SplitHostPort(local.String())
	if host == "" {
		return "udp", net.JoinHostPort("", port)
	}
	return "udp", local.String()
}
