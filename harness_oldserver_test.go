// SPDX-License-Identifier: MIT

package kcp

import (
	"errors"
	"net"
	"os"
	"sync"
	"time"
)

// legacyServer is a legacy listener that echoes. It keeps one session for each address: a first
// segment with another conversation id ends the session that the address had.
type legacyServer struct {
	conn  net.PacketConn
	start time.Time
	done  chan struct{}

	mu       sync.Mutex // guards what follows
	sessions map[string]*legacyConversation
	out      packetWriter
	opened   int
	replaced int
}

type legacyConversation struct {
	core core
	conv uint32
	peer net.Addr
}

// legacyServer starts a server at addr, which ends with the world's network.
func (w *connWorld) legacyServer(addr string) *legacyServer {
	w.t.Helper()
	l := &legacyServer{conn: w.endpoint(addr), start: time.Now(), done: make(chan struct{}),
		sessions: make(map[string]*legacyConversation)}
	l.out.arena, l.out.maxPackets = make([]byte, 1<<16), 16
	go l.run()
	return l
}

func (l *legacyServer) now() millis { return millis(time.Since(l.start)/time.Millisecond) + 5000 }

func (l *legacyServer) run() {
	defer close(l.done)
	buf := make([]byte, 2000)
	var wait time.Time
	for {
		_ = l.conn.SetReadDeadline(wait)
		n, from, err := l.conn.ReadFrom(buf)
		if err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
			return
		}
		l.mu.Lock()
		if err == nil {
			l.take(buf[:n], from)
		}
		at := never
		for _, s := range l.sessions {
			l.flush(s)
			at = min(at, s.core.nextEvent(l.now()))
		}
		if wait = (time.Time{}); at != never {
			wait = time.Now().Add(time.Duration(max(at-l.now(), 1)) * time.Millisecond)
		}
		l.mu.Unlock()
	}
}

// take passes a datagram to the session of its address. l.mu must be held.
func (l *legacyServer) take(data []byte, from net.Addr) {
	var first segment
	if _, status := parseSegment(data, &first); status != parseOK {
		return
	}
	s := l.sessions[from.String()]
	if s != nil && s.conv != first.conv {
		if first.sn != 0 {
			return
		}
		l.replaced++
		s.release()
		s = nil
	}
	if s == nil {
		l.opened++
		s = &legacyConversation{conv: first.conv, peer: from}
		s.core.init(first.conv, l.now())
		s.core.setWindows(128, 128)
		s.core.setNoDelay(1, 20, 2, 1)
		s.core.life.deadTimeout = 0
		l.sessions[from.String()] = s
	}
	s.core.input(inputAt(l.now()), data, true)
	for n := s.core.peekSize(); n >= 0; n = s.core.peekSize() {
		b := make([]byte, n)
		s.core.recv(b)
		s.core.send(b)
	}
}

// flush sends what is due. l.mu must be held.
func (l *legacyServer) flush(s *legacyConversation) {
	out := &l.out
	for more := true; more; {
		out.reset(0, 0, s.core.mtu)
		more = s.core.flush(l.now().instant(), out)
		for _, p := range out.packets {
			legacyClocks(out.arena[p.start:p.end])
			_, _ = l.conn.WriteTo(out.arena[p.start:p.end], s.peer)
		}
	}
	s.core.releaseIdle()
}

func (s *legacyConversation) release() {
	s.core.releaseSending()
	s.core.releaseReceived()
	s.core.releaseIdle()
}

// counts returns how many sessions were opened, and how many of them replaced another.
func (l *legacyServer) counts() (opened, replaced int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.opened, l.replaced
}

func (l *legacyServer) close() {
	l.conn.Close()
	<-l.done
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, s := range l.sessions {
		s.release()
	}
}
