// SPDX-License-Identifier: MIT

package kcp

import (
	"fmt"
	"io"
	"net"
)

// SetStreamMode switches between a stream of bytes (true) and messages (false, the default). Both
// ends should agree: the wire is the same.
func (s *UDPSession) SetStreamMode(enable bool) {
	s.configure(func() { s.core.setMode(modeStream, enable) })
}

// SetWriteDelay lets small writes leave together (true). Data that does not fill a datagram waits
// for more data, or for any packet that leaves anyway, such as an acknowledgement. It waits for the
// interval of SetNoDelay at most, and behind eight full datagrams in an interval only as long as a
// writer that goes on would take to fill it. A full datagram leaves at once. With false, the
// default, all data leaves at once. Close and CloseWrite end the wait.
func (s *UDPSession) SetWriteDelay(delay bool) {
	s.configure(func() { s.core.setMode(modeWriteDelay, delay) })
}

// SetACKNoDelay acknowledges after each received batch (true) instead of waiting for the interval
// (false, the default).
func (s *UDPSession) SetACKNoDelay(nodelay bool) {
	s.configure(func() { s.core.setMode(modeACKNoDelay, nodelay) })
}

// SetWindowSize sets the send and receive windows in segments, clamped to 65535, the most that the
// wire can carry. A value of 0 or less leaves a window as it is. The windows may grow beyond these
// values, unless Config.FixedWindows is set. A window that has grown already does not shrink.
// Segments that are in flight when the send window shrinks stay in flight.
func (s *UDPSession) SetWindowSize(sndwnd, rcvwnd int) {
	s.configure(func() { s.core.setWindows(sndwnd, rcvwnd) })
}

// SetMtu sets the size of a datagram, the whole UDP payload, in bytes. Values above 1500 count as
// 1500. It returns false, and changes nothing, if no room would be left for data.
//
// No larger datagram leaves once SetMtu has returned. It waits for what other goroutines are
// sending at that moment, parity and out-of-band data included. Queued data is cut to the new size.
// The exception are segments that have been sent before, and the other fragments of their messages.
// The peer may know their numbers, so they are sent again as they were, each in a datagram of its
// own.
//
// The wait lasts as long as the system calls under way, and a second at most. A call from within
// the packet connection's own WriteTo waits for that second in vain.
func (s *UDPSession) SetMtu(mtu int) (ok bool) {
	s.configure(func() {
		if ok = s.resizeLocked(uint16(min(max(mtu, 0), mtuMax))); ok {
			s.mtu, s.search = s.pathMTU, mtuFixed
			s.core.endPath()
		}
	})
	if ok {
		// Also when it is raised: an earlier call that lowered it may still be waiting.
		s.awaitSends()
	}
	return ok
}

// resizeLocked sets the size of datagrams that is used. It returns false, and changes nothing, if
// no room would be left for data. s.mu must be held.
func (s *UDPSession) resizeLocked(mtu uint16) (ok bool) {
	old := s.pathMTU
	s.pathMTU = mtu
	if ok = s.applyMTULocked(); !ok {
		s.pathMTU = old
	}
	return ok
}

// SetNoDelay sets the timing; a negative value leaves one as it is. nodelay 1 lowers the least RTO
// from 100 to 30 ms and the back-off from 2 to 1.5. interval is the most an ACK or a delayed write
// waits, in milliseconds, 10 to 5000. resend is the count of later ACKs after which a segment is
// sent again, 0 for off, at most 64. nc 0 selects CongestionRate and nc 1
// CongestionRateAggressive, unless the program has named a controller in its Config or with
// SetCongestionControl.
func (s *UDPSession) SetNoDelay(nodelay, interval, resend, nc int) {
	s.configure(func() {
		s.core.setNoDelay(nodelay, interval, resend, nc)
		s.core.intervalChanged(s.now())
	})
}

