// SPDX-License-Identifier: MIT

package kcp

import (
	"bytes"
	"io"
	"net"
	"net/netip"
	"testing"
)

// slabHost is a listener that receives runs of datagrams as a socket with receive offload delivers
// them.
type slabHost struct {
	l    *Listener
	r    *reader
	peer netip.AddrPort
}

const slabConv, slabSize = 7, 1400

func newSlabHost(t *testing.T) *slabHost {
	t.Helper()
	conn := newMemConn(&net.UDPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 1}, func([]byte, net.Addr) {})
	l, err := (&Config{StreamMode: true, ReceiveWindow: 1024, SendWindow: 1024}).Serve(conn)
	if err != nil {
		t.Fatal(err)
	}
	h := &slabHost{l: l, peer: netip.MustParseAddrPort("192.0.2.2:2")}
	h.r = newReader(l.demux.eps[0])
	t.Cleanup(func() {
		l.Close()
		h.r.release()
		conn.Close()
	})
	return h
}

// deliver delivers a run with a segment for each number, each of its own conversation.
func (h *slabHost) deliver(convs []uint32, sns []seqNum) {
	buf := getBuffer(bufferLarge)
	b := buf[:0]
	for i, sn := range sns {
		s := segment{conv: convs[i], cmd: cmdPush, wnd: 32, sn: sn, data: slabData(sn)}
		b = appendSegment(b, &s)
	}
	msgs := []received{{buf: buf, n: len(b), segment: slabSize, from: h.peer}}
	h.r.batch(msgs)
	putBuffer(msgs[0].buf)
}

// run delivers the segments of slabConv.
func (h *slabHost) run(sns ...seqNum) {
	convs := make([]uint32, len(sns))
	for i := range convs {
		convs[i] = slabConv
	}
	h.deliver(convs, sns)
}

func slabData(sn seqNum) []byte { return pattern(slabSize-segmentHeaderSize, uint64(sn)+1) }

func slabRange(from, n seqNum) (sns []seqNum) {
	for i := range n {
		sns = append(sns, from+i)
	}
	return sns
}

// slabRead reads segments from, from+1, ... and compares them.
func slabRead(t *testing.T, s *UDPSession, from, n seqNum) {
	t.Helper()
	for _, sn := range slabRange(from, n) {
		got := make([]byte, slabSize-segmentHeaderSize)
		if _, err := io.ReadFull(s, got); err != nil || !bytes.Equal(got, slabData(sn)) {
			t.Fatalf("segment %d differs, error %v", sn, err)
		}
	}
}

// slabState returns how many slabs a session keeps and how many segments lie in them.
func slabState(s *UDPSession) [2]int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return [2]int{int(s.core.pinned), int(s.core.lentSegs)}
}

func TestReceivedRunStaysInItsBuffer(t *testing.T) {
	h := newSlabHost(t)
	h.run(slabRange(0, 46)...)
	h.run(slabRange(46, 46)...)
	s, err := h.l.AcceptKCP()
	if err != nil {
		t.Fatal(err)
	}
	if got := slabState(s); got != [2]int{2, 92} {
		t.Errorf("%d slabs with %d segments, want 2 with 92", got[0], got[1])
	}
	slabRead(t, s, 0, 46)
	if got := slabState(s); got != [2]int{1, 46} {
		t.Errorf("after the first run was read: %d slabs with %d segments, want 1 with 46",
			got[0], got[1])
	}
	slabRead(t, s, 46, 31)
	if got := slabState(s); got != [2]int{0, 0} {
		t.Errorf("after two thirds of the second: %d slabs with %d segments, want none",
			got[0], got[1])
	}
	slabRead(t, s, 77, 15)
	s.SetLinger(0)
	s.Close()
}

// A peer that sends runs of which little is kept does not make a session hold their memory.
func TestSparseRunsAreCopied(t *testing.T) {
	h := newSlabHost(t)
	h.run(slabRange(0, 46)...)
	s, err := h.l.AcceptKCP()
	if err != nil {
		t.Fatal(err)
	}
	slabRead(t, s, 0, 46)
	for i := range seqNum(10) {
		sns := slabRange(46+i*40, 40) // of the stream, which is read
		sns = append(sns, 900+i)      // beyond a hole
		h.run(sns...)
		slabRead(t, s, 46+i*40, 40)
		if got := slabState(s); got != [2]int{0, 0} {
			t.Fatalf("run %d: %d slabs with %d segments are kept", i, got[0], got[1])
		}
	}
	// Nothing new in a whole run.
	h.run(slabRange(400, 46)...)
	if got := slabState(s); got != [2]int{0, 0} {
		t.Errorf("%d slabs with %d segments are kept of repetitions", got[0], got[1])
	}
	h.run(slabRange(446, 454)[:46]...)
	slabRead(t, s, 446, 46)
	s.SetLinger(0)
	s.Close()
}

// A run may hold datagrams of several sessions of one peer.
func TestRunOfSeveralSessions(t *testing.T) {
	h := newSlabHost(t)
	sns, convs := slabRange(0, 46), make([]uint32, 46)
	for i := range convs {
		convs[i] = slabConv
		if i >= 10 && i < 14 {
			convs[i] = slabConv + 1 // of an unknown peer, which opens nothing
			sns[i] += 1000
		} else if i >= 14 {
			sns[i] -= 4
		}
	}
	h.deliver(convs, sns)
	s, err := h.l.AcceptKCP()
	if err != nil {
		t.Fatal(err)
	}
	if got := slabState(s); got != [2]int{0, 0} {
		t.Errorf("%d slabs with %d segments: 10 of 46 are not worth one", got[0], got[1])
	}
	slabRead(t, s, 0, 42)
	s.SetLinger(0)
	s.Close()
}

// Segments that a large Write leaves in a slab are retransmitted, split again and released as
// others are.
func TestLargeWriteThroughLossAndNewSizes(t *testing.T) {
	connRun(t, closeLink, func(t *testing.T, w *connWorld) {
		client, server, _ := w.pair(Config{
			StreamMode: true, NoDelay: true, NoCongestionControl: true, FastResend: 2,
		})
		n := 0
		w.setDrop(func(_, _ string, payload []byte) bool {
			n++
			return n%7 == 3 && len(payload) > 500
		})
		want := pattern(1<<20, 11)
		failed := make(chan error, 1)
		go func() {
			_, err := client.Write(want)
			failed <- err
		}()
		got := make([]byte, 0, len(want))
		buf := make([]byte, 30000)
		for len(got) < len(want) {
			m, err := server.Read(buf)
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, buf[:m]...)
			client.SetMtu(600 + len(got)%900)
		}
		if err := <-failed; err != nil || !bytes.Equal(got, want) {
			t.Errorf("the bytes differ, error %v", err)
		}
	})
}
