// SPDX-License-Identifier: MIT

package kcp

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"reflect"
)

// connError is an error of a session or a listener. It is a net.Error, and errors.Is and errors.As
// find each of the standard errors that it stands for. Its values are shared, made once and
// compared by address.
type connError struct {
	text    string
	matches []error
}

func (e *connError) Error() string { return e.text }

// Timeout reports whether a deadline passed. The connection is still usable then.
func (e *connError) Timeout() bool { return e == errTimeout }

// Temporary reports whether the same call may succeed later.
func (e *connError) Temporary() bool { return e.Timeout() }

// Unwrap returns the standard errors that e matches.
func (e *connError) Unwrap() []error { return e.matches }

// closedConnError is a connError of a closed connection.
type closedConnError struct{ *connError }

// Cause returns io.ErrClosedPipe for programs that use errors.Cause of github.com/pkg/errors, as
// was necessary before errors.Is.
func (e *closedConnError) Cause() error { return io.ErrClosedPipe }

var (
	// errTimeout: a deadline has passed. It matches os.ErrDeadlineExceeded and its Timeout method
	// returns true.
	errTimeout error = &connError{
		text:    "kcp: i/o timeout",
		matches: []error{os.ErrDeadlineExceeded},
	}
	// errClosed: the session or listener was closed on this side. It matches net.ErrClosed and
	// io.ErrClosedPipe.
	errClosed error = &closedConnError{&connError{
		text:    "kcp: use of closed connection",
		matches: []error{net.ErrClosed, io.ErrClosedPipe},
	}}
	// errReset: the peer aborted the session or was restarted. It matches syscall.ECONNRESET.
	errReset error = &connError{
		text:    "kcp: connection reset by peer",
		matches: resetErrors,
	}
	// errPeerDead: the peer does not answer. It matches syscall.ETIMEDOUT. Its Timeout method
	// returns false, unlike that of the system's error: programs take true for a passed deadline,
	// and would retry on a lost session.
	errPeerDead error = &connError{
		text:    "kcp: peer does not answer",
		matches: timedOutErrors,
	}
	// errProtocol: the peer violated the rules for the end of a stream, and the session was reset.
	// It matches syscall.ECONNRESET.
	errProtocol error = &connError{
		text:    "kcp: protocol error, connection reset",
		matches: resetErrors,
	}
	// errNoKeys: the peer makes no keys for the session, which Config.RequireSessionKeys requires.
	// It matches syscall.ECONNRESET.
	errNoKeys error = &connError{
		text: "kcp: the peer makes no session keys, which Config.RequireSessionKeys requires: " +
			"it has another version of the library",
		matches: resetErrors,
	}
	// errKeysPending: keys are required and not there yet. It is returned by SendOOB.
	errKeysPending error = &connError{text: "kcp: the session has no keys yet"}
	// errIdle: nothing was received from the peer for Config.IdleTimeout. It matches
	// syscall.ETIMEDOUT.
	errIdle error = &connError{
		text:    "kcp: session was idle for too long",
		matches: timedOutErrors,
	}
	// errSocketClosed: another owner closed the socket. It matches net.ErrClosed and
	// io.ErrClosedPipe.
	errSocketClosed error = &closedConnError{&connError{
		text:    "kcp: the socket has been closed",
		matches: []error{net.ErrClosed, io.ErrClosedPipe},
	}}
	// errReadyClosed: the ReadyQueue was closed. It matches net.ErrClosed and io.ErrClosedPipe.
	errReadyClosed error = &closedConnError{&connError{
		text:    "kcp: use of closed ReadyQueue",
		matches: []error{net.ErrClosed, io.ErrClosedPipe},
	}}
	// errReadyTwice: the session is in a ReadyQueue already. It matches os.ErrExist.
	errReadyTwice error = &connError{
		text:    "kcp: the session is in a ReadyQueue already",
		matches: []error{os.ErrExist},
	}
	// errUnproved: an out-of-band packet would exceed what may be sent to an address that is not
	// validated.
	errUnproved error = &connError{
		text: "kcp: the peer's address is not validated yet",
	}
	// errNoOption: the socket does not have the option. It matches errors.ErrUnsupported.
	errNoOption error = &connError{
		text:    "kcp: invalid operation: not supported by this kind of connection",
		matches: []error{errors.ErrUnsupported},
	}
	// errStreamMode: the call needs message mode. It matches errors.ErrUnsupported.
	errStreamMode error = &connError{
		text:    "kcp: invalid operation: WriteMessage in stream mode, which has no messages",
		matches: []error{errors.ErrUnsupported},
	}
	// errNotOwner: the call would change a socket that other sessions use. It matches
	// errors.ErrUnsupported.
	errNotOwner error = &connError{
		text:    "kcp: invalid operation: the socket is not this session's",
		matches: []error{errors.ErrUnsupported},
	}
)

// passes reports whether later reads may succeed after a read that failed with err. That is a
// deadline, an error that is temporary, or one that concerns a single datagram or the way to a
// peer.
func passes(err error) bool {
	var (
		timeout   interface{ Timeout() bool }
		temporary interface{ Temporary() bool }
	)
	if errors.Is(err, os.ErrDeadlineExceeded) || errors.As(err, &timeout) && timeout.Timeout() ||
		errors.As(err, &temporary) && temporary.Temporary() {
		return true
	}
	for _, known := range passingErrors {
		if errors.Is(err, known) {
			return true
		}
	}
	return false
}

// argumentError names the argument of a call that was invalid. It matches os.ErrInvalid.
type argumentError struct {
	name  string // as the caller knows it: the parameter or Config's field
	value any
	want  string
}

// badArgument returns an error that names the argument, its value and the valid range, such as
// "kcp: invalid MTU 20: want 50 to 1500".
func badArgument(name string, value any, want string) error {
	return &argumentError{name: name, value: value, want: want}
}

func (e *argumentError) Error() string {
	return fmt.Sprintf("kcp: invalid %s %v: want %s", e.name, e.value, e.want)
}

// Unwrap returns os.ErrInvalid.
func (e *argumentError) Unwrap() error { return os.ErrInvalid }

// isNil reports whether v is nil, or a nil pointer in an interface.
func isNil(v any) bool {
	r := reflect.ValueOf(v)
	return !r.IsValid() || r.Kind() == reflect.Pointer && r.IsNil()
}
