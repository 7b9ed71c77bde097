// SPDX-License-Identifier: MIT

package simnet

import (
	"net"
	"net/netip"
)

// addrKey is an address in comparable form: an IP address and port, or, for an
// address that does not print as one, its text.
type addrKey struct {
	ip   netip.AddrPort
	text string
}

func (k addrKey) String() string {
	if k.ip.IsValid() {
		return k.ip.String()
	}
	return k.text
}

// addr returns an address for k that is not shared.
func (k addrKey) addr() net.Addr {
	if k.ip.IsValid() {
		return net.UDPAddrFromAddrPort(k.ip)
	}
	return textAddr(k.text)
}

// textAddr stands for an address of which only the text is known.
type textAddr string

func (a textAddr) Network() string { return "sim" }
func (a textAddr) String() string  { return string(a) }

// keyOf returns the key of an address, and false if it is nil or has no IP
// address. An address of another type that prints as an IP address and a port
// is the same place as the *net.UDPAddr.
func keyOf(a net.Addr) (addrKey, bool) {
	switch a := a.(type) {
	case nil:
		return addrKey{}, false
	case *net.UDPAddr:
		return ipKey(a.AddrPort())
	}
	return parseKey(a.String())
}

func parseKey(s string) (addrKey, bool) {
	if ap, err := netip.ParseAddrPort(s); err == nil {
		return ipKey(ap)
	}
	return addrKey{text: s}, s != ""
}

func ipKey(ap netip.AddrPort) (addrKey, bool) {
	return addrKey{ip: netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port())}, ap.IsValid()
}

// node is a place in the network. It outlives its endpoint, so that packets on
// their way reach the one that is opened there next.
type node struct {
	name     string // its home address
	key      addrKey
	owner    *Endpoint // the endpoint that has it open
	endpoint *Endpoint // the endpoint that gets its packets: owner, from the next instant on
	public   *binding  // where its packets seem to come from
}

// binding is an address under which a node is reached, or was.
type binding struct {
	node *node
	addr net.Addr
	open bool // packets to it go through
}

// pair is the key of a link.
type pair struct{ from, to *node }

// node returns the place at k, making it if need be.
func (n *Network) node(k addrKey) *node {
	nd := n.nodes[k]
	if nd == nil {
		nd = &node{name: k.String(), key: k}
		n.nodes[k] = nd
		nd.public = &binding{node: nd, addr: k.addr(), open: true}
		if n.routed[k] == nil {
			n.routed[k] = nd.public
		}
	}
	return nd
}

// route returns the binding of k, making a place there if it is unknown.
func (n *Network) route(k addrKey) *binding {
	if b := n.routed[k]; b != nil {
		return b
	}
	return n.node(k).public
}

// linkTo returns the link for packets from one place to another.
func (n *Network) linkTo(from, to *node) *Link {
	p := pair{from, to}
	l := n.pairs[p]
	if l == nil {
		l = n.resolve(from, to)
		n.pairs[p] = l
	}
	return l
}

// rebind makes to the address of e's packets.
func (n *Network) rebind(e *Endpoint, to net.Addr, keepOld bool) error {
	k, ok := keyOf(to)
	if !ok {
		return opError("rebind", e.addr, to, errNoAddress)
	}
	if _, isUDP := to.(*net.UDPAddr); isUDP {
		to = k.addr() // the caller's own may change
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if e.node.owner != e {
		return opError("rebind", e.addr, to, net.ErrClosed)
	}
	if other := n.nodes[k]; n.taken[k] != nil && n.taken[k] != e.node || other != nil && other != e.node && other.owner != nil {
		return opError("rebind", e.addr, to, errAddrInUse)
	}
	n.taken[k] = e.node
	n.doLocked(func(int64) {
		b := n.routed[k]
		if b == nil || b.node != e.node {
			b = &binding{node: e.node}
			n.routed[k] = b
		}
		e.node.public.open = keepOld
		b.addr, b.open = to, true
		e.node.public = b
	})
	return nil
}
