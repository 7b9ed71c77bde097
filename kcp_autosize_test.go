// SPDX-License-Identifier: MIT

package kcp

import (
	"fmt"
	"testing"
	"time"
)

// growingLine is 20 Mbit/s at a round trip of 300 ms, with a queue of one product of both, in
// segments of 1376 bytes.
const (
	growingRate    = 20_000_000 / 8
	growingProduct = growingRate * 3 / 10
	growingSegs    = growingProduct / (mtuDefault + lineHeader)
)

// newGrowingLink joins two state machines by such a line each way, with windows of that many
// segments.
func newGrowingLink(loss float64, window int) *coreLink {
	one := line{rate: growingRate, queue: growingProduct}
	l := newLineLink(1, linkProfile{delay: 150}, &[2]line{one, one})
	carry := l.onPacket
	l.onPacket = func(from int, data []byte) bool {
		return !l.chance(loss) && carry(from, data)
	}
	for _, c := range l.ends {
		c.setNoDelay(1, 10, 2, 1)
		c.setControl(controlFixed, growingRate*9/10)
		c.setMode(modeStream, true)
		c.setWindows(window, window)
	}
	return l
}

// fixWindows keeps the windows of both ends as they are.
func fixWindows(l *coreLink) {
	for _, c := range l.ends {
		c.setMode(modeFixedWindows, true)
	}
}

// The windows are counted from the oldest segment. So they must hold several times what the path
// does, or a lost segment stops the flow before it has been resent.
func TestSmallWindowsGrowToThoseOfThePath(t *testing.T) {
	const size, fitted = 12 << 20, 8 * growingSegs
	for _, loss := range []float64{0, 0.05} {
		small := newGrowingLink(loss, 32)
		took, read := small.bulk(t, size, size, 60_000)
		large := newGrowingLink(loss, fitted)
		fixWindows(large)
		best, all := large.bulk(t, size, size, 60_000)
		fixed := newGrowingLink(loss, 32)
		fixWindows(fixed)
		_, some := fixed.bulk(t, size, size, took)
		a, b := small.ends[0], small.ends[1]
		t.Logf("loss %.2f: %d ms, %d ms with fitted windows, %d %% with fixed ones; %d and %d",
			loss, took, best, 100*some/size, a.sndWnd, b.rcvWnd)
		if read < size || all < size || took > best*3/2 {
			t.Errorf("loss %.2f: %d bytes in %d ms, want all in %d ms", loss, read, took, best*3/2)
		}
		if some > size/4 {
			t.Errorf("loss %.2f: fixed windows carry %d bytes in that time", loss, some)
		}
		// The queue is a part of the round trip, which so takes up to twice as long.
		if n := max(a.sndWnd, b.rcvWnd); n < 2*growingSegs || n > 16*growingSegs {
			t.Errorf("loss %.2f: the windows are %d and %d, want about %d",
				loss, a.sndWnd, b.rcvWnd, fitted)
		}
	}
}

// readSlowly sends for so long, and reads so many bytes a second at end 1.
func (l *coreLink) readSlowly(rate int, end millis) {
	start, buf := l.now, make([]byte, 1<<17)
	a, b := l.ends[0], l.ends[1]
	for read := 0; l.now-start < end; {
		for read*1000 < rate*int(l.now-start) {
			n := b.recv(buf)
			if n < 0 {
				break
			}
			read += n
		}
		for a.queued() < 4096 {
			a.send(buf[:a.cut(a.sendEnd)])
		}
		for i, c := range l.ends {
			if c.nextEvent(l.now) <= l.now {
				l.flush(i)
			}
		}
		if !l.step() {
			l.now++
		}
	}
}

func TestReceiveWindowFollowsTheReader(t *testing.T) {
	for _, tt := range []struct {
		name        string
		rate        int
		least, most uint32
	}{
		{"nothing is read", 0, 32, 32},
		{"slow", growingRate / 100, 32, 32},
		{"a tenth of the line", growingRate / 10, 64, growingSegs},
		{"all", growingRate, growingSegs, 12 * growingSegs},
	} {
		l := newGrowingLink(0, 32)
		l.readSlowly(tt.rate, 15_000)
		if n := l.ends[1].rcvWnd; n < tt.least || n > tt.most {
			t.Errorf("%s: the window is %d, want %d to %d", tt.name, n, tt.least, tt.most)
		}
		if n := l.ends[1].stats.outOfWindow; n > 0 {
			t.Errorf("%s: %d segments lay beyond the window", tt.name, n)
		}
		releaseCore(l.ends[0])
		releaseCore(l.ends[1])
	}
}

