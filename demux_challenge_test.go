// SPDX-License-Identifier: MIT

package kcp

import (
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/netip"
	"runtime"
	"testing"
	"time"
)

// forgedAddr returns one of 2^32 addresses that no honest client has.
func forgedAddr(i uint32) *net.UDPAddr {
	ip := binary.BigEndian.AppendUint32(nil, i*2654435761+1)
	ip[0] = 100 + ip[0]%100
	return &net.UDPAddr{IP: ip, Port: 1024 + int(i%60000)}
}

// honestExchange sends 64 bytes, waits for their echo, and returns how long that took.
func honestExchange(t *testing.T, s *UDPSession) time.Duration {
	defer s.Close()
	began := time.Now()
	mustWrite(t, s, pattern(64, 1))
	_ = s.SetReadDeadline(time.Now().Add(time.Minute))
	if _, err := io.ReadFull(s, make([]byte, 64)); err != nil {
		t.Errorf("after %v: %v", time.Since(began), err)
	}
	return time.Since(began)
}

// echoAll accepts and echoes until the listener is closed.
func echoAll(l *Listener) {
	for {
		s, err := l.AcceptKCP()
		if err != nil {
			return
		}
		go func() {
			defer s.Close()
			var buf [512]byte
			for {
				n, err := s.Read(buf[:])
				if err != nil {
					return
				}
				_, _ = s.Write(buf[:n])
			}
		}()
	}
}

// spoofRun is the result of a listener under forged openers, 100,000 a second, and honest clients,
// 100 a second.
type spoofRun struct {
	stats    ListenerStats
	sessions int // at most
	heap     int64
	took     []time.Duration
}

func floodListener(t *testing.T, run *spoofRun, strangers, clients int, c Config) {
	connRun(t, simProfile{Delay: 25 * time.Millisecond}, func(t *testing.T, w *connWorld) {
		l := w.serve(c)
		go echoAll(l)
		w.setDrop(func(_, to string, _ []byte) bool { return to[:3] != "10." })
		server := l.demux.eps[0].conn.(*simEndpoint)
		var before, after runtime.MemStats
		runtime.GC()
		runtime.GC() // pools, which earlier tests have filled, are emptied in two steps
		runtime.ReadMemStats(&before)
		took := make(chan time.Duration, clients)
		opener := segment{cmd: cmdPush, wnd: 32, data: []byte("let me in")}
		for i := range 10 * clients { // a millisecond each
			for j := range strangers / (10 * clients) {
				opener.conv = uint32(i<<16 | j)
				server.put(appendSegment(nil, &opener), forgedAddr(opener.conv))
			}
			if i%10 == 0 {
				s := w.dialFrom(fmt.Sprintf("10.0.1.%d:%d", 1+i%200, 2000+i/200),
					randomConv(), Config{})
				go func() { took <- honestExchange(t, s) }()
			}
			time.Sleep(time.Millisecond)
			run.sessions = max(run.sessions, l.Stats().Sessions)
		}
		for range clients {
			run.took = append(run.took, <-took)
		}
		run.stats = l.Stats()
		runtime.GC()
		runtime.GC()
		runtime.ReadMemStats(&after)
		run.heap = int64(after.HeapAlloc) - int64(before.HeapAlloc)
	})
}

// Openers from forged addresses use bounded memory, and honest clients still get in.
func TestSpoofedOpensLeaveRoomForHonestClients(t *testing.T) {
	clients := 50
	if *longForm {
		clients = 1000
	}
	strangers := 1000 * clients
	var quiet, flood spoofRun
	floodListener(t, &quiet, 0, clients, Config{})
	floodListener(t, &flood, strangers, clients, Config{})
	grown := flood.heap - quiet.heap
	t.Logf("%d forged openers, %d challenged, %d answered; "+
		"at most %d sessions, %d KiB more than without; "+
		"%d honest exchanges: median %v, 99%% within %v; without %v",
		strangers, flood.stats.Challenged, flood.stats.Vouched, flood.sessions, grown>>10, clients,
		percentile(flood.took, 50), percentile(flood.took, 99), percentile(quiet.took, 99))
	if p := percentile(flood.took, 99); p >= time.Second {
		t.Errorf("99 %% of the honest got their echo within %v", p)
	}
	if flood.sessions > pendingDefault+clients || grown > 16<<20 {
		t.Errorf("%d sessions, %d bytes more on the heap", flood.sessions, grown)
	}
}

