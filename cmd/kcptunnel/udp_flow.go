// SPDX-License-Identifier: MIT

package main

import (
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/seedkcp/kcp"
)

const (
	// messageDeadline is how long a datagram that is too long for an out-of-band packet is repeated.
	// It is about what a program waits before it sends again by itself.
	messageDeadline = 500 * time.Millisecond

	// datagramMax is the most bytes of a UDP datagram (RFC 768).
	datagramMax = 65535

	// socketErrorPause is how long a reader waits after an error of its socket.
	socketErrorPause = 5 * time.Millisecond
)

// datagramBuffers has the buffers of all readers of datagrams.
var datagramBuffers = sync.Pool{New: func() any { b := make([]byte, datagramMax); return &b }}

// flow carries the datagrams of one pair of addresses, over a session in message mode. A datagram
// goes in an out-of-band packet if it fits, and is as unreliable as UDP. A longer one is a message
// with a deadline: if each of its packets could be lost, few would arrive.
//
// All methods may be called concurrently.
type flow struct {
	sess    *kcp.UDPSession
	deliver func(data []byte) // is called with each datagram of the peer; data is not kept
	timeout time.Duration
	meters  *meters

	oob    atomic.Bool  // the peer takes out-of-band packets
	active atomic.Int64 // time of the last datagram, since begun
	begun  time.Time
	idle   *time.Timer
}

// newFlow makes a flow over a session, and ends it after the timeout without a datagram.
func newFlow(sess *kcp.UDPSession, timeout time.Duration, m *meters, deliver func([]byte)) *flow {
	f := &flow{sess: sess, timeout: timeout, meters: m, begun: time.Now()}
	f.deliver = func(data []byte) {
		f.touch()
		m.received(len(data))
		m.datagram(directionIn)
		deliver(data)
	}
	_ = sess.SetOOBHandler(f.deliver)
	f.idle = time.AfterFunc(timeout, f.look)
	return f
}

func (f *flow) touch() { f.active.Store(int64(time.Since(f.begun))) }

// silent returns the time since the last datagram.
func (f *flow) silent() time.Duration {
	return time.Since(f.begun) - time.Duration(f.active.Load())
}

// look ends a flow that was silent for the timeout.
func (f *flow) look() {
	silent := f.silent()
	if silent < f.timeout {
		f.idle.Reset(f.timeout - silent)
		return
	}
	_ = f.sess.Close()
}

// useOOB is called once the peer has set its handler.
func (f *flow) useOOB() { f.oob.Store(true) }

// send sends a datagram, or drops it if there is no room. It does not wait.
func (f *flow) send(data []byte) {
	f.touch()
	var err error
	switch {
	case f.oob.Load() && len(data) <= f.sess.GetOOBMaxSize():
		err = f.sess.SendOOB(data)
	case len(data) == 0 || f.sess.WriteRoom() < len(data):
		f.meters.dropped()
		return
	default:
		err = f.sess.WriteMessage(data, time.Now().Add(messageDeadline))
	}
	if err != nil {
		f.meters.dropped()
		return
	}
	f.meters.sent(len(data))
	f.meters.datagram(directionOut)
}

// receive delivers the peer's messages until the session ends. The error is nil if the peer has
// ended it.
func (f *flow) receive() error {
	buf := datagramBuffers.Get().(*[]byte)
	defer datagramBuffers.Put(buf)
	for {
		n, err := f.sess.Read(*buf)
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		f.deliver((*buf)[:n])
	}
}

// close ends the flow.
func (f *flow) close() {
	f.idle.Stop()
	_ = f.sess.Close()
}
