// SPDX-License-Identifier: MIT

package kcp

import (
	"fmt"
	"math"
	"testing"
)

func TestCoreDeliversOverBadLinks(t *testing.T) {
	for _, window := range []int{1, 32, 1024, 65535} {
		for _, loss := range []float64{0, 0.05, 0.3} {
			for _, mode := range []struct {
				name            string
				noDelay, nc     int
				stream, recover bool
			}{{"normal", 0, 0, false, false}, {"fast", 1, 1, true, false}} {
				title := fmt.Sprintf("window %d loss %v %s", window, loss, mode.name)
				t.Run(title, func(t *testing.T) {
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
						c.setMode(modeStream, mode.stream)
					}
					took := transfer(t, l, pattern(min(size, 2<<20)+3000, 9))
					s := l.ends[0].stats
					t.Logf("%d ms, %d packets, resent %d fast %d early %d timeout, repeats %d",
						took, l.packets[0], s.fastRetrans, s.earlyRetrans, s.timeoutRetrans,
						l.ends[1].stats.repeats)
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
		c.tsOrigin = math.MaxUint32 - timestamp(l.now) - timestamp(500*i)
	}
	transfer(t, l, pattern(1<<20, 4))
	if l.ends[0].sendUna > 1<<20 {
		t.Fatalf("sn did not wrap: una is %d", l.ends[0].sendUna)
	}
}
