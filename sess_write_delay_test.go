// SPDX-License-Identifier: MIT

package kcp

import (
	"encoding/binary"
	"io"
	"slices"
	"sync"
	"testing"
	"time"
)

// delayTunnel sets a session up as tunnels commonly do: small writes are merged, and
// acknowledgements are sent at the interval.
func delayTunnel(s *UDPSession) {
	s.SetStreamMode(true)
	s.SetWriteDelay(true)
	s.SetNoDelay(1, 20, 2, 1)
	s.SetMtu(1350)
	s.SetWindowSize(1024, 1024)
	s.SetACKNoDelay(false)
}

// A stream multiplexer allows muxCredit bytes of a stream in flight. Its reader returns half of
// that at a time.
const (
	muxCredit = 256 << 10
	muxHeader = 12
	muxFrame  = 16 << 10
)

// muxSend sends size bytes in frames, with one Write for the header and one for the body, and
// receives credit from the peer. It returns when all of the credit is back.
func muxSend(s *UDPSession, size, frame int) error {
	credit := muxCredit
	var header [muxHeader]byte
	body := make([]byte, frame)
	for size > 0 || credit < muxCredit {
		for credit == 0 || size == 0 && credit < muxCredit {
			if _, err := io.ReadFull(s, header[:]); err != nil {
				return err
			}
			credit += int(binary.BigEndian.Uint32(header[8:]))
		}
		if size == 0 {
			break
		}
		n := min(size, credit, frame)
		binary.BigEndian.PutUint32(header[8:], uint32(n))
		if _, err := s.Write(header[:]); err != nil {
			return err
		}
		if _, err := s.Write(body[:n]); err != nil {
			return err
		}
		credit, size = credit-n, size-n
	}
	return nil
}

// muxReceive receives size bytes and returns credit.
func muxReceive(s *UDPSession, size, frame int) error {
	var header [muxHeader]byte
	body := make([]byte, frame)
	for got, given := 0, 0; got < size; {
		if _, err := io.ReadFull(s, header[:]); err != nil {
			return err
		}
		n := int(binary.BigEndian.Uint32(header[8:]))
		if _, err := io.ReadFull(s, body[:n]); err != nil {
			return err
		}
		if got += n; got-given >= muxCredit/2 || got == size {
			binary.BigEndian.PutUint32(header[8:], uint32(got-given))
			if _, err := s.Write(header[:]); err != nil {
				return err
			}
			given = got
		}
	}
	return nil
}

// muxTransfer sends size bytes from one end to the other and returns how long it took.
func muxTransfer(t testing.TB, from, to *UDPSession, size, frame int) time.Duration {
	t.Helper()
	start := time.Now()
	done := make(chan error, 1)
	go func() { done <- muxSend(from, size, frame) }()
	if err := muxReceive(to, size, frame); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	return time.Since(start)
}

// Delayed writes delay neither a stream nor the credit that its reader returns.
func TestDelayedWritesKeepAStreamGoing(t *testing.T) {
	for frame, size := range map[int]int{muxFrame: 4 << 20, 4 << 10: 2 << 20} {
		inSession(t, Config{}, func(t *testing.T, client, server *UDPSession) {
			delayTunnel(client)
			delayTunnel(server)
			for name, ends := range map[string][2]*UDPSession{
				"up": {client, server}, "down": {server, client},
			} {
				muxTransfer(t, ends[0], ends[1], 1<<20, frame) // the limit in flight has grown
				took := muxTransfer(t, ends[0], ends[1], size, frame)
				// The credit returns in a round trip of 10 ms. The end waits for the interval.
				most := time.Duration(size/muxCredit)*11*time.Millisecond + 50*time.Millisecond
				if took > most {
					t.Errorf("%s in frames of %d: %v for %d bytes, want at most %v",
						name, frame, took, size, most)
				}
			}
		})
	}
}

