// SPDX-License-Identifier: MIT

package simnet

import (
	"net"
	"strings"
	"testing"
	"time"
)

func TestProfilesGoToTheLinksTheyName(t *testing.T) {
	delay := func(ms int) Profile { return Profile{Delay: time.Duration(ms) * time.Millisecond} }
	for _, before := range []bool{true, false} { // rules before or after the links
		inBubble(t, func(t *testing.T, n *Network, a, b *Endpoint) {
			rules := func() {
				n.SetDefault(delay(1))
				n.SetLink("10.0.0.1", "10.0.0.2", delay(2))
				n.SetLink("*", "10.0.0.2:2001", delay(3))
				n.SetLink("[2001:db8::1]:1", "*", delay(4))
				n.SetBoth("10.0.0.5", "10.0.0.6", delay(5))
				n.SetLink("10.0.0.6", "10.0.0.5", delay(55))
				n.SetLink("10.0.0.6", "10.0.0.5", delay(6)) // replaces the one before
				n.SetDefault(delay(7))                      // only for the rest
			}
			if before {
				rules()
			}
			for _, c := range []struct {
				from, to string
				want     time.Duration
			}{
				{addrA, addrB, 2}, {"10.0.0.1:7", "10.0.0.2:7", 2}, {addrB, addrA, 7},
				{addrA, "10.0.0.2:2001", 3}, {"10.0.0.9:9", "10.0.0.2:2001", 3},
				{"[2001:db8::1]:1", addrB, 4}, {"[2001:db8::1]:2", addrB, 7},
				{"10.0.0.5:1", "10.0.0.6:1", 5}, {"10.0.0.6:1", "10.0.0.5:1", 6},
				{"node x", "node y", 7},
			} {
				l := n.Link(c.from, c.to)
				if !before {
					rules()
				}
				if got := l.Profile().Delay; got != c.want*time.Millisecond {
					t.Errorf("rules first %v: %s has delay %v, want %d ms", before, l.Name(), got, c.want)
				}
			}
		})
	}
}

func TestProfileCanBeReadBackAndChanged(t *testing.T) {
	inBubble(t, func(t *testing.T, n *Network, a, b *Endpoint) {
		l := n.Link(addrA, addrB)
		if l.Name() != linkA || l.Profile() != (Profile{}) || l.State() != Up {
			t.Errorf("new link %s: %+v", l.Name(), l.Profile())
		}
		p := Profile{Rate: 1e6, Loss: 0.1, Burst: BurstLoss(0.1, 3)}
		l.SetProfile(p)
		n.SetDefault(Profile{Loss: 1})
		if got := l.Profile(); got != p {
			t.Errorf("Profile = %+v, want %+v", got, p)
		}
		n.SetState("10.0.0.1", "10.0.0.2", Down)
		if l.State() != Down || n.Link(addrA, "10.0.0.2:1").State() != Down || n.Link(addrB, addrA).State() != Up {
			t.Error("SetState did not reach the links it names, or reached others")
		}
	})
}

func TestPairsShareABottleneck(t *testing.T) {
	inBubble(t, func(t *testing.T, n *Network, a, b *Endpoint) {
		c := listen(t, n, "10.0.0.3:3000")
		n.SetDefault(Profile{Delay: time.Millisecond})
		shared := n.NewLink("bottleneck", Profile{Rate: 8_000_000, Queue: 10})
		n.Route("10.0.0.1", "*", shared)
		n.Route("10.0.0.3", "*", shared)
		sendNumbered(t, c, addrB, 10, 1000)
		sendNumbered(t, a, addrB, 10, 1000)
		sendNumbered(t, b, addrA, 1, 1000)
		all := readAll(t, b)
		// a's are first whichever is called first; c gets what is left of the queue.
		if len(all) != 11 || all[0].from != addrA || all[10].from != "10.0.0.3:3000" || all[10].after != 11*time.Millisecond {
			t.Errorf("got %d packets, the last %+v", len(all), all[len(all)-1])
		}
		if s := shared.Stats(); s.Sent != 20 || s.Lost[LossQueue] != 9 {
			t.Errorf("shared link: %+v", s)
		}
		if all := readAll(t, a); len(all) != 1 || all[0].after > 0 {
			t.Errorf("the way back: %+v", all)
		}
		n.Route("10.0.0.3", "*", nil)
		send(t, c, addrB, []byte("x"))
		time.Sleep(time.Second)
		if got := n.Link("10.0.0.3:3000", addrB).Stats().Delivered; got != 1 {
			t.Errorf("a route taken away: %d packets on its own link, want 1", got)
		}
		defer func() {
			if recover() == nil {
				t.Error("NewLink took a name in use")
			}
		}()
		n.NewLink("bottleneck", Profile{})
	})
}

func TestTapObservesRewritesDropsAndDelays(t *testing.T) {
	inBubble(t, func(t *testing.T, n *Network, a, b *Endpoint) {
		var log []string
		begin := time.Now()
		n.SetTap(func(now time.Time, from, to net.Addr, payload []byte) Action {
			log = append(log, now.Sub(begin).String()+" "+from.String()+" "+to.String()+" "+string(payload))
			switch payload[0] {
			case 'd':
				return Action{Drop: true}
			case 'g':
				return Action{Payload: []byte(strings.Repeat("g", 3000))}
			case 'e':
				return Action{Payload: []byte{}}
			case 'i':
				payload[0] = 'I'
			case 'l':
				return Action{Delay: time.Second}
			case 'c': // a tap may use the network
				n.SetState("*", "*", Down)
				send(t, b, addrA, []byte("too late"))
			}
			return Action{}
		})
		for _, s := range []string{"late", "drop", "grow", "empty", "in place", "pass", "cut", "the end"} {
			send(t, a, addrB, []byte(s))
			time.Sleep(time.Millisecond)
		}
		var got []string
		for _, p := range readAll(t, b) {
			got = append(got, string(p.data))
		}
		want := []string{strings.Repeat("g", 3000), "", "In place", "pass", "cut", "late"}
		if strings.Join(got, "|") != strings.Join(want, "|") {
			t.Errorf("got %q, want %q", got, want)
		}
		if len(log) != 9 || log[1] != "1ms "+addrA+" "+addrB+" drop" || n.Stats().Lost[LossTap] != 1 || n.Stats().Lost[LossOutage] != 2 {
			t.Errorf("the tap saw %q; %+v", log, n.Stats())
		}
		n.SetTap(nil)
		send(t, a, addrB, []byte("unseen"))
		time.Sleep(time.Millisecond)
		if len(log) != 9 {
			t.Error("the tap saw a packet after it was taken away")
		}
	})
}