func TestFixedWindowsDoNotGrow(t *testing.T) {
	for end := range 2 {
		l := newGrowingLink(0.01, 64)
		l.ends[end].setMode(modeFixedWindows, true)
		l.bulk(t, 4<<20, 4<<20, 60_000)
		snd, rcv := l.ends[0].sndWnd, l.ends[1].rcvWnd
		if end == 0 && snd != 64 || end == 1 && (rcv != 64 || snd != 64) {
			t.Errorf("end %d: the windows are %d and %d, want 64", end, snd, rcv)
		}
	}
}

// Nothing but the receive window slows down a legacy sender.
func TestWindowsTowardsLegacyPeersStay(t *testing.T) {
	for _, tt := range []struct {
		name   string
		legacy [2]bool
	}{
		{"both", [2]bool{true, true}},
		{"the sender", [2]bool{true, false}},
		{"the receiver", [2]bool{false, true}},
	} {
		l := newGrowingLink(0, 64)
		for i, legacy := range tt.legacy {
			if legacy {
				l.ends[i].ctl.incarnation = 0
			}
		}
		_, read := l.bulk(t, 4<<20, 4<<20, 60_000)
		if snd, rcv := l.ends[0].sndWnd, l.ends[1].rcvWnd; read < 4<<20 || rcv != 64 || snd > 512 {
			t.Errorf("legacy %s: the windows are %d and %d after %d bytes, want 64",
				tt.name, snd, rcv, read)
		}
	}
}

// A program sets the least windows at any time.
func TestWindowsThatAreSetAreTheLeast(t *testing.T) {
	c := timedCore(t, 1, 10, 2)
	for _, tt := range []struct{ grown, set, want uint32 }{
		{0, 64, 64}, {0, 16, 16}, {500, 32, 500}, {500, 800, 800}, {0, 700, 700},
	} {
		if tt.grown > 0 {
			c.sndWnd, c.rcvWnd = tt.grown, tt.grown
		}
		c.setWindows(int(tt.set), int(tt.set))
		if c.sndWnd != tt.want || c.rcvWnd != tt.want {
			t.Errorf("set to %d: the windows are %d and %d, want %d",
				tt.set, c.sndWnd, c.rcvWnd, tt.want)
		}
	}
}

// A window that was lowered during a transfer grows again.
func TestWindowsLoweredDuringATransfer(t *testing.T) {
	l := newGrowingLink(0, 256)
	l.readSlowly(growingRate, 500)
	for _, c := range l.ends {
		c.setWindows(32, 32)
	}
	l.readSlowly(growingRate, 10_000)
	if a, b := l.ends[0], l.ends[1]; a.sndWnd < growingSegs || b.rcvWnd < growingSegs {
		t.Errorf("the windows are %d and %d, want more than %d", a.sndWnd, b.rcvWnd, growingSegs)
	}
	releaseCore(l.ends[0])
	releaseCore(l.ends[1])
}

// A gap that is never filled stops the reader, and so the growth.
func TestWindowDoesNotGrowBehindAGap(t *testing.T) {
	l := newGrowingLink(0, 64)
	carry := l.onPacket
	l.onPacket = func(from int, data []byte) bool {
		for _, s := range segmentsOf(data) {
			if s.cmd == cmdPush && s.sn == 40 {
				return false
			}
		}
		return carry(from, data)
	}
	l.readSlowly(growingRate, 1000)
	before := l.ends[1].rcvWnd
	l.readSlowly(growingRate, 20_000)
	if n := l.ends[1].rcvWnd; n != before || n > 1024 {
		t.Errorf("the window is %d, and was %d before the gap", n, before)
	}
	releaseCore(l.ends[0])
	releaseCore(l.ends[1])
}

