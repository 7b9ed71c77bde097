// SPDX-License-Identifier: MIT

package kcp

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

func TestCloseWriteLeavesReadingOpen(t *testing.T) {
	for _, first := range []string{"client", "server"} {
		t.Run(first, func(t *testing.T) {
			connRun(t, closeLink, func(t *testing.T, w *connWorld) {
				a, b, _ := w.pair(Config{StreamMode: true})
				if first == "server" {
					a, b = b, a
				}
				connWrite(t, a, "question")
				if err := a.CloseWrite(); err != nil {
					t.Fatal(err)
				}
				if _, err := a.Write([]byte{1}); !errors.Is(err, net.ErrClosed) {
					t.Errorf("Write after CloseWrite: %v", err)
				}
				if err := a.CloseWrite(); !errors.Is(err, net.ErrClosed) {
					t.Errorf("a second CloseWrite: %v", err)
				}
				connWantRead(t, b, "question")
				closeWantEOF(t, b)
				t.Log("# the other direction stays open for any length of time")
				time.Sleep(10 * time.Minute)
				answer := pattern(300_000, 3)
				go func() {
					_, _ = b.Write(answer)
					_ = b.CloseWrite()
				}()
				got, err := io.ReadAll(a)
				if err != nil || !bytes.Equal(got, answer) {
					t.Fatalf("%d bytes of the answer, %v; want %d", len(got), err, len(answer))
				}
				closeWantEOF(t, a)
				a.Close()
				b.Close()
				time.Sleep(time.Second)
				if !connEnded(a) || !connEnded(b) {
					t.Error("a session with two ended streams is still on the network after Close")
				}
			})
		})
	}
}

// The peer may be hostile. A Read must not wait for fragments that the end of the stream rules out.
func TestStreamThatEndsWithinAMessage(t *testing.T) {
	for _, last := range []uint8{0, 2} { // of the message before the one that is cut short
		n := newFuzzNet(t)
		h := n.host("a", Config{})
		s := h.dial(sessFuzzConv, "b")
		end := seqNum(last) + 3
		var in []byte
		for sn := seqNum(0); sn < end; sn++ {
			frg := last - uint8(sn)
			if sn > seqNum(last) {
				frg = uint8(end - sn) // never 0
			}
			in = appendSegment(in, &segment{conv: sessFuzzConv, cmd: cmdPush, wnd: 128,
				frg: frg, sn: sn, data: []byte("part")})
		}
		h.receive("b", in)
		buf := make([]byte, 100)
		if got, err := s.Read(buf); got != 4*(int(last)+1) || err != nil {
			t.Fatalf("Read = %d, %v; want the whole message", got, err)
		}
		if fuzzReadable(s) {
			t.Fatal("a part of a message can be read")
		}
		fin := controlSet{final: end}
		fin.has[ctlFin] = true
		h.receive("b", appendSegment(nil, &segment{conv: sessFuzzConv, cmd: cmdWins, wnd: 128,
			ts: controlVersion,
			sn: controlMagic, data: appendControl(nil, &fin)}))
		for range 2 {
			if got, err := s.Read(buf); got != 0 || err != io.ErrUnexpectedEOF {
				t.Fatalf("Read = %d, %v; want io.ErrUnexpectedEOF", got, err)
			}
		}
		n.close()
	}
}

func TestCloseReadThrowsAwayWhatComes(t *testing.T) {
	connRun(t, closeLink, func(t *testing.T, w *connWorld) {
		client, server, _ := w.pair(Config{StreamMode: true})
		connWrite(t, client, "unread")
		time.Sleep(time.Second)
		blocked := make(chan error)
		if err := server.CloseRead(); err != nil {
			t.Fatal(err)
		}
		closeWantEOF(t, server)
		go func() {
			_, err := client.Write(make([]byte, 4<<20))
			blocked <- err
		}()
		if err := <-blocked; err != nil {
			t.Fatalf("the peer's Write: %v, want none", err)
		}
		connWrite(t, server, "still here")
		connWantRead(t, client, "still here")
	})
}

func TestCloseReadWakesARead(t *testing.T) {
	connRun(t, closeLink, func(t *testing.T, w *connWorld) {
		_, server, _ := w.pair(Config{})
		got := make(chan error)
		go func() {
			_, err := server.Read(make([]byte, 1))
			got <- err
		}()
		time.Sleep(time.Second)
		server.CloseRead()
		if err := <-got; err != io.EOF {
			t.Fatalf("Read gave %v, want io.EOF", err)
		}
	})
}

// closeEnds checks the regular end of a session: both sides read everything that the other wrote,
// and then the end of the stream.
func closeEnds(t *testing.T, a, b *UDPSession, timeout time.Duration) {
	t.Helper()
	connWantRead(t, b, "from a")
	closeWantEOF(t, b)
	connWantRead(t, a, "from b")
	closeWantEOF(t, a)
	a.Close()
	b.Close()
	time.Sleep(timeout)
	if !connEnded(a) || !connEnded(b) {
		t.Errorf("still on the network: a %v, b %v", !connEnded(a), !connEnded(b))
	}
}

func TestHalfClosedBothWays(t *testing.T) {
	connRun(t, closeLink, func(t *testing.T, w *connWorld) {
		a, b, _ := w.pair(Config{StreamMode: true})
		connWrite(t, a, "from a")
		connWrite(t, b, "from b")
		if err := errors.Join(a.CloseWrite(), b.CloseWrite()); err != nil {
			t.Fatal(err)
		}
		closeEnds(t, a, b, time.Second)
	})
}