// Where a round trip is shorter than the clock's millisecond, the rest of a batch does not wait for
// the clock, once all before it is acknowledged.
func TestDelayedWritesFollowAFastPath(t *testing.T) {
	const rounds, frames, frame = 25, 32, 4000
	connRun(t, simProfile{Delay: 50 * time.Microsecond}, func(t *testing.T, w *connWorld) {
		client, server, _ := w.pair(Config{})
		delayTunnel(client)
		delayTunnel(server)
		go func() {
			b := make([]byte, frames*frame)
			for _, err := io.ReadFull(server, b); err == nil; _, err = io.ReadFull(server, b) {
				_, _ = server.Write(b[:1])
			}
		}()
		begin := time.Now()
		for range rounds {
			for range frames {
				mustWrite(t, client, make([]byte, frame))
			}
			if _, err := io.ReadFull(client, make([]byte, 1)); err != nil {
				t.Fatal(err)
			}
		}
		if took, most := time.Since(begin), rounds*500*time.Microsecond; took > most {
			t.Errorf("%v for %d batches, want at most %v", took, rounds, most)
		}
	})
}

// delayPackets records when packets with new data of from are sent. times returns them relative to
// now.
func delayPackets(t *testing.T, w *connWorld, from *UDPSession) (times func() []time.Duration) {
	var (
		mu    sync.Mutex
		got   []time.Duration
		addr  = from.LocalAddr().String()
		begin = time.Now()
	)
	from.mu.Lock()
	next := from.core.sendNxt
	from.mu.Unlock()
	w.setDrop(func(from, _ string, payload []byte) bool {
		if from != addr {
			return false
		}
		for _, s := range segmentsOf(payload) {
			if s.cmd == cmdPush && !s.sn.before(next) {
				next = s.sn + 1
				mu.Lock()
				got = append(got, time.Since(begin))
				mu.Unlock()
				break
			}
		}
		return false
	})
	return func() []time.Duration {
		mu.Lock()
		defer mu.Unlock()
		return slices.Clone(got)
	}
}

func TestDelayedWriteWaitsForWhatItNeeds(t *testing.T) {
	const ms = time.Millisecond
	const mss = 1400 - segmentHeaderSize
	tests := []struct {
		name   string
		stream bool
		run    func(client, server *UDPSession, write func(s *UDPSession, n int))
		want   []time.Duration // when a packet with data is sent
	}{
		{"a part of a segment waits for the interval", true, func(c, _ *UDPSession,
			write func(*UDPSession, int)) {
			write(c, 100)
		}, []time.Duration{50 * ms}},
		{"small writes leave together", true, func(c, _ *UDPSession, write func(*UDPSession, int)) {
			for range 40 {
				write(c, 10)
				time.Sleep(ms)
			}
		}, []time.Duration{50 * ms}},
		{"a full segment leaves at once", true, func(c, _ *UDPSession,
			write func(*UDPSession, int)) {
			write(c, mss)
		}, []time.Duration{0}},
		{"what is over waits", true, func(c, _ *UDPSession, write func(*UDPSession, int)) {
			write(c, 2*mss+1)
		}, []time.Duration{0, 0, 50 * ms}},
		{"but for the rest of many full ones", true, func(c, _ *UDPSession,
			write func(*UDPSession, int)) {
			write(c, 9*mss+1)
			time.Sleep(10 * ms)
			write(c, 1)
		}, append(make([]time.Duration, 10), 60*ms)},
		{"until it fills a segment", true, func(c, _ *UDPSession, write func(*UDPSession, int)) {
			write(c, mss+1)
			time.Sleep(10 * ms)
			write(c, mss-1)
		}, []time.Duration{0, 10 * ms}},
		{"messages leave once they fill a packet", false, func(c, _ *UDPSession,
			write func(*UDPSession, int)) {
			for range 4 {
				write(c, 400)
				time.Sleep(10 * ms)
			}
		}, []time.Duration{30 * ms, 80 * ms}},
		{"with an acknowledgement", true, func(c, s *UDPSession, write func(*UDPSession, int)) {
			s.SetWriteDelay(false)
			write(s, 100) // arrives after 5 ms, acknowledged after 55
			time.Sleep(20 * ms)
			write(c, 100)
		}, []time.Duration{55 * ms}},
		{"behind an acknowledgement that could not wait", true, func(c, s *UDPSession,
			write func(*UDPSession, int)) {
			s.SetWriteDelay(false)
			write(s, 10*mss) // arrives after 5 ms, acknowledged at once
			time.Sleep(10 * ms)
			write(c, 100) // sent at once
			time.Sleep(10 * ms)
			write(c, 100) // has no such acknowledgement
		}, []time.Duration{10 * ms, 70 * ms}},
		{"no longer than the interval that is set", true, func(c, _ *UDPSession,
			write func(*UDPSession, int)) {
			c.SetNoDelay(-1, 5000, -1, -1)
			write(c, 100)
			time.Sleep(10 * ms)
			c.SetNoDelay(-1, 20, -1, -1)
		}, []time.Duration{30 * ms}},
		{"not once delaying is off", true, func(c, _ *UDPSession, write func(*UDPSession, int)) {
			write(c, 100)
			time.Sleep(10 * ms)
			c.SetWriteDelay(false)
		}, []time.Duration{10 * ms}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			connRun(t, simProfile{Delay: 5 * ms}, func(t *testing.T, w *connWorld) {
				client, server, _ := w.pair(Config{
					StreamMode: tt.stream, NoDelay: true, NoCongestionControl: true,
				})
				for _, s := range []*UDPSession{client, server} {
					s.SetNoDelay(-1, 50, -1, -1)
					s.SetWriteDelay(true)
				}
				times := delayPackets(t, w, client)
				tt.run(client, server, func(s *UDPSession, n int) {
					mustWrite(t, s, make([]byte, n))
				})
				time.Sleep(time.Second)
				if got := times(); !slices.Equal(got, tt.want) {
					t.Errorf("packets left after %v, want %v", got, tt.want)
				}
			})
		})
	}
}

