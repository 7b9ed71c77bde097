// SPDX-License-Identifier: MIT

package simnet

import (
	"fmt"
	"time"
)

// verdict is a packet's event in the trace at one instant: sent, refused, delivered, or verdictLost
// plus the cause.
type verdict uint8

const (
	verdictSent verdict = iota
	verdictRefused
	verdictDelivered
	verdictLost
)

func (v verdict) String() string {
	switch v {
	case verdictSent:
		return "sent"
	case verdictRefused:
		return "refused"
	case verdictDelivered:
		return "delivered"
	}
	return "lost:" + Cause(v-verdictLost).String()
}

// record adds one event to the digest of its link and to the text trace. It
// takes values, not the packet, which may already belong to a reader.
func (n *Network) record(l *Link, t int64, v verdict, index, sum uint64, size int) {
	l.events++
	l.digest = chain(chain(chain(l.digest, uint64(t)), index<<8|uint64(v)), sum)
	if n.trace == nil || n.traceErr != nil {
		return
	}
	_, n.traceErr = fmt.Fprintf(n.trace, "%v %s #%d %v %d bytes %016x\n", time.Duration(t), l.name, index, v, size, sum)
}

// Hash returns the digest of all events so far: for each link, in the order of
// names, each event's time, packet index, verdict and payload digest. Events of
// different links at one instant commute. Take it when nothing is under way, or
// after Close, for a value that does not depend on how goroutines are scheduled.
func (n *Network) Hash() uint64 {
	n.mu.Lock()
	defer n.mu.Unlock()
	h := mix(oddRoot5)
	for _, l := range n.sortedLinks() {
		if l.events > 0 {
			h = chain(chain(h, digest([]byte(l.name))), l.digest)
		}
	}
	return h
}
