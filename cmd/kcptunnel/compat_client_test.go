// SPDX-License-Identifier: MIT

package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"io"
	"sync"
	"testing"
	"time"

	"github.com/seedkcp/kcp/internal/simnet"
)

func TestCompatEchoes(t *testing.T) {
	for name, change := range variants() {
		t.Run(name, func(t *testing.T) {
			inWorld(t, line(10*time.Millisecond, 0.01), func(t *testing.T, w *world) {
				stop := w.serve(w.settings(roleServer, change), echo)
				d := w.client(w.settings(roleClient, change))
				for i := range 3 {
					data := noise(50_000, byte(i))
					if i == 1 {
						data = bytes.Repeat([]byte("compressible "), 5_000)
					}
					if err := exchange(w.dial(d), data); err != nil {
						t.Errorf("stream %d: %v", i, err)
					}
				}
				_ = d.Close()
				stop()
			})
		})
	}
}

// downloads runs n downloads of size bytes at once and checks their digests.
func downloads(w *world, change func(*settings), n, size int) {
	w.t.Helper()
	stop := w.serve(w.settings(roleServer, change), func(st stream) {
		defer st.Close()
		which := make([]byte, 1)
		if _, err := io.ReadFull(st, which); err != nil {
			w.t.Errorf("request: %v", err)
			return
		}
		if _, err := st.Write(noise(size, which[0])); err != nil {
			w.t.Errorf("answer: %v", err)
		}
		_ = st.CloseWrite()
	})
	d := w.client(w.settings(roleClient, change))
	var all sync.WaitGroup
	for i := range n {
		st := w.dial(d)
		all.Go(func() {
			defer st.Close()
			if _, err := st.Write([]byte{byte(i)}); err != nil {
				w.t.Errorf("download %d: %v", i, err)
				return
			}
			got, err := io.ReadAll(onlyReader{st})
			if err != nil || sha256.Sum256(got) != sha256.Sum256(noise(size, byte(i))) {
				w.t.Errorf("download %d: %d bytes of %d, %v", i, len(got), size, err)
			}
		})
	}
	all.Wait()
	_ = d.Close()
	stop()
}

func TestCompatTwentyDownloadsUnderLoss(t *testing.T) {
	for name, change := range map[string]func(*settings){
		"smux 1": func(s *settings) { s.smuxVersion = 1 },
		"smux 2": func(s *settings) { s.conns = 4 },
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, line(20*time.Millisecond, 0.05), func(t *testing.T, w *world) {
				downloads(w, change, 20, 256<<10)
			})
		})
	}
}

// A server that is restarted cuts the streams off, and serves new ones.
func TestCompatServerRestarts(t *testing.T) {
	inWorld(t, line(10*time.Millisecond, 0), func(t *testing.T, w *world) {
		server := w.settings(roleServer, nil)
		stop := w.serve(server, echo)
		d := w.client(w.settings(roleClient, nil))
		st := w.dial(d)
		mustWrite(t, st, "before")
		mustRead(t, st, "before")
		stop()
		if _, err := st.Read(make([]byte, 1)); err == nil || err == io.EOF {
			t.Errorf("the stream of a server that is gone: %v", err)
		}
		_ = st.Close()
		stop = w.serve(server, echo)
		if err := exchange(w.dial(d), []byte("after")); err != nil {
			t.Error(err)
		}
		_ = d.Close()
		stop()
		if !w.log.has("client", "session closed", "reset") {
			t.Error("the end of the session is not in the client's log")
		}
	})
}

// A client that is restarted cuts the streams off, and its successor gets new ones.
func TestCompatClientRestarts(t *testing.T) {
	inWorld(t, line(10*time.Millisecond, 0), func(t *testing.T, w *world) {
		ends := make(chan error, 1)
		stop := w.serve(w.settings(roleServer, nil), func(st stream) {
			defer st.Close()
			_, err := io.Copy(onlyWriter{st}, onlyReader{st})
			ends <- err
		})
		d := w.client(w.settings(roleClient, nil))
		st := w.dial(d)
		mustWrite(t, st, "before")
		mustRead(t, st, "before")
		_ = d.Close()
		if err := <-ends; err == nil {
			t.Error("the server read an end of the stream of a client that is gone")
		}
		d = w.client(w.settings(roleClient, nil))
		st = w.dial(d)
		mustWrite(t, st, "after")
		mustRead(t, st, "after")
		_ = st.CloseWrite()
		if err := <-ends; err != nil {
			t.Errorf("the new client: %v", err)
		}
		_ = d.Close()
		stop()
	})
}

// A server that dies silently is noticed, and the next connection gets a new session.
func TestCompatServerVanishes(t *testing.T) {
	inWorld(t, line(10*time.Millisecond, 0), func(t *testing.T, w *world) {
		server := w.settings(roleServer, nil)
		stop := w.serve(server, echo)
		d := w.client(w.settings(roleClient, nil))
		st := w.dial(d)
		mustWrite(t, st, "before")
		mustRead(t, st, "before")
		w.net.SetState("*", "*", simnet.Down)
		stop()
		start := time.Now()
		if _, err := st.Read(make([]byte, 1)); err == nil || err == io.EOF {
			t.Errorf("the stream of a server that is gone: %v", err)
		}
		if took := time.Since(start); took > 2*time.Minute {
			t.Errorf("noticed after %v", took)
		}
		_ = st.Close()
		w.net.SetState("*", "*", simnet.Up)
		stop = w.serve(server, echo)
		if err := exchange(w.dial(d), []byte("after")); err != nil {
			t.Error(err)
		}
		_ = d.Close()
		stop()
	})
}

func TestCompatIdlesThenWorks(t *testing.T) {
	for name, change := range variants() {
		t.Run(name, func(t *testing.T) {
			inWorld(t, line(10*time.Millisecond, 0.01), func(t *testing.T, w *world) {
				stop := w.serve(w.settings(roleServer, change), echo)
				d := w.client(w.settings(roleClient, change))
				st := w.dial(d)
				for _, wait := range []time.Duration{0, time.Minute, 10 * time.Minute} {
					time.Sleep(wait)
					mustWrite(t, st, "traffic")
					mustRead(t, st, "traffic")
				}
				_ = st.Close()
				if n := countOpened(w); n > 2 {
					t.Errorf("%d sessions were opened", n)
				}
				_ = d.Close()
				stop()
			})
		})
	}
}

// countOpened returns how many sessions the client's log tells of.
func countOpened(w *world) int {
	return bytes.Count([]byte(w.log.String()), []byte("session opened\" end=client"))
}

func TestCompatSessionsAreUsedInTurn(t *testing.T) {
	inWorld(t, line(10*time.Millisecond, 0), func(t *testing.T, w *world) {
		stop := w.serve(w.settings(roleServer, nil), echo)
		d := w.client(w.settings(roleClient, func(s *settings) { s.conns = 3 }))
		for range 9 {
			if err := exchange(w.dial(d), []byte("x")); err != nil {
				t.Error(err)
			}
		}
		if n := countOpened(w); n != 3 {
			t.Errorf("%d sessions were opened", n)
		}
		_ = d.Close()
		stop()
	})
}

func TestCompatDialAfterClose(t *testing.T) {
	inWorld(t, line(10*time.Millisecond, 0), func(t *testing.T, w *world) {
		d := w.client(w.settings(roleClient, nil))
		_ = d.Close()
		if st, err := d.dial(context.Background()); err == nil {
			t.Errorf("dial returned %v", st)
		}
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	})
}
