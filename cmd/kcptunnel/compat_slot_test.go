// SPDX-License-Identifier: MIT

package main

import (
	"io"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seedkcp/kcp/internal/simnet"
)

// A server that was killed and started again does not know the sessions of its clients. Its answer
// counts at once with a cipher that authenticates it, and the silence on the session otherwise.
func TestCompatServerCrashes(t *testing.T) {
	for crypt, within := range map[string]time.Duration{
		"aes-128-gcm": 5 * time.Second,
		"aes":         35 * time.Second,
	} {
		change := func(s *settings) { s.crypt = crypt }
		inWorld(t, line(10*time.Millisecond, 0), func(t *testing.T, w *world) {
			server := w.settings(roleServer, change)
			stop := w.serve(server, echo)
			d := w.client(w.settings(roleClient, change))
			st := w.dial(d)
			mustWrite(t, st, "before")
			mustRead(t, st, "before")
			w.net.SetState("*", "*", simnet.Down)
			stop() // nobody learns it
			w.net.SetState("*", "*", simnet.Up)
			stop = w.serve(server, echo)
			mustWrite(t, st, "lost")
			start := time.Now()
			if _, err := st.Read(make([]byte, 1)); err == nil || err == io.EOF {
				t.Errorf("%s: the stream of a server that is gone: %v", crypt, err)
			}
			if took := time.Since(start); took > within {
				t.Errorf("%s: noticed after %v", crypt, took)
			}
			_ = st.Close()
			if err := exchange(w.dial(d), []byte("after")); err != nil {
				t.Errorf("%s: %v", crypt, err)
			}
			_ = d.Close()
			stop()
		})
	}
}

// While the client waits for a server that has lost the session, new connections get another one.
func TestCompatStalledSessionGetsNoStreams(t *testing.T) {
	inWorld(t, line(10*time.Millisecond, 0), func(t *testing.T, w *world) {
		server := w.settings(roleServer, nil)
		stop := w.serve(server, echo)
		d := w.client(w.settings(roleClient, nil))
		if err := exchange(w.dial(d), []byte("before")); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		w.net.SetState("*", "*", simnet.Down)
		stop()
		w.net.SetState("*", "*", simnet.Up)
		stop = w.serve(server, echo)
		lost := w.dial(d)
		mustWrite(t, lost, "lost")
		time.Sleep(5 * time.Second)
		start := time.Now()
		if err := exchange(w.dial(d), []byte("after")); err != nil {
			t.Error(err)
		}
		if took := time.Since(start); took > time.Second {
			t.Errorf("a new connection took %v", took)
		}
		_ = lost.Close()
		_ = d.Close()
		stop()
	})
}

// A session that is slow, or whose server has nothing to send, is not stalled.
func TestCompatSlowSessionIsNotStalled(t *testing.T) {
	inWorld(t, line(300*time.Millisecond, 0.05), func(t *testing.T, w *world) {
		stop := w.serve(w.settings(roleServer, nil), func(st stream) {
			_, _ = io.Copy(io.Discard, onlyReader{st})
			_ = st.Close()
		})
		d := w.client(w.settings(roleClient, nil))
		for range 20 {
			st := w.dial(d)
			mustWrite(t, st, "upload")
			time.Sleep(4 * time.Second)
			_ = st.Close()
		}
		if n := countOpened(w); n != 1 {
			t.Errorf("%d sessions were opened", n)
		}
		_ = d.Close()
		stop()
	})
}

// An expired session keeps its streams for scavengettl, and gets no new ones.
func TestCompatSessionExpires(t *testing.T) {
	inWorld(t, line(10*time.Millisecond, 0), func(t *testing.T, w *world) {
		stop := w.serve(w.settings(roleServer, nil), echo)
		d := w.client(w.settings(roleClient, func(s *settings) {
			s.autoExpire, s.scavengeTTL = 60, 600
		}))
		kept := w.dial(d)
		mustWrite(t, kept, "before")
		mustRead(t, kept, "before")
		time.Sleep(61 * time.Second)
		idle := w.dial(d)
		mustWrite(t, kept, "expired")
		mustRead(t, kept, "expired")
		if n := countOpened(w); n != 2 {
			t.Errorf("%d sessions were opened", n)
		}
		_ = idle.Close()
		time.Sleep(61*time.Second + idleClose)
		synctest.Wait()
		if n := len(d.open()); n != 1 {
			t.Errorf("%d sessions are open: one is expired and idle", n)
		}
		start := time.Now()
		if _, err := kept.Read(make([]byte, 1)); err == nil || err == io.EOF {
			t.Errorf("the stream of a session past scavengettl: %v", err)
		}
		if took := time.Since(start); took < 8*time.Minute || took > 9*time.Minute {
			t.Errorf("closed after %v more", took)
		}
		_ = kept.Close()
		_ = d.Close()
		stop()
	})
}

// The last connection of an expired session is carried to its end before the session closes.
func TestCompatExpiredSessionDelivers(t *testing.T) {
	for _, version := range []int64{1, 2} {
		change := func(s *settings) { s.smuxVersion = version }
		inWorld(t, line(50*time.Millisecond, 0.05), func(t *testing.T, w *world) {
			type upload struct {
				data []byte
				err  error
			}
			got := make(chan upload, 1)
			stop := w.serve(w.settings(roleServer, change), func(st stream) {
				data, err := io.ReadAll(onlyReader{st})
				got <- upload{data, err}
				_ = st.Close()
			})
			d := w.client(w.settings(roleClient, func(s *settings) {
				change(s)
				s.autoExpire = 10
			}))
			st := w.dial(d)
			mustWrite(t, st, "begin")
			time.Sleep(11 * time.Second)
			data := noise(200_000, 1)
			mustWrite(t, st, string(data))
			_ = st.Close()
			u := <-got
			if want := len("begin") + len(data); len(u.data) != want || u.err != nil {
				t.Errorf("smux %d: %d bytes arrived of %d, %v", version, len(u.data), want, u.err)
			}
			_ = d.Close()
			stop()
		})
	}
}

// A stream that waits for the peer to read does not outlive the session, even if the peer has ended
// its direction.
func TestCompatBlockedWriteEndsWithTheSession(t *testing.T) {
	for _, version := range []int64{1, 2} {
		change := func(s *settings) { s.smuxVersion, s.noComp = version, true }
		inWorld(t, line(10*time.Millisecond, 0), func(t *testing.T, w *world) {
			failed := make(chan error, 1)
			stop := w.serve(w.settings(roleServer, change), func(st stream) {
				_, _ = io.Copy(io.Discard, onlyReader{st})
				_, err := st.Write(make([]byte, 32<<20))
				failed <- err
				_ = st.Close()
			})
			d := w.client(w.settings(roleClient, change))
			st := w.dial(d)
			mustWrite(t, st, "request")
			_ = st.CloseWrite()
			time.Sleep(10 * time.Second)
			_ = d.Close()
			start := time.Now()
			if err := <-failed; err == nil {
				t.Error("a Write to a client that is gone succeeded")
			}
			if took := time.Since(start); took > 5*time.Second {
				t.Errorf("smux %d: the Write failed after %v", version, took)
			}
			stop()
		})
	}
}
