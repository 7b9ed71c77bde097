// SPDX-License-Identifier: MIT

package simnet

import (
	"bytes"
	"errors"
	"net"
	"os"
	"testing"
	"testing/synctest"
	"time"
)

func TestEndpointIsAPacketConn(t *testing.T) {
	inBubble(t, func(t *testing.T, n *Network, a, b *Endpoint) {
		var c net.PacketConn = a
		if got := c.LocalAddr(); got.String() != addrA || got.Network() != "udp" {
			t.Errorf("LocalAddr = %v", got)
		}
		payload := []byte("hello")
		to := udp(addrB)
		if _, err := c.WriteTo(payload, to); err != nil {
			t.Fatal(err)
		}
		// The caller may use both again at once.
		copy(payload, "XXXXX")
		to.Port, to.IP[3] = 9, 9
		buf := make([]byte, 3)
		k, from, err := b.ReadFrom(buf)
		if k != 3 || err != nil || string(buf) != "hel" {
			t.Errorf("ReadFrom = %d, %v, %q, want what fits", k, err, buf)
		}
		if u, ok := from.(*net.UDPAddr); !ok || u.String() != addrA {
			t.Errorf("from %T %v, want *net.UDPAddr %s", from, from, addrA)
		}
	})
}

func TestListenAddresses(t *testing.T) {
	inBubble(t, func(t *testing.T, n *Network, a, b *Endpoint) {
		for _, c := range []struct {
			addr string
			want string // empty for an error
			is   error
		}{
			{"10.0.0.3:0", "10.0.0.3:49152", nil},
			{"10.0.0.3:0", "10.0.0.3:49153", nil},
			{"10.0.0.4:0", "10.0.0.4:49152", nil},
			{"[2001:db8::1]:53", "[2001:db8::1]:53", nil},
			{addrA, "", errAddrInUse},
			{"[::ffff:10.0.0.1]:1000", "", errAddrInUse},
			{":1000", "", nil},
			{"0.0.0.0:1000", "", nil},
			{"example.com:1000", "", nil},
		} {
			e, err := n.Listen(c.addr)
			switch {
			case c.want != "":
				if err != nil || e.LocalAddr().String() != c.want {
					t.Errorf("Listen(%q) = %v, want %s", c.addr, err, c.want)
				}
			case err == nil || c.is != nil && !errors.Is(err, c.is):
				t.Errorf("Listen(%q) = %v, want error %v", c.addr, err, c.is)
			}
		}
		n.Close()
		if _, err := n.Listen("10.0.0.5:1"); !errors.Is(err, net.ErrClosed) {
			t.Errorf("Listen after Close: %v", err)
		}
	})
}

// testAddr is an address type of a user's own.
type testAddr string

func (a testAddr) Network() string { return "test" }
func (a testAddr) String() string  { return string(a) }

func TestAddressesOfAnyType(t *testing.T) {
	inBubble(t, func(t *testing.T, n *Network, a, b *Endpoint) {
		c, err := n.ListenAddr(testAddr("node c"))
		if err != nil {
			t.Fatal(err)
		}
		d, err := n.ListenAddr(testAddr("10.0.0.9:9"))
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range []struct {
			from *Endpoint
			to   net.Addr
			at   *Endpoint
		}{{a, testAddr("node c"), c}, {c, testAddr(addrA), a}, {c, udp("10.0.0.9:9"), d}, {d, udp(addrB), b}} {
			if _, err := s.from.WriteTo([]byte("x"), s.to); err != nil {
				t.Fatal(err)
			}
			_, from, err := s.at.ReadFrom(make([]byte, 1))
			if err != nil || from != s.from.LocalAddr() && from.String() != s.from.LocalAddr().String() {
				t.Errorf("to %v: from %v, %v, want %v", s.to, from, err, s.from.LocalAddr())
			}
			if _, isTest := s.from.LocalAddr().(testAddr); isTest {
				if _, ok := from.(testAddr); !ok {
					t.Errorf("from is a %T, want the sender's own type", from)
				}
			}
		}
		for _, bad := range []net.Addr{nil, (*net.UDPAddr)(nil), &net.UDPAddr{Port: 1}, testAddr("")} {
			if _, err := a.WriteTo([]byte("x"), bad); err == nil {
				t.Errorf("WriteTo(%#v) succeeded", bad)
			}
		}
		for _, bad := range []net.Addr{nil, (*net.UDPAddr)(nil), &net.UDPAddr{Port: 1}} {
			if _, err := n.ListenAddr(bad); err == nil {
				t.Errorf("ListenAddr(%#v) succeeded", bad)
			}
		}
	})
}

func TestReadDeadline(t *testing.T) {
	inBubble(t, func(t *testing.T, n *Network, a, b *Endpoint) {
		check := func(what string, want time.Duration) {
			t.Helper()
			begin := time.Now()
			_, _, err := b.ReadFrom(make([]byte, 10))
			var ne net.Error
			if !errors.Is(err, os.ErrDeadlineExceeded) || !errors.As(err, &ne) || !ne.Timeout() {
				t.Errorf("%s: %v, want a timeout", what, err)
			}
			if got := time.Since(begin); got != want {
				t.Errorf("%s: after %v, want %v", what, got, want)
			}
		}
		b.SetReadDeadline(time.Now().Add(time.Second))
		check("in the future", time.Second)
		check("stays passed", 0)
		b.SetDeadline(time.Now().Add(-time.Second))
		check("in the past", 0)
		b.SetReadDeadline(time.Now().Add(time.Second))
		time.AfterFunc(500*time.Millisecond, func() { b.SetReadDeadline(time.Now().Add(2 * time.Second)) })
		check("moved while a call waits", 2500*time.Millisecond)
		b.SetReadDeadline(time.Time{})
		time.AfterFunc(time.Minute, func() { b.SetReadDeadline(time.Unix(1, 0)) })
		check("set while a call waits", time.Minute)

		b.SetReadDeadline(time.Time{})
		send(t, a, addrB, []byte("x"))
		if _, _, err := b.ReadFrom(make([]byte, 1)); err != nil {
			t.Errorf("after the deadline was taken away: %v", err)
		}
	})
}

