// SPDX-License-Identifier: MIT

//go:build linux

package main

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync/atomic"
	"time"
)

const (
	crowdMessage = 100              // bytes
	crowdPause   = time.Second / 30 // between two messages of a session
	crowdRounds  = 3
)

// measureCrowd compares the processor time of the server's process for a message with that of a
// bare loop. The loop returns every datagram with recvmmsg and sendmmsg. One kcp server has a
// goroutine for each session, the other a kcp.ReadyQueue.
func measureCrowd(s *settings, out io.Writer) error {
	t := &table{}
	t.row("server", "CPU µs/message", "messages/s", "sent/s", "CPU of the clients, µs/message")
	servers := []struct {
		name    string
		measure func() (crowdFigures, error)
		cpu     float64 // of all rounds
	}{
		{"raw UDP", func() (crowdFigures, error) { return crowdRaw(s) }, 0},
		{"kcp", func() (crowdFigures, error) { return crowdKCP(s, roleEcho, "server") }, 0},
		{"kcp, ready queue", func() (crowdFigures, error) { return crowdKCP(s, roleReady, "ready") }, 0},
	}
	for range crowdRounds {
		for i := range servers {
			f, err := servers[i].measure()
			if err != nil {
				return err
			}
			t.row(servers[i].name, f.server, int(f.rate), int(f.sent), f.client)
			servers[i].cpu += f.server
		}
	}
	for _, ours := range servers[1:] {
		t.row(ours.name+" : raw UDP", ours.cpu/servers[0].cpu, "", "", "")
	}
	return t.print(out, fmt.Sprintf("%d sessions x 30 messages of %d bytes a second, echoed; %d client sockets", s.crowd, crowdMessage, s.clients))
}

// crowdFigures are microseconds of processor time a message and messages a second.
type crowdFigures struct{ server, client, rate, sent float64 }

// crowdRun measures while send is called for each session in turn, evenly spread.
func crowdRun(s *settings, p *process, send func(i int) error) (f crowdFigures, err error) {
	stop, ended := make(chan struct{}), make(chan error, 1)
	var sent atomic.Int64
	go func() {
		ended <- pace(s.crowd, crowdPause, stop, &sent, func(i int, _ time.Time) error { return send(i) })
	}()
	defer func() {
		close(stop)
		err = errors.Join(err, <-ended)
	}()
	time.Sleep(s.measure / 5)
	before, err := p.ask("status")
	if err != nil {
		return f, err
	}
	own, _ := usage()
	begin, sentBefore := time.Now(), sent.Load()
	time.Sleep(s.measure)
	after, err := p.ask("status")
	if err != nil {
		return f, err
	}
	ownAfter, _ := usage()
	messages := float64(after.Messages - before.Messages)
	if messages == 0 {
		return f, errors.New("nothing was echoed")
	}
	f.server = float64(after.CPU-before.CPU) / 1e3 / messages
	f.client = float64(ownAfter-own) / 1e3 / messages
	f.rate = messages / time.Since(begin).Seconds()
	f.sent = float64(sent.Load()-sentBefore) / time.Since(begin).Seconds()
	return f, nil
}

// pace calls send for each of n sessions in turn, each once a pause, with the time that it is due.
func pace(n int, pause time.Duration, stop <-chan struct{}, total *atomic.Int64, send func(i int, due time.Time) error) error {
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	sent, begin := 0, time.Now()
	for {
		select {
		case <-stop:
			return nil
		case <-tick.C:
		}
		due := int(time.Since(begin) * time.Duration(n) / pause)
		if due-sent > n {
			begin = begin.Add(time.Duration(due-sent-n) * pause / time.Duration(n)) // too slow: the rate falls
			due = sent + n
		}
		for ; sent < due; sent++ {
			if err := send(sent%n, begin.Add(time.Duration(sent)*pause/time.Duration(n))); err != nil {
				return err
			}
		}
		total.Store(int64(sent))
	}
}

// crowdKCP measures a server that gives the sessions a role. It writes a profile of that name.
func crowdKCP(s *settings, role byte, profile string) (f crowdFigures, err error) {
	p, err := startProcess(s.role())
	if err != nil {
		return f, err
	}
	defer func() { err = errors.Join(err, p.stop()) }()
	c, err := newClients(s, p.addr)
	if err != nil {
		return f, err
	}
	defer func() { err = errors.Join(err, c.close()) }()
	sessions, err := c.openAll(s.crowd, s.parallel, crowdMessage, func(int) byte { return role })
	if err != nil {
		return f, err
	}
	for _, conn := range sessions {
		go func() {
			var buf [256]byte
			for _, err := conn.Read(buf[:]); err == nil; _, err = conn.Read(buf[:]) {
			}
		}()
	}
	if s.profile {
		if _, err := p.ask("profile"); err != nil {
			return f, err
		}
		defer func() {
			_, e := p.ask("profiled")
			err = errors.Join(err, e, os.Rename("server.prof", profile+".prof"))
		}()
	}
	message := make([]byte, crowdMessage)
	return crowdRun(s, p, func(i int) error {
		_, err := sessions[i].Write(message)
		return err
	})
}

func crowdRaw(s *settings) (f crowdFigures, err error) {
	p, err := startProcess("raw")
	if err != nil {
		return f, err
	}
	defer func() { err = errors.Join(err, p.stop()) }()
	server, err := net.ResolveUDPAddr("udp4", p.addr)
	if err != nil {
		return f, err
	}
	var conns []*net.UDPConn
	defer func() {
		for _, c := range conns {
			c.Close()
		}
	}()
	for range s.clients {
		c, err := net.DialUDP("udp4", nil, server)
		if err != nil {
			return f, err
		}
		conns = append(conns, c)
		_ = c.SetReadBuffer(4 << 20) // any size that the system grants is enough
		go func() {
			var buf [2048]byte
			for _, err := c.Read(buf[:]); err == nil; _, err = c.Read(buf[:]) {
			}
		}()
	}
	message := make([]byte, crowdMessage)
	return crowdRun(s, p, func(i int) error {
		_, err := conns[i%len(conns)].Write(message)
		return err
	})
}
