// SPDX-License-Identifier: MIT

//go:build linux

package main

import (
	"errors"
	"fmt"
	"io"
	"math"
	"time"

	"golang.org/x/sys/unix"
)

// dialledKind is one way to have many dialled sessions.
type dialledKind struct {
	name        string
	n           int
	shared      bool
	memory      int // bound of the bytes a session
	descriptors int // bound; 0 for none
	limit       string
}

const (
	dialledGoroutines = 16   // bound of those that come with the first session
	dialledHeap       = 4096 // bound of the bytes a session
	dialledLimit      = "256MiB"
	spareDescriptors  = 64 // that a process needs besides those of its sessions
)

// measureClients has a process of its own dial many sessions, as measureIdle has one accept them.
func measureClients(s *settings, out io.Writer) error {
	kinds := []dialledKind{
		{name: "sockets of their own", n: s.dialled, memory: 6144},
		{name: "sockets of their own, GOMEMLIMIT=" + dialledLimit, n: s.dialled, memory: 6144, limit: dialledLimit},
		{name: "shared sockets", n: s.shared, shared: true, memory: 2048, descriptors: 32},
	}
	for _, k := range kinds {
		if err := measureDialled(s, k, out); err != nil {
			return fmt.Errorf("%d sessions, %s: %w", k.n, k.name, err)
		}
	}
	return nil
}

func measureDialled(s *settings, k dialledKind, out io.Writer) (err error) {
	if !k.shared {
		if err := allowDescriptors(k.n + spareDescriptors); err != nil {
			return err
		}
	}
	server, err := startProcess(s.role())
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, server.stop()) }()
	var env []string
	if k.limit != "" {
		env = append(env, "GOMEMLIMIT="+k.limit)
	}
	o := diallerSettings{server.addr, s.cipher, k.shared, k.n, s.parallel, s.measure}
	client, err := startProcess(o.role(), env...)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, client.stop()) }()
	m := &dialledRun{s: s, k: k, server: server, client: client, t: &table{}}
	m.t.row("figure", "value", "bound")
	for _, step := range []func() error{m.open, m.idle, m.echo, m.close} {
		if err := step(); err != nil {
			return errors.Join(err, m.t.print(out, "up to the failure"))
		}
	}
	return m.t.print(out, fmt.Sprintf("%d dialled sessions, %s", k.n, k.name))
}

type dialledRun struct {
	s              *settings
	k              dialledKind
	server, client *process
	t              *table
	first          status // before the first session
	before         status // without sessions, after some
}

func (m *dialledRun) open() (err error) {
	if m.first, err = m.client.ask("status"); err != nil {
		return err
	}
	if _, err = m.client.ask("warm"); err != nil {
		return err
	}
	if _, err = awaitNone(m.client, m.server); err != nil {
		return err
	}
	if m.before, err = m.client.ask("free"); err != nil {
		return err
	}
	begin := time.Now()
	after, err := m.client.ask("open")
	if err != nil {
		return err
	}
	m.t.row("sessions dialled a second, each echoing 1 KiB", int(float64(m.k.n)/time.Since(begin).Seconds()), "")
	m.t.row("CPU, µs a session", float64(after.CPU-m.before.CPU)/1e3/float64(m.k.n), "")
	m.t.row("of it garbage collection, %", collection(m.before, after), "")
	return nil
}

// collection returns the garbage collector's share of the processor time, in percent.
func collection(before, after status) float64 {
	return 100 * float64(after.GC-before.GC) / math.Max(1, float64(after.Busy-before.Busy))
}

