// SPDX-License-Identifier: MIT

package simnet

import (
	"fmt"
	"net"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

// hashOf returns the hash of a run in which f sends what it likes.
func hashOf(t *testing.T, seed uint64, f func(n *Network, a, b, c *Endpoint), opts ...Option) (h uint64) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		n := New(seed, opts...)
		n.SetDefault(Profile{Delay: time.Millisecond, Loss: 0.1})
		f(n, listen(t, n, addrA), listen(t, n, addrB), listen(t, n, "10.0.0.3:3000"))
		time.Sleep(time.Second)
		closeAndCheck(t, n)
		h = n.Hash()
	})
	return h
}

func TestHashTellsRunsApart(t *testing.T) {
	base := func(n *Network, a, b, c *Endpoint) {
		sendNumbered(t, a, addrB, 10, 4)
		sendNumbered(t, c, addrB, 10, 4)
	}
	want := hashOf(t, 1, base)
	for _, c := range []struct {
		name string
		same bool
		seed uint64
		run  func(n *Network, a, b, c *Endpoint)
		opts []Option
	}{
		{"the same again", true, 1, base, nil},
		{"links in another order", true, 1, func(n *Network, a, b, c *Endpoint) {
			sendNumbered(t, c, addrB, 10, 4)
			sendNumbered(t, a, addrB, 10, 4)
		}, nil},
		{"a link that carries nothing", true, 1, func(n *Network, a, b, c *Endpoint) {
			n.Link(addrB, addrA)
			base(n, a, b, c)
		}, nil},
		{"another seed", false, 2, base, nil},
		{"one packet more", false, 1, func(n *Network, a, b, c *Endpoint) {
			base(n, a, b, c)
			send(t, a, addrB, []byte("more"))
		}, nil},
		{"a nanosecond later", false, 1, func(n *Network, a, b, c *Endpoint) {
			time.Sleep(time.Nanosecond)
			base(n, a, b, c)
		}, nil},
		{"the same packets on other links", false, 1, func(n *Network, a, b, c *Endpoint) {
			sendNumbered(t, a, addrB, 10, 4)
			sendNumbered(t, b, addrA, 10, 4)
		}, nil},
		{"another payload", false, 1, func(n *Network, a, b, c *Endpoint) {
			n.SetTap(func(_ time.Time, _, _ net.Addr, p []byte) Action { p[0] |= 0x80; return Action{} })
			base(n, a, b, c)
		}, nil},
		{"another delay of one packet", false, 1, func(n *Network, a, b, c *Endpoint) {
			n.SetTap(func(_ time.Time, _, _ net.Addr, p []byte) Action {
				if p[3] == 5 {
					return Action{Delay: 1}
				}
				return Action{}
			})
			base(n, a, b, c)
		}, nil},
		{"a receiver that is gone", false, 1, func(n *Network, a, b, c *Endpoint) {
			base(n, a, b, c)
			b.Close()
		}, nil},
	} {
		if got := hashOf(t, c.seed, c.run, c.opts...); (got == want) != c.same {
			t.Errorf("%s: hash %016x, the first run's %016x, want same: %v", c.name, got, want, c.same)
		}
	}
	// A seed's trace is the same on every system.
	if recorded := uint64(0xd8ecb085266022f1); want != recorded {
		t.Errorf("hash %#x, recorded %#x", want, recorded)
	}
}

func TestDigestCanLeaveNoncesOut(t *testing.T) {
	nonce := byte(0)
	run := func(n *Network, a, b, c *Endpoint) {
		nonce++
		send(t, a, addrB, []byte{nonce, 1, 2, 3})
	}
	if a, b := hashOf(t, 1, run), hashOf(t, 1, run); a == b {
		t.Error("the hash does not depend on the payload")
	}
	tail := WithDigest(func(b []byte) uint64 { return digest(b[1:]) })
	if a, b := hashOf(t, 1, run, tail), hashOf(t, 1, run, tail); a != b {
		t.Error("the hash depends on what the digest leaves out")
	}
}

func TestDecisionsOfALinkDoNotDependOnOthers(t *testing.T) {
	pattern := func(noise int, reverse bool) (got []int) {
		synctest.Test(t, func(t *testing.T) {
			n := New(5)
			n.SetDefault(Profile{Loss: 0.3, Jitter: time.Millisecond, Duplicate: 0.1})
			a, b, c := listen(t, n, addrA), listen(t, n, addrB), listen(t, n, "10.0.0.3:3000")
			for i := range 200 {
				if reverse {
					sendNumbered(t, c, addrB, noise, 4)
				}
				send(t, a, addrB, []byte{0, 0, 0, byte(i)})
				if !reverse {
					sendNumbered(t, c, addrB, noise, 4)
				}
			}
			for _, p := range readAll(t, b) {
				if p.from == addrA {
					got = append(got, p.number)
				}
			}
			n.Close()
		})
		return got
	}
	want := pattern(0, false)
	if len(want) == 0 || len(want) > 200 {
		t.Fatalf("%d packets came through", len(want))
	}
	for _, noise := range []int{1, 4} {
		for _, reverse := range []bool{false, true} {
			if got := pattern(noise, reverse); !slices.Equal(got, want) {
				t.Errorf("noise %d: got %v, want %v", noise, got, want)
			}
		}
	}
}

func TestCloseReturnsTheTracesError(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := New(1, WithTrace(failingWriter{}))
		a := listen(t, n, addrA)
		send(t, a, addrB, []byte("x"))
		time.Sleep(time.Second)
		if err := n.Close(); err != errFull {
			t.Errorf("Close = %v, want %v", err, errFull)
		}
	})
}

var errFull = fmt.Errorf("no space left")

type failingWriter struct{}

func (failingWriter) Write([]byte) (int, error) { return 0, errFull }
