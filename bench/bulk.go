// SPDX-License-Identifier: MIT

package main

import (
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"sync/atomic"
	"time"
)

const (
	bulkChunk = 128 << 10       // bytes a Write and the most a Read takes
	stopLimit = 5 * time.Second // for a contender to end
)

// transfer is a one-way transfer at full speed that goes on until stop.
type transfer struct {
	moved  func() int64                     // bytes that have reached the receiver
	resent func() (packets, resent float64) // sent in all and of them again; nil: not known
	failed chan error                       // has room for the errors of both ends
	stop   func() error
}

func newBulk(s *settings) *measurement {
	m := &measurement{name: "bulk", title: "One-way bulk transfer", columns: bulkColumns}
	for _, k := range append([]kcpKind{kcpDiscovers}, kcpKinds...) {
		m.add(k.name, true, measureBulk(s, streamTransfer(k.opener(s.window))))
	}
	m.add("TCP", false, measureBulk(s, streamTransfer(over(loopback, openTCP))))
	m.add("quic-go", false, measureBulk(s, streamTransfer(over(loopback, openQUIC))))
	for _, k := range rawKinds {
		m.add(k.name, false, measureBulk(s, k.transfer(s.window)))
	}
	return m
}

func newSweep(s *settings) *measurement {
	m := &measurement{name: "sweep", title: "One-way bulk transfer by window", columns: bulkColumns}
	for _, k := range kcpKinds {
		for _, window := range sweepWindows {
			m.add(fmt.Sprintf("%s, window %d", k.name, window), true, measureBulk(s, streamTransfer(k.opener(window))))
		}
	}
	return m
}

const bulkSpeed, bulkCPU = 0, 1 // columns

var bulkColumns = []column{
	{name: "MB/s"},
	{name: "CPU s/GB", decimals: 3},
	{name: "sent again %", decimals: 2},
}

func (m *measurement) add(name string, ours bool, measure func() ([]float64, error)) {
	m.contenders = append(m.contenders, &contender{name: name, ours: ours, measure: measure})
}

func measureBulk(s *settings, start func() (*transfer, error)) func() ([]float64, error) {
	return func() ([]float64, error) {
		t, err := start()
		if err != nil {
			return nil, err
		}
		sample, err := t.measure(s)
		return sample, errors.Join(err, t.stop())
	}
}

func (t *transfer) measure(s *settings) ([]float64, error) {
	if err := t.wait(s.warmUp()); err != nil {
		return nil, err
	}
	begin, cpu, moved := time.Now(), cpuTime(), t.moved()
	packets, resent := t.counts()
	if err := t.wait(s.time); err != nil {
		return nil, err
	}
	moved = t.moved() - moved
	cpu, took := cpuTime()-cpu, time.Since(begin)
	packets2, resent2 := t.counts()
	if moved == 0 {
		return nil, errors.New("nothing arrived")
	}
	sample := []float64{float64(moved) / 1e6 / took.Seconds(), notMeasured, notMeasured}
	if cpu > 0 {
		sample[bulkCPU] = cpu.Seconds() / (float64(moved) / 1e9)
	}
	if packets2 > packets {
		sample[2] = (resent2 - resent) / (packets2 - packets) * 100
	}
	return sample, nil
}

func (t *transfer) counts() (packets, resent float64) {
	if t.resent == nil {
		return 0, 0
	}
	return t.resent()
}

func (t *transfer) wait(d time.Duration) error {
	select {
	case err := <-t.failed:
		return err
	case <-time.After(d):
		return nil
	}
}

// streamTransfer starts a transfer over a pair of connected streams.
func streamTransfer(open func() (*streams, error)) func() (*transfer, error) {
	return func() (*transfer, error) {
		p, err := open()
		if err != nil {
			return nil, err
		}
		var moved atomic.Int64
		ended := make(chan struct{}, 2)
		t := &transfer{moved: moved.Load, resent: p.resent, failed: make(chan error, 2)}
		pump := func(step func([]byte) (int, error), count *atomic.Int64) {
			defer func() { ended <- struct{}{} }()
			buf := make([]byte, bulkChunk)
			for {
				n, err := step(buf)
				count.Add(int64(n))
				if err != nil {
					t.failed <- err
					return
				}
			}
		}
		go pump(p.client.Write, new(atomic.Int64))
		go pump(p.server.Read, &moved)
		t.stop = func() error {
			p.close()
			return awaitEnd(ended, 2)
		}
		return t, nil
	}
}

// awaitEnd waits until n goroutines have ended.
func awaitEnd(ended <-chan struct{}, n int) error {
	limit := time.After(stopLimit)
	for range n {
		select {
		case <-ended:
		case <-limit:
			return errors.New("does not stop")
		}
	}
	return nil
}

// streams are the two ends of a connection.
type streams struct {
	client, server io.ReadWriter
	close          func() // both, without waiting for data under way
	resent         func() (packets, resent float64)
}

// path is how two ends reach each other.
type path struct {
	listen, dial string        // the hosts of the server and for the client
	port         *atomic.Int32 // of the last server, nil for any port
	meter        *meter        // what enters the line to the server, nil without a line
	rtt          time.Duration // of the line
}

var loopback = path{listen: "127.0.0.1", dial: "127.0.0.1"}

// address is what a server listens at.
func (p path) address() string {
	port := 0
	if p.port != nil {
		port = int(p.port.Add(1))
	}
	return net.JoinHostPort(p.listen, strconv.Itoa(port))
}

// to is what a client dials for a server that listens on addr.
func (p path) to(addr net.Addr) string {
	_, port, _ := net.SplitHostPort(addr.String())
	return net.JoinHostPort(p.dial, port)
}

func over(p path, open func(path) (*streams, error)) func() (*streams, error) {
	return func() (*streams, error) { return open(p) }
}

// greet sends a byte, waits until accept has returned, and reads the byte. A server needs the byte
// to accept a kcp session or a QUIC stream.
func greet(client io.Writer, accept func() (io.Reader, error)) error {
	if _, err := client.Write([]byte{1}); err != nil {
		return err
	}
	server, err := accept()
	if err != nil {
		return err
	}
	_, err = io.ReadFull(server, make([]byte, 1))
	return err
}
