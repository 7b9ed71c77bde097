// SPDX-License-Identifier: MIT

package kcp

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// liveCut drops everything.
func liveCut(_, _ string, _ []byte) bool { return true }

func TestDeadPeerEndsTheSession(t *testing.T) {
	tests := []struct {
		config time.Duration
		want   time.Duration
	}{
		{0, deadTimeoutDefault},
		{5 * time.Second, 5 * time.Second},
		{10 * time.Minute, 10 * time.Minute},
	}
	for _, tt := range tests {
		t.Run(fmt.Sprint(tt.config), func(t *testing.T) {
			connRun(t, closeLink, func(t *testing.T, w *connWorld) {
				client, _, _ := w.pair(Config{DeadTimeout: tt.config})
				w.setDrop(liveCut)
				connWrite(t, client, "hello?")
				after, err := liveEnd(client)
				if !errors.Is(err, syscall.ETIMEDOUT) || after < tt.want ||
					after > tt.want+10*time.Millisecond {
					t.Errorf("Read gave %v after %v, want ETIMEDOUT after %v", err, after, tt.want)
				}
				if e, ok := err.(interface{ Timeout() bool }); !ok || e.Timeout() {
					t.Errorf("%v is a timeout, which programs take for a deadline", err)
				}
				if _, err := client.Write([]byte{1}); !errors.Is(err, syscall.ETIMEDOUT) {
					t.Errorf("Write gave %v, want ETIMEDOUT", err)
				}
			})
		})
	}
	t.Run("never", func(t *testing.T) {
		connRun(t, closeLink, func(t *testing.T, w *connWorld) {
			client, server, _ := w.pair(Config{DeadTimeout: -1})
			w.setDrop(liveCut)
			connWrite(t, client, "hello?")
			time.Sleep(time.Hour)
			w.setDrop(nil)
			_ = server.SetReadDeadline(time.Now().Add(2 * time.Minute))
			connWantRead(t, server, "hello?")
		})
	})
	t.Run("not while nothing is outstanding", func(t *testing.T) {
		connRun(t, closeLink, func(t *testing.T, w *connWorld) {
			client, server, _ := w.pair(Config{})
			w.setDrop(liveCut)
			time.Sleep(24 * time.Hour)
			w.setDrop(nil)
			connWrite(t, client, "good morning")
			connWantRead(t, server, "good morning")
		})
	})
}

// A peer whose program does not read closes its window. It is slow, not dead. When it reads again
// it receives everything as fast as it reads, including what was sent before it could advertise its
// window.
func TestSlowReaderIsNotDead(t *testing.T) {
	for _, window := range []int{1, 4, 32, 512} {
		for _, pause := range []time.Duration{0, 10 * time.Minute} {
			t.Run(fmt.Sprintf("window %d after %v", window, pause), func(t *testing.T) {
				connRun(t, closeLink, func(t *testing.T, w *connWorld) {
					l := w.serve(Config{ReceiveWindow: window, StreamMode: true})
					client := w.dial(Config{StreamMode: true, NoCongestionControl: true})
					want := pattern(1<<20, 5)
					failed := make(chan error, 1)
					go func() {
						_, err := client.Write(want)
						failed <- err
					}()
					server := w.accept(l)
					time.Sleep(pause)
					liveReadSlowly(t, server, want)
					if err := <-failed; err != nil {
						t.Errorf("Write: %v", err)
					}
				})
			})
		}
	}
}

// liveReadSlowly reads want, the first 100 KiB of it at 1 KiB a second.
func liveReadSlowly(t *testing.T, s *UDPSession, want []byte) {
	t.Helper()
	got := make([]byte, 0, len(want))
	for len(got) < len(want) {
		size := 64 << 10
		if len(got) < 100<<10 {
			size = 1 << 10
			time.Sleep(time.Second)
		}
		_ = s.SetReadDeadline(time.Now().Add(3 * time.Second))
		n, err := s.Read(got[len(got):min(len(got)+size, len(want))])
		if err != nil {
			t.Fatalf("after %d of %d bytes: %v", len(got), len(want), err)
		}
		got = got[:len(got)+n]
	}
	if string(got) != string(want) {
		t.Error("the bytes differ")
	}
}

