// SPDX-License-Identifier: MIT

package kcp

import "testing"

func TestRateLimitHoldsInEverySecond(t *testing.T) {
	for _, rate := range []uint32{200_000, 2_000_000} {
		for _, size := range []int{10, 1376} {
			l := newCoreLink(1, linkProfile{delay: 30, loss: 0.005})
			c := l.ends[0]
			for _, c := range l.ends {
				c.setWindows(4096, 4096)
				c.setNoDelay(1, 10, 2, 1)
			}
			c.rate = tokenBucket{rate: rate, last: l.now}
			sent := make([]int, 10_000) // bytes in each millisecond
			l.onPacket = func(from int, data []byte) bool {
				if from == 0 {
					for _, s := range segmentsOf(data) {
						sent[l.now-1000] += segmentHeaderSize + len(s.data)
					}
				}
				return true
			}
			buf := make([]byte, 1<<16)
			for l.now < 1000+3990 {
				for c.queued() < c.sndWnd {
					c.send(buf[:size])
				}
				for l.ends[1].recv(buf) >= 0 {
				}
				l.flush(0)
				if !l.step() {
					break
				}
			}
			least := int(rate) * 95 / 100
			if perSecond := 4096 * (segmentHeaderSize + size) * 1000 / 60; perSecond < 3*int(rate) {
				least = 0 // the window holds it back more
			}
			second := 0
			for i := range 3990 {
				second += sent[i]
				if i >= 1000 {
					second -= sent[i-1000]
				}
				if i > 1500 && i < 3980 && (second > int(rate)*105/100 || second < least) {
					t.Errorf("rate %d, messages of %d: %d bytes in the second before %d ms",
						rate, size, second, i)
					break
				}
			}
			for _, c := range l.ends {
				releaseCore(c)
			}
		}
	}
}
