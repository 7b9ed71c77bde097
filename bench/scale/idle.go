// SPDX-License-Identifier: MIT

//go:build linux

package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/seedkcp/kcp"
)

const (
	firstMessage  = 1024 // bytes that each session echoes first
	activeShare   = 20   // one session in so many is active later
	activePause   = 100 * time.Millisecond
	activeMessage = 100                    // bytes
	closePatience = 60 * time.Second       // until all sessions are gone at both ends
	lookPause     = 100 * time.Millisecond // between two looks at that
)

// measureIdle opens many sessions, looks at them while they are idle, makes some of them busy and
// closes all.
func measureIdle(s *settings, out io.Writer) (err error) {
	p, err := startProcess(s.role())
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, p.stop()) }()
	c, err := newClients(s, p.addr)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, c.close()) }()
	t := &table{}
	t.row("figure", "value", "bound")
	m := &idleRun{s: s, p: p, c: c, t: t}
	for _, step := range []func() error{m.open, m.idle, m.busy, m.closeAll} {
		if err := step(); err != nil {
			return errors.Join(err, t.print(out, "up to the failure"))
		}
	}
	return t.print(out, fmt.Sprintf("%d sessions, %d client sockets, %d server sockets", s.n, s.clients, s.sockets))
}

type idleRun struct {
	s        *settings
	p        *process
	c        *clients
	t        *table
	sessions []*kcp.UDPSession
	before   status // the server without sessions
	most     status // the server with all of them, idle
}

func (m *idleRun) open() (err error) {
	if m.before, err = m.warm(); err != nil {
		return err
	}
	begin := time.Now()
	m.sessions, err = m.c.openAll(m.s.n, m.s.parallel, firstMessage, func(i int) byte {
		if i%activeShare == 0 {
			return roleActive
		}
		return roleIdle
	})
	if err != nil {
		return err
	}
	m.t.row("sessions opened a second, each echoing 1 KiB", int(float64(m.s.n)/time.Since(begin).Seconds()), ">= 2000")
	return nil
}

// warm opens and ends some sessions, so that pools and goroutines that appear with the first ones
// are there.
func (m *idleRun) warm() (status, error) {
	some, err := m.c.openAll(m.s.parallel, m.s.parallel, firstMessage, func(int) byte { return roleOnce })
	if err != nil {
		return status{}, err
	}
	for _, s := range some {
		s.Close()
	}
	if _, err := m.awaitNone(); err != nil {
		return status{}, err
	}
	return m.p.ask("free")
}

// awaitNone waits until no session is left at either end.
func (m *idleRun) awaitNone() (st status, err error) {
	for end := time.Now().Add(closePatience); time.Now().Before(end); time.Sleep(lookPause) {
		if st, err = m.p.ask("status"); err != nil {
			return st, err
		}
		if st.Sessions == 0 && m.c.sessions() == 0 {
			return st, nil
		}
	}
	return st, fmt.Errorf("%d sessions of the server and %d of the clients are left", st.Sessions, m.c.sessions())
}

func (m *idleRun) idle() error {
	time.Sleep(m.s.settle)
	asIs, err := m.p.ask("status")
	if err != nil {
		return err
	}
	collected, err := m.p.ask("gc")
	if err != nil {
		return err
	}
	freed, err := m.p.ask("free")
	if err != nil {
		return err
	}
	m.most = freed
	if m.s.profile {
		if _, err := m.p.ask("heap"); err != nil {
			return err
		}
	}
	each := func(st status) float64 { return float64(st.RSS-m.before.RSS) / float64(m.s.n) }
	m.t.row("server memory a session (RSS), as it is", int(each(asIs)), "<= 2048")
	m.t.row("after a garbage collection", int(each(collected)), "<= 2048")
	m.t.row("and with what is free given back to the system", int(each(freed)), "<= 2048")
	m.t.row("heap a session", int(float64(freed.Heap-m.before.Heap)/float64(m.s.n)), "")
	m.t.row("goroutines of the server", freed.Goroutines, fmt.Sprintf("%d without sessions", m.before.Goroutines))
	if freed.Sessions != m.s.n {
		return fmt.Errorf("the server has %d sessions, want %d", freed.Sessions, m.s.n)
	}
	before, err := m.p.ask("status")
	if err != nil {
		return err
	}
	begin := time.Now()
	time.Sleep(m.s.measure)
	after, err := m.p.ask("status")
	if err != nil {
		return err
	}
	m.t.row("CPU of the idle server, % of a core", 100*float64(after.CPU-before.CPU)/float64(time.Since(begin)), "<= 0.5")
	m.t.row("switches of its threads a second", float64(after.Switches-before.Switches)/time.Since(begin).Seconds(), "")
	return nil
}

// quantiles are what is printed of the latencies of echoes, in ms.
var quantiles = []struct {
	name  string
	share float64
	bound string
}{{"p50", 0.5, ""}, {"p99", 0.99, "< 20"}, {"p99.9", 0.999, ""}}