func TestWriteDeadline(t *testing.T) {
	inBubble(t, func(t *testing.T, n *Network, a, b *Endpoint) {
		a.SetWriteDeadline(time.Now().Add(time.Second))
		send(t, a, addrB, []byte("x"))
		time.Sleep(time.Second)
		if _, err := a.WriteTo([]byte("x"), udp(addrB)); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("after the deadline: %v", err)
		}
		a.SetDeadline(time.Time{})
		send(t, a, addrB, []byte("x"))
	})
}

func TestCloseEndsCallsThatWait(t *testing.T) {
	for _, whole := range []bool{false, true} {
		inBubble(t, func(t *testing.T, n *Network, a, b *Endpoint) {
			errs := make(chan error)
			for range 3 {
				go func() {
					_, _, err := b.ReadFrom(make([]byte, 1))
					errs <- err
				}()
			}
			synctest.Wait()
			if whole {
				n.Close()
			} else if err := b.Close(); err != nil {
				t.Fatal(err)
			}
			for range 3 {
				var op *net.OpError
				if err := <-errs; !errors.Is(err, net.ErrClosed) || !errors.As(err, &op) || op.Op != "read" {
					t.Errorf("ReadFrom: %v", err)
				}
			}
			_, err := b.WriteTo([]byte("x"), udp(addrA))
			for what, err := range map[string]error{
				"WriteTo": err, "Close": b.Close(), "SetDeadline": b.SetDeadline(time.Now()), "SetWriteDeadline": b.SetWriteDeadline(time.Now()),
				"Rebind": b.Rebind(udp("10.1.1.1:1"), false),
			} {
				if !errors.Is(err, net.ErrClosed) {
					t.Errorf("%s after Close: %v, want net.ErrClosed", what, err)
				}
			}
		})
	}
}

func TestReopenedAddressGetsPacketsUnderWay(t *testing.T) {
	inBubble(t, func(t *testing.T, n *Network, a, b *Endpoint) {
		n.SetDefault(Profile{Delay: time.Second})
		send(t, a, addrB, []byte("to the first"))
		time.Sleep(1500 * time.Millisecond)
		send(t, a, addrB, []byte("to the second"))
		time.Sleep(500 * time.Millisecond)
		b.Close() // with an unread packet
		if _, err := n.Listen(addrA); err == nil {
			t.Error("Listen succeeded on an address in use")
		}
		b = listen(t, n, addrB)
		if all := readAll(t, b); len(all) != 1 || string(all[0].data) != "to the second" {
			t.Errorf("got %+v", all)
		}
		b.Close()
		send(t, a, addrB, []byte("to nobody"))
		time.Sleep(time.Minute)
		if s := n.Stats(); s.Lost[LossNoRoute] != 1 || s.Delivered != 2 {
			t.Errorf("got %+v", s)
		}
	})
}

func TestReceiveQueueDropsItsTail(t *testing.T) {
	for _, reading := range []bool{false, true} {
		inBubble(t, func(t *testing.T, n *Network, a, b *Endpoint) {
			b.SetReceiveQueue(10)
			var all []arrival
			done := make(chan struct{})
			go func() {
				defer close(done)
				if reading {
					all = readAll(t, b)
				}
			}()
			sendNumbered(t, a, addrB, 25, 4)
			time.Sleep(time.Millisecond)
			if !reading {
				all = readAll(t, b)
			}
			<-done
			s := b.Stats()
			if len(all) != 10 || all[9].number != 9 || s.Overflowed != 15 || s.Received != 10 || s.QueuePeak > 10 || s.QueueLen != 0 {
				t.Errorf("reading %v: got %d packets, %+v", reading, len(all), s)
			}
			if got := n.Stats().Lost[LossBuffer]; got != 15 {
				t.Errorf("lost to the buffer: %d, want 15", got)
			}
		})
	}
}

func TestManyReadersShareOneEndpoint(t *testing.T) {
	inBubble(t, func(t *testing.T, n *Network, a, b *Endpoint) {
		const readers, count = 8, 1000
		b.SetReadDeadline(time.Now().Add(time.Minute))
		got := make(chan []byte, count)
		for range readers {
			go func() {
				for {
					buf := make([]byte, 4)
					if _, _, err := b.ReadFrom(buf); err != nil {
						return
					}
					got <- buf
				}
			}()
		}
		sendNumbered(t, a, addrB, count, 4)
		time.Sleep(time.Second)
		if len(got) != count {
			t.Errorf("%d packets were read, want %d", len(got), count)
		}
	})
}

func TestLargestPayload(t *testing.T) {
	inBubble(t, func(t *testing.T, n *Network, a, b *Endpoint) {
		big := bytes.Repeat([]byte{7}, maxPayload)
		send(t, a, addrB, big)
		if _, err := a.WriteTo(append(big, 7), udp(addrB)); !errors.Is(err, EMSGSIZE) {
			t.Errorf("%d bytes: %v, want EMSGSIZE", len(big)+1, err)
		}
		if all := readAll(t, b); len(all) != 1 || !bytes.Equal(all[0].data, big) {
			t.Error("the largest payload did not come through")
		}
	})
}
