// SPDX-License-Identifier: MIT

package kcp

import (
	"reflect"
	"strconv"
	"sync/atomic"
	"time"
	"unsafe"
)

// Snmp holds the counters of all sessions and listeners of a process. While sessions run, read a
// field with sync/atomic's LoadUint64 or take a Copy. Counts are added in batches, at the latest at
// the end of the work at hand.
//
// An Snmp must be allocated by itself, as DefaultSnmp and the results of Copy are, and not as part
// of another struct. Its fields are then aligned as atomic access requires on 32-bit machines too.
//
// The declaration is the table of the counters: all fields are uint64, and their names and order
// are those of Header, ToSlice and counters.
type Snmp struct {
	BytesSent           uint64 // bytes of data sent, each counted once
	BytesReceived       uint64 // bytes of data that arrived, each counted once
	MaxConn             uint64 // most sessions that were open at once
	ActiveOpens         uint64 // sessions dialled
	PassiveOpens        uint64 // sessions accepted
	CurrEstab           uint64 // sessions open now
	InErrs              uint64 // datagrams dropped, for any reason
	InCsumErrors        uint64 // datagrams with a wrong checksum or tag
	KCPInErrors         uint64 // datagrams with invalid segments
	InPkts              uint64 // datagrams received
	OutPkts             uint64 // datagrams sent
	InSegs              uint64 // segments received
	OutSegs             uint64 // segments sent
	InBytes             uint64 // bytes of UDP payload received
	OutBytes            uint64 // bytes of UDP payload sent
	RetransSegs         uint64 // segments retransmitted, for any reason
	FastRetransSegs     uint64 // of them: as many later ones as FastResend were acknowledged
	EarlyRetransSegs    uint64 // of them: a later one was, and 9/8 of a round trip was over
	LostSegs            uint64 // of them: the retransmission timeout expired
	RepeatSegs          uint64 // segments received more than once
	FECFullShardSet     uint64 // groups whose data arrived without loss
	FECRecovered        uint64 // packets recovered from parity
	FECErrs             uint64 // packets that were invalid or could not be recovered
	FECParityShards     uint64 // parity packets received
	FECShardSet         uint64 // groups received
	FECShardMin         uint64 // groups with too few packets to recover the rest
	RingBufferSndQueue  uint64 // most segments of one session that waited to be sent
	RingBufferRcvQueue  uint64 // most segments of one session that waited for Read
	RingBufferSndBuffer uint64 // most segments of one session in flight
	OOBPackets          uint64 // out-of-band packets received
	CopiedSegs          uint64 // segments sent once more, not taken for lost (Redundancy)
}

// DefaultSnmp has the counts of all sessions.
var DefaultSnmp *Snmp = newSnmp()

func newSnmp() *Snmp { return new(Snmp) }

// counterCount is the number of counters.
const counterCount = int(unsafe.Sizeof(Snmp{}) / unsafe.Sizeof(uint64(0)))

// counterWords are the counters in the order of Snmp's fields. A struct of uint64 fields has the
// layout of an array of them.
type counterWords [counterCount]uint64

func (s *Snmp) words() *counterWords { return (*counterWords)(unsafe.Pointer(s)) }

// Header returns the names of the counters.
func (s *Snmp) Header() []string {
	names := make([]string, counterCount)
	for i := range names {
		names[i] = reflect.TypeFor[Snmp]().Field(i).Name
	}
	return names
}

// ToSlice returns the counters in decimal, in Header's order.
func (s *Snmp) ToSlice() []string {
	values := make([]string, counterCount)
	for i := range values {
		values[i] = strconv.FormatUint(atomic.LoadUint64(&s.words()[i]), 10)
	}
	return values
}

// Copy returns the current counters. Each is read atomically, but not all at one instant.
func (s *Snmp) Copy() *Snmp {
	c := newSnmp()
	for i := range c.words() {
		c.words()[i] = atomic.LoadUint64(&s.words()[i])
	}
	return c
}

// Reset sets all counters to zero. CurrEstab continues from there, but not below zero.
func (s *Snmp) Reset() {
	for i := range s.words() {
		atomic.StoreUint64(&s.words()[i], 0)
	}
}

