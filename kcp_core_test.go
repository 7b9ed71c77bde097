// SPDX-License-Identifier: MIT

package kcp

import (
	"bytes"
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
)

// pattern fills a slice with bytes that depend on their position in the stream, so that a shift shows.
func pattern(n int, seed uint64) []byte {
	r := rand.New(rand.NewPCG(seed, 2))
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return b
}

// transfer moves data from end 0 to end 1 and an answer of the same bytes back, and returns the virtual time it took.
func transfer(t *testing.T, l *coreLink, data []byte) millis {
	t.Helper()
	t.Cleanup(func() {
		releaseCore(l.ends[0])
		releaseCore(l.ends[1])
	})
	start := l.now
	var got [2][]byte
	pending := [2][]byte{data, nil}
	echoed := 0
	buf := make([]byte, 1<<17)
	for steps := 0; len(got[0]) < len(data); steps++ {
		if steps > 5_000_000 || l.now-start > 3_600_000 {
			t.Fatalf("no end after %d steps and %d ms: %d of %d bytes there, %d back", steps, l.now-start, len(got[1]), len(data), len(got[0]))
		}
		for i, c := range l.ends {
			for {
				n := c.recv(buf)
				if n < 0 {
					break
				}
				got[i] = append(got[i], buf[:n]...)
			}
			if i == 1 && echoed < len(got[1]) {
				pending[1] = append(pending[1], got[1][echoed:]...)
				echoed = len(got[1])
			}
			for len(pending[i]) > 0 && c.queued() < c.sndWnd {
				n := min(len(pending[i]), c.mss)
				c.send(pending[i][:n])
				pending[i] = pending[i][n:]
			}
			if c.nextEvent(l.now) <= l.now {
				l.flush(i)
			}
		}
		if !l.step() && len(got[0]) < len(data) {
			t.Fatalf("nothing left to happen with %d of %d bytes there, %d back", len(got[1]), len(data), len(got[0]))
		}
	}
	if !bytes.Equal(got[1], data) {
		t.Fatal("bytes arrived changed")
	}
	if !bytes.Equal(got[0], data) {
		t.Fatal("bytes came back changed")
	}
	return l.now - start
}

func TestCoreDeliversOverBadLinks(t *testing.T) {
	for _, window := range []int{1, 32, 1024, 65535} {
		for _, loss := range []float64{0, 0.05, 0.3} {
			for _, mode := range []struct {
				name            string
				noDelay, nc     int
				stream, recover bool
			}{{"normal", 0, 0, false, false}, {"fast", 1, 1, true, false}} {
				t.Run(fmt.Sprintf("window %d loss %v %s", window, loss, mode.name), func(t *testing.T) {
					p := linkProfile{loss: loss, delay: 20}
					if loss > 0 {
						p.duplicate, p.jitter = 0.05, 15
					}
					l := newCoreLink(uint64(window)+uint64(loss*100), p)
					size := 40 * window
					if mode.nc == 1 || loss == 0 {
						size = 400 * window
					}
					for _, c := range l.ends {
						c.setWindows(window, window)
						c.setNoDelay(mode.noDelay, 10, 2, mode.nc)
						c.stream = mode.stream
					}
					took := transfer(t, l, pattern(min(size, 2<<20)+3000, 9))
					s := l.ends[0].stats
					t.Logf("%d ms, %d packets, retransmitted %d fast %d early %d timeout, repeats %d", took, l.packets[0], s.fastRetrans, s.earlyRetrans, s.timeoutRetrans, l.ends[1].stats.repeats)
				})
			}
		}
	}
}

func TestCoreWraps(t *testing.T) {
	l := newCoreLink(3, linkProfile{loss: 0.1, delay: 10, jitter: 10})
	for i, c := range l.ends {
		c.setWindows(256, 256)
		c.setNoDelay(1, 10, 2, 1)
		start := seqNum(math.MaxUint32 - 100)
		c.sendUna, c.sendNxt, c.sendEnd = start, start, start
		c.readNxt, c.rcvNxt = start, start
		c.tsOrigin = math.MaxUint32 - uint32(l.now) - uint32(500*i)
	}
	transfer(t, l, pattern(1<<20, 4))
	if l.ends[0].sendUna > 1<<20 {
		t.Fatalf("sn did not wrap: una is %d", l.ends[0].sendUna)
	}
}
