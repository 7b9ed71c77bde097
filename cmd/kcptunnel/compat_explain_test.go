// SPDX-License-Identifier: MIT

package main

import (
	"context"
	"io"
	"testing"
	"testing/synctest"
	"time"
)

// Ends that are configured differently do not hang without a reason in the log of both.
func TestCompatMismatchIsLogged(t *testing.T) {
	for name, test := range map[string]struct {
		client, server         func(*settings)
		clientWords, serverHas string
	}{
		"nocomp at the client": {
			client:    func(s *settings) { s.noComp = true },
			serverHas: "does not compress", clientWords: "nothing was received",
		},
		"nocomp at the server": {
			server:    func(s *settings) { s.noComp = true },
			serverHas: "the other end compresses", clientWords: "nothing was received",
		},
		"smux 1 at the client": {
			client:    func(s *settings) { s.smuxVersion = 1 },
			serverHas: "smuxver 1", clientWords: "nothing was received",
		},
		"smux 1 at the server, nocomp": {
			client:    func(s *settings) { s.noComp = true },
			server:    func(s *settings) { s.smuxVersion = 1; s.noComp = true },
			serverHas: "smuxver 2", clientWords: "nothing was received",
		},
		"another key": {
			client:    func(s *settings) { s.key = "another" },
			serverHas: "cannot be opened", clientWords: "does not answer",
		},
		"another cipher": {
			client:    func(s *settings) { s.crypt = "salsa20" },
			serverHas: "cannot be opened", clientWords: "does not answer",
		},
		"null at the client": {
			client:    func(s *settings) { s.crypt = "null" },
			serverHas: "cannot be opened", clientWords: "does not answer",
		},
		"null at the server": {
			server:    func(s *settings) { s.crypt = "null" },
			serverHas: "cannot be opened", clientWords: "does not answer",
		},
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, line(10*time.Millisecond, 0), func(t *testing.T, w *world) {
				stop := w.serve(w.settings(roleServer, test.server), echo)
				d := w.client(w.settings(roleClient, test.client))
				st := w.dial(d)
				_, _ = st.Write([]byte("hello"))
				start := time.Now()
				if _, err := io.ReadAll(onlyReader{st}); err == nil {
					t.Error("the stream ended as if it were complete")
				}
				if took := time.Since(start); took > time.Minute {
					t.Errorf("the stream failed after %v", took)
				}
				_ = st.Close()
				synctest.Wait() // the client notes why
				_ = d.Close()
				stop()
				if !w.log.has("level=ERROR", "end=client", test.clientWords) {
					t.Errorf("the client's log has no error with %q", test.clientWords)
				}
				if !w.log.has("level=ERROR", "end=server", test.serverHas) {
					t.Errorf("the server's log has no error with %q", test.serverHas)
				}
			})
		})
	}
}

// A server that drops what it does not understand, as a legacy one does, is no reason to wait for
// ever.
func TestCompatSilentServerIsLogged(t *testing.T) {
	inWorld(t, line(10*time.Millisecond, 0), func(t *testing.T, w *world) {
		s := w.settings(roleServer, nil)
		block, err := s.block()
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(context.Background())
		socket, err := w.openSocket(ctx, s.sessionConfig(block), serverAddr)
		if err != nil {
			t.Fatal(err)
		}
		l, err := socket.Listen(nil)
		if err != nil {
			t.Fatal(err)
		}
		d := w.client(w.settings(roleClient, nil))
		st := w.dial(d)
		sess, err := l.AcceptKCP()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadAll(onlyReader{st}); err == nil {
			t.Error("the stream ended as if it were complete")
		}
		_ = st.Close()
		synctest.Wait() // the client notes why
		_ = d.Close()
		_ = sess.Close()
		_ = socket.Close()
		cancel()
		if !w.log.has("level=ERROR", "end=client", "nothing was received", "keepalive") {
			t.Error("the client's log has no error")
		}
	})
}

func TestDialectOf(t *testing.T) {
	const uncompressed = "\xff\x06\x00\x00sNaPpY\x01\x0c\x00\x00\x00\x00\x00\x00"
	for name, test := range map[string]struct {
		first string
		want  dialect
	}{
		"nothing":         {"", dialect{}},
		"smux 1":          {"\x01\x00\x00\x00\x01\x00\x00\x00", dialect{smux: 1}},
		"smux 2":          {"\x02\x04\x00\x00\x01\x00\x00\x00", dialect{smux: 2}},
		"snappy alone":    {"\xff\x06\x00\x00sNaPpY", dialect{snappy: true}},
		"snappy, bad sum": {uncompressed + "\x02\x00\x00\x00\x01\x00", dialect{snappy: true}},
		"mode of its own": {"kTnL\x01\x01\x00\x00\x00\x00", dialect{}},
		"HTTP":            {"GET / HTTP/1.1\r\n", dialect{}},
		"start of snappy": {"\xff\x06\x00\x00sNaP", dialect{snappy: true}},
		"too short":       {"\xff\x06\x00", dialect{}},
	} {
		if got := dialectOf([]byte(test.first)); got != test.want {
			t.Errorf("%s: %+v, want %+v", name, got, test.want)
		}
	}
}