// busy has one session in activeShare echo ten messages a second.
func (m *idleRun) busy() (err error) {
	if _, err = m.p.ask("activate"); err != nil {
		return err
	}
	var active []*kcp.UDPSession
	for i := 0; i < len(m.sessions); i += activeShare {
		active = append(active, m.sessions[i])
	}
	if m.s.profile {
		if _, err := m.p.ask("profile"); err != nil {
			return err
		}
		defer func() { _, e := m.p.ask("profiled"); err = errors.Join(err, e) }()
	}
	before, err := m.p.ask("status")
	if err != nil {
		return err
	}
	own, _ := usage()
	resent := kcp.DefaultSnmp.Copy().RetransSegs
	latencies, err := echoAll(active, activeMessage, activePause, m.s.measure)
	if err != nil {
		return err
	}
	after, err := m.p.ask("status")
	if err != nil {
		return err
	}
	ownAfter, _ := usage()
	resent = kcp.DefaultSnmp.Copy().RetransSegs - resent
	slices.Sort(latencies)
	messages := float64(after.Messages - before.Messages)
	m.t.row(fmt.Sprintf("messages a second, %d sessions active", len(active)), int(messages/(m.s.measure+echoWarm).Seconds()), "")
	for _, q := range quantiles {
		at := latencies[int(q.share*float64(len(latencies)))]
		m.t.row("echo latency "+q.name+", ms", float64(at)/1e6, q.bound)
	}
	m.t.row("CPU of the server, µs a message", float64(after.CPU-before.CPU)/1e3/messages, "")
	m.t.row("CPU of the clients, µs a message", float64(ownAfter-own)/1e3/messages, "")
	m.t.row("segments that the server and the clients sent again", fmt.Sprint(after.Resent-before.Resent, " + ", resent), "")
	_, err = m.p.ask("deactivate")
	return err
}

// echoWarm is how long the sessions echo before it counts: their goroutines and buffers appear in
// that time.
const echoWarm = time.Second

// echoAll has every session echo a message each pause, evenly spread over it. It returns how long
// each took from the time it was due. One goroutine sends, to keep the clients' cost low on the
// machine that they share with the server.
func echoAll(sessions []*kcp.UDPSession, size int, pause, length time.Duration) ([]time.Duration, error) {
	var (
		sent, received atomic.Int64
		readers        sync.WaitGroup
		stop           = make(chan struct{})
		took           = make([][]time.Duration, len(sessions))
		message        = make([]byte, size)
		begin          = time.Now()
	)
	for i, s := range sessions {
		readers.Go(func() { took[i] = takeEchoes(s, begin, &received) })
	}
	time.AfterFunc(echoWarm+length, func() { close(stop) })
	err := pace(len(sessions), pause, stop, &sent, func(i int, due time.Time) error {
		binary.LittleEndian.PutUint64(message, uint64(due.Sub(begin)))
		_, err := sessions[i].Write(message)
		return err
	})
	for end := time.Now().Add(echoPatience); received.Load() < sent.Load() && time.Now().Before(end); time.Sleep(lookPause) {
	}
	for _, s := range sessions {
		err = errors.Join(err, s.SetReadDeadline(time.Unix(1, 0)))
	}
	readers.Wait()
	all := slices.Concat(took...)
	if n, want := received.Load(), sent.Load(); n != want || len(all) == 0 {
		err = errors.Join(err, fmt.Errorf("%d messages of %d came back, %d of them after the warm-up", n, want, len(all)))
	}
	return all, err
}

// takeEchoes reads what comes back until the deadline that ends it, and returns how long each
// message took that was due after the warm-up.
func takeEchoes(s *kcp.UDPSession, begin time.Time, received *atomic.Int64) (took []time.Duration) {
	var buf [256]byte
	for {
		n, err := s.Read(buf[:])
		if err != nil || n < 8 {
			return took
		}
		if due := time.Duration(binary.LittleEndian.Uint64(buf[:])); due > echoWarm {
			took = append(took, time.Since(begin)-due)
		}
		received.Add(1)
	}
}

// closeAll ends all sessions from both sides and looks at what is left.
func (m *idleRun) closeAll() error {
	begin := time.Now()
	for _, s := range m.sessions {
		s.Close()
	}
	if _, err := m.p.ask("close"); err != nil {
		return err
	}
	st, err := m.awaitNone()
	m.t.row("sessions left at the server and at the clients", fmt.Sprint(st.Sessions, " + ", m.c.sessions()), "0")
	if err != nil {
		return err
	}
	m.t.row("seconds until all were closed", time.Since(begin).Seconds(), "")
	share := func(st status) string {
		return fmt.Sprintf("%.1f %%", 100*float64(st.RSS-m.before.RSS)/float64(m.most.RSS-m.before.RSS))
	}
	if st, err = m.p.ask("free"); err != nil {
		return err
	}
	m.t.row("of the server's memory still held, time-wait records included", share(st), "")
	time.Sleep(m.s.wait)
	if st, err = m.p.ask("free"); err != nil {
		return err
	}
	m.t.row("and when those have run out", share(st), "<= 5 %")
	m.sessions = nil
	return nil
}
