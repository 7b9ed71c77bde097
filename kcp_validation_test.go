// SPDX-License-Identifier: MIT

package kcp

import (
	"fmt"
	"io"
	"testing"
	"time"
)

// forge returns a datagram as a session with the cipher of c sends it.
func forge(t testing.TB, c Config, segments ...segment) []byte {
	t.Helper()
	s := newSealer(c.BlockCrypt)
	b := make([]byte, s.headroom())
	for i := range segments {
		b = appendSegment(b, &segments[i])
	}
	b = append(b, make([]byte, s.tailroom())...)
	if err := s.seal(b); err != nil {
		t.Fatal(err)
	}
	return b
}

// unvalidatedConfigs returns settings that make a server send much.
func unvalidatedConfigs(t *testing.T) map[string]Config {
	aead, err := NewAESGCMCrypt(make([]byte, 32))
	if err != nil {
		t.Fatal(err)
	}
	block, err := NewSalsa20BlockCrypt(make([]byte, 32))
	if err != nil {
		t.Fatal(err)
	}
	return map[string]Config{
		"plain": {}, "plain stream FEC": {DataShards: 1, ParityShards: 3,
			StreamMode: true}, "Salsa20": {BlockCrypt: block},
		"AEAD": {BlockCrypt: aead}, "AEAD FEC": {BlockCrypt: aead, DataShards: 2, ParityShards: 2},
	}
}

// An address that sends requests, and never proves that it receives, is sent at most three times
// its bytes and one datagram. With an AEAD it is ten datagrams. This holds for everything that the
// program sends: data, parity, copies, out-of-band packets, FINs and resets.
func TestUnprovedAddressGetsThreeTimesWhatItSends(t *testing.T) {
	for name, c := range unvalidatedConfigs(t) {
		t.Run(name, func(t *testing.T) {
			connRun(t, closeLink, func(t *testing.T, w *connWorld) {
				l := w.serve(c)
				raw := w.endpoint(restartAddr)
				first := 1400
				if newSealer(c.BlockCrypt).authenticates() {
					first *= 10
				}
				y := &tally{t: t, peer: restartAddr, limit: func(n int) int { return 3*n + first }}
				w.setDrop(y.tap)
				opener := segment{conv: 7, cmd: cmdPush, wnd: 128, data: []byte("send me all")}
				_, _ = raw.WriteTo(forge(t, c, opener), l.Addr())
				server := w.accept(l)
				server.SetWindowSize(512, 512)
				server.SetDUP(2)
				connWantRead(t, server, "send me all")
				mustWrite(t, server, pattern(100_000, 1))
				for range 20 {
					_ = server.SendOOB(pattern(100, 1))
					time.Sleep(500 * time.Millisecond)
					// Guesses: cumulative and single acknowledgements, a window, a repeated opener,
					// a HELLO.
					_, _ = raw.WriteTo(forge(t, c, opener,
						segment{conv: 7, cmd: cmdAck, wnd: 128, ts: 12345, sn: 0, una: 1},
						segment{conv: 7, cmd: cmdWask, wnd: 1},
						segment{conv: 7, cmd: cmdAck, wnd: 128, ts: 0, sn: 1 << 31}), l.Addr())
				}
				if server.Stats().AddressProved {
					t.Error("the address counts as validated")
				}
				received, sent := y.counts()
				if most := 3*received + first; sent < most/2 {
					t.Errorf("%d bytes were sent of %d that may be", sent, most)
				}
				server.Close()
				time.Sleep(time.Minute)
				if !connEnded(server) {
					t.Error("the session has not ended")
				}
			})
		})
	}
}

// No timer runs while everything waits for a validation that never comes.
func TestNothingRunsWhileAllWaitsForAProof(t *testing.T) {
	connRun(t, closeLink, func(t *testing.T, w *connWorld) {
		l := w.serve(Config{DeadTimeout: -1})
		raw := w.endpoint(restartAddr)
		opener := segment{conv: 7, cmd: cmdPush, wnd: 128, data: []byte("x")}
		_, _ = raw.WriteTo(forge(t, Config{}, opener), l.Addr())
		server := w.accept(l)
		mustWrite(t, server, pattern(20_000, 1))
		time.Sleep(time.Minute)
		server.mu.Lock()
		if at := server.core.nextEvent(server.now()); at != never || !server.core.addr.blocked {
			t.Errorf("after a minute of silence the next event is at %d, now is %d",
				at, server.now())
		}
		server.mu.Unlock()
		server.SetLinger(0)
	})
}

