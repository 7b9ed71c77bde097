// SPDX-License-Identifier: MIT

package kcp

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// messageConfig is that of a game: messages, no delay.
var messageConfig = Config{NoDelay: true, Interval: 10 * time.Millisecond}

func mustWriteMessage(t testing.TB, s *UDPSession, b []byte, lifetime time.Duration) {
	t.Helper()
	var deadline time.Time
	if lifetime > 0 {
		deadline = time.Now().Add(lifetime)
	}
	if err := s.WriteMessage(b, deadline); err != nil {
		t.Fatalf("WriteMessage of %d bytes: %v", len(b), err)
	}
}

func TestWriteMessageRejects(t *testing.T) {
	later := func() time.Time { return time.Now().Add(time.Second) }
	inSession(t, messageConfig, func(t *testing.T, client, server *UDPSession) {
		err := client.WriteMessage([]byte("late"), time.Now())
		var timeout net.Error
		if !errors.Is(err, os.ErrDeadlineExceeded) || !errors.As(err, &timeout) ||
			!timeout.Timeout() {
			t.Errorf("a deadline that has passed: %v", err)
		}
		most := messageMost * client.core.mss
		err = client.WriteMessage(make([]byte, most+1), later())
		if !errors.Is(err, os.ErrInvalid) {
			t.Errorf("a message that is too long: %v", err)
		}
		if err := client.WriteMessage(nil, later()); err != nil {
			t.Errorf("an empty message: %v", err)
		}
		for _, size := range []int{most, most - 1, client.core.mss + 1, client.core.mss, 1} {
			mustWriteMessage(t, client, pattern(size, 3), 10*time.Second)
			if got := mustRead(t, server, most); !bytes.Equal(got, pattern(size, 3)) {
				t.Errorf("read %d bytes of a message of %d", len(got), size)
			}
		}
		mustWriteMessage(t, client, pattern(most, 4), 0)
		if got := mustRead(t, server, most); !bytes.Equal(got, pattern(most, 4)) {
			t.Errorf("read %d bytes of a message without a deadline", len(got))
		}
		_ = client.SetWriteDeadline(time.Now())
		err = client.WriteMessage([]byte("x"), later())
		if !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("after the write deadline: %v", err)
		}
		client.SetStreamMode(true)
		err = client.WriteMessage([]byte("x"), later())
		if !errors.Is(err, errors.ErrUnsupported) {
			t.Errorf("in stream mode: %v", err)
		}
		client.SetStreamMode(false)
		_ = client.Close()
		if err := client.WriteMessage([]byte("x"), later()); !errors.Is(err, net.ErrClosed) {
			t.Errorf("after Close: %v", err)
		}
		closeWantEOF(t, server)
		if d := client.Stats().MessagesDropped + server.Stats().MessagesSkipped; d != 0 {
			t.Errorf("%d messages dropped", d)
		}
	})
}

// A message whose first transmission opens the session is cut for the HELLO, and still one message.
func TestFirstMessageIsWhole(t *testing.T) {
	connRun(t, shortLink, func(t *testing.T, w *connWorld) {
		l := w.serve(messageConfig)
		client := w.dial(messageConfig)
		want := pattern(3*client.core.mss, 1)
		mustWriteMessage(t, client, want, time.Second)
		server := w.accept(l)
		if got := mustRead(t, server, len(want)); !bytes.Equal(got, want) {
			t.Errorf("read %d bytes, want %d", len(got), len(want))
		}
	})
}

// A WriteMessage that waits for room gives up at the deadline of the message, or of Writes.
func TestWriteMessageWaitsUntilItsDeadline(t *testing.T) {
	inSession(t, messageConfig, func(t *testing.T, client, server *UDPSession) {
		// The peer does not read, so its window closes and the queue fills.
		_ = client.SetWriteDeadline(time.Now().Add(time.Second))
		for _, err := client.Write(make([]byte, 1<<16)); err == nil; {
			_, err = client.Write(make([]byte, 1<<16))
		}
		_ = client.SetWriteDeadline(time.Time{})
		for client.WriteRoom() > 0 {
			mustWrite(t, client, []byte("x"))
		}
		for _, write := range []time.Duration{0, time.Second} {
			want := time.Minute
			_ = client.SetWriteDeadline(time.Time{})
			if write > 0 {
				_ = client.SetWriteDeadline(time.Now().Add(write))
				want = write
			}
			began := time.Now()
			err := client.WriteMessage([]byte("x"), began.Add(time.Minute))
			took := time.Since(began)
			if !errors.Is(err, os.ErrDeadlineExceeded) || took < want ||
				took > want+time.Second/100 {
				t.Errorf("after %v: %v, want a passed deadline after %v", took, err, want)
			}
		}
		server.SetLinger(0)
		client.SetLinger(0)
	})
}

