// SPDX-License-Identifier: MIT

package kcp

import "time"

// KCP is the ARQ state machine alone, for programs with their own packets and their own loop. Input
// takes received datagrams, and the output function receives datagrams to send. Send and Recv move
// messages. Update does what is due, and Check returns when that is. A KCP supplies the clock. Most
// programs use a UDPSession instead.
//
// A KCP may be used by one goroutine at a time. Its zero value is not usable.
type KCP struct {
	core   core
	out    packetWriter
	output func(buf []byte, size int)
	log    *logger
}

// processStart is the zero of the clock of KCP and Check.
var processStart = time.Now()

// shellPackets is how many packets are laid out before they are given to output.
const shellPackets = 8

// NewKCP returns a state machine for the conversation conv, the same number at both ends. output is
// called with each datagram to send, from within Input and Update. The datagram is the first size
// bytes of buf, which output may use until it returns. It must not call the KCP. The defaults are
// those of legacy peers: windows of 32 segments, which do not grow, an MTU of 1400 bytes, an
// interval of 100 ms, and message mode. Congestion control is CongestionRate; NoDelay changes it.
func NewKCP(conv uint32, output func(buf []byte, size int)) *KCP {
	k := &KCP{output: output}
	k.core.init(conv, k.now().ms())
	k.core.life.setTimeouts(0, 0, 0)
	// There is no other way to have them so, and none to choose copies.
	k.core.setModes(modeFixedWindows | modes(copiesNone)<<modeRule)
	return k
}

func (k *KCP) now() instant { return instant(time.Since(processStart)) }

// Send queues p as one message, or in stream mode as a part of the stream. It returns 0, -1 if p is
// empty, or -2 if it needs more than 255 fragments. The queue is not bounded; WaitSnd returns its
// length.
func (k *KCP) Send(p []byte) int {
	if n := k.core.send(p); n < 0 {
		return n
	}
	k.core.note(logSend, nil, len(p))
	k.report()
	return 0
}

// Recv reads the next message into p and returns its length, -1 if there is none, or -2 if p is too
// small.
func (k *KCP) Recv(p []byte) int {
	n := k.core.recv(p)
	k.core.releaseIdle()
	if n >= 0 {
		k.core.note(logRecv, nil, n)
		k.report()
	}
	return n
}

// PeekSize returns the length of the next message, -1 if there is none.
func (k *KCP) PeekSize() int { return k.core.peekSize() }

// Input processes one datagram from the peer. It returns 0, or -1 if data is shorter than a segment
// or belongs to another conversation. It returns -2 if a length exceeds data, and -3 if a command
// is unknown. Segments before the malformed one have been processed. With ackNoDelay the
// acknowledgements leave at once. data is not kept.
func (k *KCP) Input(data []byte, pktType PacketType, ackNoDelay bool) int {
	now := k.now()
	k.core.note(logInput, nil, len(data))
	result := k.core.input(&inputContext{now: now}, data, pktType == IKCP_PACKET_REGULAR)
	if ackNoDelay && len(k.core.acks) > 0 {
		k.drain(func() bool { return k.core.flushAcks(now.ms(), &k.out) })
	}
	k.core.releaseIdle()
	k.report()
	switch result {
	case inputShort, inputConv:
		return -1
	case inputTruncated:
		return -2
	case inputUnknown:
		return -3
	}
	return 0
}

// Update sends what is due now: new data, acknowledgements, retransmissions, probes. It may be
// called at any time, and must be called at the time that Check returns.
func (k *KCP) Update() {
	now := k.now()
	k.drain(func() bool { return k.core.flush(now, &k.out) })
	k.core.releaseIdle()
	k.report()
}

// drain gives the packets that flush lays out to output, until there are no more.
func (k *KCP) drain(flush func() bool) {
	for more := true; more; {
		if size := shellPackets * k.core.mtu; len(k.out.arena) < size {
			k.out.arena = make([]byte, size)
		}
		k.out.maxPackets = shellPackets
		k.out.reset(0, 0, k.core.mtu)
		more = flush()
		for _, p := range k.out.packets {
			k.core.note(logOutput, nil, p.end-p.start)
			k.output(k.out.arena[p.start:p.end], p.end-p.start)
		}
	}
}

// Check returns when Update is next to be called, in milliseconds of a clock that starts with the
// process and wraps at 2^32. That is 60 s ahead if nothing is due before the next Send or Input.
func (k *KCP) Check() uint32 {
	now := k.now().ms()
	return uint32(min(k.core.nextEvent(now), now+rtoMax))
}

// SetMtu sets the size of a datagram in bytes, 1400 by default and 65535 at most. It returns 0, or
// -1 if nothing would be left for data (24 bytes or less).
func (k *KCP) SetMtu(mtu int) int {
	if !k.core.setMTU(min(mtu, maxDatagram)) {
		return -1
	}
	return 0
}

// NoDelay sets the timing; a negative value leaves a setting unchanged. nodelay 1 lowers the least
// RTO to 30 ms and the back-off to 1.5. interval is the longest wait of an ACK, 10 to 5000 ms.
// resend is the count of later ACKs after which a segment is resent, 0 for off, at most 64. nc 0
// selects CongestionRate, and nc 1 CongestionRateAggressive. It returns 0.
func (k *KCP) NoDelay(nodelay, interval, resend, nc int) int {
	k.core.setNoDelay(nodelay, interval, resend, nc)
	return 0
}

// WndSize sets the windows in segments, at most 65535; 0 leaves one unchanged. It returns 0.
func (k *KCP) WndSize(sndwnd, rcvwnd int) int {
	k.core.setWindows(sndwnd, rcvwnd)
	return 0
}

// WaitSnd returns how many segments are not yet acknowledged, queued ones included.
func (k *KCP) WaitSnd() int { return int(k.core.queued()) }

// SetLogger reports the events in mask to fn, whose args are key, value pairs as for slog. A nil fn
// ends that.
func (k *KCP) SetLogger(mask KCPLogType, fn func(msg string, args ...any)) {
	k.log = newLogger(mask, fn)
	k.core.setLogMask(k.log.events())
}

func (k *KCP) report() {
	if k.core.logs != nil {
		k.log.report(k.core.takeLogs())
	}
}
