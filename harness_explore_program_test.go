// SPDX-License-Identifier: MIT

package kcp

import (
	"errors"
	"fmt"
	"io"
	"time"
)

// exploreOp is what a program does next.
type exploreOp struct {
	kind exploreOpKind
	n    int           // bytes to write, or bytes to have read since the beginning
	d    time.Duration // how long to sleep
}

type exploreOpKind uint8

const (
	opWrite exploreOpKind = iota
	opRead
	opReadEnd // reads to the end of the stream
	opCloseWrite
	opCloseRead
	opClose
	opAbort // Close without lingering
	opSleep
	opAwaitPeer // what WaitPeer does
)

func write(n int) exploreOp           { return exploreOp{kind: opWrite, n: n} }
func read(n int) exploreOp            { return exploreOp{kind: opRead, n: n} }
func sleep(d time.Duration) exploreOp { return exploreOp{kind: opSleep, d: d} }

var (
	readEnd    = exploreOp{kind: opReadEnd}
	closeWrite = exploreOp{kind: opCloseWrite}
	closeRead  = exploreOp{kind: opCloseRead}
	closeAll   = exploreOp{kind: opClose}
	abort      = exploreOp{kind: opAbort}
	awaitPeer  = exploreOp{kind: opAwaitPeer}
)

// exploreProgram is a program that uses one session. It never blocks: a step does what can be done
// at once. It checks that what it reads is what its peer has written.
type exploreProgram struct {
	node    *exploreNode
	name    string
	session *UDPSession
	ops     []exploreOp
	pc      int
	stream  byte // chooses the bytes that it writes
	from    byte // chooses those that it is to read
	wrote   int
	read    int
	wakeAt  instant
	outcome string // what the program was told: "eof", "reset" and so on
}

// run makes a program that uses s.
func (n *exploreNode) program(name string, s *UDPSession, stream, from byte,
	ops ...exploreOp) *exploreProgram {
	return &exploreProgram{
		node: n, name: name, session: s, ops: ops, stream: stream, from: from,
	}
}

// exploreByte is the byte at a place of a stream.
func exploreByte(stream byte, at int) byte {
	x := uint32(at)*2654435761 + uint32(stream)*40503
	return byte(x>>24) ^ byte(x>>9)
}

// over reports whether the program has ended.
func (p *exploreProgram) over() bool { return p.pc >= len(p.ops) }

// step does what can be done at once. It returns false if the program waits.
func (p *exploreProgram) step() bool {
	if p.over() {
		return false
	}
	switch op := &p.ops[p.pc]; op.kind {
	case opWrite:
		return p.write(op.n)
	case opRead, opReadEnd:
		if op.kind == opRead && p.read >= op.n {
			break
		}
		return p.readSome(op.kind)
	case opCloseWrite:
		if err := p.session.CloseWrite(); err != nil {
			p.end(err) // the session has ended meanwhile
			return true
		}
	case opCloseRead:
		p.check(p.session.CloseRead())
	case opAbort:
		p.session.SetLinger(0)
		p.check(p.session.Close())
	case opClose:
		p.check(p.session.Close())
	case opSleep:
		now := p.node.sched.now()
		if p.wakeAt == 0 {
			p.wakeAt = now + instant(op.d)
		}
		if now < p.wakeAt {
			return false
		}
		p.wakeAt = 0
	case opAwaitPeer:
		if !p.peerIsThere() {
			return false
		}
	}
	p.pc++
	return true
}

func (p *exploreProgram) check(err error) {
	if err != nil {
		p.node.run.fail("%s: %v", p.name, err)
	}
}

// write writes the next n bytes. The worlds are smaller than what Write takes without waiting.
func (p *exploreProgram) write(n int) bool {
	data := make([]byte, n)
	for i := range data {
		data[i] = exploreByte(p.stream, p.wrote+i)
	}
	s := p.session
	s.mu.Lock()
	err := s.writeFailureLocked()
	s.mu.Unlock()
	if err == nil && s.WriteRoom() < n {
		p.node.run.fail("%s: no room to write", p.name)
		return false
	}
	took, err := s.Write(data)
	p.wrote += took
	if err != nil {
		p.end(err)
		return true
	}
	p.pc++
	return true
}

// readSome reads what is there.
func (p *exploreProgram) readSome(kind exploreOpKind) bool {
	s := p.session
	s.mu.Lock()
	ok, err := s.readNowLocked()
	s.mu.Unlock()
	if !ok && err == nil {
		return false
	}
	buf := make([]byte, mtuMost)
	n, err := s.Read(buf)
	for i, b := range buf[:n] {
		if b != exploreByte(p.from, p.read+i) {
			p.node.run.fail("%s: byte %d is not what was written", p.name, p.read+i)
			return false
		}
	}
	p.read += n
	switch {
	case err == nil:
	case err == io.EOF && kind == opReadEnd:
		p.outcome = "eof"
		p.pc++
	default:
		p.end(err)
	}
	return true
}

// peerIsThere is what awaitPeer waits for.
func (p *exploreProgram) peerIsThere() bool {
	s := p.session
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.life.readErr == nil && !s.core.ctl.met {
		return false
	}
	s.core.life.endConnect()
	return true
}

// end notes the error that a program was told, which then closes its session.
func (p *exploreProgram) end(err error) {
	switch {
	case err == io.EOF:
		p.outcome = "early eof"
	case errors.Is(err, connReset):
		p.outcome = "reset"
	case err == errPeerDead:
		p.outcome = "dead"
	default:
		p.outcome = fmt.Sprint(err)
	}
	p.node.run.note("%s is told: %s", p.name, p.outcome)
	p.pc = len(p.ops)
	_ = p.session.Close()
}