// Messages whose deadlines have passed make room for others that wait.
func TestDroppedMessagesMakeRoom(t *testing.T) {
	inSession(t, messageConfig, func(t *testing.T, client, server *UDPSession) {
		part := make([]byte, 16*client.core.mss)
		took, wrote := time.Duration(0), 0
		for ; took < time.Second; wrote++ {
			began := time.Now()
			mustWriteMessage(t, client, part, 10*time.Second)
			took = time.Since(began)
		}
		if took < 9*time.Second || took > 10*time.Second {
			t.Errorf("there was room after %v, want 9 to 10 s", took)
		}
		if n := client.Stats().MessagesDropped; n < uint64(wrote)/2 {
			t.Errorf("%d of %d messages dropped", n, wrote)
		}
		server.SetLinger(0)
		client.SetLinger(0)
	})
}

// During an outage the messages expire. Those after it arrive at once, and what Write has sent is
// there too.
func TestMessagesExpireInAnOutage(t *testing.T) {
	pairRun(t, 1, closeLink, messageConfig, func(t *testing.T, n *connPair) {
		var down atomic.Bool
		n.setDrop(func(_, _ string, _ []byte) bool { return down.Load() })
		// A round trip is measured first.
		for range 20 {
			mustWriteMessage(t, n.client, []byte("before"), 200*time.Millisecond)
			mustRead(t, n.server, 100)
			time.Sleep(20 * time.Millisecond)
		}
		down.Store(true)
		for i := range 30 {
			mustWriteMessage(t, n.client, []byte{'m', byte(i)}, 100*time.Millisecond)
			if i == 15 {
				mustWrite(t, n.client, []byte("reliable"))
			}
			time.Sleep(20 * time.Millisecond)
		}
		down.Store(false)
		began := time.Now()
		mustWriteMessage(t, n.client, []byte("after"), time.Second)
		var got []string
		for len(got) == 0 || got[len(got)-1] != "after" {
			got = append(got, string(mustRead(t, n.server, 100)))
		}
		if took := time.Since(began); took > 300*time.Millisecond {
			t.Errorf("the first message after the outage took %v", took)
		}
		if len(got) < 2 || got[0] != "reliable" || len(got) > 9 {
			t.Errorf("read %q, want what was reliable, the newest messages and the last", got)
		}
		time.Sleep(time.Second)
		client, server := n.client.Stats(), n.server.Stats()
		if client.MessagesDropped < 24 || server.MessagesSkipped == 0 || client.InFlight != 0 {
			t.Errorf("%d dropped, %d skipped, %d in flight", client.MessagesDropped,
				server.MessagesSkipped, client.InFlight)
		}
	})
}

// Close delivers what Write has queued, and ends the stream behind messages that were given up.
func TestCloseBehindMessagesWithDeadlines(t *testing.T) {
	for _, loss := range []float64{0, 0.3} {
		lossy := simProfile{Delay: 20 * time.Millisecond, Loss: loss}
		pairRun(t, 5, lossy, messageConfig, func(t *testing.T, n *connPair) {
			for i := range 60 {
				mustWriteMessage(t, n.client, []byte("m"), time.Duration(1+i)*5*time.Millisecond)
				if i%10 == 0 {
					mustWrite(t, n.client, []byte("w"))
				}
			}
			closed := make(chan error, 1)
			go func() { closed <- n.client.Close() }()
			writes := 0
			for {
				buf := make([]byte, 10)
				k, err := n.server.Read(buf)
				if err == io.EOF {
					break
				}
				if err != nil {
					t.Fatal(err)
				}
				if string(buf[:k]) == "w" {
					writes++
				}
			}
			if err := <-closed; err != nil || writes != 6 {
				t.Errorf("Close = %v, %d Writes arrived, want 6", err, writes)
			}
		})
	}
}

