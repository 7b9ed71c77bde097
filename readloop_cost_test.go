// SPDX-License-Identifier: MIT

package kcp

import (
	"bytes"
	"fmt"
	"slices"
	"testing"
	"time"
)

// costRig feeds datagrams to an accepted session as its reader does, and measures how long that
// takes, answers included.
type costRig struct {
	l *Listener
	s *UDPSession
	r *reader
}

func newCostRig(t *testing.T, window int) *costRig {
	t.Helper()
	conn := discardConn{newMemConn(memAddr("server"), nil)}
	c := Config{
		ReceiveWindow: window, SendWindow: window, AmplificationLimit: -1,
		NoCongestionControl: true,
	}
	l, err := c.Serve(conn)
	if err != nil {
		t.Fatal(err)
	}
	opener := segment{conv: 7, cmd: cmdPush, wnd: wndMax, ts: 5, data: []byte("x")}
	conn.put(appendSegment(nil, &opener), memAddr("peer"))
	s, err := l.AcceptKCP()
	if err != nil {
		t.Fatal(err)
	}
	g := &costRig{l: l, s: s, r: newReader(endpointOf(s))}
	t.Cleanup(func() {
		s.SetLinger(0)
		s.Close()
		l.Close()
		g.r.release()
	})
	return g
}

// feed returns how long the datagrams take, each as a batch of its own.
func (g *costRig) feed(datagrams [][]byte) time.Duration {
	msgs := make([]received, len(datagrams))
	for i, d := range datagrams {
		msgs[i] = received{buf: d, n: len(d), fromAddr: memAddr("peer")}
	}
	began := time.Now()
	for i := range msgs {
		g.r.batch(msgs[i : i+1])
	}
	return time.Since(began)
}

// next returns the first sequence number that the session has not received.
func (g *costRig) next() seqNum {
	g.s.mu.Lock()
	defer g.s.mu.Unlock()
	return g.s.core.rcvNxt
}

// drain reads everything that is available.
func (g *costRig) drain() {
	g.s.mu.Lock()
	g.s.core.releaseReceived()
	g.s.core.afterRead()
	g.s.mu.Unlock()
}

// stuffed fills a datagram with as many segments as make gives.
func stuffed(size int, make func(i int) segment) (b []byte) {
	for i := 0; ; i++ {
		s := make(i)
		s.conv, s.wnd = 7, wndMax
		if len(b)+segmentHeaderSize+len(s.data) > size {
			return b
		}
		b = appendSegment(b, &s)
	}
}