// Nothing waits for the interval once it is known that nothing follows.
func TestCloseEndsAWriteDelay(t *testing.T) {
	for name, end := range map[string]func(*UDPSession) error{
		"Close":      (*UDPSession).Close,
		"CloseWrite": (*UDPSession).CloseWrite,
	} {
		t.Run(name, func(t *testing.T) {
			connRun(t, shortLink, func(t *testing.T, w *connWorld) {
				client, server, _ := w.pair(Config{
					StreamMode: true, WriteDelay: true, Interval: 5 * time.Second,
				})
				time.Sleep(10 * time.Second)
				client.SetLinger(2 * time.Second)
				begin := time.Now()
				mustWrite(t, client, []byte("the last word"))
				time.Sleep(time.Millisecond)
				if err := end(client); err != nil {
					t.Fatal(err)
				}
				got, err := io.ReadAll(server)
				if took := time.Since(begin); string(got) != "the last word" || err != nil ||
					took > 10*time.Millisecond {
					t.Errorf("the peer read %q, %v after %v", got, err, took)
				}
			})
		})
	}
}

// A full window waits for acknowledgements and not for the interval.
func TestDelayedWritesKeepASmallWindowFull(t *testing.T) {
	const size = 2 << 20
	inSession(t, Config{}, func(t *testing.T, client, server *UDPSession) {
		for _, s := range []*UDPSession{client, server} {
			delayTunnel(s)
			s.SetWindowSize(128, 128)
		}
		start := time.Now()
		go func() { _, _ = client.Write(make([]byte, size)) }()
		if _, err := io.ReadFull(server, make([]byte, size)); err != nil {
			t.Fatal(err)
		}
		const perWindow = 128 * (1350 - segmentHeaderSize)
		if took, most := time.Since(start), (size/perWindow+8)*10*time.Millisecond; took > most {
			t.Errorf("%d bytes took %v, want a full window in a round trip of 10ms, and at most %v",
				size, took, most)
		}
	})
}

func BenchmarkDelayedWritesInSmallWindow(b *testing.B) {
	client, server := benchPair(b, nil)
	for _, s := range []*UDPSession{client, server} {
		delayTunnel(s)
		s.SetWindowSize(128, 128)
	}
	const size = 8 << 20
	p, q := make([]byte, 32<<10), make([]byte, size)
	b.SetBytes(size)
	for b.Loop() {
		go func() {
			for range size / len(p) {
				_, _ = client.Write(p)
			}
		}()
		if _, err := io.ReadFull(server, q); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkDelayedWritesWithCredit(b *testing.B) {
	client, server := benchPair(b, nil)
	delayTunnel(client)
	delayTunnel(server)
	const size = 8 << 20
	b.SetBytes(size)
	for b.Loop() {
		muxTransfer(b, server, client, size, muxFrame)
	}
}