// A peer with nothing to send receives the whole of an answer whose first datagrams were lost, and
// soon. This holds for a legacy peer too.
func TestAnswerGoesOnWhenItsFirstDatagramIsLost(t *testing.T) {
	for lost := range 4 {
		for name, c := range unvalidatedConfigs(t) {
			t.Run(fmt.Sprint(name, " lost ", lost), func(t *testing.T) {
				connRun(t, closeLink, func(t *testing.T, w *connWorld) {
					l := w.serve(c)
					answer := string(pattern(20_000, 3))
					left := 0
					w.setDrop(func(from, _ string, payload []byte) bool {
						// The request itself is acknowledged at once.
						if from != connServerAddr || len(payload) < 1000 || left == 0 {
							return false
						}
						left--
						return true
					})
					left = lost
					client := w.dial(c)
					connWrite(t, client, "what is it?")
					server := w.accept(l)
					time.Sleep(time.Second / 2) // the request is acknowledged
					server.SetWindowSize(512, 512)
					began := time.Now()
					mustWrite(t, server, []byte(answer))
					connWantRead(t, client, answer)
					if d := time.Since(began); d > time.Second+time.Duration(lost)*time.Second {
						t.Errorf("took %v", d)
					}
				})
			})
			if c.BlockCrypt != nil || c.DataShards > 0 {
				continue
			}
			t.Run(fmt.Sprint("old peer lost ", lost), func(t *testing.T) {
				connRun(t, closeLink, func(t *testing.T, w *connWorld) {
					c := Config{StreamMode: true}
					l := w.serve(c)
					answer := pattern(20_000, 3)
					left := lost
					w.setDrop(func(from, _ string, payload []byte) bool {
						if from != connServerAddr || len(payload) < 1000 || left == 0 {
							return false
						}
						left--
						return true
					})
					old := w.legacyPeer(restartAddr, l.Addr(), 5)
					old.write([]byte("?"))
					server := w.accept(l)
					time.Sleep(time.Second / 2)
					began := time.Now()
					mustWrite(t, server, answer)
					if got := old.wait(len(answer), time.Minute); string(got) != string(answer) {
						t.Fatalf("%d bytes arrived", len(got))
					}
					if d := time.Since(began); d > 2*time.Second+time.Duration(lost)*time.Second {
						t.Errorf("took %v", d)
					}
				})
			})
		}
	}
}

// A peer has nothing to send, and its acknowledgements are lost for most of the default
// DeadTimeout. It is asked again while the session lasts. The allowance from its opener pays for
// that.
func TestAnswerGoesOnAfterAnOutage(t *testing.T) {
	for _, outage := range []time.Duration{
		time.Second, 5 * time.Second, 12 * time.Second, 25 * time.Second,
	} {
		for name, c := range unvalidatedConfigs(t) {
			t.Run(fmt.Sprint(name, " ", outage), func(t *testing.T) {
				connRun(t, closeLink, func(t *testing.T, w *connWorld) {
					l := w.serve(c)
					client := w.dial(c)
					connWrite(t, client, "what is it?")
					server := w.accept(l)
					began := time.Now()
					w.setDrop(func(from, _ string, _ []byte) bool {
						return from != connServerAddr && time.Since(began) < outage
					})
					answer := string(pattern(20_000, 3))
					mustWrite(t, server, []byte(answer))
					connWantRead(t, client, answer)
					if d := time.Since(began); d > 3*outage+time.Second {
						t.Errorf("took %v", d)
					}
				})
			})
		}
	}
}

// A peer that only receives is asked for a proof, and gives it.
func TestQuietPeerProvesItself(t *testing.T) {
	connRun(t, closeLink, func(t *testing.T, w *connWorld) {
		l := w.serve(Config{StreamMode: true})
		client := w.dial(Config{StreamMode: true})
		connWrite(t, client, "one-way")
		old := w.legacyPeer(restartAddr, l.Addr(), 5)
		old.write([]byte("one-way"))
		a, b := w.accept(l), w.accept(l)
		if a.Stats().AddressProved || b.Stats().AddressProved {
			t.Error("validated by the first datagram")
		}
		time.Sleep(2 * time.Second)
		if !a.Stats().AddressProved || !b.Stats().AddressProved || !client.Stats().AddressProved {
			t.Error("not validated")
		}
		time.Sleep(time.Hour)
		if connEnded(a) || connEnded(b) {
			t.Error("ended")
		}
	})
}