// SetCongestionControl chooses the controller of what the session sends from now on. Data in flight
// stays in flight, and another controller than before learns the path from the beginning. From then
// on the fourth value of SetNoDelay has no effect. "" selects CongestionRate and lets that value
// choose again. An error matches os.ErrInvalid: cc is unknown, or it is CongestionFixed and neither
// Config.Bandwidth nor SetBandwidth has given a bandwidth.
func (s *UDPSession) SetCongestionControl(cc CongestionControl) error {
	kind, err := cc.kind("CongestionControl")
	if err != nil {
		return err
	}
	s.configure(func() {
		bandwidth := int64(s.core.given)
		if err = checkBandwidth("Bandwidth", bandwidth, kind); err != nil {
			return
		}
		s.core.setMode(modeNamedControl, cc != "")
		s.core.setControl(kind, bandwidth)
	})
	return err
}

// SetRedundancy chooses how many small segments a datagram carries once more from now on. An error
// matches os.ErrInvalid: r is none of RedundancyOff, RedundancyAuto, and 1 to 3.
func (s *UDPSession) SetRedundancy(r Redundancy) error {
	rule, err := r.rule("r")
	if err != nil {
		return err
	}
	s.configure(func() { s.core.setCopyRule(rule) })
	return nil
}

// SetBandwidth sets what CongestionFixed takes for the bandwidth of the path from now on, in bytes
// a second of KCP segments: 1000 to 4e9. The other controllers do not use it. An error matches
// os.ErrInvalid: bytesPerSecond is out of range.
func (s *UDPSession) SetBandwidth(bytesPerSecond int64) error {
	if err := checkBandwidth("bytesPerSecond", bytesPerSecond, controlFixed); err != nil {
		return err
	}
	s.configure(func() { s.core.setControl(s.core.kind, bytesPerSecond) })
	return nil
}

// SetDUP sends each datagram dup times more, 0 to 16: what lies outside is taken as the nearest.
// Default 0. Out-of-band packets go once.
func (s *UDPSession) SetDUP(dup int) { s.dup.Store(int32(min(max(dup, 0), 16))) }

// SetRateLimit limits what the session sends to bytesPerSecond; 0 is no limit. The UDP payload of
// datagrams that carry data counts: first transmissions and retransmissions with all headers, their
// parity (SetFEC) and copies (SetDUP). Datagrams that carry only acknowledgements and control
// messages are neither counted nor delayed, nor are out-of-band ones.
//
// No second sees more than the rate, 20 ms of it besides, and the copies and parity of the packet
// that reaches this limit. That is within 5 % from some 50 kB/s on without FEC, and from 250 kB/s
// with 10/3.
func (s *UDPSession) SetRateLimit(bytesPerSecond uint32) {
	s.configure(func() { s.core.rate.set(bytesPerSecond, s.now()) })
}

// SetFEC changes the Reed-Solomon configuration at the end of the current group: parity packets for
// each data packets, together at most 256. With 0, 0 the session sends without FEC. A peer detects
// the change by itself. Segments that were sent before and do not fit the MTU together with the FEC
// header are sent again without it. An error names the argument that is out of range, or an MTU
// that leaves no room.
func (s *UDPSession) SetFEC(data, parity int) error {
	want, err := fecShards{data, parity}.check("dataShards", "parityShards")
	if err != nil {
		return err
	}
	s.configure(func() {
		old := s.turns.wanted
		s.turns.wanted = want
		if !s.applyMTULocked() {
			least := s.overheadLocked() + segmentHeaderSize + 1
			err = badArgument("MTU", s.pathMTU, fmt.Sprintf("at least %d with FEC", least))
			s.turns.wanted = old
			return
		}
		if !s.turns.busy() {
			s.applyFECLocked()
		}
	})
	return err
}

// configure changes settings under the lock and sends what has become due.
func (s *UDPSession) configure(set func()) {
	s.mu.Lock()
	set()
	now := s.now()
	s.wakeWritersLocked()
	s.armLocked(now)
	due := !s.life.ended() && s.core.nextEvent(now) <= now
	s.unlockAndSend(due)
}

