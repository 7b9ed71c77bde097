// SPDX-License-Identifier: MIT

package simnet

import (
	"net"
	"time"
)

// SetDeadline sets both deadlines.
func (e *Endpoint) SetDeadline(t time.Time) error {
	if err := e.SetReadDeadline(t); err != nil {
		return err
	}
	return e.SetWriteDeadline(t)
}

// SetReadDeadline ends ReadFrom calls, present and future, at t. The zero time
// is no deadline.
func (e *Endpoint) SetReadDeadline(t time.Time) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closed {
		return opError("set", e.addr, nil, net.ErrClosed)
	}
	if e.readTimer != nil {
		e.readTimer.Stop()
		e.readTimer = nil
	}
	e.readDeadlines++
	e.readExpired = !t.IsZero() && !time.Now().Before(t)
	switch {
	case e.readExpired:
		e.wake.Broadcast()
	case !t.IsZero():
		number := e.readDeadlines
		e.readTimer = time.AfterFunc(time.Until(t), func() { e.expireReads(number) })
	}
	return nil
}

// expireReads is what the timer of a read deadline does.
func (e *Endpoint) expireReads(number uint64) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if number == e.readDeadlines {
		e.readExpired = true
		e.wake.Broadcast()
	}
}

// SetWriteDeadline makes WriteTo calls fail from t on. The zero time is no
// deadline.
func (e *Endpoint) SetWriteDeadline(t time.Time) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closed {
		return opError("set", e.addr, nil, net.ErrClosed)
	}
	e.writeDeadline = t
	return nil
}
