// SPDX-License-Identifier: MIT

//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/seedkcp/kcp"
)

// busySessions upload at full speed, each from a socket of its own, so that the kernel spreads them
// over the server's.
const busySessions = 16

// measureReaders shows what a second reader is worth: the same uploads to a server with one socket,
// and with two.
func measureReaders(s *settings, out io.Writer) error {
	t := &table{}
	t.row("sockets of the server", "MB/s", "server CPU, cores", "clients' CPU, cores")
	for range crowdRounds {
		for _, sockets := range []int{1, 2} {
			rate, server, client, err := upload(s, sockets)
			if err != nil {
				return err
			}
			t.row(sockets, rate/1e6, server, client)
		}
	}
	return t.print(out, fmt.Sprintf("%d sessions that upload at full speed", busySessions))
}

// upload returns bytes a second and the processor time of both sides as a share of a core.
func upload(s *settings, sockets int) (rate, server, client float64, err error) {
	own := *s
	own.sockets, own.clients = sockets, busySessions
	p, err := startProcess(own.role())
	if err != nil {
		return 0, 0, 0, err
	}
	defer func() { err = errors.Join(err, p.stop()) }()
	c, err := newClients(&own, p.addr)
	if err != nil {
		return 0, 0, 0, err
	}
	var writers sync.WaitGroup
	defer writers.Wait()
	defer func() { err = errors.Join(err, c.close()) }()
	conf, err := config(false) // the cipher is the Transports'
	if err != nil {
		return 0, 0, 0, err
	}
	conf.StreamMode, conf.SendWindow, conf.ReceiveWindow = true, 512, 512
	for _, tr := range c.transports {
		conn, err := tr.Dial(context.Background(), c.server, conf)
		if err != nil {
			return 0, 0, 0, err
		}
		writers.Go(func() { fill(conn) })
	}
	time.Sleep(s.measure / 4)
	before, err := p.ask("status")
	if err != nil {
		return 0, 0, 0, err
	}
	cpu, _ := usage()
	begin := time.Now()
	time.Sleep(s.measure / 2)
	after, err := p.ask("status")
	if err != nil {
		return 0, 0, 0, err
	}
	cpuAfter, _ := usage()
	took := float64(time.Since(begin))
	rate = float64(after.Bytes-before.Bytes) / took * 1e9
	return rate, float64(after.CPU-before.CPU) / took, float64(cpuAfter-cpu) / took, nil
}

// fill writes until the session ends.
func fill(conn *kcp.UDPSession) {
	chunk := make([]byte, 64<<10)
	chunk[0] = roleSink
	for _, err := conn.Write(chunk); err == nil; _, err = conn.Write(chunk) {
	}
}
