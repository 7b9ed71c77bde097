// SPDX-License-Identifier: MIT

package kcp

import (
	"bytes"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// reopened returns a state machine whose receive window of 8 was full, was advertised as 0 at 1000,
// and was read at 1100.
func reopened(t *testing.T) *core {
	c := timedCore(t, 1, 10, 2)
	c.setWindows(32, 8)
	c.input(inputAt(1000), pushData(1, 0, 1, 2, 3, 4, 5, 6, 7), true)
	if sent := flushAll(c, 1000); len(sent) == 0 || sent[len(sent)-1].wnd != 0 {
		t.Fatalf("with a full queue left %+v, want a window of 0", sent)
	}
	coreMessages(c)
	return c
}

func TestReopenedWindowIsToldAgainUntilDataComes(t *testing.T) {
	c := reopened(t)
	now, first := millis(1100), millis(0)
	told := 0
	for {
		at, sent := nextSent(c, now)
		if at == never {
			break
		}
		if len(sent) != 1 || sent[0].cmd != cmdWins || sent[0].wnd != 8 {
			t.Fatalf("at %d left %+v, want a WINS with a window of 8", at, sent)
		}
		if told++; told == 2 {
			first = at
		}
		if told > 1 && sent[0].sn == 0 {
			t.Errorf("at %d: an sn of 0, for which a legacy listener opens a session", at)
		}
		if at-now > 1000 {
			t.Errorf("advertised at %d and then not before %d", now, at)
		}
		now = at
	}
	if first == 0 || first > 1100+300 || now < 1100+7000 || told > 20 {
		t.Errorf("advertised %d times, again at %d, last at %d; want within 300 ms, and for 7 s",
			told, first, now)
	}

	t.Log("# a duplicate from before the closing proves nothing, new data does")
	c = reopened(t)
	flushAll(c, 1100)
	c.input(inputAt(1110), pushData(2, 7), true)
	flushAll(c, 1120)
	if at, sent := nextSent(c, 1121); at > 1400 || count(sent, cmdWins) != 1 {
		t.Errorf("after a duplicate left %+v at %d, want a WINS", sent, at)
	}
	c.input(inputAt(1410), pushData(3, 8), true)
	coreMessages(c)
	flushAll(c, 1430)
	if at, sent := nextSent(c, 1431); at != never {
		t.Errorf("after new data left %+v at %d, want nothing", sent, at)
	}
}

// A window that closes again is not advertised as open.
func TestReopenedWindowThatClosesIsNotTold(t *testing.T) {
	c := reopened(t)
	flushAll(c, 1100)
	c.input(inputAt(1110), pushData(3, 8, 9, 10, 11, 12, 13, 14, 15), true)
	flushAll(c, 1110)
	if at, sent := nextSent(c, 1111); at != never {
		t.Errorf("at %d left %+v, want nothing", at, sent)
	}
}

// When a gap is filled, a whole window becomes readable at once. If a Read is waiting for it, the
// window must not be advertised as closed. Without a Read it is closed.
func TestFilledGapDoesNotCloseTheWindowOfAReader(t *testing.T) {
	for _, stream := range []bool{false, true} {
		for _, waits := range []bool{false, true} {
			connRun(t, shortLink, func(t *testing.T, w *connWorld) {
				l := w.serve(Config{ReceiveWindow: 32, StreamMode: stream, AmplificationLimit: -1})
				peer := w.endpoint(restartAddr)
				push := func(first, last seqNum) {
					for sn := first; sn <= last; sn++ {
						data := appendSegment(nil, &segment{conv: 7, cmd: cmdPush, wnd: 32, ts: 500,
							sn: sn, data: pattern(1000, 1)})
						if _, err := peer.WriteTo(data, l.Addr()); err != nil {
							t.Error(err)
						}
					}
				}
				push(0, 0)
				s := w.accept(l)
				connWantRead(t, s, string(pattern(1000, 1)))
				time.Sleep(time.Second)
				var mu sync.Mutex // guards windows
				windows := make(map[uint16]int)
				w.setDrop(func(from, _ string, payload []byte) bool {
					mu.Lock()
					defer mu.Unlock()
					if from == connServerAddr {
						for _, s := range segmentsOf(bytes.Clone(payload)) {
							windows[s.wnd]++
						}
					}
					return false
				})
				push(2, 32)
				time.Sleep(time.Second)
				if waits {
					go func() { _, _ = io.ReadFull(s, make([]byte, 32_000)) }()
					time.Sleep(time.Second)
				}
				push(1, 1)
				time.Sleep(time.Second)
				mu.Lock()
				defer mu.Unlock()
				if closed := windows[0] > 0; closed == waits || len(windows) == 0 {
					t.Errorf("stream %v, a Read waits %v: advertised windows %v",
						stream, waits, windows)
				}
			})
		}
	}
}

// A legacy sender is notified of a window that has opened, even if the first update is lost and its
// own probes are slow.
func TestLegacySenderLearnsThatTheWindowOpened(t *testing.T) {
	connRun(t, shortLink, func(t *testing.T, w *connWorld) {
		l := w.serve(Config{ReceiveWindow: 16, StreamMode: true})
		var lost atomic.Int32
		w.setDrop(func(from, to string, payload []byte) bool {
			for _, s := range segmentsOf(bytes.Clone(payload)) {
				switch {
				case s.cmd == cmdWask:
					return true
				case from == connServerAddr && s.cmd == cmdWins && !isControl(&s):
					return lost.Add(1)%3 != 0
				}
			}
			return false
		})
		p := w.legacyPeer(restartAddr, l.Addr(), 5)
		want := pattern(100_000, 3)
		p.write(want)
		s := w.accept(l)
		start := time.Now()
		var got []byte
		for buf := make([]byte, 64<<10); len(got) < len(want); {
			time.Sleep(100 * time.Millisecond) // the window is full by then
			_ = s.SetReadDeadline(time.Now().Add(time.Minute))
			n, err := s.Read(buf)
			if err != nil {
				t.Fatalf("after %d bytes: %v", len(got), err)
			}
			got = append(got, buf[:n]...)
		}
		if took := time.Since(start); !bytes.Equal(got, want) ||
			took > 5*time.Second || lost.Load() < 3 {
			t.Errorf("%d bytes in %v with %d updates sent, want all within 5 s",
				len(got), took, lost.Load())
		}
	})
}

// A message of more fragments than the window holds, or holds after it was made smaller, becomes
// complete.
func TestMessageLargerThanTheWindowArrives(t *testing.T) {
	tests := []struct {
		name            string
		window, smaller int    // before and after the first packets
		lost            seqNum // of the first transmissions
		fragments       int
	}{
		{"window of 1", 1, 1, 99, 2},
		{"window of 1, many fragments", 1, 1, 99, 20},
		{"window of 1, the first lost", 1, 1, 0, 3},
		{"window of 3", 3, 3, 1, 30},
		{"made smaller under way", 128, 4, 99, 100},
		{"made smaller than what has arrived", 128, 4, 0, 100},
		{"made smaller, a hole in the middle", 128, 1, 20, 100},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			l := newCoreLink(3, linkProfile{delay: 10})
			a, b := l.ends[0], l.ends[1]
			for _, c := range l.ends {
				c.setNoDelay(1, 10, 2, 1)
				defer releaseCore(c)
			}
			a.setWindows(64, 64)
			b.setWindows(1, tt.window)
			l.onPacket = func(from int, data []byte) bool {
				for _, s := range segmentsOf(data) {
					if l.now < 1010 && from == 0 && s.sn == tt.lost {
						return false
					}
				}
				return true
			}
			want := [][]byte{[]byte("before"), pattern(tt.fragments*a.mss, 4), []byte("behind")}
			var got [][]byte
			for i, m := range want {
				if r := a.send(m); r < 0 {
					t.Fatalf("message %d: send = %d", i, r)
				}
			}
			for l.now < 60_000 && len(got) < len(want) && l.step() {
				if l.now > 1012 && tt.smaller != 0 {
					b.setWindows(0, tt.smaller)
				}
				got = append(got, coreMessages(b)...)
				if free := int(b.window()); b.readable() > 0 && free == 0 {
					t.Fatalf("at %d ms: window 0 with %d of %d fragments there",
						l.now, b.readable(), tt.fragments)
				}
			}
			if len(got) != len(want) || !bytes.Equal(got[1], want[1]) {
				t.Fatalf("%d of %d messages came", len(got), len(want))
			}
			if free := b.window(); int(free) != tt.smaller {
				t.Errorf("window %d at the end, want %d", free, tt.smaller)
			}
		})
	}
}

// With a window of one segment, a first message of up to a packet arrives. The space for the HELLO
// has split it in two.
func TestReceiveWindowOfOneTakesTheFirstMessage(t *testing.T) {
	for _, n := range []int{1, 1330, 1331, 1376, 5000} {
		t.Run(fmt.Sprintf("%d bytes", n), func(t *testing.T) {
			connRun(t, shortLink, func(t *testing.T, w *connWorld) {
				l := w.serve(Config{ReceiveWindow: 1})
				s := w.dial(Config{ReceiveWindow: 1})
				want := string(pattern(n, 6))
				go func() { _, _ = s.Write([]byte(want)) }()
				connWantRead(t, w.accept(l), want)
			})
		})
	}
}
