// SPDX-License-Identifier: MIT

package kcp

// Bounds of the protocol (docs/protocol.md section 1).
const (
	rtoNoDelay  millis = 30
	rtoMin      millis = 100
	rtoDefault  millis = 200
	rtoMax      millis = 60000
	probeInit   millis = rtoDefault // before the first window probe, until an RTT has been measured
	probeFirst  millis = 500        // before the first window probe, at most
	probeLimit  millis = 120000
	wndInitial         = 32
	wndMax             = 65535 // the wnd field has 16 bits
	mtuDefault         = 1400
	mtuMax             = 1500 // slightly more than an Ethernet frame carries
	intervalMin millis = 10
	intervalMax millis = 5000
	// intervalDefault is the interval of legacy peers.
	intervalDefault millis = 100
	// resendMax bounds the ACK count of fast retransmission. A larger count is practically off.
	resendMax = 64
)

const (
	ssthreshInit = 2
	ssthreshMin  = 2
)