// exchangeTime measures a request of 100 bytes and its answer over a path with a round trip of 100
// ms.
func exchangeTime(t *testing.T, c Config, size int) (took time.Duration) {
	connRun(t, simProfile{Delay: 50 * time.Millisecond}, func(t *testing.T, w *connWorld) {
		c.NoDelay, c.StreamMode, c.NoCongestionControl = true, true, true
		l := w.serve(c)
		client := w.dial(Config{
			BlockCrypt: c.BlockCrypt, NoDelay: true, StreamMode: true, NoCongestionControl: true,
		})
		began := time.Now()
		mustWrite(t, client, pattern(100, 1))
		server := w.accept(l)
		go func() { _, _ = server.Write(pattern(size, 2)) }()
		if _, err := io.ReadFull(client, make([]byte, size)); err != nil {
			t.Error(err)
		}
		took = time.Since(began)
	})
	return took
}

// The limit costs an honest short exchange nothing while the answer is one datagram (ten with an
// AEAD), then one round trip.
func TestProofCostsAnHonestExchangeOneRoundTrip(t *testing.T) {
	aead, err := NewAESGCMCrypt(make([]byte, 32))
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%8s %22s %22s", "answer", "no key", "AES-GCM")
	for _, size := range []int{100, 1000, 1300, 4000, 13_000, 16_000, 64_000} {
		line := fmt.Sprintf("%8d", size)
		for _, block := range []BlockCrypt{nil, aead} {
			with := exchangeTime(t, Config{BlockCrypt: block}, size)
			without := exchangeTime(t, Config{BlockCrypt: block, AmplificationLimit: -1}, size)
			line += fmt.Sprintf("  %9v/%v", without, with)
			free := 1300
			if block != nil {
				free = 13_000
			}
			extra := time.Duration(0)
			if size > free {
				extra = 100 * time.Millisecond
			}
			if d := with - without; d > extra+time.Millisecond {
				t.Errorf("an answer of %d bytes takes %v, %v without the rule", size, with, without)
			}
		}
		t.Log(line)
	}
}

// An unroutable datagram is answered with less than twice its size.
func TestAnswersWithoutASessionAreSmall(t *testing.T) {
	for name, c := range unvalidatedConfigs(t) {
		t.Run(name, func(t *testing.T) {
			connRun(t, closeLink, func(t *testing.T, w *connWorld) {
				l := w.serve(c)
				client := w.dialFrom("10.0.0.9:999", 9, c)
				server := w.join(client, l)
				client.Close()
				server.Close()
				time.Sleep(5 * time.Second)
				c := Config{BlockCrypt: c.BlockCrypt}
				from := w.endpoint("10.0.0.9:999")
				y := &tally{t: t, peer: "10.0.0.9:999", limit: func(n int) int { return 2 * n }}
				w.setDrop(y.tap)
				for _, conv := range []uint32{9, 10} {
					for cmd := uint8(cmdPush); cmd <= cmdWins; cmd++ {
						for _, sn := range []seqNum{0, 1, 5, 40, 1 << 31} {
							s := segment{conv: conv, cmd: cmd, sn: sn, una: 3}
							_, _ = from.WriteTo(forge(t, c, s), l.Addr())
							s.data = []byte("x")
							_, _ = from.WriteTo(forge(t, c, s), l.Addr())
						}
					}
					for kind := ctlHello; kind <= ctlPong; kind++ {
						m := controlSet{incarnation: 5}
						m.has[kind] = true
						_, _ = from.WriteTo(forge(t, c, segment{conv: conv, cmd: cmdWins,
							sn: controlMagic,
							ts: controlVersion, data: appendControl(nil, &m)}), l.Addr())
					}
				}
				time.Sleep(time.Second)
				if received, sent := y.counts(); received == 0 || sent == 0 {
					t.Errorf("%d bytes were answered with %d", received, sent)
				}
			})
		})
	}
}

// A negative limit is none.
func TestNoAmplificationLimit(t *testing.T) {
	connRun(t, simProfile{Delay: time.Millisecond}, func(t *testing.T, w *connWorld) {
		c := Config{AmplificationLimit: -1, NoCongestionControl: true}
		l := w.serve(c)
		mustWrite(t, w.dial(c), []byte{1})
		server := w.accept(l)
		w.setDrop(func(from, _ string, _ []byte) bool { return from != connServerAddr })
		mustWrite(t, server, pattern(20_000, 1))
		time.Sleep(100 * time.Millisecond)
		if st := server.Stats(); st.WireBytesSent < 20_000 || st.AddressProved {
			t.Errorf("%d bytes were sent, validated %v", st.WireBytesSent, st.AddressProved)
		}
	})
	for _, limit := range []int{0, 7, 1 << 30} {
		o, err := (&Config{AmplificationLimit: limit}).options()
		want := min(limit, amplificationMost)
		if limit == 0 {
			want = amplificationDefault
		}
		if err != nil || o.amplification != want {
			t.Errorf("limit %d: %d, %v, want %d", limit, o.amplification, err, want)
		}
	}
}
