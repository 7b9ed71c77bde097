// SPDX-License-Identifier: MIT

package kcp

import (
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// helloFrom returns a control segment with a HELLO.
func helloFrom(conv uint32, incarnation, heard uint64, flags uint32) segment {
	m := controlSet{incarnation: incarnation, heard: heard, flags: flags, largest: largestDatagram}
	m.has[ctlHello] = true
	return segment{conv: conv, cmd: cmdWins, wnd: 128, una: 1, ts: controlVersion,
		sn: controlMagic, data: appendControl(nil, &m)}
}

// A dialled session that has nothing to send continues to ask. Each question has the proof of its
// address, until the peer confirms it. The accepting side may have used up its allowance.
func TestDialledSideAsksUntilItsAddressIsProved(t *testing.T) {
	for name, answer := range map[string]func(conv uint32, heard uint64) segment{
		"HELLO": func(conv uint32, heard uint64) segment {
			return helloFrom(conv, 99, heard, helloProved)
		},
		"WINS": func(conv uint32, _ uint64) segment {
			return segment{conv: conv, cmd: cmdWins, wnd: 128, una: 1}
		},
	} {
		t.Run(name, func(t *testing.T) {
			connRun(t, closeLink, func(t *testing.T, w *connWorld) {
				t.Log("# a request is answered in part, without a confirmation of the address")
				raw := w.endpoint(connServerAddr)
				client := w.dial(Config{DeadTimeout: -1})
				connWrite(t, client, "request")
				opener, from := hear(t, raw, 50*time.Millisecond)
				mine, conv := opener[0].control.incarnation, opener[0].segments[0].conv
				_, _ = raw.WriteTo(forge(t, Config{},
					segment{conv: conv, cmd: cmdAck, wnd: 128, una: 1,
						ts: opener[0].segments[0].ts},
					segment{conv: conv, cmd: cmdPush, wnd: 128, una: 1, sn: 3, ts: 7777,
						data: []byte("part")}, helloFrom(conv, 99, 0, 0)), from)
				t.Log("# the client asks at growing intervals")
				asked, _ := hear(t, raw, 30*time.Second)
				var wait []time.Duration
				for i, d := range asked[1:] { // the first is the ordinary acknowledgement
					if !d.has(cmdAck, 3, 7777) || !d.has(cmdWask, 0, 0) ||
						d.control.incarnation != mine || d.control.heard != 99 {
						t.Fatalf("question %d lacks something: %+v", i, d)
					}
					wait = append(wait, d.at.Sub(asked[i].at))
				}
				if len(wait) < 10 || wait[1] < 3*wait[0]/2 || wait[2] < 3*wait[1]/2 ||
					slices.Max(wait) > time.Second {
					t.Errorf("asked after %v", wait)
				}
				t.Log("# the confirmation ends the questions")
				_, _ = raw.WriteTo(forge(t, Config{}, answer(conv, mine)), from)
				time.Sleep(3 * closeLink.Delay)
				_, _ = hear(t, raw, time.Millisecond)
				if more, _ := hear(t, raw, time.Hour); len(more) > 0 {
					t.Errorf("%d questions after the answer: %+v", len(more), more[0])
				}
			})
		})
	}
}

// dialLegacy makes a session whose request a legacy peer has acknowledged and answered in part. raw
// is the peer's socket, and from the session's address.
func dialLegacy(w *connWorld) (client *UDPSession, raw *simEndpoint, from net.Addr) {
	w.t.Helper()
	raw = w.endpoint(connServerAddr)
	client = w.dial(Config{})
	connWrite(w.t, client, "request")
	opener, from := hear(w.t, raw, 50*time.Millisecond)
	conv := opener[0].segments[0].conv
	_, _ = raw.WriteTo(forge(w.t, Config{},
		segment{conv: conv, cmd: cmdAck, wnd: 128, una: 1,
			ts: opener[0].segments[0].ts},
		segment{conv: conv, cmd: cmdPush, wnd: 128, una: 1, sn: 0, ts: 7777,
			data: []byte("part")}), from)
	return client, raw, from
}

// A peer that is not known to have the extension is asked a few times. The question opens no
// session at a listener that has closed the one asked for. No acknowledgement is sent twice.
func TestDialledSideAsksALegacyPeerHarmlessly(t *testing.T) {
	connRun(t, closeLink, func(t *testing.T, w *connWorld) {
		client, raw, _ := dialLegacy(w)
		all, _ := hear(t, raw, time.Hour)
		if len(all) < 2 || len(all) > 1+proofBlindMost {
			t.Errorf("%d datagrams, want an acknowledgement and at most %d questions",
				len(all), proofBlindMost)
		}
		for i, d := range all[1:] {
			if first := d.segments[0]; first.sn == 0 || !d.has(cmdWask, 0, 0) ||
				d.has(cmdAck, 0, 7777) {
				t.Errorf("question %d: %+v", i, d)
			}
		}
		if connEnded(client) {
			t.Error("the session ended because a legacy peer did not answer")
		}
	})
}

// A dialled session waits for the end of the stream. After it, it asks nothing.
func TestDialledSideAsksNothingAfterTheEnd(t *testing.T) {
	connRun(t, closeLink, func(t *testing.T, w *connWorld) {
		client, server, l := w.pair(Config{})
		var asked atomic.Int32
		w.setDrop(func(from, _ string, payload []byte) bool {
			if from != connServerAddr && connHas(payload, cmdWask) {
				asked.Add(1)
			}
			return false
		})
		time.Sleep(time.Hour)
		server.Close()
		closeWantEOF(t, client)
		time.Sleep(time.Minute)
		if n := asked.Load(); n > 0 {
			t.Errorf("asked %d times", n)
		}
		l.Close()
	})
}

// The reserve for questions and a RESET is available although data has used up the rest of the
// allowance.
func TestReserveForQuestionsAndAReset(t *testing.T) {
	for name, c := range unvalidatedConfigs(t) {
		t.Run(name, func(t *testing.T) {
			connRun(t, closeLink, func(t *testing.T, w *connWorld) {
				c.DeadTimeout = -1
				l := w.serve(c)
				raw := w.endpoint(restartAddr)
				var probes, resets, bytes atomic.Int32
				var mu sync.Mutex // of sealer
				sealer := newSealer(c.BlockCrypt)
				w.setDrop(func(from, _ string, payload []byte) bool {
					mu.Lock()
					defer mu.Unlock()
					opened, ok := sealer.open(slices.Clone(payload))
					if p := parsePacket(opened); ok && from == connServerAddr &&
						(p.kind == packetPlain || p.kind == packetData) {
						var s segment
						rest, status := parseSegment(p.segments, &s)
						for ; status == parseOK; rest, status = parseSegment(rest, &s) {
							if s.cmd == cmdPush && s.sn.before(0) && len(s.data) == 0 {
								probes.Add(1)
							}
						}
						if findControl(p.segments).has[ctlReset] {
							resets.Add(1)
							bytes.Add(int32(len(payload)))
						}
					}
					return false
				})
				_, _ = raw.WriteTo(forge(t, c,
					segment{conv: 7, cmd: cmdPush, wnd: 128, data: []byte("x")},
					helloFrom(7, 99, 0, 0)), l.Addr())
				server := w.accept(l)
				mustWrite(t, server, pattern(60_000, 1))
				time.Sleep(time.Minute)
				if n := probes.Load(); n != probesReserved {
					t.Errorf("asked %d times, want %d", n, probesReserved)
				}
				server.mu.Lock()
				rest := server.core.addr.rest()
				server.mu.Unlock()
				server.SetLinger(0)
				server.Close()
				time.Sleep(5 * time.Second)
				if n := resets.Load(); n < 1 || !connEnded(server) {
					t.Errorf("%d resets, ended %v", n, connEnded(server))
				}
				if n := int(bytes.Load()); n > rest {
					t.Errorf("resets of %d bytes, want at most the %d that are left", n, rest)
				}
			})
		})
	}
}

// A session that is closed before its address is validated keeps what it has to deliver while the
// peer is asked.
func TestClosedSessionWaitsForTheProof(t *testing.T) {
	for _, outage := range []time.Duration{time.Second, 12 * time.Second, 20 * time.Second} {
		t.Run(outage.String(), func(t *testing.T) {
			connRun(t, closeLink, func(t *testing.T, w *connWorld) {
				c := Config{StreamMode: true}
				l := w.serve(c)
				old := w.legacyPeer(restartAddr, l.Addr(), 5)
				old.write([]byte("?"))
				server := w.accept(l)
				began := time.Now()
				w.setDrop(func(from, _ string, _ []byte) bool {
					return from != connServerAddr && time.Since(began) < outage
				})
				answer := pattern(20_000, 3)
				mustWrite(t, server, answer)
				server.Close()
				if got := old.wait(len(answer), time.Minute); string(got) != string(answer) {
					t.Fatalf("%d bytes arrived", len(got))
				}
			})
		})
	}
}

// A peer that waits for an answer of a failed session is notified, even if the first message is
// lost.
func TestWaitingPeerLearnsThatTheSessionHasFailed(t *testing.T) {
	connRun(t, closeLink, func(t *testing.T, w *connWorld) {
		l := w.serve(Config{})
		client := w.dial(Config{})
		connWrite(t, client, "request")
		server := w.accept(l)
		time.Sleep(150 * time.Millisecond) // the request is acknowledged
		began := time.Now()
		w.setDrop(func(from, _ string, _ []byte) bool { return time.Since(began) < time.Second })
		server.SetLinger(0)
		server.Close()
		restartWantEnd(t, client, "", connReset)
		if d := time.Since(began); d > 4*time.Second {
			t.Errorf("after %v", d)
		}
	})
}

// A window update that was not asked for is no answer to the question, and an outage may lose the
// first questions. A peer whose HELLO was lost is asked again.
func TestDialledSideAsksOnWithoutTheHello(t *testing.T) {
	connRun(t, closeLink, func(t *testing.T, w *connWorld) {
		client, raw, from := dialLegacy(w)
		_, _ = hear(t, raw, 500*time.Millisecond) // the first questions
		update := segment{conv: client.GetConv(), cmd: cmdWins, wnd: 128, una: 1, ts: 7778}
		_, _ = raw.WriteTo(forge(t, Config{}, update), from)
		if asked, _ := hear(t, raw, time.Minute); len(asked) < proofBlind {
			t.Errorf("%d questions in the minute after a window update, want %d",
				len(asked), proofBlind)
		}
	})
}
