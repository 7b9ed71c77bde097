// SPDX-License-Identifier: MIT

package main

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/netip"
)

// serveUDP forwards the datagrams that arrive at a socket to the server's target, and what comes
// back to their sources, until ctx is done.
func serveUDP(ctx context.Context, conn *net.UDPConn, flows *flowTable, log *slog.Logger) {
	readDatagrams(ctx, conn, log, func(data []byte, from netip.AddrPort) {
		flows.send(flowKey{from: from}, data, func(reply []byte) {
			_, _ = conn.WriteToUDPAddrPort(reply, from) // UDP may lose it
		})
	})
}

// readDatagrams calls handle with each datagram of a socket until ctx is done, and closes the
// socket then. data is not kept.
func readDatagrams(
	ctx context.Context, conn *net.UDPConn, log *slog.Logger,
	handle func(data []byte, from netip.AddrPort),
) {
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer stop()
	defer conn.Close()
	buf := datagramBuffers.Get().(*[]byte)
	defer datagramBuffers.Put(buf)
	for {
		n, from, err := conn.ReadFromUDPAddrPort(*buf)
		switch {
		case ctx.Err() != nil, errors.Is(err, net.ErrClosed):
			return
		case err != nil:
			// Windows reports unreachable destinations of earlier datagrams.
			log.Debug("socket of datagrams", "error", err)
			if !sleep(ctx, socketErrorPause) {
				return
			}
			continue
		}
		handle((*buf)[:n], netip.AddrPortFrom(from.Addr().Unmap(), from.Port()))
	}
}

// listenUDP opens the socket for datagrams.
func listenUDP(ctx context.Context, addr string) (*net.UDPConn, error) {
	var c net.ListenConfig
	conn, err := c.ListenPacket(ctx, "udp", addr)
	if err != nil {
		return nil, err
	}
	return conn.(*net.UDPConn), nil
}
