// SPDX-License-Identifier: MIT

package kcp

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

// inSession runs f in virtual time with a dialled and an accepted session over a perfect link.
func inSession(t *testing.T, c Config, f func(t *testing.T, client, server *UDPSession)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		n := newSimPair(t, 1, simProfile{Delay: 5 * time.Millisecond}, c)
		defer n.close()
		f(t, n.client, n.server)
	})
}

// mustWrite writes all of p.
func mustWrite(t testing.TB, s io.Writer, p []byte) {
	t.Helper()
	if n, err := s.Write(p); n != len(p) || err != nil {
		t.Fatalf("Write of %d bytes = %d, %v", len(p), n, err)
	}
}

// mustRead reads once into a buffer of size bytes.
func mustRead(t testing.TB, s io.Reader, size int) []byte {
	t.Helper()
	buf := make([]byte, size)
	n, err := s.Read(buf)
	if err != nil {
		t.Fatalf("Read: %v", err)
	}
	return buf[:n]
}

// mustReadNothing checks that nothing is left to read, in virtual time.
func mustReadNothing(t testing.TB, s net.Conn) {
	t.Helper()
	_ = s.SetReadDeadline(time.Now().Add(time.Minute))
	var buf [1]byte
	if n, err := s.Read(buf[:]); n != 0 || err != errTimeout {
		t.Fatalf("Read = %d, %v, want nothing for a minute", n, err)
	}
	_ = s.SetReadDeadline(time.Time{})
}

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
					t.Fatalf("%d bytes: Read %d returned %d bytes, want %d", tt.size, i, len(p), want)
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

func TestMessagesThatArriveTogetherAreReadOneByOne(t *testing.T) {
	inSession(t, Config{WriteDelay: true}, func(t *testing.T, client, server *UDPSession) {
		for i := range 50 {
			mustWrite(t, client, fmt.Appendf(nil, "message %d", i))
		}
		time.Sleep(time.Second)
		for i := range 50 {
			if got, want := string(mustRead(t, server, 100)), fmt.Sprintf("message %d", i); got != want {
				t.Fatalf("got %q, want %q", got, want)
			}
		}
		if n := client.Stats().PacketsSent; n > 10 {
			t.Errorf("50 small writes left in %d packets", n)
		}
	})
}

func TestRestOfAMessageStaysForTheNextRead(t *testing.T) {
	inSession(t, Config{}, func(t *testing.T, client, server *UDPSession) {
		mustWrite(t, client, []byte("a first message"))
		mustWrite(t, client, []byte("second"))
		for _, step := range []struct {
			size int
			want string
		}{{2, "a "}, {0, ""}, {5, "first"}, {1, " "}, {7, "message"}, {100, "second"}} {
			if got := string(mustRead(t, server, step.size)); got != step.want {
				t.Fatalf("Read into %d bytes = %q, want %q", step.size, got, step.want)
			}
		}
		mustReadNothing(t, server)
	})
}

// A peer may cut a message over several segments, as KCP's Send does. It is one message still, whatever the reader's
// buffer.
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
			t.Fatalf("got %d bytes in pieces, want the message of %d and no more", len(got), len(long))
		}
		if got := mustRead(t, server, 1<<16); string(got) != "short" {
			t.Fatalf("got %q, want the next message", got)
		}
	})
}

// The C implementation sends messages of no bytes. They are skipped, and make room in the window.
func TestEmptyMessagesAreSkipped(t *testing.T) {
	c := Config{SendWindow: 128, ReceiveWindow: 32, NoCongestionControl: true}
	inSession(t, c, func(t *testing.T, client, server *UDPSession) {
		client.mu.Lock()
		for range 100 {
			client.core.enqueue(getBuffer(0), 0)
		}
		client.mu.Unlock()
		start := time.Now()
		mustWrite(t, client, []byte("x"))
		if got := string(mustRead(t, server, 10)); got != "x" {
			t.Fatalf("got %q, want x", got)
		}
		// Four windows' worth, and no wait for a window probe.
		if d := time.Since(start); d > 200*time.Millisecond {
			t.Errorf("it took %v", d)
		}
	})
}

func TestStreamReadTakesAllThatIsThere(t *testing.T) {
	inSession(t, Config{StreamMode: true}, func(t *testing.T, client, server *UDPSession) {
		data := pattern(100_000, 1)
		mustWrite(t, client, data)
		time.Sleep(time.Second)
		got := mustRead(t, server, 70_001)
		if len(got) != 70_001 {
			t.Fatalf("Read returned %d bytes, want the buffer full: 70001", len(got))
		}
		got = append(got, mustRead(t, server, 1<<20)...)
		if !bytes.Equal(got, data) {
			t.Fatalf("%d bytes in all, or others, want %d", len(got), len(data))
		}
		mustReadNothing(t, server)
	})
}