func TestKeepAlive(t *testing.T) {
	c := Config{KeepAlive: 10 * time.Second}
	t.Run("a peer that is there stays", func(t *testing.T) {
		connRun(t, closeLink, func(t *testing.T, w *connWorld) {
			l := w.serve(Config{})
			client := w.dial(c)
			server := w.join(client, l)
			var pings, pongs, others atomic.Int32
			w.setDrop(func(_, _ string, payload []byte) bool {
				switch m := connControl(payload); {
				case m.has[ctlPing]:
					pings.Add(1)
				case m.has[ctlPong]:
					pongs.Add(1)
				default:
					others.Add(1)
				}
				return false
			})
			time.Sleep(time.Hour)
			if p, q, o := pings.Load(), pongs.Load(), others.Load(); p < 350 ||
				p > 361 || p-q > 1 || o > 0 {
				t.Errorf("an hour: %d PINGs, %d PONGs and %d others; want 360, 360 and none",
					p, q, o)
			}
			connWrite(t, server, "still there")
			connWantRead(t, client, "still there")
		})
	})
	t.Run("one that is gone ends the session", func(t *testing.T) {
		connRun(t, closeLink, func(t *testing.T, w *connWorld) {
			client, _, _ := w.pair(c)
			w.setDrop(liveCut)
			after, err := liveEnd(client)
			if !errors.Is(err, syscall.ETIMEDOUT) || after < 35*time.Second ||
				after > 41*time.Second {
				t.Errorf("%v after %v, want ETIMEDOUT after 40s or a little less", err, after)
			}
		})
	})
	t.Run("off, nothing is sent", func(t *testing.T) {
		connRun(t, closeLink, func(t *testing.T, w *connWorld) {
			w.pair(Config{})
			time.Sleep(time.Minute)
			var sent atomic.Int32
			w.setDrop(func(_, _ string, _ []byte) bool { sent.Add(1); return false })
			time.Sleep(24 * time.Hour)
			if n := sent.Load(); n > 0 {
				t.Errorf("%d datagrams in a silent day", n)
			}
		})
	})
	t.Run("an old peer is asked for its window", func(t *testing.T) {
		connRun(t, closeLink, func(t *testing.T, w *connWorld) {
			old := w.legacyPeer(connServerAddr, nil, 0)
			client := w.dial(c)
			connWrite(t, client, "hello")
			old.wait(5, time.Minute)
			time.Sleep(time.Second)
			var asked, told, others atomic.Int32
			w.setDrop(func(_, _ string, payload []byte) bool {
				switch {
				case connHas(payload, cmdWask):
					asked.Add(1)
				case connHas(payload, cmdWins):
					told.Add(1)
				default:
					others.Add(1)
				}
				return false
			})
			time.Sleep(time.Hour)
			if a, b, o := asked.Load(), told.Load(), others.Load(); a < 350 || a > 361 ||
				a-b > 1 || o > 0 {
				t.Errorf("an hour: %d questions, %d answers and %d others; want 360, 360 and none",
					a, b, o)
			}
			old.write([]byte("still there"))
			connWantRead(t, client, "still there")
			w.setDrop(liveCut)
			if after, err := liveEnd(client); !errors.Is(err, syscall.ETIMEDOUT) ||
				after > 41*time.Second {
				t.Errorf("%v after %v, want ETIMEDOUT after 40s", err, after)
			}
		})
	})
}

func TestIdleTimeout(t *testing.T) {
	c := Config{IdleTimeout: time.Minute}
	connRun(t, closeLink, func(t *testing.T, w *connWorld) {
		l := w.serve(Config{})
		client := w.dial(c)
		server := w.join(client, l)
		for range 10 {
			time.Sleep(50 * time.Second)
			connWrite(t, server, "x")
			connWantRead(t, client, "x")
		}
		after, err := liveEnd(client)
		if !errors.Is(err, syscall.ETIMEDOUT) || after < 59*time.Second || after > 61*time.Second {
			t.Errorf("%v after %v of silence, want ETIMEDOUT after a minute", err, after)
		}
	})
	t.Run("a peer that keeps alive is not idle", func(t *testing.T) {
		connRun(t, closeLink, func(t *testing.T, w *connWorld) {
			l := w.serve(Config{KeepAlive: 20 * time.Second})
			client := w.dial(c)
			server := w.join(client, l)
			time.Sleep(time.Hour)
			connWrite(t, server, "x")
			connWantRead(t, client, "x")
		})
	})
}

// The idle time of a dialled session begins with it, whether or not it sends anything.
func TestIdleTimeoutBeginsAtDial(t *testing.T) {
	for _, says := range []string{"", "hello"} {
		connRun(t, closeLink, func(t *testing.T, w *connWorld) {
			w.setDrop(liveCut)
			w.serve(Config{})
			s := w.dial(Config{IdleTimeout: 3 * time.Second})
			if says != "" {
				connWrite(t, s, says)
			}
			began := time.Now()
			_ = s.SetReadDeadline(began.Add(time.Minute))
			_, err := s.Read(make([]byte, 1))
			if d := time.Since(began); !errors.Is(err, errIdle) || d != 3*time.Second {
				t.Errorf("after %q, Read gave %v after %v, want %v after 3 s",
					says, err, d, errIdle)
			}
		})
	}
}

