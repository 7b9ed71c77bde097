// SPDX-License-Identifier: MIT

package kcp

import (
	"context"
	"net"
)

// ReadNonKCP waits for a datagram that is not KCP, copies it to p and returns its length and
// source. It truncates a datagram that is longer than p. With a cipher, a datagram is not KCP if it
// does not verify. Without one, it does not begin with a KCP segment or an FEC header whose lengths
// and types fit. That distinguishes STUN, DTLS and QUIC.
//
// Datagrams are kept, at most 64, from the first call of ReadNonKCP or WriteTo on. Others are
// dropped. An error is that of ctx, or matches net.ErrClosed after Close.
func (t *Transport) ReadNonKCP(ctx context.Context, p []byte) (int, net.Addr, error) {
	return t.demux.nonKCP().read(ctx, p)
}

// WriteTo sends p unchanged, in a datagram of its own, from the Transport's socket. ReadNonKCP
// returns answers that are not KCP.
func (t *Transport) WriteTo(p []byte, addr net.Addr) (int, error) {
	t.demux.nonKCP()
	return t.demux.eps[0].conn.WriteTo(p, addr)
}
