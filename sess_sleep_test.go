// SPDX-License-Identifier: MIT

package kcp

import (
	"fmt"
	"net"
	"sync/atomic"
	"testing"
	"time"
)

// sleepFor simulates a sleep of the machine: the clock of s on the wire stands still for d.
func sleepFor(s *UDPSession, d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.core.tsOrigin -= timestamp(d / time.Millisecond)
}

// A session survives the sleep of one of the machines. The clock of that machine stood still, and
// the other's did not.
func TestSessionSurvivesSleep(t *testing.T) {
	for _, slept := range []time.Duration{
		50 * time.Second, 2 * time.Minute, time.Hour, 10 * time.Hour, 20 * 24 * time.Hour,
	} {
		for _, who := range []string{"client", "server", "client, unseen", "server, unseen"} {
			t.Run(fmt.Sprintf("%s for %v", who, slept), func(t *testing.T) {
				link := simProfile{Delay: 20 * time.Millisecond, Loss: 0.1}
				connRun(t, link, func(t *testing.T, w *connWorld) {
					client, server, l := w.pair(Config{})
					switch who {
					case "client":
						time.Sleep(slept)
						sleepFor(client, slept)
					case "server":
						time.Sleep(slept)
						sleepFor(server, slept)
					// its other clock, by which it judges the server's, has stood still too
					case "client, unseen":
						sleepFor(server, -slept)
					case "server, unseen":
						sleepFor(client, -slept)
					}
					for range 3 {
						connWrite(t, client, "are you there?")
						connWantRead(t, server, "are you there?")
						connWrite(t, server, "yes")
						connWantRead(t, client, "yes")
					}
					if n := l.Stats().Sessions; n != 1 || connEnded(client) || connEnded(server) {
						t.Errorf("%d sessions", n)
					}
				})
			})
		}
	}
}

// frozenConn is a connection whose reader can be stopped.
type frozenConn struct {
	net.PacketConn
	frozen atomic.Pointer[chan struct{}]
}

func (c *frozenConn) ReadFrom(p []byte) (int, net.Addr, error) {
	n, from, err := c.PacketConn.ReadFrom(p)
	if wait := c.frozen.Load(); wait != nil {
		<-*wait
	}
	return n, from, err
}

// A process that was stopped for longer than a timeout does not end its sessions when it continues.
// The answers wait in the socket, which is read after the timers have run.
func TestStoppedProcessKeepsItsSessions(t *testing.T) {
	const timeout, stop = 3 * time.Second, 4500 * time.Millisecond
	configs := map[string]Config{
		"DeadTimeout": {DeadTimeout: timeout}, "IdleTimeout": {IdleTimeout: timeout,
			DeadTimeout: -1},
		"KeepAlive": {DeadTimeout: timeout, KeepAlive: time.Second},
	}
	for name, c := range configs {
		for _, closing := range []bool{false, true} {
			t.Run(fmt.Sprint(name, ", closed ", closing), func(t *testing.T) {
				connRun(t, closeLink, func(t *testing.T, w *connWorld) {
					l := w.serve(Config{KeepAlive: time.Second})
					own := NewTimedSched(1)
					defer own.Close()
					o := w.options(c)
					o.sched = own
					conn := &frozenConn{PacketConn: w.endpoint("10.0.0.2:0")}
					client, err := dialOver(conn, true, l.Addr(), randomConv(), o)
					if err != nil {
						t.Fatal(err)
					}
					w.sessions = append(w.sessions, client)
					server := w.join(client, l)
					if closing {
						// What is sent before the stop is lost, and must be sent again after it.
						w.setDrop(func(from, _ string, _ []byte) bool {
							return from == client.LocalAddr().String()
						})
					}
					t.Log("# the client sends")
					connWrite(t, client, "before")
					if closing {
						client.SetLinger(timeout)
						client.Close()
					}
					// The clock advances, the goroutines of the process do not. Its scheduler is
					// the first to run again.
					t.Log("# the process is stopped for longer than the timeout")
					awake := make(chan struct{})
					conn.frozen.Store(&awake)
					own.Put(func() { time.Sleep(stop) }, time.Now())
					time.Sleep(stop / 2)
					w.setDrop(nil)
					time.Sleep(stop/2 + time.Millisecond)
					t.Log("# the process continues")
					close(awake)
					conn.frozen.Store(nil)
					if closing {
						connWantRead(t, server, "before")
						closeWantEOF(t, server)
						return
					}
					time.Sleep(time.Second)
					if connEnded(client) {
						t.Fatal("the session has ended: ", client.life.readErr)
					}
					connWrite(t, client, "after")
					connWantRead(t, server, "beforeafter")
				})
			})
		}
	}
}
