// SPDX-License-Identifier: MIT

package kcp

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"testing"
	"time"
)

func TestCloseDeliversAllThatWasWritten(t *testing.T) {
	sizes := []int{1, 2, 1000, 1329, 1330, 1331, 1375, 1376, 1377, 10_000, 65_536, 200_000, 1 << 20}
	for _, loss := range []float64{0, 0.3} {
		for _, old := range []bool{false, true} {
			for _, n := range sizes {
				t.Run(fmt.Sprintf("loss %v old %v %d bytes", loss, old, n), func(t *testing.T) {
					link := simProfile{Delay: 20 * time.Millisecond, Loss: loss}
					c := Config{StreamMode: true}
					for seed := range uint64(4) {
						connRunSeed(t, seed, link,
							func(_ *testing.T, w *connWorld) { closeDelivers(w, c, n, old) })
					}
				})
			}
		}
	}
}

// closeDelivers writes n bytes and closes at once. On a lossy path a full window under congestion
// control takes longer than the default linger time.
func closeDelivers(w *connWorld, c Config, n int, old bool) {
	want := pattern(n, 7)
	var peer *legacyPeer
	var l *Listener
	if old {
		peer = w.legacyPeer(connServerAddr, nil, 0)
	} else {
		l = w.serve(c)
	}
	client := w.dial(c)
	client.SetLinger(closeLinger)
	if m, err := client.Write(want); m != n || err != nil {
		w.t.Fatalf("Write: %d, %v; want %d", m, err, n)
	}
	began := time.Now()
	if err := client.Close(); err != nil {
		w.t.Fatal(err)
	}
	if d := time.Since(began); d != 0 {
		w.t.Errorf("Close took %v", d)
	}
	closeWantClosed(w.t, client)
	var got []byte
	if old {
		got = peer.wait(n, closeLinger)
	} else {
		s := w.accept(l)
		_ = s.SetReadDeadline(time.Now().Add(closeLinger))
		var err error
		if got, err = io.ReadAll(s); err != nil {
			w.t.Fatalf("after %d of %d bytes: %v", len(got), n, err)
		}
		closeWantEOF(w.t, s)
		s.Close()
	}
	if !bytes.Equal(got, want) {
		w.t.Fatalf("%d bytes arrived that differ, or fewer than the %d written", len(got), n)
	}
	time.Sleep(closeLinger)
	if !connEnded(client) {
		w.t.Error("the closed session is still on the network after the linger time")
	}
}

// The same in messages, with ciphers, and with parity.
func TestCloseDeliversWhateverTheSettings(t *testing.T) {
	for name, c := range restartConfigs(t) {
		for _, n := range []int{1, 1376, 50_000} {
			t.Run(fmt.Sprintf("%s %d bytes", name, n), func(t *testing.T) {
				for seed := range uint64(4) {
					link := simProfile{Delay: 20 * time.Millisecond, Loss: 0.3}
					connRunSeed(t, seed, link, func(_ *testing.T, w *connWorld) {
						closeDelivers(w, c, n, false)
					})
				}
			})
		}
	}
}

// An accepted session that is closed delivers to a legacy client, which is not notified.
func TestServerCloseDeliversToAnOldClient(t *testing.T) {
	for _, loss := range []float64{0, 0.3} {
		for _, n := range []int{1, 1376, 100_000} {
			t.Run(fmt.Sprintf("loss %v %d bytes", loss, n), func(t *testing.T) {
				for seed := range uint64(4) {
					link := simProfile{Delay: 20 * time.Millisecond, Loss: loss}
					connRunSeed(t, seed, link, func(t *testing.T, w *connWorld) {
						l := w.serve(Config{StreamMode: true})
						old := w.legacyPeer(restartAddr, l.Addr(), 9)
						old.write([]byte("send me all"))
						s := w.accept(l)
						connWantRead(t, s, "send me all")
						s.SetLinger(closeLinger)
						want := pattern(n, 8)
						if _, err := s.Write(want); err != nil {
							t.Fatal(err)
						}
						s.Close()
						if got := old.wait(n, closeLinger); !bytes.Equal(got, want) {
							t.Errorf("%d of %d bytes arrived, or others", len(got), n)
						}
						time.Sleep(closeLinger)
						if !connEnded(s) {
							t.Error("the closed session is still on the network")
						}
					})
				}
			})
		}
	}
}

// closeLinger is a linger time that is long enough for everything.
const closeLinger = 10 * time.Minute

// With the default linger time and a loss of 30 % too, what was written arrives, and the end of the
// stream.
func TestDefaultLingerTimeOutlastsLoss(t *testing.T) {
	const runs = 200
	data, ends := 0, 0
	for seed := range uint64(runs) {
		link := simProfile{Delay: 20 * time.Millisecond, Loss: 0.3}
		connRunSeed(t, seed, link, func(t *testing.T, w *connWorld) {
			l := w.serve(Config{})
			client := w.dial(Config{})
			connWrite(t, client, "last words")
			client.Close()
			s := w.accept(l)
			_ = s.SetReadDeadline(time.Now().Add(20 * time.Second))
			got, err := io.ReadAll(s)
			if string(got) == "last words" {
				data++
			}
			if err == nil {
				ends++
			}
		})
	}
	// Ten rounds of question and answer, each of which fails in half of the cases, all fail once in
	// a thousand.
	if data < runs-1 || ends < runs-2 {
		t.Errorf("of %d sessions %d delivered their data and %d its end", runs, data, ends)
	}
}

