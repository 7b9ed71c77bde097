// SPDX-License-Identifier: MIT

// Package simnet is a simulated packet network for tests. Its endpoints are [net.PacketConn]s; the
// links between them have a rate, a queue, a delay and every fault a datagram can meet. One seed
// decides all of it.
//
//	n := simnet.New(1)
//	defer n.Close()
//	n.SetDefault(simnet.Profile{Rate: 10_000_000, Delay: 15 * time.Millisecond, Queue: 25})
//	a, err := n.Listen("10.0.0.1:1000")
//	b, err := n.Listen("10.0.0.2:0")
//	a.WriteTo(payload, b.LocalAddr())
//
// # Time
//
// The network takes its time from package time: inside a testing/synctest bubble it is virtual,
// elsewhere real. A Network belongs to the bubble in which New was called. It keeps no goroutine of
// its own; one timer drives it.
//
// # Determinism
//
// A random decision is a hash of the seed, the link's name, the packet's index on that link and the
// purpose. So it does not depend on other links or on how goroutines are scheduled. In virtual time
// the packets of one instant are put on their links together, one nanosecond later, when every
// goroutine is idle. They are ordered by link name, then by source, then by flow (see
// [WithFlowKey]), then by the order of the WriteTo calls. Changes made through the API count for
// the whole of the instant in which they are made: a link cut in the instant of a send cuts that
// packet off, whichever call came first. A packet is never delivered in the instant of its sending,
// so a delay of 0 means 1 ns.
//
// [Network.Hash] digests everything that happened. It is the same for two runs with the same seed
// whose endpoints send the same packets at the same instants. In real time instants differ from run
// to run, and so do hashes.
//
// # The path of a packet
//
// WriteTo, the scripted errors of the socket ([Endpoint.FailWrites]), the tap ([Network.SetTap]),
// MTU, policer, queue with tail drop, serialisation at the link's rate, then the wire: outage, loss,
// duplication, corruption, delay, jitter and reordering. At its destination: address translation,
// the receive queue, and ReadFrom. A packet lost on the wire has had its turn on the line all the
// same.
package simnet
