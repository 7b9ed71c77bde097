// SPDX-License-Identifier: MIT

package simnet

import (
	"math"
	"strings"
	"testing"
	"time"
)

func TestDownLinkLosesPackets(t *testing.T) {
	inBubble(t, func(t *testing.T, n *Network, a, b *Endpoint) {
		n.SetDefault(Profile{Delay: 10 * time.Millisecond})
		l := n.Link(addrA, addrB)
		send(t, a, addrB, []byte("0 on the wire"))
		time.Sleep(time.Millisecond)
		l.SetState(Down)
		send(t, a, addrB, []byte("1 lost"))
		time.Sleep(time.Millisecond)
		l.SetState(Up)
		send(t, a, addrB, []byte("2 after"))
		time.Sleep(time.Millisecond)
		send(t, a, addrB, []byte("3 lost: a change counts for the whole instant"))
		l.SetState(Down)
		var got []string
		for _, p := range readAll(t, b) {
			got = append(got, string(p.data[:1]))
		}
		if s := strings.Join(got, ""); s != "02" || l.Stats().Lost[LossOutage] != 2 || l.State() != Down {
			t.Errorf("got packets %q, %+v", s, l.Stats())
		}
	})
}

func TestStalledLinkKeepsPackets(t *testing.T) {
	for _, c := range []struct {
		name string
		p    Profile
		want []time.Duration // after the stall of 250 ms to 10 s
	}{
		{"no rate", Profile{}, []time.Duration{10*time.Second + 1, 10*time.Second + 1}},
		// 1 s a packet, of which the first has had a quarter.
		{"rate", Profile{Rate: 8000}, []time.Duration{10750 * time.Millisecond, 11750 * time.Millisecond}},
	} {
		t.Run(c.name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, n *Network, a, b *Endpoint) {
				n.SetDefault(c.p)
				if c.p.Rate > 0 {
					sendNumbered(t, a, addrB, 2, 1000)
				}
				time.Sleep(250 * time.Millisecond)
				n.SetState("10.0.0.1", "*", Stalled)
				if c.p.Rate == 0 {
					sendNumbered(t, a, addrB, 2, 1000)
				}
				time.AfterFunc(9750*time.Millisecond, func() { n.SetState("10.0.0.1", "*", Up) })
				all := readAll(t, b)
				if len(all) != 2 {
					t.Fatalf("got %d packets, want 2", len(all))
				}
				for i, p := range all {
					if got := 250*time.Millisecond + p.after; got != c.want[i] {
						t.Errorf("packet %d came after %v, want %v", i, got, c.want[i])
					}
				}
			})
		})
	}
}

func TestStalledLinkDropsTheTailOfItsQueue(t *testing.T) {
	inBubble(t, func(t *testing.T, n *Network, a, b *Endpoint) {
		n.SetDefault(Profile{Queue: 5})
		n.SetState("*", addrB, Stalled)
		sendNumbered(t, a, addrB, 8, 4)
		time.Sleep(time.Second)
		if s := n.Stats(); s.QueueLen != 5 || s.InTransit != 5 || s.Lost[LossQueue] != 3 {
			t.Errorf("got %+v", s)
		}
		n.SetState("*", addrB, Up)
		if got := len(readAll(t, b)); got != 5 {
			t.Errorf("got %d packets, want 5", got)
		}
	})
}

func TestCloseCountsWhatWasUnderWay(t *testing.T) {
	inBubble(t, func(t *testing.T, n *Network, a, b *Endpoint) {
		n.SetDefault(Profile{Delay: time.Hour, Rate: 8000})
		sendNumbered(t, a, addrB, 10, 1000)
		time.Sleep(3500 * time.Millisecond) // three on the wire, one on the line, six in the queue
		sendNumbered(t, a, addrB, 1, 1000)  // one not yet on the link
		n.Close()
		if s := n.Stats(); s.Lost[LossClose] != 10 {
			t.Errorf("got %+v", s)
		}
	})
}

func TestValidateNamesTheField(t *testing.T) {
	for _, c := range []struct {
		p    Profile
		want string
	}{
		{Profile{}, ""},
		{Profile{Loss: 1, Delay: time.Hour}, ""},
		{Profile{Loss: 1.5}, "Loss"},
		{Profile{Loss: math.NaN()}, "Loss"},
		{Profile{Corrupt: -0.1}, "Corrupt"},
		{Profile{Burst: BurstLoss(0.9, 1)}, "Burst.ToBad"},
		{Profile{Rate: -1}, "Rate"},
		{Profile{Overhead: 1 << 20}, "Overhead"},
		{Profile{Delay: -1}, "Delay"},
		{Profile{Jitter: math.MaxInt64}, "Jitter"},
		{Profile{Outage: Outage{Up: -1}}, "Outage.Up"},
	} {
		got := ""
		if err := c.p.Validate(); err != nil {
			got = err.Error()
		}
		if (c.want == "") != (got == "") || !strings.Contains(got, c.want+" ") && c.want != "" {
			t.Errorf("Validate(%+v) = %q, want field %q", c.p, got, c.want)
		}
	}
	defer func() {
		if recover() == nil {
			t.Error("SetDefault took a profile that is not valid")
		}
	}()
	New(1).SetDefault(Profile{Loss: 2})
}
