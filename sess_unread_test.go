// SPDX-License-Identifier: MIT

package kcp

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"testing"
	"testing/synctest"
	"time"
)

// unreadRest reads a closed session to its end.
func unreadRest(t *testing.T, s *UDPSession, size int) (messages [][]byte) {
	t.Helper()
	for buf := make([]byte, size); ; {
		n, err := s.Read(buf)
		if err != nil {
			if n != 0 || !errors.Is(err, net.ErrClosed) || !errors.Is(err, io.ErrClosedPipe) {
				t.Errorf("Read gave %d and %v, want net.ErrClosed", n, err)
			}
			return messages
		}
		messages = append(messages, bytes.Clone(buf[:n]))
	}
}

// Data that had arrived in order can be read after Close, and then the error. This holds for any
// peer and however the session ends.
func TestReadAfterClose(t *testing.T) {
	for _, stream := range []bool{false, true} {
		for _, linger := range []time.Duration{lingerByProgress, 0, time.Second} {
			for name, between := range map[string]func(client, server *UDPSession){
				"at once": func(*UDPSession, *UDPSession) {},
				"when the session is gone": func(*UDPSession, *UDPSession) {
					time.Sleep(30 * time.Second)
				},
				"and the peer has closed": func(client, _ *UDPSession) {
					client.Close()
					time.Sleep(time.Second)
				},
				"and the peer goes on": func(client, _ *UDPSession) {
					_, _ = client.Write([]byte("too late"))
					time.Sleep(time.Second)
				},
			} {
				title := fmt.Sprintf("stream %v linger %v %s", stream, linger, name)
				t.Run(title, func(t *testing.T) {
					connRun(t, closeLink, func(t *testing.T, w *connWorld) {
						client, server, _ := w.pair(Config{StreamMode: stream})
						want := []string{"first", string(pattern(1376, 1)), "third"}
						for _, s := range want {
							connWrite(t, client, s)
						}
						time.Sleep(time.Second)
						connWantRead(t, server, "fi")
						server.SetLinger(linger)
						server.Close()
						between(client, server)
						got := unreadRest(t, server, 2000)
						joined := bytes.Join(got, nil)
						if string(joined) != "rst"+want[1]+want[2] {
							t.Errorf("read %d bytes after Close: %.40q", len(joined), joined)
						}
						if !stream && len(got) != 3 {
							t.Errorf("read %d messages, want 3", len(got))
						}
						closeWantClosed(t, server)
					})
				})
			}
		}
	}
}

// A message that is read in parts keeps its bounds. After Close, out-of-order data is not
// delivered.
func TestReadAfterCloseKeepsMessages(t *testing.T) {
	connRun(t, closeLink, func(t *testing.T, w *connWorld) {
		client, server, _ := w.pair(Config{})
		connWrite(t, client, "0123456789")
		connWrite(t, client, "abc")
		time.Sleep(time.Second)
		dropped := false
		w.setDrop(func(_, _ string, payload []byte) bool {
			if dropped {
				return false
			}
			dropped = true
			return true
		})
		connWrite(t, client, "lost")
		connWrite(t, client, "behind a hole")
		time.Sleep(25 * time.Millisecond)
		server.Close()
		got := bytes.Join(unreadRest(t, server, 4), []byte("|"))
		if string(got) != "0123|4567|89|abc" {
			t.Errorf("read %q", got)
		}
	})
}

// A Read that is blocked when Close is called returns the error, with nothing to read or with an
// incomplete message. CloseRead discards what was there.
func TestCloseEndsReads(t *testing.T) {
	connRun(t, closeLink, func(t *testing.T, w *connWorld) {
		client, server, _ := w.pair(Config{})
		result := make(chan error)
		for range 3 {
			go func() {
				_, err := server.Read(make([]byte, 10))
				result <- err
			}()
		}
		synctest.Wait()
		server.Close()
		for range 3 {
			if err := <-result; !errors.Is(err, net.ErrClosed) {
				t.Errorf("a blocked Read gave %v", err)
			}
		}
		connWrite(t, client, "to be reset")
	})
	connRun(t, closeLink, func(t *testing.T, w *connWorld) {
		client, server, _ := w.pair(Config{})
		connWrite(t, client, "never read")
		time.Sleep(time.Second)
		_ = server.CloseRead()
		server.Close()
		if rest := unreadRest(t, server, 100); len(rest) > 0 {
			t.Errorf("read %q after CloseRead and Close", rest)
		}
	})
}

// Unread data is charged to the session until it is read or the session is gone. From then on it
// belongs to the program.
func TestUnreadDataIsCharged(t *testing.T) {
	connRun(t, closeLink, func(t *testing.T, w *connWorld) {
		c := Config{StreamMode: true, NoCongestionControl: true,
			SendWindow: 256, ReceiveWindow: 256}
		client, server, _ := w.pair(c)
		want := pattern(200_000, 1)
		connWrite(t, client, string(want))
		time.Sleep(5 * time.Second)
		server.Close() // and waits for the end of the client's stream
		memory := endpointOf(server).demux.memory
		if held := memory.held.Load(); held < 190_000 || held > 220_000 {
			t.Errorf("%d bytes are held with 200,000 left", held)
		}
		half := make([]byte, 100_000)
		if n, err := io.ReadFull(server, half); err != nil || !bytes.Equal(half, want[:n]) {
			t.Errorf("%d bytes, %v", n, err)
		}
		time.Sleep(10 * time.Second)
		if held := memory.held.Load(); held != 0 || !connEnded(server) {
			t.Errorf("%d bytes are held after the session has ended", held)
		}
		rest := bytes.Join(unreadRest(t, server, 3000), nil)
		if !bytes.Equal(rest, want[100_000:]) {
			t.Errorf("%d bytes were left", len(rest))
		}
	})
}

// Concurrent Close and Reads lose nothing, deliver nothing twice and leak no buffer. Large runs
// stay in the buffers that they were received in.
func TestReadsAndCloseAtOnce(t *testing.T) {
	connCheckLeaks(t)
	c := Config{StreamMode: true, NoCongestionControl: true, SendWindow: 1024, ReceiveWindow: 1024}
	l, err := c.Listen(t.Context(), "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	want := pattern(1<<20, 1)
	for range 5 {
		client, err := c.Dial(t.Context(), l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		connWrite(t, client, string(want))
		client.Close()
		server, err := l.AcceptKCP()
		if err != nil {
			t.Fatal(err)
		}
		got := make([]byte, len(want)/2)
		if _, err := io.ReadFull(server, got); err != nil {
			t.Fatal(err)
		}
		rest := make(chan []byte)
		go func() {
			b, err := io.ReadAll(server)
			if !errors.Is(err, net.ErrClosed) && err != nil {
				t.Error(err)
			}
			rest <- b
		}()
		server.Close()
		got = append(got, <-rest...)
		if !bytes.Equal(got, want[:len(got)]) {
			t.Fatalf("other bytes than were written among the first %d", len(got))
		}
		endpointOf(client).conn.Close() // the test does not wait for the last packets
	}
	l.demux.eps[0].conn.Close()
}
