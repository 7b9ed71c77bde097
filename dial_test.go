// SPDX-License-Identifier: MIT

package kcp

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"
)

func TestDialAndListenAddresses(t *testing.T) {
	zoned := func(t *testing.T, byIndex bool) string {
		ip, i := linkLocal(t)
		if byIndex {
			return ip.WithZone(strconv.Itoa(i.Index)).String()
		}
		return ip.WithZone(i.Name).String()
	}
	host := func(h string) func(*testing.T) string { return func(*testing.T) string { return h } }
	v6 := func(h string) func(*testing.T) string {
		return func(t *testing.T) string {
			needIPv6(t)
			return h
		}
	}
	tests := []struct {
		name         string
		listen, dial func(t *testing.T) string // hosts
		// what the dialled session's RemoteAddr begins with; "": not looked at
		peer string
	}{
		{"IPv4", host("127.0.0.1"), host("127.0.0.1"), "127.0.0.1:"},
		{"IPv6", v6("::1"), v6("::1"), "[::1]:"},
		{"localhost", host("localhost"), host("localhost"), ""},
		{"all addresses, reached by IPv4", host(""), host("127.0.0.1"), "127.0.0.1:"},
		{"all addresses, reached by IPv6", v6(""), v6("::1"), "[::1]:"},
		{"all of IPv6, reached by IPv4", v6("::"), host("127.0.0.1"), "127.0.0.1:"},
		{"all of IPv4", host("0.0.0.0"), host("127.0.0.1"), "127.0.0.1:"},
		{"IPv4 in IPv6", host("127.0.0.1"), host("::ffff:127.0.0.1"), "127.0.0.1:"},
		{"no host is this machine", host(""), host(""), "127.0.0.1:"},
		{"unspecified IPv4 is this machine", host(""), host("0.0.0.0"), "127.0.0.1:"},
		{"unspecified IPv6 is this machine", v6("::"), v6("::"), "[::1]:"},
		{"zone by name",
			func(t *testing.T) string { return zoned(t, false) },
			func(t *testing.T) string { return zoned(t, false) }, "[fe80:"},
		{"zone by number",
			func(t *testing.T) string { return zoned(t, true) },
			func(t *testing.T) string { return zoned(t, true) }, "[fe80:"},
		{"zone on the dialling side alone", v6("::"),
			func(t *testing.T) string { return zoned(t, true) }, "[fe80:"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			laddr := net.JoinHostPort(tt.listen(t), "0")
			dialHost := tt.dial(t)
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			defer cancel()
			for name, dial := range map[string]func(addr string) (*UDPSession, error){
				"DialWithOptions": func(addr string) (*UDPSession, error) {
					return DialWithOptions(addr, nil, 0, 0)
				},
				"Config.Dial": func(addr string) (*UDPSession, error) {
					return new(Config).Dial(ctx, addr)
				},
				"WaitPeer": func(addr string) (*UDPSession, error) {
					return (&Config{WaitPeer: true}).Dial(ctx, addr)
				},
			} {
				l, err := ListenWithOptions(laddr, nil, 0, 0)
				if err != nil {
					t.Fatal(err)
				}
				echoListener(t, l)
				port := l.Addr().(*net.UDPAddr).Port
				if port == 0 {
					t.Fatal("Addr has port 0")
				}
				s, err := dial(net.JoinHostPort(dialHost, strconv.Itoa(port)))
				if err != nil {
					t.Fatalf("%s: %v", name, err)
				}
				if got := s.RemoteAddr().String(); !strings.HasPrefix(got, tt.peer) ||
					!strings.HasSuffix(got, ":"+strconv.Itoa(port)) {
					t.Errorf("%s: RemoteAddr is %s, want %s...:%d", name, got, tt.peer, port)
				}
				if got := s.LocalAddr().(*net.UDPAddr); got.Port == 0 {
					t.Errorf("%s: LocalAddr is %v", name, got)
				}
				echoOnce(t, s)
			}
		})
	}
}