// SetLogger reports the events in mask to logger. The args of logger are key, value pairs as slog
// takes them. It is called outside all locks, by several goroutines at once, which serve other
// sessions too: it should return soon. A nil logger ends it.
func (s *UDPSession) SetLogger(mask KCPLogType, logger func(msg string, args ...any)) {
	l := newLogger(mask, logger)
	s.log.Store(l)
	s.mu.Lock()
	s.core.setLogMask(l.events())
	s.mu.Unlock()
}

// takeLogsLocked returns the events noted, with one for each packet that leaves. s.mu must be held.
func (s *UDPSession) takeLogsLocked(packets []span) []logRecord {
	if s.core.logMask == 0 {
		return nil
	}
	for i := range packets {
		s.core.note(logOutput, nil, packets[i].size())
	}
	return s.core.takeLogs()
}

// SetTrace writes a trace of the session from now on to w, in the format of Config.Trace, and ends
// the trace before. With nil it only ends that. It returns at once.
//
// A goroutine writes to w. It ends, and closes w if that is an io.Closer, once all is written. That
// is after the end of the session, another call, or an error of w. A w that blocks makes it miss
// events and delays nothing else.
func (s *UDPSession) SetTrace(w io.Writer) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.endTraceLocked()
	if isNil(w) {
		s.core.setTrace(nil)
		return
	}
	t := s.newTrace(s.env.clock.now(), plainTarget(w))
	s.core.setTrace(t)
	t.start()
	if s.life.removed() && !s.turns.busy() {
		t.end()
	}
}

// SetDSCP sets the differentiated services code point, 0 to 63, of the session's socket. On a
// session that shares its socket it returns an error that matches errors.ErrUnsupported. These are
// accepted sessions, those of a Transport, and those dialled with Config.SharedSocket.
func (s *UDPSession) SetDSCP(dscp int) error {
	return s.ownSocket(func(net.PacketConn) error { return s.env.host.setDSCP(dscp) })
}

// SetReadBuffer sets the size of the socket's receive buffer in bytes. On a session that shares its
// socket it is an error.
func (s *UDPSession) SetReadBuffer(bytes int) error {
	return s.ownSocket(func(net.PacketConn) error { return s.env.host.setReadBuffer(bytes) })
}

// SetWriteBuffer sets the size of the socket's send buffer in bytes. On a session that shares its
// socket it is an error.
func (s *UDPSession) SetWriteBuffer(bytes int) error {
	return s.ownSocket(func(net.PacketConn) error { return s.env.host.setWriteBuffer(bytes) })
}

// Control calls f with the connection of a session that owns it, to set options on it. Otherwise it
// returns an error. f must not read, write or close the connection.
func (s *UDPSession) Control(f func(conn net.PacketConn) error) error {
	if !s.env.owned() {
		return errNotOwner
	}
	err := s.ownSocket(f)
	s.env.host.checkOpen()
	return err
}

func (s *UDPSession) ownSocket(f func(conn net.PacketConn) error) error {
	if s.opener != byDial {
		return errNotOwner
	}
	s.mu.Lock()
	gone := s.life.closed() && s.life.ended()
	s.mu.Unlock()
	if gone {
		return errClosed // also while the RESET of an aborted session is repeated
	}
	return f(s.env.conn)
}

// GetRTO returns the retransmission timeout in milliseconds, before any back-off.
func (s *UDPSession) GetRTO() uint32 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return uint32(s.core.rto())
}

// GetSRTT returns the smoothed round-trip time in milliseconds, 0 before the first sample.
func (s *UDPSession) GetSRTT() int32 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return int32(s.core.rtt.srtt())
}

// GetSRTTVar returns the deviation of the round-trip time in milliseconds.
func (s *UDPSession) GetSRTTVar() int32 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return int32(s.core.rtt.rttvar())
}