// A forged address is challenged before the session of its owner is superseded.
func TestForgedOpenerEndsNoSession(t *testing.T) {
	for name, c := range map[string]Config{"plain": {}, "stream": {StreamMode: true}} {
		t.Run(name, func(t *testing.T) {
			connRun(t, closeLink, func(t *testing.T, w *connWorld) {
				l := w.serve(c)
				client := w.dialFrom(restartAddr, 77, c)
				server := w.join(client, l)
				conn := l.demux.eps[0].conn.(*simEndpoint)
				for i := range uint32(1000) {
					s := segment{conv: 1000 + i, cmd: cmdPush, wnd: 32, data: []byte("mine now")}
					conn.put(appendSegment(nil, &s), client.LocalAddr())
					time.Sleep(time.Millisecond)
				}
				connWrite(t, client, "unharmed")
				connWantRead(t, server, "unharmed")
				if st := l.Stats(); st.Sessions != 1 || st.Challenged != 1000 || st.Vouched != 0 {
					t.Errorf("%+v", st)
				}
			})
		})
	}
}

// After an outage the RTO of a new client has grown to up to a minute. Its first segment,
// retransmitted so long after it answered the challenge, opens the session. That session supersedes
// the one of the earlier process.
func TestAnswerToAChallengeOutlastsAnyRTO(t *testing.T) {
	for _, wait := range []time.Duration{
		0, 17 * time.Second, 30 * time.Second, rtoMax.duration(),
	} {
		t.Run(wait.String(), func(t *testing.T) {
			connRun(t, closeLink, func(t *testing.T, w *connWorld) {
				l := w.serve(Config{})
				before := w.join(w.dialFrom(restartAddr, 77, Config{}), l)
				challenges := make(chan segment, 10)
				w.setDrop(func(_, to string, payload []byte) bool {
					var s segment
					if _, status := parseSegment(payload, &s); status == parseOK &&
						s.conv == 78 && to == restartAddr {
						challenges <- s
					}
					return false
				})
				conn := l.demux.eps[0].conn.(*simEndpoint)
				opener := segment{conv: 78, cmd: cmdPush, wnd: 32, data: []byte("again")}
				conn.put(appendSegment(nil, &opener), before.RemoteAddr())
				challenge := <-challenges
				answer := segment{conv: 78, cmd: cmdAck, wnd: 32,
					ts: challenge.ts, sn: challenge.sn}
				conn.put(appendSegment(nil, &answer), before.RemoteAddr())
				time.Sleep(wait)
				conn.put(appendSegment(nil, &opener), before.RemoteAddr())
				connWantRead(t, w.accept(l), "again")
				if !connEnded(before) {
					t.Error("the session of the earlier process is still open")
				}
			})
		})
	}
}

