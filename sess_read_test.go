// SPDX-License-Identifier: MIT

package kcp

import (
	"bytes"
	"fmt"
	"testing"
	"time"
)

func TestMessagesThatArriveTogetherAreReadOneByOne(t *testing.T) {
	inSession(t, Config{WriteDelay: true}, func(t *testing.T, client, server *UDPSession) {
		before := client.Stats().PacketsSent
		for i := range 50 {
			mustWrite(t, client, fmt.Appendf(nil, "message %d", i))
		}
		time.Sleep(time.Second)
		for i := range 50 {
			want := fmt.Sprintf("message %d", i)
			if got := string(mustRead(t, server, 100)); got != want {
				t.Fatalf("got %q, want %q", got, want)
			}
		}
		if n := client.Stats().PacketsSent - before; n > 9 {
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

// The C implementation sends empty messages. They are skipped, and free their place in the window.
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
		// Four windows of data, without waiting for a window probe.
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

// Several readers share the messages. None is lost or duplicated.
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

func TestSlowReaderOverAPacketConn(t *testing.T) {
	c := Config{StreamMode: true, NoCongestionControl: true, NoDelay: true, FastResend: 2,
		SendWindow: 256, ReceiveWindow: 128}
	inSession(t, c, slowReader)
}

// slowReader stops reading for a minute of virtual time, and then reads slowly.
func slowReader(t *testing.T, writer, reader *UDPSession) {
	data := pattern(1<<20, 1)
	written := make(chan error, 1)
	go func() {
		_, err := writer.Write(data)
		written <- err
	}()
	time.Sleep(time.Second)
	before, queued := writer.Stats(), reader.Stats()
	time.Sleep(time.Minute)
	after := writer.Stats()
	if after.PeerWindow != 0 || queued.ReceiveQueue < queued.ReceiveWindow {
		t.Errorf("%d segments are unread, and the advertised window is %d, want %d and 0",
			queued.ReceiveQueue,
			after.PeerWindow, queued.ReceiveWindow)
	}
	// It probes the window after half a second, then at growing intervals.
	if n := after.PacketsSent - before.PacketsSent; n > 20 {
		t.Errorf("%d datagrams in a minute without a Read, want a few window probes",
			n)
	}
	got := make([]byte, 0, len(data))
	for len(got) < len(data) {
		n, err := reader.Read(got[len(got):min(len(got)+8000, cap(got))])
		if err != nil {
			t.Fatal(err)
		}
		got = got[:len(got)+n]
		time.Sleep(5 * time.Millisecond)
	}
	if err := <-written; err != nil || string(got) != string(data) {
		t.Errorf("the bytes changed, or %v", err)
	}
}

// A Read into a large buffer takes the available data in small runs. It copies them without the
// lock, which the reader of the socket needs.
func TestLargeReadLeavesTheLock(t *testing.T) {
	c := Config{StreamMode: true, NoCongestionControl: true, SendWindow: 2048, ReceiveWindow: 2048}
	inSession(t, c, func(t *testing.T, client, server *UDPSession) {
		data := pattern(1000*1000, 1)
		mustWrite(t, client, data)
		time.Sleep(10 * time.Second)
		p := make([]byte, len(data))
		n, runs := 0, 0
		server.mu.Lock()
		for more := true; more; runs++ {
			var batch readTake
			more = server.takeSegmentsLocked(&batch, len(p)-n)
			if batch.count > readSegmentsMax {
				t.Fatalf("%d segments were taken at once, want at most %d",
					batch.count, readSegmentsMax)
			}
			n += batch.copyTo(p[n:]) // the lock is held: it would hang if it wanted it
			batch.release(&server.core)
		}
		server.endReadLocked()
		server.mu.Unlock()
		if n != len(p) || string(p) != string(data) || runs < len(data)/1400/readSegmentsMax {
			t.Errorf("%d bytes of %d in %d runs, or changed", n, len(p), runs)
		}
	})
}
