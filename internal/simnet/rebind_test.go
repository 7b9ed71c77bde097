// SPDX-License-Identifier: MIT

package simnet

import (
	"errors"
	"testing"
	"time"
)

func TestRebindChangesTheSource(t *testing.T) {
	const newA = "192.0.2.7:7777"
	for _, keepOld := range []bool{false, true} {
		inBubble(t, func(t *testing.T, n *Network, a, b *Endpoint) {
			n.SetLink("10.0.0.1", "*", Profile{Delay: time.Second})
			n.SetLink("*", "10.0.0.1", Profile{Delay: 2 * time.Second})
			send(t, a, addrB, []byte("0 before"))
			time.Sleep(100 * time.Millisecond)
			to := udp(newA)
			if err := a.Rebind(to, keepOld); err != nil {
				t.Fatal(err)
			}
			to.Port = 1 // the caller's own
			send(t, a, addrB, []byte("1 after"))
			all := readAll(t, b)
			if len(all) != 2 || all[0].from != addrA || all[1].from != newA {
				t.Fatalf("got %+v, want one from %s and one from %s", all, addrA, newA)
			}
			if all[1].after != time.Second {
				t.Errorf("the rebound endpoint's packets came after %v: another link", all[1].after)
			}
			if a.LocalAddr().String() != addrA {
				t.Errorf("LocalAddr = %v", a.LocalAddr())
			}

			b.SetDeadline(time.Time{})
			send(t, b, addrA, []byte("2 to the old"))
			send(t, b, newA, []byte("3 to the new"))
			var got []string
			for _, p := range readAll(t, a) {
				if p.after != 2*time.Second {
					t.Errorf("%q came after %v", p.data, p.after)
				}
				got = append(got, string(p.data[:1]))
			}
			want, lost := 1, uint64(1)
			if keepOld {
				want, lost = 2, 0
			}
			if len(got) != want || got[want-1] != "3" || n.Stats().Lost[LossNAT] != lost {
				t.Errorf("keepOld %v: got %v, %+v", keepOld, got, n.Stats())
			}
			if links := n.Links(); len(links) != 2 {
				t.Errorf("got %d links, want one each way", len(links))
			}
		})
	}
}

func TestRebindCutsOffPacketsUnderWay(t *testing.T) {
	inBubble(t, func(t *testing.T, n *Network, a, b *Endpoint) {
		n.SetDefault(Profile{Delay: time.Second})
		send(t, b, addrA, []byte("x"))
		time.Sleep(time.Millisecond)
		a.Rebind(udp("192.0.2.7:7777"), false)
		if all := readAll(t, a); len(all) != 0 || n.Stats().Lost[LossNAT] != 1 {
			t.Errorf("got %+v, %+v", all, n.Stats())
		}
	})
}

func TestRebindAgainAndBack(t *testing.T) {
	inBubble(t, func(t *testing.T, n *Network, a, b *Endpoint) {
		for _, to := range []string{"192.0.2.1:1", "192.0.2.1:1", "192.0.2.2:2", addrA, "192.0.2.1:1"} {
			if err := a.Rebind(udp(to), false); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Millisecond)
			b.SetDeadline(time.Time{})
			send(t, a, addrB, []byte("ping"))
			_, from, err := b.ReadFrom(make([]byte, 4))
			if err != nil || from.String() != to {
				t.Fatalf("from %v, %v, want %s", from, err, to)
			}
			if _, err := b.WriteTo([]byte("pong"), from); err != nil {
				t.Fatal(err)
			}
			if _, _, err := a.ReadFrom(make([]byte, 4)); err != nil {
				t.Fatal(err)
			}
		}
	})
}

func TestRebindToAnAddressInUseFails(t *testing.T) {
	inBubble(t, func(t *testing.T, n *Network, a, b *Endpoint) {
		if err := a.Rebind(udp(addrB), false); !errors.Is(err, errAddrInUse) {
			t.Errorf("to a socket's address: %v", err)
		}
		if err := a.Rebind(udp("192.0.2.7:7"), false); err != nil {
			t.Fatal(err)
		}
		if err := b.Rebind(udp("192.0.2.7:7"), false); !errors.Is(err, errAddrInUse) {
			t.Errorf("to another's address: %v", err)
		}
		if _, err := n.Listen("192.0.2.7:7"); !errors.Is(err, errAddrInUse) {
			t.Errorf("Listen there: %v", err)
		}
		if err := a.Rebind(nil, false); err == nil {
			t.Error("to no address: succeeded")
		}
	})
}

func TestBindingOutlivesTheEndpoint(t *testing.T) {
	inBubble(t, func(t *testing.T, n *Network, a, b *Endpoint) {
		a.Rebind(udp("192.0.2.7:7"), false)
		a.Close()
		a = listen(t, n, addrA)
		send(t, a, addrB, []byte("x"))
		send(t, b, "192.0.2.7:7", []byte("y"))
		if all := readAll(t, b); len(all) != 1 || all[0].from != "192.0.2.7:7" {
			t.Errorf("got %+v", all)
		}
		if all := readAll(t, a); len(all) != 1 {
			t.Errorf("got %+v", all)
		}
	})
}

func TestRebindToAnAddressThatWasSentToBefore(t *testing.T) {
	inBubble(t, func(t *testing.T, n *Network, a, b *Endpoint) {
		send(t, b, "192.0.2.7:7", []byte("to nobody"))
		time.Sleep(time.Second)
		if err := a.Rebind(udp("192.0.2.7:7"), false); err != nil {
			t.Fatal(err)
		}
		send(t, b, "192.0.2.7:7", []byte("to a"))
		if all := readAll(t, a); len(all) != 1 || n.Stats().Lost[LossNoRoute] != 1 {
			t.Errorf("got %+v", all)
		}
	})
}