// Only the exact numbers of a challenge validate an address: from the address and for the
// conversation that were challenged, and within its lifetime.
func TestOnlyTheAnswerToAChallengeVouches(t *testing.T) {
	var a admission
	key := sessionKey{peerAddr{udp: netip.MustParseAddrPort("192.0.2.1:1000")}, 5}
	now := millis(1_000_000)
	ts, sn := a.challenge(&key, now/challengePeriod)
	good := segment{cmd: cmdAck, ts: ts, sn: sn}
	others := map[string]func(s *segment, k *sessionKey, at *millis){
		"another ts":           func(s *segment, _ *sessionKey, _ *millis) { s.ts++ },
		"another sn":           func(s *segment, _ *sessionKey, _ *millis) { s.sn-- },
		"another command":      func(s *segment, _ *sessionKey, _ *millis) { s.cmd = cmdPush },
		"another conversation": func(_ *segment, k *sessionKey, _ *millis) { k.conv++ },
		"another port": func(_ *segment, k *sessionKey, _ *millis) {
			k.peer.udp = netip.MustParseAddrPort("192.0.2.1:1001")
		},
		"another address": func(_ *segment, k *sessionKey, _ *millis) {
			k.peer.udp = netip.MustParseAddrPort("192.0.2.2:1000")
		},
		"another kind": func(_ *segment, k *sessionKey, _ *millis) {
			k.peer = peerAddr{custom: "mem|a"}
		},
		"too late": func(_ *segment, _ *sessionKey, at *millis) { *at += 2 * challengePeriod },
	}
	for name, change := range others {
		s, k, at := good, key, now
		change(&s, &k, &at)
		if a.answers(&s, &k, at) || a.hasVouched(&key, at) {
			t.Errorf("%s validates the address", name)
		}
	}
	a.span = 0
	if !a.answers(&good, &key, now+challengePeriod) {
		t.Fatal("the answer does not validate the address")
	}
	a.note(&decision{count: countValidated}, &key, now+challengePeriod)
	vouched := a.hasVouched(&key, now+challengePeriod+rtoMax)
	a.note(&decision{action: doorOpenValidated}, &key, now+challengePeriod+rtoMax)
	if !vouched || a.hasVouched(&key, now+challengePeriod+rtoMax) {
		t.Error("an answer validates the address not at all, or twice")
	}
	for i := range uint32(3 * vouchedMax) {
		k := key
		k.conv = i
		a.vouch(&k, now+challengePeriod+rtoMax)
	}
	if n := len(a.vouched[0]) + len(a.vouched[1]); n > 2*vouchedMax ||
		!a.hasVouched(&sessionKey{key.peer, 3*vouchedMax - 1}, now+2*rtoMax) {
		t.Errorf("%d answers are kept, or not the newest", n)
	}
}

func TestSessionsAreLimitedInAllAndForEachPrefix(t *testing.T) {
	connRun(t, closeLink, func(t *testing.T, w *connWorld) {
		l := w.serve(Config{MaxSessions: 10, MaxPerPrefix: 3})
		server := l.demux.eps[0].conn.(*simEndpoint)
		knock := func(ip string, port int) {
			s := segment{conv: 9, cmd: cmdPush, wnd: 32, data: []byte("x")}
			server.put(appendSegment(nil, &s), &net.UDPAddr{IP: net.ParseIP(ip), Port: port})
			time.Sleep(time.Millisecond)
		}
		want := func(sessions int, full, prefix uint64) {
			t.Helper()
			if st := l.Stats(); st.Sessions != sessions || st.RefusedFull != full ||
				st.RefusedPrefix != prefix {
				t.Errorf("%d sessions, %d and %d refused, want %d, %d and %d",
					st.Sessions, st.RefusedFull, st.RefusedPrefix, sessions, full, prefix)
			}
		}
		for port := range 5 {
			knock("192.0.2.1", 1000+port)
		}
		want(3, 0, 2)
		for i, ip := range []string{
			"2001:db8:0:1::1", "2001:db8:0:2::7", "2001:db8:0:ff::1", "2001:db8:0:3::1",
			"2001:db8:0:100::1",
		} {
			knock(ip, 1000+i)
		}
		want(7, 0, 3)
		for port := range 4 {
			knock("127.0.0.1", 1000+port) // not limited by prefix
		}
		want(10, 1, 3)
		// A place that has become free is given away again, once.
		for range 3 {
			s := w.accept(l)
			s.SetLinger(0)
			s.Close()
		}
		time.Sleep(time.Second)
		want(7, 1, 3)
		knock("192.0.2.1", 2000)
		want(8, 1, 3)
		l.Close()
		time.Sleep(time.Second)
		l.demux.mu.Lock()
		defer l.demux.mu.Unlock()
		if n := len(l.demux.admission.prefixes); n != 0 || l.demux.pending.Load() != 0 {
			t.Errorf("%d prefixes and %d pending are counted without a session",
				n, l.demux.pending.Load())
		}
	})
}