// connOpened counts a new session, dialled or accepted.
func (s *Snmp) connOpened(dialled bool) {
	if dialled {
		atomic.AddUint64(&s.ActiveOpens, 1)
	} else {
		atomic.AddUint64(&s.PassiveOpens, 1)
	}
	raise(&s.MaxConn, atomic.AddUint64(&s.CurrEstab, 1))
}

// queues records how many segments of a session wait to be sent, are in flight, and wait for Read.
func (s *Snmp) queues(sndQueue, sndBuffer, rcvQueue uint32) {
	raise(&s.RingBufferSndQueue, uint64(sndQueue))
	raise(&s.RingBufferSndBuffer, uint64(sndBuffer))
	raise(&s.RingBufferRcvQueue, uint64(rcvQueue))
}

// raise makes a counter at least v.
func raise(counter *uint64, v uint64) {
	for {
		most := atomic.LoadUint64(counter)
		if v <= most || atomic.CompareAndSwapUint64(counter, most, v) {
			return
		}
	}
}

// connClosed counts the end of a session.
func (s *Snmp) connClosed() {
	for {
		open := atomic.LoadUint64(&s.CurrEstab)
		if open == 0 || atomic.CompareAndSwapUint64(&s.CurrEstab, open, open-1) {
			return
		}
	}
}

// counters is the share of one endpoint or session in DefaultSnmp since its last flush. Packets are
// counted here, without access to memory that other processors write. The fields are those of Snmp.
// A level that falls is counted by adding the negative difference, converted to uint64. counters
// has one user at a time: the goroutine that reads a socket, or the one that sends a batch.
type counters struct {
	bytesSent           uint64
	bytesReceived       uint64
	maxConn             uint64 // see connOpened; not for batches
	activeOpens         uint64
	passiveOpens        uint64
	currEstab           uint64
	inErrs              uint64
	inCsumErrors        uint64
	kcpInErrors         uint64
	inPkts              uint64
	outPkts             uint64
	inSegs              uint64
	outSegs             uint64
	inBytes             uint64
	outBytes            uint64
	retransSegs         uint64
	fastRetransSegs     uint64
	earlyRetransSegs    uint64
	lostSegs            uint64
	repeatSegs          uint64
	fecFullShardSet     uint64
	fecRecovered        uint64
	fecErrs             uint64
	fecParityShards     uint64
	fecShardSet         uint64
	fecShardMin         uint64
	ringBufferSndQueue  uint64
	ringBufferRcvQueue  uint64
	ringBufferSndBuffer uint64
	oobPackets          uint64
	copiedSegs          uint64
}

func (c *counters) words() *counterWords { return (*counterWords)(unsafe.Pointer(c)) }

// flush adds the counts of c to DefaultSnmp and sets c to zero. Counters that did not change cost
// no memory access outside c.
func (c *counters) flush() { c.flushTo(DefaultSnmp) }

func (c *counters) flushTo(s *Snmp) {
	total := s.words()
	for i, n := range c.words() {
		if n != 0 {
			atomic.AddUint64(&total[i], n)
		}
	}
	*c = counters{}
}

// SocketStats is a snapshot of a packet socket's counters and state. No error of a socket ends a
// session or a listener, except that it was closed: a datagram that could not be sent counts as
// lost, and reading continues. Other connections count as closed after five seconds of errors that
// are not temporary, timeouts or a socket's, without a datagram in between. Counts start when the
// library gets the socket.
type SocketStats struct {
	// refused by the socket, beyond a slow connection's queue, or without a nonce
	LostDatagrams uint64
	ReadErrors    uint64    // reads that failed
	LastError     error     // the newest error, or nil
	LastErrorTime time.Time // time of LastError

	// ReadBuffer and WriteBuffer are the sizes of the socket's buffers in bytes, as the system
	// counts them, or 0 if they are not known. Linux reports twice the granted size, because it
	// counts its bookkeeping too (socket(7), SO_RCVBUF).
	ReadBuffer, WriteBuffer int

	// KeyPackets counts the packets that were sealed and opened with the BlockCrypt by all sessions
	// and listeners that use it. With AES-GCM a key is good for 2^32 packets, of all peers
	// together. It is 0 for a cipher that is not an AEAD.
	KeyPackets uint64

	GSO bool // runs of datagrams are sent in one piece (udp(7), UDP_SEGMENT)
	GRO bool // and received in one piece (UDP_GRO)
}
