// SPDX-License-Identifier: MIT

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/seedkcp/kcp"
)

const (
	messageSize     = 100 // bytes
	messageInterval = time.Second / 30
)

// crowd is many sessions that send to one server.
type crowd struct {
	senders  []io.Writer
	received atomic.Int64 // bytes, of all
	packets  func() float64
	stop     func() error
}

const sessionsCPU = 0 // column

func newSessions(s *settings) *measurement {
	m := &measurement{
		name:  "sessions",
		title: fmt.Sprintf("%d sessions, each 30 messages of %d bytes a second", s.sessions, messageSize),
		columns: []column{
			{name: "CPU µs/message", decimals: 2},
			{name: "messages/s"},
			{name: "datagrams/message", decimals: 2},
		},
	}
	add := func(name string, ours bool, open func(int) (*crowd, error)) {
		m.add(name, ours, func() ([]float64, error) { return measureSessions(s, open) })
	}
	for _, k := range kcpKinds[:2] {
		add(k.name, true, func(n int) (*crowd, error) { return openKCPCrowd(k, s.window, n) })
	}
	add("raw UDP", false, openRawCrowd)
	return m
}

func measureSessions(s *settings, open func(int) (*crowd, error)) ([]float64, error) {
	c, err := open(s.sessions)
	if err != nil {
		return nil, err
	}
	sample, err := c.measure(s)
	return sample, errors.Join(err, c.stop())
}

func (c *crowd) measure(s *settings) ([]float64, error) {
	stop, ended := make(chan struct{}), make(chan error, 1)
	go func() { ended <- c.send(stop) }()
	sample := c.observe(s, 2*s.time)
	close(stop)
	if err := <-ended; err != nil {
		return nil, err
	}
	if sample == nil {
		return nil, errors.New("nothing arrived")
	}
	return sample, nil
}

func (c *crowd) observe(s *settings, d time.Duration) []float64 {
	time.Sleep(max(s.warmUp(), 2*messageInterval))
	begin, cpu, got, packets := time.Now(), cpuTime(), c.received.Load(), c.packets()
	time.Sleep(d)
	messages := float64(c.received.Load()-got) / messageSize
	cpu, packets = cpuTime()-cpu, c.packets()-packets
	if messages == 0 {
		return nil
	}
	sample := []float64{notMeasured, messages / time.Since(begin).Seconds(), packets / messages}
	if cpu > 0 {
		sample[sessionsCPU] = micros(cpu) / messages
	}
	return sample
}

// send has each sender send a message per messageInterval, all evenly spread over it. It reads the
// clock a thousand times a second, so that its own cost is small. That cost is the same for all
// contenders.
func (c *crowd) send(stop <-chan struct{}) error {
	msg := make([]byte, messageSize)
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	n := len(c.senders)
	sent, begin := 0, time.Now()
	for {
		select {
		case <-stop:
			return nil
		case <-tick.C:
		}
		due := int(time.Since(begin) * time.Duration(n) / messageInterval)
		for ; sent < due; sent++ {
			if _, err := c.senders[sent%n].Write(msg); err != nil {
				return err
			}
		}
	}
}

// openKCPCrowd dials n sessions over a socket each, in message mode.
func openKCPCrowd(k kcpKind, window, n int) (_ *crowd, err error) {
	conf, err := k.config(window)
	if err != nil {
		return nil, err
	}
	conf.StreamMode, conf.AcceptBacklog = false, n
	l, err := conf.Listen(context.Background(), "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	c := &crowd{packets: func() float64 { return float64(atomic.LoadUint64(&kcp.DefaultSnmp.OutPkts)) }}
	var readers sync.WaitGroup
	var dialled []*kcp.UDPSession
	readers.Go(func() {
		var accepted []*kcp.UDPSession
		for {
			s, err := l.AcceptKCP()
			if err != nil {
				abort(accepted...)
				return
			}
			accepted = append(accepted, s)
			readers.Go(func() { c.count(s.Read) })
		}
	})
	c.stop = func() error {
		abort(dialled...)
		l.Close()
		return awaitGroup(&readers)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, c.stop())
		}
	}()
	for range n {
		s, err := conf.Dial(context.Background(), l.Addr().String())
		if err != nil {
			return nil, err
		}
		dialled = append(dialled, s)
		c.senders = append(c.senders, s)
	}
	return c, nil
}

// openRawCrowd connects n sockets to one, and nothing comes back.
func openRawCrowd(n int) (_ *crowd, err error) {
	client, server, err := rawPair()
	if err != nil {
		return nil, err
	}
	client.Close()
	c := new(crowd)
	c.packets = func() float64 { return float64(c.received.Load()) / messageSize }
	var reader sync.WaitGroup
	reader.Go(func() {
		c.count(func(p []byte) (int, error) {
			n, _, err := server.ReadFromUDPAddrPort(p)
			return n, err
		})
	})
	var clients []*net.UDPConn
	c.stop = func() error {
		server.Close()
		for _, s := range clients {
			s.Close()
		}
		return awaitGroup(&reader)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, c.stop())
		}
	}()
	for range n {
		s, err := net.DialUDP("udp4", nil, server.LocalAddr().(*net.UDPAddr))
		if err != nil {
			return nil, err
		}
		clients = append(clients, s)
		c.senders = append(c.senders, s)
	}
	return c, nil
}

// count adds up what read returns until it fails.
func (c *crowd) count(read func([]byte) (int, error)) {
	buf := make([]byte, 2048)
	for {
		n, err := read(buf)
		if err != nil {
			return
		}
		c.received.Add(int64(n))
	}
}

func awaitGroup(g *sync.WaitGroup) error {
	ended := make(chan struct{}, 1)
	go func() {
		g.Wait()
		ended <- struct{}{}
	}()
	return awaitEnd(ended, 1)
}
