// SPDX-License-Identifier: MIT

package main

import (
	"encoding/binary"
	"errors"
	"io"
	"slices"
	"sync/atomic"
	"time"
)

const (
	lossyMessage = 100 // bytes
	lossyTick    = 33 * time.Millisecond
	lossyWarmUp  = 3                // the part of a time that does not count, one in so many
	lossyGrace   = 20 * time.Second // for what is late
)

// opener connects two ends over a path.
type opener func(path) (*streams, error)

// transfer runs at full speed until it is closed.
type bulkTransfer struct {
	received atomic.Int64
	close    func()
}

func startTransfer(open opener, p path) (*bulkTransfer, error) {
	s, err := open(p)
	if err != nil {
		return nil, err
	}
	b := &bulkTransfer{close: s.close}
	go func() {
		buf := make([]byte, bulkChunk)
		for {
			n, err := s.server.Read(buf)
			b.received.Add(int64(n))
			if err != nil {
				return
			}
		}
	}()
	go func() {
		buf := make([]byte, bulkChunk)
		for {
			if _, err := s.client.Write(buf); err != nil {
				return
			}
		}
	}()
	return b, nil
}

// lineFigures are what transfers did on a line.
type lineFigures struct {
	megabits []float64 // a second, by transfer
	p50, p95 float64   // how long packets waited in the queue, in ms
	wire     float64   // bytes on the line a byte delivered
}

// watchTransfers lets transfers run for a time, whose first part does not count.
func watchTransfers(m *meter, length time.Duration, transfers ...*bulkTransfer) (f lineFigures) {
	warm := length / lossyWarmUp
	time.Sleep(warm)
	m.take()
	var before []int64
	for _, b := range transfers {
		before = append(before, b.received.Load())
	}
	begin := time.Now()
	time.Sleep(length - warm)
	sent, waits := m.take()
	took := time.Since(begin).Seconds()
	received := int64(0)
	for i, b := range transfers {
		got := b.received.Load() - before[i]
		received += got
		f.megabits = append(f.megabits, float64(got)*8/1e6/took)
	}
	f.p50, f.p95 = inMillis(percentile(waits, 0.5)), inMillis(percentile(waits, 0.95))
	f.wire = float64(sent) / float64(max(received, 1))
	return f
}

func inMillis(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// latency sends a message each tick for a time, and returns how long each took until it was read in
// order.
func latency(s *streams, length time.Duration) (p50, p99 time.Duration, err error) {
	start := time.Now()
	count := int(length / lossyTick)
	took := make([]time.Duration, 0, count)
	read := make(chan error, 1)
	go func() {
		buf := make([]byte, lossyMessage)
		for len(took) < count {
			if _, err := io.ReadFull(s.server, buf); err != nil {
				read <- err
				return
			}
			sent := time.Duration(binary.LittleEndian.Uint64(buf))
			took = append(took, time.Since(start)-sent)
		}
		read <- nil
	}()
	write := func() error {
		message := make([]byte, lossyMessage)
		ticker := time.NewTicker(lossyTick)
		defer ticker.Stop()
		for range count {
			due := <-ticker.C
			binary.LittleEndian.PutUint64(message, uint64(due.Sub(start)))
			if _, err := s.client.Write(message); err != nil {
				return err
			}
		}
		return nil
	}
	wrote := make(chan error, 1)
	go func() { wrote <- write() }()
	limit := time.NewTimer(length + lossyGrace)
	defer limit.Stop()
	for range 2 {
		select {
		case err = <-read:
		case err = <-wrote:
		case <-limit.C:
			err = errors.New("messages came too late")
		}
		if err != nil {
			s.close()
			return 0, 0, err
		}
	}
	took = took[count/lossyWarmUp:]
	slices.Sort(took)
	return percentile(took, 0.5), percentile(took, 0.99), nil
}

// The columns of the measurements.
var (
	rateColumn  = column{"Mbit/s", 1}
	queueColumn = column{"queue p50 ms", 1}
	wireColumn  = column{"wire bytes a byte", 2}

	transferColumns = []column{rateColumn, queueColumn, {"queue p95 ms", 1}, wireColumn}
	latencyColumns  = []column{{"p50 ms", 0}, {"p99 ms", 0}}
	shareColumns    = []column{rateColumn, {"TCP Mbit/s", 1}, {"share %", 0}, queueColumn, wireColumn}
	besideColumns   = []column{
		{"message p50 ms", 0}, {"message p99 ms", 0}, rateColumn, queueColumn, wireColumn,
	}
)

// alone measures a transfer.
func alone(open opener, p path, length time.Duration) ([]float64, error) {
	b, err := startTransfer(open, p)
	if err != nil {
		return nil, err
	}
	defer b.close()
	f := watchTransfers(p.meter, length, b)
	return []float64{f.megabits[0], f.p50, f.p95, f.wire}, nil
}

// messagesAlone measures messages.
func messagesAlone(open opener, p path, length time.Duration) ([]float64, error) {
	s, err := open(p)
	if err != nil {
		return nil, err
	}
	defer s.close()
	p50, p99, err := latency(s, length)
	return []float64{inMillis(p50), inMillis(p99)}, err
}

// besideTCP measures a transfer beside one of the kernel's.
func besideTCP(congestionControl string) measureLine {
	return func(open opener, p path, length time.Duration) ([]float64, error) {
		own, err := startTransfer(open, p)
		if err != nil {
			return nil, err
		}
		defer own.close()
		time.Sleep(3 * p.rtt) // a little later, as it is with any two flows
		other, err := startTransfer(openTCPWith(congestionControl), p)
		if err != nil {
			return nil, err
		}
		defer other.close()
		f := watchTransfers(p.meter, length, own, other)
		a, b := f.megabits[0], f.megabits[1]
		return []float64{a, b, 100 * a / (a + b), f.p50, f.wire}, nil
	}
}

// messagesBeside measures messages of a kcp session in no-delay mode beside a transfer.
func messagesBeside(open opener, p path, length time.Duration) ([]float64, error) {
	b, err := startTransfer(open, p)
	if err != nil {
		return nil, err
	}
	defer b.close()
	s, err := openKCPWith(lossyNoDelay)(p)
	if err != nil {
		return nil, err
	}
	defer s.close()
	type outcome struct {
		p50, p99 time.Duration
		err      error
	}
	messages := make(chan outcome, 1)
	go func() {
		p50, p99, err := latency(s, length)
		messages <- outcome{p50, p99, err}
	}()
	f := watchTransfers(p.meter, length, b)
	m := <-messages
	return []float64{inMillis(m.p50), inMillis(m.p99), f.megabits[0], f.p50, f.wire}, m.err
}
