// SPDX-License-Identifier: MIT

package kcp

import "fmt"

// MTUDiscovery is whether a session searches for the largest datagram that the path carries to its
// peer (RFC 8899). Each side does so for what it sends.
//
// The search begins while more than a few segments are in flight, and goes up from Config.MTU. So a
// session with little data sends no probes. On Ethernet it finds up to 1472 bytes, with jumbo
// frames up to 8972, and over a loopback interface up to 16368, or less if Config.MaxMTU says so.
// With NewSimpleXORBlockCrypt, or a BlockCrypt of the program's own, it ends at 1500. Each larger
// size is tried by up to three probes, which are paced and do not count as losses. Ten minutes
// after one has failed, the session tries again.
//
// If only datagrams of up to 1200 bytes arrive any more, the session goes on with these. What is in
// flight is sent again in parts. In message mode, a message may fill a larger datagram, so that a
// long Write becomes fewer messages. Out-of-band packets stay within Config.MTU.
//
// A legacy peer is sent datagrams of Config.MTU, and so is any after SetMtu.
type MTUDiscovery string

const (
	// MTUDiscoveryOn searches, with a peer of this library. It is the default of a Config, as is
	// "".
	MTUDiscoveryOn MTUDiscovery = "on"

	// MTUDiscoveryOff sends datagrams of Config.MTU. It is the default of functions without a
	// Config.
	MTUDiscoveryOff MTUDiscovery = "off"
)

// mtuSearch is whether a session searches for the path's MTU.
type mtuSearch uint8

const (
	mtuFixed mtuSearch = iota
	mtuSearched
)

// setDiscovery checks and sets whether the path's MTU is searched for, and the largest one.
func (o *options) setDiscovery(d MTUDiscovery, most int) error {
	switch d {
	case "", MTUDiscoveryOn:
		o.search = mtuSearched
	case MTUDiscoveryOff:
	default:
		return badArgument("Config.MTUDiscovery", d, "on or off")
	}
	if most != 0 && (most < pathBase || most > mtuLargest) {
		return badArgument("Config.MaxMTU", most, fmt.Sprintf("%d to %d", pathBase, mtuLargest))
	}
	o.pathMost = most
	return nil
}