func TestBothClosingAtOnce(t *testing.T) {
	for _, n := range []int{0, 1, 100_000} {
		t.Run(fmt.Sprint(n, " bytes under way"), func(t *testing.T) {
			connRun(t, closeLink, func(t *testing.T, w *connWorld) {
				a, b, _ := w.pair(Config{StreamMode: true})
				_, errA := a.Write(make([]byte, n))
				_, errB := b.Write(make([]byte, n))
				if err := errors.Join(errA, errB, a.Close(), b.Close()); err != nil {
					t.Fatal(err)
				}
				began := time.Now()
				for !connEnded(a) || !connEnded(b) {
					if time.Since(began) > 2*time.Second {
						t.Fatalf("not off the network after %v: a %v, b %v",
							time.Since(began), !connEnded(a), !connEnded(b))
					}
					time.Sleep(time.Millisecond)
				}
			})
		})
	}
}

// Each message at the end of a stream is lost a few times, in each direction.
func TestLostMessagesOfTheEnd(t *testing.T) {
	for name, kind := range map[string]int{"FIN": ctlFin, "FINACK": ctlFinAck} {
		for _, times := range []int{1, 3} {
			t.Run(fmt.Sprintf("%s lost %d times", name, times), func(t *testing.T) {
				connRun(t, closeLink, func(t *testing.T, w *connWorld) {
					a, b, _ := w.pair(Config{StreamMode: true})
					lost := map[string]*atomic.Int32{a.LocalAddr().String(): new(atomic.Int32),
						b.LocalAddr().String(): new(atomic.Int32)}
					w.setDrop(func(from, _ string, payload []byte) bool {
						return connControl(payload).has[kind] && lost[from].Add(1) <= int32(times)
					})
					connWrite(t, a, "from a")
					connWrite(t, b, "from b")
					if err := errors.Join(a.CloseWrite(), b.CloseWrite()); err != nil {
						t.Fatal(err)
					}
					// A side that has lost the other's last message does not receive it again, and
					// waits for its linger time.
					closeEnds(t, a, b, lingerDefault+time.Second)
					for addr, n := range lost {
						if n.Load() < int32(times) {
							t.Errorf("%s lost %d of %d: the test shows nothing",
								addr, n.Load(), times)
						}
					}
				})
			})
		}
	}
}

// A peer whose HELLO is lost for long is still notified of the end. It is asked until the linger
// time ends.
func TestLostHello(t *testing.T) {
	for times := range int32(9) {
		t.Run(fmt.Sprint(times, " times"), func(t *testing.T) {
			connRun(t, closeLink, func(t *testing.T, w *connWorld) {
				l := w.serve(Config{})
				var lost atomic.Int32
				w.setDrop(func(from, _ string, payload []byte) bool {
					return from == connServerAddr &&
						connControl(payload).has[ctlHello] && lost.Add(1) <= times
				})
				client := w.dial(Config{})
				connWrite(t, client, "last words")
				client.Close()
				server := w.accept(l)
				connWantRead(t, server, "last words")
				closeWantEOF(t, server)
				if lost.Load() < times {
					t.Errorf("%d of %d were lost: the test shows nothing", lost.Load(), times)
				}
			})
		})
	}
}

// A lost RESET is replaced: what the peer writes is answered by another.
func TestLostReset(t *testing.T) {
	for _, gone := range []string{"client", "server"} {
		t.Run(gone+" aborts", func(t *testing.T) {
			connRun(t, closeLink, func(t *testing.T, w *connWorld) {
				leaves, stays, _ := w.pair(Config{})
				if gone == "server" {
					leaves, stays = stays, leaves
				}
				var lost atomic.Int32
				w.setDrop(func(_, _ string, payload []byte) bool {
					return connControl(payload).has[ctlReset] && lost.CompareAndSwap(0, 1)
				})
				leaves.SetLinger(0)
				leaves.Close()
				time.Sleep(time.Second)
				if lost.Load() != 1 {
					t.Fatal("no RESET was lost")
				}
				began := time.Now()
				_, err := stays.Write([]byte("is anybody there?"))
				for err == nil && time.Since(began) < 2*time.Minute {
					time.Sleep(time.Millisecond)
					_, err = stays.Write([]byte("x"))
				}
				switch d := time.Since(began); {
				case gone == "server" && errors.Is(err, connReset) && d < 45*time.Millisecond:
				case gone == "client" && errors.Is(err, syscall.ETIMEDOUT) && d < 31*time.Second:
					// Nothing is left at the client's address to answer.
				default:
					t.Errorf("%v after %v", err, d)
				}
			})
		})
	}
}

func TestCloseTwice(t *testing.T) {
	connRun(t, closeLink, func(t *testing.T, w *connWorld) {
		client, server, l := w.pair(Config{})
		for name, c := range map[string]io.Closer{
			"client": client, "server": server, "listener": l,
		} {
			if err := c.Close(); err != nil {
				t.Errorf("closing the %s: %v", name, err)
			}
			if err := c.Close(); !errors.Is(err, net.ErrClosed) {
				t.Errorf("closing the %s again: %v, want net.ErrClosed", name, err)
			}
		}
		closeWantClosed(t, client)
		closeWantClosed(t, server)
	})
}

// A session that has sent nothing sends nothing at its end either.
func TestCloseOfASilentSessionSendsNothing(t *testing.T) {
	connRun(t, closeLink, func(t *testing.T, w *connWorld) {
		var sent atomic.Int32
		w.setDrop(func(_, _ string, _ []byte) bool { sent.Add(1); return false })
		client := w.dial(Config{})
		time.Sleep(time.Hour)
		client.Close()
		if !connEnded(client) {
			t.Error("the session has not ended")
		}
		time.Sleep(time.Minute)
		if n := sent.Load(); n != 0 {
			t.Errorf("%d datagrams were sent", n)
		}
	})
}