func (m *dialledRun) idle() error {
	time.Sleep(m.s.settle)
	asIs, err := m.client.ask("status")
	if err != nil {
		return err
	}
	collected, err := m.client.ask("gc")
	if err != nil {
		return err
	}
	freed, err := m.client.ask("free")
	if err != nil {
		return err
	}
	if m.s.profile {
		if _, err := m.client.ask("heap"); err != nil {
			return err
		}
	}
	each := func(st status) int { return int(float64(st.RSS-m.before.RSS) / float64(m.k.n)) }
	most := fmt.Sprint("<= ", m.k.memory)
	m.t.row("memory a session (RSS), as it is", each(asIs), most)
	m.t.row("after a garbage collection", each(collected), most)
	m.t.row("and with what is free given back to the system", each(freed), most)
	m.t.row("heap a session", int(float64(freed.Heap-m.before.Heap)/float64(m.k.n)), fmt.Sprint("<= ", dialledHeap))
	m.t.row("memory of the process (RSS), MiB", float64(asIs.RSS)/(1<<20), m.k.limit)
	m.t.row("goroutines beyond those without sessions", freed.Goroutines-m.first.Goroutines, fmt.Sprint("<= ", dialledGoroutines))
	bound := ""
	if m.k.descriptors > 0 {
		bound = fmt.Sprint("< ", m.k.descriptors)
	}
	m.t.row("descriptors beyond those without sessions", freed.Descriptors-m.first.Descriptors, bound)
	if freed.Sessions != m.k.n {
		return fmt.Errorf("%d sessions are open, want %d", freed.Sessions, m.k.n)
	}
	before, err := m.client.ask("status")
	if err != nil {
		return err
	}
	begin := time.Now()
	time.Sleep(m.s.measure)
	after, err := m.client.ask("status")
	if err != nil {
		return err
	}
	m.t.row("CPU while idle, % of a core", 100*float64(after.CPU-before.CPU)/float64(time.Since(begin)), "0.00")
	m.t.row("switches of its threads a second", float64(after.Switches-before.Switches)/time.Since(begin).Seconds(), "")
	return nil
}

// echo has one session in activeShare echo ten messages a second.
func (m *dialledRun) echo() error {
	if _, err := m.server.ask("activate"); err != nil {
		return err
	}
	if m.s.profile {
		if _, err := m.client.ask("profile"); err != nil {
			return err
		}
	}
	serverBefore, err := m.server.ask("status")
	if err != nil {
		return err
	}
	before, err := m.client.ask("status")
	if err != nil {
		return err
	}
	after, err := m.client.ask("echo")
	if err != nil {
		return err
	}
	serverAfter, err := m.server.ask("status")
	if err != nil {
		return err
	}
	if m.s.profile {
		if _, err := m.client.ask("profiled"); err != nil {
			return err
		}
	}
	messages := float64(serverAfter.Messages - serverBefore.Messages)
	m.t.row(fmt.Sprintf("messages a second, %d sessions active", (m.k.n+activeShare-1)/activeShare), int(messages/(m.s.measure+echoWarm).Seconds()), "")
	for i, q := range quantiles {
		m.t.row("echo latency "+q.name+", ms", float64(after.Latency[i])/1e6, q.bound)
	}
	m.t.row("CPU of the clients, µs a message", float64(after.CPU-before.CPU)/1e3/messages, "")
	m.t.row("of it garbage collection, %", collection(before, after), "")
	m.t.row("CPU of the server, µs a message", float64(serverAfter.CPU-serverBefore.CPU)/1e3/messages, "")
	m.t.row("segments that the server and the clients sent again", fmt.Sprint(serverAfter.Resent-serverBefore.Resent, " + ", after.Resent-before.Resent), "")
	_, err = m.server.ask("deactivate")
	return err
}

// close ends all sessions from both sides and looks at what is left.
func (m *dialledRun) close() error {
	begin := time.Now()
	for _, p := range []*process{m.client, m.server} {
		if _, err := p.ask("close"); err != nil {
			return err
		}
	}
	if _, err := awaitNone(m.client, m.server); err != nil {
		return err
	}
	m.t.row("seconds until all were closed", time.Since(begin).Seconds(), "")
	st, err := m.client.ask("free")
	if err != nil {
		return err
	}
	m.t.row("memory still held, MiB", float64(st.RSS-m.before.RSS)/(1<<20), "")
	m.t.row("goroutines still there", st.Goroutines-m.first.Goroutines, "")
	m.t.row("descriptors still open", st.Descriptors-m.first.Descriptors, "")
	return nil
}

// awaitNone waits until no session is left at either end, and returns how the first process stands
// then.
func awaitNone(client, server *process) (st status, err error) {
	var there status
	for end := time.Now().Add(closePatience); time.Now().Before(end); time.Sleep(lookPause) {
		if st, err = client.ask("status"); err != nil {
			return st, err
		}
		if there, err = server.ask("status"); err != nil {
			return st, err
		}
		if st.Sessions == 0 && there.Sessions == 0 {
			return st, nil
		}
	}
	return st, fmt.Errorf("%d sessions of the server and %d of the clients are left", there.Sessions, st.Sessions)
}

// allowDescriptors raises the limit of open files to n if it is lower. The processes that are
// started later inherit it.
func allowDescriptors(n int) error {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		return err
	}
	if limit.Cur >= uint64(n) {
		return nil
	}
	limit.Cur, limit.Max = uint64(n), max(limit.Max, uint64(n))
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		return fmt.Errorf("%d open files are needed: %w", n, err)
	}
	return nil
}
