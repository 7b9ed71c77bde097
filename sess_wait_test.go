// SPDX-License-Identifier: MIT

package kcp

import (
	"errors"
	"testing"
	"time"
)

// waitFor dials with WaitPeer from an address.
func (w *connWorld) waitFor(from string, c Config) (*UDPSession, error) {
	c.WaitPeer = true
	s := w.dialFrom(from, randomConv(), c)
	return s, s.awaitPeer(w.t.Context(), w.options(c))
}

// A client that waits for its peer has opened the session. The server may then send first.
func TestServerSpeaksFirst(t *testing.T) {
	for name, c := range restartConfigs(t) {
		t.Run(name, func(t *testing.T) {
			for seed := range uint64(10) {
				link := closeLink
				link.Loss = 0.2
				connRunSeed(t, seed, link, func(t *testing.T, w *connWorld) {
					l := w.serve(c)
					client, err := w.waitFor(restartAddr, c)
					if err != nil {
						t.Fatal(err)
					}
					server := w.accept(l)
					connWrite(t, server, "220 ready")
					connWantRead(t, client, "220 ready")
					connWrite(t, client, "EHLO")
					connWantRead(t, server, "EHLO")
					if n := l.Stats().Sessions; n != 1 {
						t.Errorf("%d sessions, want 1", n)
					}
				})
			}
		})
	}
}

// A new client for which there is no room gets an error. So does one that does not wait for its
// peer, unless only the backlog is full.
func TestRefusedNewcomerIsTold(t *testing.T) {
	for name, c := range map[string]Config{
		"MaxSessions": {MaxSessions: 1}, "MaxPerPrefix": {MaxPerPrefix: 1},
		"AcceptBacklog": {AcceptBacklog: 1},
	} {
		for _, waits := range []bool{true, false} {
			if name == "AcceptBacklog" && !waits {
				continue // it gets in later
			}
			t.Run(name, func(t *testing.T) {
				connRun(t, closeLink, func(t *testing.T, w *connWorld) {
					w.serve(c)
					if _, err := w.waitFor("10.0.0.9:1", Config{}); err != nil {
						t.Fatal(err)
					}
					began := time.Now()
					var refused *UDPSession
					var err error
					if waits {
						refused, err = w.waitFor("10.0.0.9:2", Config{})
					} else {
						refused = w.dialFrom("10.0.0.9:2", randomConv(), Config{})
						connWrite(t, refused, "let me in")
						_ = refused.SetReadDeadline(time.Now().Add(time.Minute))
						_, err = refused.Read(make([]byte, 1))
					}
					if !errors.Is(err, connReset) || time.Since(began) > time.Second {
						t.Errorf("%v after %v, want %v", err, time.Since(began), connReset)
					}
					if !connEnded(refused) {
						t.Error("the session has not ended")
					}
				})
			})
		}
	}
}

// A challenge is no answer yet. A client that waits for its peer is accepted when the wait is over.
func TestWaitPeerBehindAChallenge(t *testing.T) {
	connRun(t, closeLink, func(t *testing.T, w *connWorld) {
		l := w.serve(Config{MaxPending: 1})
		raw := w.endpoint("10.0.0.8:1")
		opener := segment{conv: 7, cmd: cmdPush, wnd: 128, data: []byte("x")}
		_, _ = raw.WriteTo(forge(t, Config{}, opener), l.Addr())
		w.accept(l)
		client, err := w.waitFor(restartAddr, Config{})
		if err != nil {
			t.Fatal(err)
		}
		if st := l.Stats(); st.Challenged == 0 || st.Sessions != 2 {
			t.Errorf("%d challenged, %d sessions", st.Challenged, st.Sessions)
		}
		server := w.accept(l)
		connWrite(t, server, "welcome")
		connWantRead(t, client, "welcome")
	})
}
