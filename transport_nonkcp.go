// SPDX-License-Identifier: MIT

package kcp

import (
	"context"
	"net"
)

// ReadNonKCP waits for a datagram that is not KCP, copies it to p and returns its length and where it comes from. What is
// longer than p is cut. With a cipher that is what does not verify, without one what does not begin with a KCP segment
// or an FEC header whose lengths and types fit; STUN, DTLS and QUIC are told apart thereby.
//
// Datagrams are kept, 64 at most, from the first call of ReadNonKCP or WriteTo on; before and beyond that they are
// dropped. An error is that of ctx, or matches net.ErrClosed after Close.
func (t *Transport) ReadNonKCP(ctx context.Context, p []byte) (int, net.Addr, error) {
	return t.demux.nonKCP().read(ctx, p)
}

// WriteTo sends p as it is, in a datagram of its own, from the Transport's socket. Answers that are not KCP come by
// ReadNonKCP.
func (t *Transport) WriteTo(p []byte, addr net.Addr) (int, error) {
	t.demux.nonKCP()
	return t.demux.eps[0].conn.WriteTo(p, addr)
}
