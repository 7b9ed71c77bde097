// SPDX-License-Identifier: MIT

package simnet

import (
	"net"
	"os"
)

// Fault is a step in a script of socket errors: After calls succeed, then Count
// calls fail with Err. Count 0 means 1; a negative Count means all from there on.
//
// Err is one of this package's error numbers (ENOBUFS and so on), net.ErrClosed
// or any other error. The call returns it inside a *net.OpError, and, if it is
// an error number, inside an *os.SyscallError too, as package net does.
type Fault struct {
	After, Count int
	Err          error
}

// FailWrites replaces the script of errors of WriteTo. Without faults, writes
// succeed again. A packet whose WriteTo failed is not sent.
func (e *Endpoint) FailWrites(faults ...Fault) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.writes.set(faults)
}

// FailReads replaces the script of errors of ReadFrom. Without faults, reads
// succeed again. A fault that is due ends a call that waits; After counts
// packets returned.
func (e *Endpoint) FailReads(faults ...Fault) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.reads.set(faults)
	e.wake.Broadcast()
}

// script is a list of faults and how far it has come.
type script struct{ faults []Fault }

func (s *script) set(faults []Fault) {
	s.faults = append([]Fault(nil), faults...)
	for i := range s.faults {
		f := &s.faults[i]
		if f.Err == nil {
			panic("simnet: Fault without Err")
		}
		if f.Count == 0 {
			f.Count = 1
		}
	}
}

// due reports whether the next call fails.
func (s *script) due() bool { return len(s.faults) > 0 && s.faults[0].After <= 0 }

// fail counts a call that fails and returns its error. A fault must be due.
func (s *script) fail() error {
	f := &s.faults[0]
	err := f.Err
	if f.Count > 0 {
		if f.Count--; f.Count == 0 {
			s.faults = s.faults[1:]
		}
	}
	return err
}

// pass counts a call that succeeds.
func (s *script) pass() {
	if len(s.faults) > 0 {
		s.faults[0].After--
	}
}

// opError wraps err as package net does for an operation of a socket at local.
func opError(op string, local, remote net.Addr, err error) error {
	if isErrno(err) {
		switch op {
		case "read":
			err = os.NewSyscallError(readCall, err)
		case "write":
			err = os.NewSyscallError(writeCall, err)
		case "listen":
			err = os.NewSyscallError("bind", err)
		}
	}
	network := "udp"
	if local != nil {
		network = local.Network()
	}
	return &net.OpError{Op: op, Net: network, Source: local, Addr: remote, Err: err}
}

// isErrno distinguishes a bare error number from an error that is wrapped already.
func isErrno(err error) bool {
	_, ok := err.(errno)
	return ok
}
