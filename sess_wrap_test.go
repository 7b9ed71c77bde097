// SPDX-License-Identifier: MIT

package kcp

import (
	"bytes"
	"io"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// wrapNumbers are the 32-bit counters of a session, as distances from the wrap. 0 keeps the usual
// start.
type wrapNumbers struct {
	sn    uint32        // segments
	ts    time.Duration // the clock
	seqID uint32        // FEC groups
}

// wrapLink is a link with a loss of one packet in twenty.
var wrapLink = simProfile{Delay: 10 * time.Millisecond, Loss: 0.05}

// wrapPair makes two dialled sessions of one conversation whose numbers are about to wrap.
func wrapPair(w *connWorld, c Config, start wrapNumbers) (a, b *UDPSession) {
	w.t.Helper()
	a, b = bothDial(w, c)
	for _, s := range []*UDPSession{a, b} {
		s.mu.Lock()
		core, sn := &s.core, -seqNum(start.sn)
		core.sendUna, core.sendNxt, core.sendEnd, core.readNxt, core.rcvNxt = sn, sn, sn, sn, sn
		if start.ts > 0 {
			core.tsOrigin = -timestamp(s.now() + toMillis(start.ts))
		}
		if s.turns.encoder != nil && start.seqID > 0 {
			shape := s.turns.encoder.shape
			s.turns.encoder.next = shape.wrap() - start.seqID*uint32(shape.total)
		}
		s.mu.Unlock()
	}
	return a, b
}

// wrapSend writes data and then the end of the stream.
func wrapSend(s *UDPSession, data []byte, done chan<- error) {
	_, err := s.Write(data)
	if err == nil {
		err = s.CloseWrite()
	}
	done <- err
}

func TestSessionNumbersWrapDuringALossyTransfer(t *testing.T) {
	tests := []struct {
		name  string
		start wrapNumbers
		fec   bool
	}{
		{"sn at the first segment", wrapNumbers{sn: 1}, false},
		{"sn inside the first window", wrapNumbers{sn: 40}, false},
		{"sn in mid-transfer", wrapNumbers{sn: 400}, false},
		{"ts", wrapNumbers{ts: 50 * time.Millisecond}, false},
		{"ts later", wrapNumbers{ts: 150 * time.Millisecond}, false},
		{"seqid", wrapNumbers{seqID: 20}, true},
		{"all", wrapNumbers{sn: 100, ts: 100 * time.Millisecond, seqID: 10}, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			seed := uint64(tt.start.sn) + uint64(tt.start.seqID)
			connRunSeed(t, seed, wrapLink,
				func(t *testing.T, w *connWorld) { wrapTransfer(t, w, tt.start, tt.fec) })
		})
	}
}

func wrapTransfer(t *testing.T, w *connWorld, start wrapNumbers, fec bool) {
	config := Config{
		StreamMode: true, NoDelay: true, FastResend: 2, NoCongestionControl: true,
		SendWindow: 128, ReceiveWindow: 128, FixedWindows: true,
	}
	if fec {
		config.DataShards, config.ParityShards = 10, 3
	}
	a, b := wrapPair(w, config, start)
	firstTS := a.core.ts(a.now())

	const size = 1 << 20
	up, down := pattern(size, 1), pattern(size, 2)
	sent := make(chan error, 2)
	go wrapSend(a, up, sent)
	go wrapSend(b, down, sent)
	var (
		gotUp, gotDown []byte
		errUp, errDown error
		reads          sync.WaitGroup
	)
	began := time.Now()
	reads.Go(func() { gotUp, errUp = io.ReadAll(b) })
	reads.Go(func() { gotDown, errDown = io.ReadAll(a) })
	reads.Wait()
	took := time.Since(began)
	for range 2 {
		if err := <-sent; err != nil {
			t.Errorf("send: %v", err)
		}
	}
	if errUp != nil || errDown != nil || !bytes.Equal(gotUp, up) || !bytes.Equal(gotDown, down) {
		t.Fatalf("%d (%v) and %d (%v) bytes arrived, want %d each, unchanged",
			len(gotUp), errUp, len(gotDown), errDown, size)
	}
	if took > 5*time.Second {
		t.Errorf("the transfer took %v, want less than 5 s", took)
	}
	synctest.Wait() // the encoder belongs to whoever transmits, also outside the lock
	for _, s := range []*UDPSession{a, b} {
		wrapCheck(t, s, start, firstTS)
	}
	for _, s := range []*UDPSession{a, b} {
		if err := s.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	}
}

// wrapCheck checks that the selected numbers have wrapped.
func wrapCheck(t *testing.T, s *UDPSession, start wrapNumbers, firstTS timestamp) {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	c := &s.core
	if start.sn > 0 && uint32(c.sendNxt) > 1<<31 {
		t.Errorf("sn has not wrapped: %d", c.sendNxt)
	}
	if now := c.ts(s.now()); start.ts > 0 && now >= firstTS {
		t.Errorf("ts has not wrapped: it was %d, now it is %d", firstTS, now)
	}
	sentAgain := c.stats.timeoutRetrans + c.stats.fastRetrans + c.stats.earlyRetrans
	if start.seqID == 0 {
		if sentAgain == 0 {
			t.Error("nothing was lost")
		}
		return // with FEC, all that is lost may be recovered
	}
	if s.turns.encoder.next > 1<<31 {
		t.Errorf("seqid has not wrapped: %d", s.turns.encoder.next)
	}
	if d := s.decoder.stats(); d.packets == 0 || d.errors > 0 || d.failed > d.recovered {
		t.Errorf("FEC recovered %d packets, gave up %d groups and recovered %d, with %d errors",
			d.packets, d.failed, d.recovered, d.errors)
	}
}