// closeWantReset writes to s, whose peer is gone, and expects an error within one round trip of
// closeLink.
func closeWantReset(t *testing.T, s *UDPSession) {
	t.Helper()
	began := time.Now()
	_, err := s.Write([]byte("is anybody there?"))
	for err == nil && time.Since(began) < time.Minute {
		time.Sleep(time.Millisecond)
		_, err = s.Write([]byte("and now?"))
	}
	if d := time.Since(began); !errors.Is(err, connReset) || d > 45*time.Millisecond {
		t.Fatalf("a write to an ended peer: %v after %v, want ECONNRESET within a round trip",
			err, d)
	}
}

func TestWritingToAGonePeerIsReset(t *testing.T) {
	for _, later := range []time.Duration{
		time.Second, 5 * time.Second, 15 * time.Second, 10 * time.Minute,
	} {
		for _, gone := range []string{"client", "server"} {
			t.Run(fmt.Sprintf("%s gone for %v", gone, later), func(t *testing.T) {
				connRun(t, closeLink, func(t *testing.T, w *connWorld) {
					leaves, stays, _ := w.pair(Config{})
					if gone == "server" {
						leaves, stays = stays, leaves
					}
					leaves.Close()
					time.Sleep(later)
					closeWantReset(t, stays)
					closeWantEOF(t, stays) // the end of the stream came before
				})
			})
		}
	}
}

// A peer that never reads, and so does not see the end of the stream, is notified when it writes.
func TestPeerThatOnlyWritesLearnsOfTheClose(t *testing.T) {
	connRun(t, closeLink, func(t *testing.T, w *connWorld) {
		l := w.serve(Config{})
		client := w.dial(Config{})
		connWrite(t, client, "first")
		server := w.accept(l)
		time.Sleep(time.Second)
		server.Close()
		var err error
		began := time.Now()
		for err == nil && time.Since(began) < time.Minute {
			time.Sleep(10 * time.Millisecond)
			_, err = client.Write(make([]byte, 100))
		}
		if d := time.Since(began); !errors.Is(err, connReset) || d > 100*time.Millisecond {
			t.Fatalf("after %v: %v, want ECONNRESET", d, err)
		}
	})
}

// A writer blocked by the window is woken by the reset.
func TestBlockedWriteIsWokenByReset(t *testing.T) {
	connRun(t, closeLink, func(t *testing.T, w *connWorld) {
		client, server, _ := w.pair(Config{})
		done := make(chan error)
		go func() {
			_, err := client.Write(make([]byte, 10<<20))
			done <- err
		}()
		time.Sleep(5 * time.Second)
		server.Close()
		began := time.Now()
		if err := <-done; !errors.Is(err, connReset) || time.Since(began) > 2*time.Second {
			t.Fatalf("%v after %v, want ECONNRESET soon", err, time.Since(began))
		}
	})
}

func TestLingerTime(t *testing.T) {
	t.Run("zero aborts", func(t *testing.T) {
		connRun(t, closeLink, func(t *testing.T, w *connWorld) {
			client, server, _ := w.pair(Config{})
			client.SetLinger(0)
			client.Close()
			if !connEnded(client) {
				t.Error("the session has not ended")
			}
			_, err := server.Read(make([]byte, 1))
			if !errors.Is(err, connReset) {
				t.Errorf("the peer reads %v, want ECONNRESET", err)
			}
			if _, err = server.Write([]byte{1}); !errors.Is(err, connReset) {
				t.Errorf("the peer writes: %v, want ECONNRESET", err)
			}
		})
	})
	t.Run("what was received before a reset is read first", func(t *testing.T) {
		connRun(t, closeLink, func(t *testing.T, w *connWorld) {
			client, server, _ := w.pair(Config{})
			connWrite(t, client, "last")
			time.Sleep(time.Second)
			client.SetLinger(0)
			client.Close()
			time.Sleep(time.Second)
			connWantRead(t, server, "last")
			if _, err := server.Read(make([]byte, 1)); !errors.Is(err, connReset) {
				t.Errorf("behind it %v, want ECONNRESET", err)
			}
		})
	})
	for _, linger := range []time.Duration{time.Second, lingerDefault} {
		t.Run(fmt.Sprintf("ends after %v", linger), func(t *testing.T) {
			connRun(t, closeLink, func(t *testing.T, w *connWorld) {
				client, server, _ := w.pair(Config{})
				if linger != lingerDefault {
					client.SetLinger(linger)
				}
				// All data is lost, control messages are not.
				w.setDrop(func(_, _ string, payload []byte) bool {
					return connHas(payload, cmdPush)
				})
				connWrite(t, client, "never heard")
				client.Close()
				time.Sleep(linger - time.Millisecond)
				if connEnded(client) {
					t.Error("ended before the linger time")
				}
				time.Sleep(2 * time.Millisecond)
				if !connEnded(client) {
					t.Error("not ended after the linger time")
				}
				began := time.Now()
				if _, err := server.Read(make([]byte, 1)); !errors.Is(err, connReset) ||
					time.Since(began) > time.Second {
					t.Errorf("the peer reads %v after %v, want ECONNRESET", err, time.Since(began))
				}
			})
		})
	}
	t.Run("negative is the default", func(t *testing.T) {
		connRun(t, closeLink, func(t *testing.T, w *connWorld) {
			client, server, _ := w.pair(Config{})
			client.SetLinger(-1)
			connWrite(t, client, "bye")
			client.Close()
			connWantRead(t, server, "bye")
			closeWantEOF(t, server)
		})
	})
}
