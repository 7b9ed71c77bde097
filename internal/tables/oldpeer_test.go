// SPDX-License-Identifier: MIT

package tables

import (
	"encoding/binary"
	"errors"
	"net"
	"os"
	"sync/atomic"
	"testing"
	"time"

	"github.com/seedkcp/kcp"
	"github.com/seedkcp/kcp/internal/simnet"
)

// A legacyReceiver is the receiving side of a legacy peer. It acknowledges each PUSH once, with its
// ts (docs/protocol.md, section 1), and ignores control messages.
type legacyReceiver struct {
	conn     *simnet.Endpoint
	interval time.Duration // between acknowledgements; 0: at once
	flow     *flow
	next     uint32         // the first segment that has not arrived
	beyond   map[uint32]int // sizes of those beyond it
	pending  []legacyAck
	twice    atomic.Int64
	arrived  func(sn uint32) // called when a segment is in order, nil: not
	peer     net.Addr
	conv     uint32
}

type legacyAck struct{ sn, ts uint32 }

const (
	legacyWindow  = 1024
	legacyPending = 58 // as many acknowledgements fill a datagram, which leaves then
)

// The commands of a segment.
const (
	cmdPush, cmdAck, cmdWask, cmdWins = 81, 82, 83, 84
)

// bulkToLegacy starts a transfer to a legacy peer.
func (w *world) bulkToLegacy(c kcp.Config, interval time.Duration) *flow {
	w.t.Helper()
	c.StreamMode = true
	c.Scheduler = w.scheduler
	from, at := w.ends()
	f := new(flow)
	r := &legacyReceiver{conn: at, interval: interval, flow: f, beyond: make(map[uint32]int)}
	go r.run()
	client, err := c.Client(from, at.LocalAddr())
	if err != nil {
		w.t.Fatal(err)
	}
	f.session = client
	go writeAll(client)
	f.sender = func() senderFigures { return figuresOf(client, float64(r.twice.Load())) }
	w.closers = append(w.closers, func() {
		client.SetLinger(0)
		_ = client.Close()
		_ = at.Close()
	})
	return f
}

// run is the receiver's goroutine.
func (r *legacyReceiver) run() {
	buf := make([]byte, 2048)
	flush := time.Time{} // zero: nothing to acknowledge
	for {
		_ = r.conn.SetReadDeadline(flush)
		n, from, err := r.conn.ReadFrom(buf)
		if err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
			return
		}
		if err == nil {
			r.peer = from
			r.take(buf[:n])
		}
		switch {
		case len(r.pending) >= legacyPending || r.interval == 0 || err != nil:
			r.acknowledge()
			flush = time.Time{}
		case flush.IsZero() && len(r.pending) > 0:
			// A little later than a tick: which of a flush and an arrival in one instant comes first
			// would not be determined.
			flush = time.Now().Truncate(r.interval).Add(r.interval + time.Duration(r.next*7919%100_003))
		}
	}
}

// take reads the segments of a datagram.
func (r *legacyReceiver) take(data []byte) {
	for len(data) >= segmentHeader {
		size := int(binary.LittleEndian.Uint32(data[20:]))
		if size > len(data)-segmentHeader {
			return
		}
		r.conv = binary.LittleEndian.Uint32(data)
		ts, sn := binary.LittleEndian.Uint32(data[8:]), binary.LittleEndian.Uint32(data[12:])
		switch data[4] {
		case cmdPush:
			if sn < r.next+legacyWindow {
				r.pending = append(r.pending, legacyAck{sn, ts})
				r.keep(sn, size)
			}
		case cmdWask:
			r.send(r.header(nil, cmdWins, legacyAck{}))
		}
		data = data[segmentHeader+size:]
	}
}

func (r *legacyReceiver) keep(sn uint32, size int) {
	if _, held := r.beyond[sn]; held || sn < r.next {
		r.twice.Add(1)
		return
	}
	r.beyond[sn] = size
	for {
		size, held := r.beyond[r.next]
		if !held {
			return
		}
		delete(r.beyond, r.next)
		if r.arrived != nil {
			r.arrived(r.next)
		}
		r.next++
		r.flow.received.Add(int64(size))
	}
}

// acknowledge sends what is pending. Of what is below una only the last is sent.
func (r *legacyReceiver) acknowledge() {
	var packet []byte
	for i, a := range r.pending {
		if a.sn < r.next && i < len(r.pending)-1 {
			continue
		}
		if packet = r.header(packet, cmdAck, a); len(packet)+segmentHeader > datagram {
			r.send(packet)
			packet = packet[:0]
		}
	}
	r.send(packet)
	r.pending = r.pending[:0]
}

func (r *legacyReceiver) header(b []byte, cmd byte, a legacyAck) []byte {
	b = binary.LittleEndian.AppendUint32(b, r.conv)
	b = append(b, cmd, 0)
	b = binary.LittleEndian.AppendUint16(b, legacyWindow)
	b = binary.LittleEndian.AppendUint32(b, a.ts)
	b = binary.LittleEndian.AppendUint32(b, a.sn)
	b = binary.LittleEndian.AppendUint32(b, r.next)
	return binary.LittleEndian.AppendUint32(b, 0)
}

func (r *legacyReceiver) send(packet []byte) {
	if len(packet) > 0 {
		_, _ = r.conn.WriteTo(packet, r.peer)
	}
}

// TestLegacyReceiverAcknowledgesEachPushOnce checks the receiver against a short transfer.
func TestLegacyReceiverAcknowledgesEachPushOnce(t *testing.T) {
	for _, interval := range []time.Duration{0, 40 * time.Millisecond} {
		inWorld(t, 1, bottleneck{rtt: 20 * time.Millisecond}, func(w *world) {
			f := w.bulkToLegacy(free(), interval)
			time.Sleep(time.Second)
			sent, back := w.there.Stats(), w.back.Stats()
			if got := f.received.Load(); got < 100<<10 {
				t.Errorf("interval %v: %d bytes arrived in a second", interval, got)
			}
			most := sent.Delivered
			if interval > 0 {
				most /= 20
			}
			if back.Sent == 0 || back.Sent > most {
				t.Errorf("interval %v: %d datagrams of acknowledgements, want at most %d",
					interval, back.Sent, most)
			}
		})
	}
}
