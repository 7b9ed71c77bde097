// SPDX-License-Identifier: MIT

package main

import (
	"bytes"
	"errors"
	"io"
	"slices"
	"time"
)

const echoP50, echoP99 = 0, 1 // columns

func newEcho(s *settings, name, title string, size int) *measurement {
	m := &measurement{name: name, title: title, columns: []column{
		{name: "p50 µs", decimals: 1},
		{name: "p99 µs", decimals: 1},
		{name: "CPU µs/echo", decimals: 1},
	}}
	add := func(name string, ours bool, open func() (*streams, error)) {
		m.add(name, ours, func() ([]float64, error) { return measureEcho(s, open, size) })
	}
	for _, k := range kcpKinds {
		add(k.name, true, k.opener(s.window))
	}
	add("TCP", false, over(loopback, openTCP))
	add("quic-go", false, over(loopback, openQUIC))
	add("raw UDP", false, openRawEcho)
	return m
}

func measureEcho(s *settings, open func() (*streams, error), size int) (sample []float64, err error) {
	p, err := open()
	if err != nil {
		return nil, err
	}
	ended := make(chan struct{}, 1)
	go func() {
		defer func() { ended <- struct{}{} }()
		echo(p.server)
	}()
	// A contender that hangs is cut off: its calls then return errors.
	watchdog := time.AfterFunc(s.warmUp()+s.time+stopLimit, p.close)
	defer func() {
		if !watchdog.Stop() && err == nil {
			err = errors.New("took too long")
		}
		p.close()
		err = errors.Join(err, awaitEnd(ended, 1))
	}()
	trips := make([]time.Duration, 0, 1<<20)
	if _, err = pingPong(p.client, size, s.warmUp(), trips); err != nil {
		return nil, err
	}
	cpu := cpuTime()
	if trips, err = pingPong(p.client, size, s.time, trips); err != nil {
		return nil, err
	}
	cpu = cpuTime() - cpu
	slices.Sort(trips)
	sample = []float64{micros(percentile(trips, 0.5)), micros(percentile(trips, 0.99)), notMeasured}
	if cpu > 0 {
		sample[2] = micros(cpu) / float64(len(trips))
	}
	return sample, nil
}

// pingPong sends messages of size bytes and awaits the return of each, for d and at least once. It
// appends the time of each to trips.
func pingPong(c io.ReadWriter, size int, d time.Duration, trips []time.Duration) ([]time.Duration, error) {
	msg, back := make([]byte, size), make([]byte, size)
	for i := range msg {
		msg[i] = byte(i)
	}
	end := time.Now().Add(d)
	for {
		msg[0]++
		begin := time.Now()
		if _, err := c.Write(msg); err != nil {
			return nil, err
		}
		if _, err := io.ReadFull(c, back); err != nil {
			return nil, err
		}
		now := time.Now()
		if !bytes.Equal(msg, back) {
			return nil, errors.New("the echo differs from what was sent")
		}
		trips = append(trips, now.Sub(begin))
		if now.After(end) {
			return trips, nil
		}
	}
}

// echo returns what comes in until the stream ends.
func echo(s io.ReadWriter) {
	buf := make([]byte, 64<<10)
	for {
		n, err := s.Read(buf)
		if err != nil {
			return
		}
		if _, err := s.Write(buf[:n]); err != nil {
			return
		}
	}
}

func micros(d time.Duration) float64 { return float64(d) / float64(time.Microsecond) }