func TestAcceptedSessionKnowsItsAddresses(t *testing.T) {
	l, s, accepted := pairLoopback(t)
	if got, want := accepted.LocalAddr().String(), l.Addr().String(); got != want {
		t.Errorf("LocalAddr is %s, want the listener's %s", got, want)
	}
	port := func(a net.Addr) int { return a.(*net.UDPAddr).Port }
	if got, want := port(accepted.RemoteAddr()), port(s.LocalAddr()); got != want {
		t.Errorf("RemoteAddr has port %d, want the dialler's %d", got, want)
	}
	if accepted.GetConv() != s.GetConv() {
		t.Errorf("conv is %d, want %d", accepted.GetConv(), s.GetConv())
	}
}

// Many sessions from different addresses may use the same conv.
func TestOneConvFromManyAddresses(t *testing.T) {
	l := echoListener(t, listenLoopback(t, nil))
	for range 5 {
		conn, err := net.ListenPacket("udp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		s, err := NewConn4(77, l.Addr(), nil, 0, 0, true, conn)
		if err != nil {
			t.Fatal(err)
		}
		defer func() {
			echoOnce(t, s)
			if _, err := conn.WriteTo([]byte("x"), l.Addr()); !errors.Is(err, net.ErrClosed) {
				t.Errorf("a write to the socket of the closed session: %v, want net.ErrClosed",
					err)
			}
		}()
	}
}

func TestCustomPacketConnOnBothSides(t *testing.T) {
	connRun(t, simProfile{}, func(t *testing.T, w *connWorld) {
		near, far := w.pipe()
		l := w.serveOver(far, false, Config{})
		s := w.dialOver(near, false, memAddr("b"), randomConv(), Config{})
		a := w.join(s, l)
		for _, tt := range []struct{ got, want net.Addr }{
			{s.RemoteAddr(), memAddr("b")}, {s.LocalAddr(), memAddr("a")},
			{a.RemoteAddr(), memAddr("a")}, {a.LocalAddr(), memAddr("b")}, {l.Addr(), memAddr("b")},
		} {
			if tt.got != tt.want {
				t.Errorf("address %v, want %v, of the connection's own type", tt.got, tt.want)
			}
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		_ = a.Close()
		_ = l.Close()
		time.Sleep(time.Minute)
		t.Log("# the connections still belong to the caller")
		if _, err := near.WriteTo([]byte("still open"), memAddr("b")); err != nil {
			t.Error(err)
		}
		buf := make([]byte, 2000)
		for {
			n, _, err := far.ReadFrom(buf)
			if err != nil {
				t.Fatalf("the caller's connection cannot be read any more: %v", err)
			}
			if string(buf[:n]) == "still open" {
				break
			}
		}
	})
}

// A connection without deadlines keeps its reader until something arrives. Close does not wait for
// that.
func TestCloseDoesNotHangOnAConnectionWithoutDeadlines(t *testing.T) {
	for _, refusal := range []error{nil, errors.ErrUnsupported} {
		t.Run(fmt.Sprint(refusal), func(t *testing.T) {
			connRun(t, simProfile{}, func(t *testing.T, w *connWorld) {
				near, far := w.pipe()
				l := w.serveOver(noDeadlines{far, refusal}, false, Config{})
				s := w.dialOver(noDeadlines{near, refusal}, false, memAddr("b"),
					randomConv(), Config{})
				start := time.Now()
				s.SetLinger(0)
				if err := s.Close(); err != nil {
					t.Error(err)
				}
				if err := l.Close(); err != nil {
					t.Error(err)
				}
				if d := time.Since(start); d > 5*time.Second {
					t.Errorf("Close took %v", d)
				}
			})
		})
	}
}

// redirected is a connected socket whose WriteTo ignores the address. Programs wrap a socket that
// another has opened for them in this way.
type redirected struct {
	*net.UDPConn
	writes int
}

func (c *redirected) WriteTo(p []byte, _ net.Addr) (int, error) {
	c.writes++
	return c.Write(p)
}

func TestWrapperOfAConnectedSocketKeepsItsWriteTo(t *testing.T) {
	l := echoListener(t, listenLoopback(t, nil))
	udp, err := net.DialUDP("udp", nil, l.Addr().(*net.UDPAddr))
	if err != nil {
		t.Fatal(err)
	}
	wrapper := &redirected{UDPConn: udp}
	s, err := NewConn4(5, l.Addr(), nil, 0, 0, true, wrapper)
	if err != nil {
		t.Fatal(err)
	}
	echoOnce(t, s)
	if wrapper.writes == 0 {
		t.Error("the wrapper's WriteTo was not used")
	}
}

func TestConnectedSocketItself(t *testing.T) {
	l := echoListener(t, listenLoopback(t, nil))
	udp, err := net.DialUDP("udp", nil, l.Addr().(*net.UDPAddr))
	if err != nil {
		t.Fatal(err)
	}
	s, err := NewConn4(5, l.Addr(), nil, 0, 0, true, udp)
	if err != nil {
		t.Fatal(err)
	}
	echoOnce(t, s)
}

func TestBadArgumentsAreNamed(t *testing.T) {
	conn := newMemConn(memAddr("a"), nil)
	defer conn.Close()
	raddr := memAddr("b")
	taken, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	ctx := t.Context()
	dial := func(c Config) error { _, err := c.Dial(ctx, "127.0.0.1:9"); return err }
	session := func(_ *UDPSession, err error) error { return err }
	listener := func(_ *Listener, err error) error { return err }
	var (
		noUDPConn *net.UDPConn
		noUDPAddr *net.UDPAddr
	)
	tests := []struct {
		name string
		err  error
		want []string // in the text
	}{
		{"an address without a port", session(DialWithOptions("127.0.0.1", nil, 0, 0)),
			[]string{"dial", "127.0.0.1", "port"}},
		{"a port that is none", session(DialWithOptions("127.0.0.1:70000", nil, 0, 0)),
			[]string{"dial", "70000"}},
		{"a port that is none, Config", dialErr(ctx, "127.0.0.1:nosuchport"),
			[]string{"dial", "nosuchport"}},
		{"listen on what is no address", listener(ListenWithOptions("nonsense", nil, 0, 0)),
			[]string{"listen", "nonsense"}},
		{"listen on a port that is taken",
			listener(ListenWithOptions(taken.LocalAddr().String(), nil, 0, 0)),
			[]string{"listen", taken.LocalAddr().String(), "in use"}},
		{"listen on an address of others", listener(ListenWithOptions("192.0.2.1:0", nil, 0, 0)),
			[]string{"listen", "192.0.2.1"}},
		{"no connection", session(NewConn2(raddr, nil, 0, 0, nil)), []string{"conn"}},
		{"a nil connection of a type",
			session(NewConn2(raddr, nil, 0, 0, noUDPConn)), []string{"conn"}},
		{"no connection to serve", listener(ServeConn(nil, 0, 0, nil)), []string{"conn"}},
		{"a nil connection of a type to serve",
			listener(ServeConn(nil, 0, 0, noUDPConn)), []string{"conn"}},
		{"no connection, Config", listener(new(Config).Serve(nil)), []string{"conn"}},
		{"no connection, Client", session(new(Config).Client(nil, raddr)), []string{"conn"}},
		{"no address", session(NewConn2(nil, nil, 0, 0, conn)), []string{"raddr"}},
		{"a nil address of a type",
			session(NewConn2(noUDPAddr, nil, 0, 0, conn)), []string{"raddr"}},
		{"an address to resolve", session(NewConn("::::", nil, 0, 0, conn)), []string{"::::"}},
		{"too many shards", session(NewConn2(raddr, nil, 200, 57, conn)),
			[]string{"parityShards", "57"}},
		{"too many data shards", session(NewConn2(raddr, nil, 256, 1, conn)),
			[]string{"dataShards", "256"}},
		{"MTU too small", dial(Config{MTU: 30}), []string{"Config.MTU", "30"}},
		{"MTU negative", dial(Config{MTU: -1}), []string{"Config.MTU", "-1"}},
		{"send window", dial(Config{SendWindow: 65536}), []string{"Config.SendWindow", "65536"}},
		{"receive window", dial(Config{ReceiveWindow: -1}), []string{"Config.ReceiveWindow", "-1"}},
		{"interval", dial(Config{Interval: time.Millisecond}), []string{"Config.Interval", "1ms"}},
		{"interval too long", dial(Config{Interval: time.Hour}), []string{"Config.Interval", "1h"}},
		{"fast resend", dial(Config{FastResend: 65}), []string{"Config.FastResend", "65"}},
		{"keepalive", dial(Config{KeepAlive: -1}), []string{"Config.KeepAlive"}},
		{"idle timeout", dial(Config{IdleTimeout: -1}), []string{"Config.IdleTimeout"}},
		{"backlog", dial(Config{AcceptBacklog: -1}), []string{"Config.AcceptBacklog", "-1"}},
		{"parity for nothing", dial(Config{ParityShards: 3}), []string{"Config.DataShards", "0"}},
		{"no parity", dial(Config{DataShards: 10}), []string{"Config.ParityShards", "0"}},
		{"shards in a Config", dial(Config{DataShards: 256, ParityShards: 1}),
			[]string{"Config.DataShards", "256"}},
	}
	for _, tt := range tests {
		if tt.err == nil {
			t.Errorf("%s: no error", tt.name)
			continue
		}
		for _, want := range append(tt.want, "kcp") {
			if !strings.Contains(tt.err.Error(), want) {
				t.Errorf("%s: %q does not name %q", tt.name, tt.err, want)
			}
		}
	}
	err = listener(ListenWithOptions(taken.LocalAddr().String(), nil, 0, 0))
	if !errors.As(err, new(*net.OpError)) || !errors.As(err, new(*os.SyscallError)) {
		t.Errorf("a port in use: %#v, want a *net.OpError of the system's error", err)
	}
}

func dialErr(ctx context.Context, addr string) error {
	_, err := new(Config).Dial(ctx, addr)
	return err
}

func TestDialHeedsItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for _, host := range []string{"localhost", "127.0.0.1"} {
		if err := dialErr(ctx, host+":9"); !errors.Is(err, context.Canceled) {
			t.Errorf("Dial of %s with a cancelled context: %v, want context.Canceled", host, err)
		}
		if _, err := new(Config).Listen(ctx, host+":0"); !errors.Is(err, context.Canceled) {
			t.Errorf("Listen on %s with a cancelled context: %v, want context.Canceled", host, err)
		}
	}
}

// A lent socket is returned as it was: without a deadline, and reading each datagram separately.
func TestLentSocketComesBackAsItWas(t *testing.T) {
	for range 20 {
		var lent [2]*net.UDPConn
		for i := range lent {
			c, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			lent[i] = c
		}
		l, err := ServeConn(nil, 0, 0, lent[0])
		if err != nil {
			t.Fatal(err)
		}
		s, err := NewConn(lent[0].LocalAddr().String(), nil, 0, 0, lent[1])
		if err != nil {
			t.Fatal(err)
		}
		mustWrite(t, s, []byte("x"))
		a, err := l.AcceptKCP()
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range []*UDPSession{s, a} {
			c.SetLinger(0)
			if err := c.Close(); err != nil {
				t.Error(err)
			}
		}
		if err := l.Close(); err != nil {
			t.Error(err)
		}
		for i, to := range lent {
			from := newBatchConn(lent[1-i])
			run := outgoing{buf: make([]byte, 5*100), segment: 100,
				to: to.LocalAddr().(*net.UDPAddr).AddrPort()}
			if sent, _, err := from.writeBatch([]outgoing{run}); sent != 5 {
				t.Fatalf("%d of 5 datagrams left: %v", sent, err)
			}
			from.release()
			buf := make([]byte, 2000)
			for got := 0; got < 5; {
				n, _, err := to.ReadFrom(buf)
				if err != nil {
					t.Fatalf("reading the socket that came back: %v", err)
				}
				switch n {
				case 100:
					got++
				case 500:
					t.Fatal("five datagrams came in one read")
				}
			}
		}
	}
}