func TestStreamWritesAreMerged(t *testing.T) {
	inSession(t, Config{StreamMode: true, WriteDelay: true}, func(t *testing.T, client, server *UDPSession) {
		before := client.Stats()
		var want []byte
		for i := range 1000 {
			p := fmt.Appendf(nil, "%d,", i)
			mustWrite(t, client, p)
			want = append(want, p...)
		}
		got := make([]byte, len(want))
		if _, err := io.ReadFull(server, got); err != nil || !bytes.Equal(got, want) {
			t.Fatalf("bytes arrived changed, or %v", err)
		}
		if n := client.Stats().SegmentsSent - before.SegmentsSent; n > 10 {
			t.Errorf("%d bytes in small writes left in %d segments", len(want), n)
		}
	})
}

func TestWriteBuffersWritesOneBehindTheOther(t *testing.T) {
	inSession(t, Config{}, func(t *testing.T, client, server *UDPSession) {
		for _, tt := range []struct {
			v    [][]byte
			want []string
		}{
			{nil, nil},
			{[][]byte{}, nil},
			{[][]byte{nil, {}}, nil},
			{[][]byte{[]byte("a")}, []string{"a"}},
			{[][]byte{nil, []byte("one"), {}, []byte("two"), nil}, []string{"one", "two"}},
		} {
			size := 0
			for _, p := range tt.v {
				size += len(p)
			}
			if n, err := client.WriteBuffers(tt.v); n != size || err != nil {
				t.Fatalf("WriteBuffers(%q) = %d, %v, want %d", tt.v, n, err, size)
			}
			for _, want := range tt.want {
				if got := string(mustRead(t, server, 100)); got != want {
					t.Fatalf("WriteBuffers(%q): got %q, want %q", tt.v, got, want)
				}
			}
		}
		mustReadNothing(t, server)
		client.SetStreamMode(true)
		server.SetStreamMode(true)
		big := [][]byte{pattern(5000, 1), pattern(1, 2), pattern(900_000, 3)}
		go func() {
			if n, err := client.WriteBuffers(big); n != 905_001 || err != nil {
				t.Errorf("WriteBuffers = %d, %v", n, err)
			}
		}()
		got := make([]byte, 905_001)
		if _, err := io.ReadFull(server, got); err != nil || !bytes.Equal(got, slices.Concat(big...)) {
			t.Fatalf("bytes arrived changed, or %v", err)
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

func TestWriteReturnsOnceAllIsQueued(t *testing.T) {
	inSession(t, Config{SendWindow: 16, NoCongestionControl: true, ACKNoDelay: true}, func(t *testing.T, client, server *UDPSession) {
		const mss = 1400 - segmentHeaderSize
		time.Sleep(time.Second)
		start := time.Now()
		mustWrite(t, client, make([]byte, writeMost))
		if d := time.Since(start); d != 0 {
			t.Errorf("4 MiB took %v, want no time", d)
		}
		mustWrite(t, client, make([]byte, mss))
		if d := time.Since(start); d < 10*time.Millisecond || d > 20*time.Millisecond {
			t.Errorf("one segment more took %v, want a round trip of 10ms", d)
		}
		if q := client.Stats(); q.InFlight > 16 || q.InFlight+q.SendQueue > writeMost/mss+1 {
			t.Errorf("%d segments in flight, want at most 16, and %d queued, want at most 4 MiB in all", q.InFlight, q.SendQueue)
		}
		go func() { _, _ = io.Copy(io.Discard, server) }()
		time.Sleep(5 * time.Second)
	})
}

// Concurrent Writes do not mix their bytes, however long they are.
func TestConcurrentWritesKeepTheirBytesTogether(t *testing.T) {
	inSession(t, Config{StreamMode: true, SendWindow: 32}, func(t *testing.T, client, server *UDPSession) {
		const writers, size = 8, 100_000
		for i := range writers {
			go func() {
				if n, err := client.Write(bytes.Repeat([]byte{byte('a' + i)}, size)); n != size || err != nil {
					t.Errorf("Write = %d, %v", n, err)
				}
			}()
		}
		got := make([]byte, writers*size)
		if _, err := io.ReadFull(server, got); err != nil {
			t.Fatal(err)
		}
		seen := make(map[byte]bool)
		for i := 0; i < len(got); i += size {
			p := got[i : i+size]
			if !bytes.Equal(p, bytes.Repeat(p[:1], size)) || seen[p[0]] {
				t.Fatalf("the writes are mixed at byte %d", i)
			}
			seen[p[0]] = true
		}
	})
}

// Several readers share the messages: none is lost, none comes twice.
func TestConcurrentReadsShareTheMessages(t *testing.T) {
	inSession(t, Config{}, func(t *testing.T, client, server *UDPSession) {
		const readers, count = 4, 400
		got := make(chan string, count)
		for range readers {
			go func() {
				buf := make([]byte, 100)
				for {
					n, err := server.Read(buf)
					if err != nil {
						return
					}
					got <- string(buf[:n])
				}
			}()
		}
		for i := range count {
			mustWrite(t, client, fmt.Appendf(nil, "message %d", i))
		}
		seen := make(map[string]bool)
		for range count {
			seen[<-got] = true
		}
		if len(seen) != count {
			t.Errorf("%d different messages, want %d", len(seen), count)
		}
	})
}