// A legacy peer gets all that was sent, and no control message that it could take amiss.
func TestMessagesWithDeadlinesToALegacyPeer(t *testing.T) {
	lossy := simProfile{Delay: 20 * time.Millisecond, Loss: 0.2}
	connRun(t, lossy, func(t *testing.T, w *connWorld) {
		peer := w.legacyPeer("10.0.0.9:9000", nil, 0)
		config := messageConfig
		config.SendWindow = 2 // so that some messages have to wait
		client := w.dialOver(w.endpoint("10.0.0.2:2000"), true, peer.conn.LocalAddr(), 77, config)
		const messages = 300
		for i := range messages {
			b := binary.BigEndian.AppendUint32(nil, uint32(i))
			mustWriteMessage(t, client, b, 60*time.Millisecond)
			time.Sleep(5 * time.Millisecond)
		}
		mustWrite(t, client, []byte("last"))
		time.Sleep(20 * time.Second)
		st := client.Stats()
		got := peer.wait(4*(messages+1-int(st.MessagesDropped)), time.Second)
		if len(got) != 4*(messages+1-int(st.MessagesDropped)) ||
			string(got[len(got)-4:]) != "last" {
			t.Fatalf("%d bytes arrived, %d messages dropped", len(got), st.MessagesDropped)
		}
		for last := -1; len(got) > 4; got = got[4:] {
			n := int(binary.BigEndian.Uint32(got))
			if n <= last || n >= messages {
				t.Fatalf("message %d behind %d", n, last)
			}
			last = n
		}
		if st.MessagesDropped == 0 || st.MessagesDropped > messages*9/10 || st.InFlight != 0 {
			t.Errorf("%d messages dropped, %d in flight", st.MessagesDropped, st.InFlight)
		}
	})
}

// Concurrent Writes and messages of both directions do not mix, and each goroutine's are in order.
func TestConcurrentMessagesAndWrites(t *testing.T) {
	lossy := simProfile{Delay: 10 * time.Millisecond, Loss: 0.1, Jitter: 5 * time.Millisecond}
	pairRun(t, 3, lossy, messageConfig, func(t *testing.T, n *connPair) {
		const each = 150
		var senders, readers sync.WaitGroup
		for _, s := range []*UDPSession{n.client, n.server} {
			for g := range byte(3) {
				senders.Go(func() {
					for i := range each {
						b := bytes.Repeat([]byte{g, byte(i)}, 1+i*4)
						var err error
						if g == 0 {
							_, err = s.Write(b)
						} else {
							lifetime := time.Duration(g) * 50 * time.Millisecond
							err = s.WriteMessage(b, time.Now().Add(lifetime))
						}
						if err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
							t.Error(err)
						}
						time.Sleep(time.Millisecond)
					}
				})
			}
			readers.Go(func() { readConcurrent(t, s, each) })
		}
		senders.Wait()
		_, _ = n.client.CloseWrite(), n.server.CloseWrite()
		readers.Wait()
	})
}

// readConcurrent reads the messages of TestConcurrentMessagesAndWrites to the end.
func readConcurrent(t *testing.T, s *UDPSession, each int) {
	next := [3]int{}
	buf := make([]byte, 4096)
	for {
		n, err := s.Read(buf)
		if err == io.EOF {
			break
		}
		if err != nil || n < 2 {
			t.Errorf("Read = %d, %v", n, err)
			return
		}
		g, i := buf[0], int(buf[1])
		if n != 2*(1+i*4) || !bytes.Equal(buf[:n], bytes.Repeat(buf[:2], n/2)) {
			t.Errorf("message %d of %d arrived with %d bytes", i, g, n)
		}
		if i < next[g] || g == 0 && i != next[g] {
			t.Errorf("message %d of %d, want %d", i, g, next[g])
		}
		next[g] = i + 1
	}
	if next[0] != each {
		t.Errorf("%d Writes arrived, want %d", next[0], each)
	}
}

// In the steady state a message takes no memory of its own.
func TestWriteMessageDoesNotAllocate(t *testing.T) {
	c := timedCore(t, 1, 10, 2)
	c.setWindows(64, 64)
	p, now := make([]byte, 100), millis(1000)
	w := packetWriter{arena: make([]byte, 1<<16), maxPackets: 64}
	c.queueMessage(p, now+100)
	allocs := testing.AllocsPerRun(1000, func() {
		now += 10
		c.queueMessage(p, now+100)
		w.reset(0, 0, c.mtu)
		c.flush(now.instant(), &w)
		c.input(inputAt(now), appendSegment(w.arena[:0], &segment{conv: 7, cmd: cmdWins, wnd: 64,
			una: c.sendNxt - 1}), true)
	})
	if allocs > 0.5 && !raceDetector {
		t.Errorf("%v allocations for each message", allocs)
	}
}
