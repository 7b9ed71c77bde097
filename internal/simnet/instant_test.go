// SPDX-License-Identifier: MIT

package simnet

import (
	"net"
	"testing"
	"testing/synctest"
	"time"
)

// A change made at the instant of an event comes after it, and before the packets of that instant.
// That does not depend on which goroutine runs first.
func TestChangeAtTheInstantOfAnEvent(t *testing.T) {
	const at = 10 * time.Millisecond
	line := Profile{Rate: 8000, Delay: time.Second} // 10 bytes take 10 ms
	for _, c := range []struct {
		name          string
		profile       Profile
		sent          time.Duration
		change        func(n *Network, b *Endpoint)
		to            string
		wantDelivered uint64
	}{
		{"close", Profile{Delay: at}, 0, func(n *Network, b *Endpoint) { b.Close() }, addrB, 1},
		{"listen", Profile{Delay: at}, 0, func(n *Network, b *Endpoint) { n.Listen("10.0.0.9:9") }, "10.0.0.9:9", 0},
		{"rebind", Profile{Delay: at}, 0, func(n *Network, b *Endpoint) { b.Rebind(udp("10.0.0.9:9"), false) }, addrB, 1},
		{"cut", line, 0, func(n *Network, b *Endpoint) { n.SetState("*", "*", Down) }, addrB, 1},
		{"loss", line, 0, func(n *Network, b *Endpoint) { n.SetDefault(Profile{Loss: 1}) }, addrB, 1},
		{"tap", Profile{}, at - 1, func(n *Network, b *Endpoint) {
			n.SetTap(func(time.Time, net.Addr, net.Addr, []byte) Action { return Action{Drop: true} })
		}, addrB, 1},
		{"cut, for packets of the instant", Profile{}, at, func(n *Network, b *Endpoint) { n.SetState("*", "*", Down) }, addrB, 0},
		{"close, for packets of the instant", Profile{}, at, func(n *Network, b *Endpoint) { b.Close() }, addrB, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			for try := range 8 {
				inBubble(t, func(t *testing.T, n *Network, a, b *Endpoint) {
					n.SetDefault(c.profile)
					change := func() {
						time.Sleep(at)
						c.change(n, b)
					}
					sending := func() {
						time.Sleep(c.sent)
						a.WriteTo(make([]byte, 10), udp(c.to))
					}
					// The order in which the timers are set sways the scheduler.
					first, second := change, sending
					if try%2 == 0 {
						first, second = second, first
					}
					go first()
					synctest.Wait()
					go second()
					time.Sleep(time.Minute)
					if s := n.Stats(); s.Delivered != c.wantDelivered || s.Sent != 1 {
						t.Errorf("try %d: got %+v, want %d delivered", try, s, c.wantDelivered)
					}
				})
			}
		})
	}
}

func TestReceiveQueueTakesPacketsOfOneInstantAsTheyCome(t *testing.T) {
	inBubble(t, func(t *testing.T, n *Network, a, b *Endpoint) {
		b.SetReceiveQueue(3)
		arrive := func(instant int64) bool {
			p := n.pool.get([]byte("x"))
			if b.accept(p, instant) {
				return true
			}
			n.pool.put(p)
			return false
		}
		for i, want := range []bool{true, true, true, false} {
			if got := arrive(7); got != want {
				t.Errorf("packet %d is taken: %v, want %v", i, got, want)
			}
		}
		readCount(t, b, 2)
		if arrive(7) {
			t.Error("a quick reader made room within the instant")
		}
		for i, want := range []bool{true, true, false} {
			if got := arrive(8); got != want {
				t.Errorf("the instant after: packet %d is taken: %v, want %v", i, got, want)
			}
		}
	})
}

func TestTimerOfAnEarlierDeadlineIsVoid(t *testing.T) {
	inBubble(t, func(t *testing.T, n *Network, a, b *Endpoint) {
		b.SetReadDeadline(time.Now().Add(time.Second))
		stale := b.readDeadlines
		b.SetReadDeadline(time.Now().Add(time.Hour))
		b.expireReads(stale) // as a timer that fired before it could be stopped
		send(t, a, addrB, []byte("x"))
		if _, _, err := b.ReadFrom(make([]byte, 1)); err != nil {
			t.Errorf("ReadFrom: %v", err)
		}
	})
}
