// SPDX-License-Identifier: MIT

package kcp

import (
	"bytes"
	"errors"
	"net"
	"slices"
	"testing"
	"time"
)

func TestOneWriteIsOneRead(t *testing.T) {
	const mss = 1400 - segmentHeaderSize
	tests := []struct {
		size int
		want []int // sizes of the Reads
	}{
		{1, []int{1}},
		{100, []int{100}},
		{mss - 1, []int{mss - 1}},
		{mss, []int{mss}},
		{mss + 1, []int{mss, 1}},
		{3*mss + 5, []int{mss, mss, mss, 5}},
		{100 * mss, slices.Repeat([]int{mss}, 100)},
	}
	inSession(t, Config{}, func(t *testing.T, client, server *UDPSession) {
		for _, tt := range tests {
			data := pattern(tt.size, uint64(tt.size))
			mustWrite(t, client, data)
			var got []byte
			for i, want := range tt.want {
				p := mustRead(t, server, 1<<16)
				if len(p) != want {
					t.Fatalf("%d bytes: Read %d returned %d bytes, want %d",
						tt.size, i, len(p), want)
				}
				got = append(got, p...)
			}
			if !bytes.Equal(got, data) {
				t.Fatalf("%d bytes arrived changed", tt.size)
			}
		}
		mustReadNothing(t, server)
	})
}

// A peer may split a message into several segments, as KCP's Send does. It is still one message,
// whatever the reader's buffer.
func TestMessageOfManyFragmentsIsOneMessage(t *testing.T) {
	inSession(t, Config{}, func(t *testing.T, client, server *UDPSession) {
		long := pattern(20_000, 1)
		fragments := func(p []byte) {
			client.mu.Lock()
			client.core.send(p)
			client.mu.Unlock()
			client.flushNow()
		}
		fragments(long)
		fragments([]byte("short"))
		if got := mustRead(t, server, 1<<16); !bytes.Equal(got, long) {
			t.Fatalf("got %d bytes, want the message of %d", len(got), len(long))
		}
		if got := mustRead(t, server, 1<<16); string(got) != "short" {
			t.Fatalf("got %q, want the next message", got)
		}
		fragments(long)
		fragments([]byte("short"))
		var got []byte
		for len(got) < len(long) {
			got = append(got, mustRead(t, server, 3000)...)
		}
		if !bytes.Equal(got, long) {
			t.Fatalf("got %d bytes in pieces, want the message of %d and no more",
				len(got), len(long))
		}
		if got := mustRead(t, server, 1<<16); string(got) != "short" {
			t.Fatalf("got %q, want the next message", got)
		}
	})
}

func TestReadAndWriteOfNothing(t *testing.T) {
	inSession(t, Config{}, func(t *testing.T, client, server *UDPSession) {
		check := func(when string, wantErr error) {
			t.Helper()
			for _, p := range [][]byte{nil, {}} {
				if n, err := client.Write(p); n != 0 || !errors.Is(err, wantErr) {
					t.Errorf("%s: Write of nothing = %d, %v, want %v", when, n, err, wantErr)
				}
				if n, err := client.Read(p); n != 0 || !errors.Is(err, wantErr) {
					t.Errorf("%s: Read of nothing = %d, %v, want %v", when, n, err, wantErr)
				}
			}
		}
		before := client.Stats().SegmentsSent
		check("open, nothing there", nil)
		if n := client.Stats().SegmentsSent; n != before {
			t.Errorf("Write of nothing sent %d segments", n-before)
		}
		mustWrite(t, server, []byte("back"))
		time.Sleep(time.Second)
		check("open, something there", nil)
		if got := string(mustRead(t, client, 10)); got != "back" {
			t.Errorf("Read of nothing took of the message: %q is left", got)
		}
		_ = client.Close()
		check("closed", net.ErrClosed)
	})
}

// No call of length zero blocks or ends a session.
func TestEmptyCalls(t *testing.T) {
	connRun(t, closeLink, func(t *testing.T, w *connWorld) {
		client, server, _ := w.pair(Config{})
		for range 2 {
			if n, err := client.Write(nil); n != 0 || err != nil {
				t.Errorf("empty Write: %d, %v", n, err)
			}
			if n, err := client.WriteBuffers(nil); n != 0 || err != nil {
				t.Errorf("empty WriteBuffers: %d, %v", n, err)
			}
			if n, err := server.Read(nil); n != 0 || err != nil {
				t.Errorf("empty Read: %d, %v", n, err)
			}
		}
		connWrite(t, client, "x")
		connWantRead(t, server, "x")
	})
}