func TestWaitPeer(t *testing.T) {
	c := Config{WaitPeer: true}
	dial := func(w *connWorld, ctx context.Context) (*UDPSession, error) {
		s := w.dial(c)
		return s, s.awaitPeer(ctx, w.options(c))
	}
	t.Run("new", func(t *testing.T) {
		connRun(t, closeLink, func(t *testing.T, w *connWorld) {
			l := w.serve(Config{})
			began := time.Now()
			client, err := dial(w, t.Context())
			if d := time.Since(began); err != nil || d > 41*time.Millisecond {
				t.Fatalf("%v after %v, want nil after a round trip", err, d)
			}
			w.join(client, l)
		})
	})
	t.Run("old", func(t *testing.T) {
		connRun(t, closeLink, func(t *testing.T, w *connWorld) {
			old := w.legacyPeer(connServerAddr, nil, 0)
			began := time.Now()
			client, err := dial(w, t.Context())
			if d := time.Since(began); err != nil || d > 41*time.Millisecond {
				t.Fatalf("%v after %v, want nil after a round trip", err, d)
			}
			connWrite(t, client, "hello")
			if got := old.wait(5, time.Minute); string(got) != "hello" {
				t.Errorf("the legacy peer got %q", got)
			}
		})
	})
	t.Run("comes later", func(t *testing.T) {
		connRun(t, closeLink, func(t *testing.T, w *connWorld) {
			come := make(chan *Listener, 1)
			time.AfterFunc(time.Minute, func() { come <- w.serve(Config{}) })
			began := time.Now()
			client, err := dial(w, t.Context())
			if d := time.Since(began); err != nil || d < time.Minute || d > 62*time.Second {
				t.Fatalf("%v after %v, want nil a second after the peer came", err, d)
			}
			w.join(client, <-come)
		})
	})
	t.Run("absent", func(t *testing.T) {
		connRun(t, closeLink, func(t *testing.T, w *connWorld) {
			for _, timeout := range []time.Duration{0, time.Millisecond, time.Minute} {
				ctx, cancel := context.WithTimeout(t.Context(), timeout)
				began := time.Now()
				client, err := dial(w, ctx)
				if d := time.Since(began); !errors.Is(err, context.DeadlineExceeded) ||
					d != timeout {
					t.Errorf("%v after %v, want the error of the context after %v",
						err, d, timeout)
				}
				if !connEnded(client) {
					t.Error("the session that was not made is still on the network")
				}
				cancel()
			}
		})
	})
}

// Over a real socket, through the exported call, there is a session or an error with the reason.
func TestDialWaitsForItsPeer(t *testing.T) {
	connCheckLeaks(t)
	c := Config{WaitPeer: true}
	l, err := c.Listen(t.Context(), "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	s, err := c.Dial(ctx, l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	s.Close()
	l.Close()
	brief, cancel := context.WithTimeout(t.Context(), 30*time.Millisecond)
	defer cancel()
	if s, err = c.Dial(brief, l.Addr().String()); s != nil ||
		!errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("no server: %v, %v; want no session and context.DeadlineExceeded", s, err)
	}
}

// A peer that shrinks its window leaves segments in flight that it will not accept. It is alive as
// long as it answers.
func TestPeerThatDoesNotReadIsNotDead(t *testing.T) {
	c := timedCore(t, 0, 40, 0)
	c.life.deadTimeout = 30_000
	for range 20 {
		c.send([]byte("x"))
	}
	flushAll(c, 1000)
	now := millis(1010)
	inputSegment(c, now, segment{conv: 7, cmd: cmdWins, ts: 1, una: 5})
	for now < 200_000 {
		at, sent := nextSent(c, now)
		if c.deadAt() <= at {
			t.Fatalf("dead at %d, although the peer answers", c.deadAt())
		}
		if now = at; count(sent, cmdWask) > 0 {
			inputSegment(c, now+1, segment{conv: 7, cmd: cmdWins, ts: timestamp(now), una: 5})
		}
	}
	t.Log("# the window opens again, and the peer disappears")
	now++
	inputSegment(c, now, segment{conv: 7, cmd: cmdWins, ts: timestamp(now), una: 5, wnd: 32})
	gone := now
	for c.nextEvent(now) < c.deadAt() {
		now = c.nextEvent(now)
		flushAll(c, now)
	}
	if d := c.deadAt() - gone; d != c.life.deadTimeout {
		t.Errorf("the silent peer is dead after %d ms, want %d", d, c.life.deadTimeout)
	}
}

func TestClosedWindowAndSilenceIsDeath(t *testing.T) {
	c := timedCore(t, 0, 40, 0)
	c.life.deadTimeout = 30_000
	inputSegment(c, 1000, segment{conv: 7, cmd: cmdWins, ts: 1})
	now := millis(500_000)
	c.send([]byte("x"))
	for c.nextEvent(now) < c.deadAt() {
		now = c.nextEvent(now)
		flushAll(c, now)
	}
	if want := 500_000 + probeInit + c.life.deadTimeout; c.deadAt() != want {
		t.Errorf("dead at %d, want %d: the timeout after the first probe", c.deadAt(), want)
	}
}