// packetKinds are the datagrams that an attacker who knows the conversation may send. Each entry
// makes one round of them.
func packetKinds(window int) []struct {
	name string
	make func(g *costRig, n int) [][]byte
} {
	all := func(n int, one func(i int) []byte) (d [][]byte) {
		for i := range n {
			d = append(d, one(i))
		}
		return d
	}
	payload := pattern(1376, 1)
	return []struct {
		name string
		make func(g *costRig, n int) [][]byte
	}{
		{"ordinary data", func(g *costRig, n int) [][]byte {
			first := g.next()
			return all(n, func(i int) []byte {
				return stuffed(1400, func(int) segment {
					return segment{cmd: cmdPush, ts: 9, sn: first + seqNum(i), data: payload}
				})
			})
		}},
		{"ACKs for nothing", func(_ *costRig, n int) [][]byte {
			return all(n, func(i int) []byte {
				return stuffed(1400, func(j int) segment {
					return segment{cmd: cmdAck, ts: 1, sn: seqNum(58*i + j)}
				})
			})
		}},
		{"holes", func(g *costRig, n int) [][]byte {
			first := g.next()
			return all(n, func(i int) []byte {
				return stuffed(1400, func(j int) segment {
					hole := seqNum(2*(56*i+j)) % seqNum(window-2)
					return segment{cmd: cmdPush, ts: 9, sn: first + 1 + hole, data: []byte("x")}
				})
			})
		}},
		{"repeated data", func(g *costRig, n int) [][]byte {
			first := g.next()
			return all(n, func(int) []byte {
				return stuffed(1400, func(int) segment {
					return segment{cmd: cmdPush, ts: 9, sn: first - 1}
				})
			})
		}},
		{"window questions", func(_ *costRig, n int) [][]byte {
			return all(n, func(int) []byte {
				return stuffed(1400, func(int) segment { return segment{cmd: cmdWask} })
			})
		}},
		{"TLVs", func(_ *costRig, n int) [][]byte {
			return all(n, func(int) []byte {
				return stuffed(1400, func(int) segment {
					return segment{cmd: cmdWins, ts: controlVersion, sn: controlMagic,
						data: slices.Repeat([]byte{200, 0}, 688)}
				})
			})
		}},
		{"messages to skip", func(g *costRig, n int) [][]byte {
			first := g.next()
			return all(n, func(i int) []byte {
				s := skipRuns{n: 1}
				s.runs[0] = skipRun{first + 1 + seqNum(i*skipSpan), 1, skipSpan}
				if window < skipSpan {
					s.runs[0] = skipRun{first, 1, skipSpan}
				}
				return stuffed(1400, func(int) segment {
					return segment{cmd: cmdWins, ts: controlVersion, sn: controlMagic,
						data: appendSkip(nil, 9, first, &s)}
				})
			})
		}},
		{"FEC groups to recover", func(g *costRig, n int) (d [][]byte) {
			e, _ := newFECEncoder(10, 3)
			defer e.release()
			first := g.next()
			for group := 0; len(d) < n; group++ {
				for i := range 10 {
					s := segment{conv: 7, cmd: cmdPush, wnd: wndMax, ts: 9 + timestamp(i*i),
						sn: first - 1, data: payload[:1368]}
					b := appendSegment(make([]byte, fecHeaderSize, 1500), &s)
					ready := e.encode(b, 1)
					// the first groups show their size, of the others three are missing
					if group < 2 || i%3 != 1 {
						d = append(d, b)
					}
					for j := range ready {
						d = append(d, bytes.Clone(e.parity(j)))
					}
				}
			}
			return d[:n]
		}},
	}
}

// costMost is the highest permitted cost of a datagram, relative to an ordinary one.
const costMost = 10

// The most expensive datagram of a hostile peer costs at most ten times an ordinary one of the same
// size. This holds at a small window and at the largest. The minimum of many rounds excludes other
// load on the machine. If the load affects all rounds, more are measured.
func TestDearestPacketCostsLittleMore(t *testing.T) {
	if bufferDebug {
		t.Skip("a tracked buffer is filled and checked, and none is used again soon")
	}
	rounds, tries := 21, 40
	if raceDetector {
		rounds, tries = 3, 1
	}
	for _, window := range []int{128, wndMax} {
		kinds := packetKinds(window)
		least := make([]time.Duration, len(kinds))
		for range tries {
			costOf(t, window, rounds, least)
			if slices.Max(least) <= costMost*least[0] {
				break
			}
		}
		line := fmt.Sprintf("window %d:", window)
		for i, k := range kinds {
			ratio := float64(least[i]) / float64(least[0])
			line += fmt.Sprintf(" %s %v (%.1f),", k.name, least[i], ratio)
			if least[i] > costMost*least[0] && !raceDetector {
				t.Errorf("window %d: a datagram of %s takes %v, an ordinary one %v",
					window, k.name, least[i], least[0])
			}
		}
		t.Log(line)
	}
}

// costOf lowers each entry of least to the time that a datagram of that kind takes.
func costOf(t *testing.T, window, rounds int, least []time.Duration) {
	t.Helper()
	const packets = 64
	for range rounds {
		for i, k := range packetKinds(window) {
			g := newCostRig(t, window)
			if took := g.feed(k.make(g, packets)) / packets; least[i] == 0 || took < least[i] {
				least[i] = took
			}
			if st := g.s.Stats(); i == len(least)-1 && st.FECRecovered == 0 {
				t.Errorf("nothing was recovered: %+v", st)
			}
			g.drain()
		}
	}
}
