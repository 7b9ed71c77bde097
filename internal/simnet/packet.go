// SPDX-License-Identifier: MIT

package simnet

import (
	"net"
	"sync"
)

// packet is one datagram on its way. It has one owner at a time: the send
// queue of the network, the network's runner, a link, the heap, or the receive
// queue of an endpoint.
type packet struct {
	data []byte
	// Set by WriteTo.
	src     *node
	dst     addrKey
	at      int64  // instant of the sending
	seq     uint64 // order of the WriteTo calls
	refused bool   // the socket answered WriteTo with an error: recorded, not sent
	// Set when it is put on its link.
	from  net.Addr // as the receiver sees it
	link  *Link
	flow  uint64
	index uint64 // on its link
	sum   uint64 // digest of the payload
	extra int64  // delay added by the tap, ns
	size  int    // with the overhead of the line
	left  int64  // what the line still has to send, in bits times 1e9
}

// packetPool hands out packets and counts those that are out.
type packetPool struct {
	mu     sync.Mutex // guards the fields below
	free   []*packet
	leased int
}

// get leases a packet that carries a copy of payload.
func (pp *packetPool) get(payload []byte) *packet {
	pp.mu.Lock()
	var p *packet
	if k := len(pp.free); k > 0 {
		p, pp.free = pp.free[k-1], pp.free[:k-1]
	} else {
		p = &packet{data: make([]byte, 0, 2048)}
	}
	pp.leased++
	pp.mu.Unlock()
	p.data = append(p.data[:0], payload...)
	return p
}

// put ends the lease of p. Nothing of p may be used afterwards.
func (pp *packetPool) put(p *packet) {
	*p = packet{data: p.data[:0]}
	pp.mu.Lock()
	pp.leased--
	pp.free = append(pp.free, p)
	pp.mu.Unlock()
}

func (pp *packetPool) out() int {
	pp.mu.Lock()
	defer pp.mu.Unlock()
	return pp.leased
}