func TestSendWindowShrinksAfterASilence(t *testing.T) {
	l := newGrowingLink(0, 64)
	l.readSlowly(growingRate, 5000)
	a, b := l.ends[0], l.ends[1]
	grown := a.sndWnd
	buf := make([]byte, 1<<17)
	for end := l.now + 30_000; l.now < end; {
		for b.recv(buf) >= 0 {
		}
		if !l.step() {
			l.now = end
		}
	}
	if grown < growingSegs {
		t.Fatalf("the window has grown to %d", grown)
	}
	a.send(buf[:100])
	l.flush(0)
	if a.sndWnd != 64 || b.rcvWnd < growingSegs {
		t.Errorf("after a silence the windows are %d and %d, want 64 and no less than before",
			a.sndWnd, b.rcvWnd)
	}
	releaseCore(a)
	releaseCore(b)
}

// Peers whose windows have grown leave more than 16,000 segments each behind a gap. They get half
// of the memory at most, so that others keep the windows that are set.
func TestGrownWindowsTakeHalfOfTheMemory(t *testing.T) {
	const most, thieves, window = 64 << 20, 10, 64
	n := newFuzzNet(t)
	defer n.close()
	h := n.host("server", Config{MaxMemory: most, AmplificationLimit: -1, ReceiveWindow: window})
	h.listen()
	session := func(name memAddr, conv uint32) *UDPSession {
		h.receive(name, memoryPush(conv, 0, 0))
		return h.demux.find(&sessionKey{mustPeer(name), conv})
	}
	grow := func(s *UDPSession) {
		s.mu.Lock()
		s.core.sndWnd, s.core.rcvWnd = wndMax, wndMax
		s.mu.Unlock()
	}
	for i := range thieves {
		name := memAddr(fmt.Sprint("thief ", i))
		grow(session(name, uint32(i+1)))
		memoryPushes(h, name, uint32(i+1), 2, 17_000, 0, 1000)
	}
	held := h.demux.memory.held.Load()
	if bound := int64(most/2 + thieves*maxFragments*memorySegment); held > bound || held < most/4 {
		t.Errorf("%d bytes are held, want about half of %d", held, most)
	}
	// One more with a window that has grown gets a share of that half, a new one the window that is
	// set. A Write queues as much as without growth, and a share of that half.
	for i, grown := range []bool{true, false} {
		s := session(memAddr(fmt.Sprint("honest ", i)), uint32(100+i))
		if grown {
			grow(s)
		}
		s.mu.Lock()
		s.grantMemoryLocked()
		got := int(s.core.window())
		free, _ := s.core.writeRoom()
		s.mu.Unlock()
		share := window - 1
		if grown {
			share = most / 2 / thieves / memorySegment
		}
		if got < window-1 || got > share {
			t.Errorf("session %d has a window of %d, want %d to %d", i, got, window-1, share)
		}
		if least := writeMost / 1376; int(free) < least || int(free) > least+2*share {
			t.Errorf("session %d may write %d segments, want %d", i, free, least)
		}
	}
}

// With a fifth lost there is always a gap, and all that waits behind one becomes readable at once.
// The windows still grow: what came at once is not left unread, and a round trip is measured
// without a stream that arrives in order.
func TestWindowsGrowThroughHeavyLoss(t *testing.T) {
	const size = 24 << 20
	seeds := uint64(6)
	if raceDetector {
		seeds = 2
	}
	for seed := range seeds {
		p := simProfile{
			Delay: 150 * time.Millisecond, Rate: growingRate, Queue: growingProduct, Loss: 0.2,
		}
		pairRun(t, seed, p, Config{StreamMode: true}, func(t *testing.T, n *connPair) {
			took := n.move(t, pattern(size, 1))
			rate := float64(size) * 8 / 1e6 / took.Seconds()
			st, peer := n.client.Stats(), n.server.Stats()
			t.Logf("seed %d: %.1f Mbit/s, windows of %d and %d", seed, rate,
				st.SendWindow, peer.ReceiveWindow)
			if rate < 9 || st.PeerWindow < 2*growingSegs {
				t.Errorf("seed %d: %.1f Mbit/s, windows of %d and %d, want 9 and %d", seed, rate,
					st.SendWindow, peer.ReceiveWindow, 2*growingSegs)
			}
		})
	}
}
