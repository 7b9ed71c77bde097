// SPDX-License-Identifier: MIT

package kcp

import "time"

// A sessionState is a stage in the life of a session.
type sessionState uint8

const (
	sessionOpen      sessionState = iota
	sessionHeadless               // accepted, and the first segment has not come
	sessionLingering              // Close was called: delivers what was written
	sessionFinWait                // all is delivered, and the peer has not ended its stream
	sessionFailed                 // off the network; what was received in order stays readable
	sessionRemoved                // taken off the socket
)

// sessionNext has a bit for each state that may follow a state:
//
//	from       to         when
//	open       headless   at once, for an accepted session whose first segment is missing
//	headless   open       the first segment has come
//	open       lingering  Close was called
//	lingering  finWait    all is acknowledged, and the peer's FIN has not come
//	finWait    lingering  something is to be delivered again, such as an answer to a challenge
//	any        failed     both streams have ended, or a time limit, a RESET, another session of
//	                      the peer, a lost socket
//	failed     removed    once, in finish
//
// Close leaves a failed session in its state, and a headless one until its first segment comes or
// its linger time is over. What the program has closed is in shut, whatever the state.
var sessionNext = [...]uint8{
	sessionHeadless:  1<<sessionOpen | 1<<sessionFailed,
	sessionOpen:      1<<sessionHeadless | 1<<sessionLingering | 1<<sessionFailed,
	sessionLingering: 1<<sessionFinWait | 1<<sessionFailed,
	sessionFinWait:   1<<sessionLingering | 1<<sessionFailed,
	sessionFailed:    1 << sessionRemoved,
	sessionRemoved:   0,
}

// sides is a set of the directions of a session, or of the work under way on it.
type sides uint8

const (
	sideRead sides = 1 << iota
	sideWrite
	sideInput     // the reader's batch
	sideNoProgram // no Accept will return the session
	sidesBoth     = sideRead | sideWrite
)

// has reports whether all of t are in the set.
func (d sides) has(t sides) bool { return d&t == t }

// sessionLife is the life of a session. The session's lock guards it.
type sessionLife struct {
	state     sessionState
	shut      sides         // sideRead: CloseRead was called; both: Close was
	linger    time.Duration // lingerByProgress unless SetLinger has set it
	lingerAt  millis        // when a closed or headless session is given up
	finWaitAt millis        // when a closed session no longer waits for the peer's FIN
	readErr   error         // what Read reports behind the data, once the session has failed
	writeErr  error
}

// lingerByProgress is the linger time of a session for which SetLinger has set none.
const lingerByProgress time.Duration = -1

func (l *sessionLife) init() {
	l.linger, l.lingerAt, l.finWaitAt = lingerByProgress, never, never
}

// setState changes the state if the transition is one of sessionNext. It reports whether it is.
func (l *sessionLife) setState(next sessionState) bool {
	if sessionNext[l.state]>>next&1 == 0 {
		return false
	}
	l.state = next
	return true
}

// closed reports whether Close was called, or no program can call it.
func (l *sessionLife) closed() bool { return l.shut.has(sidesBoth) }

// readShut reports whether CloseRead or Close was called.
func (l *sessionLife) readShut() bool { return l.shut.has(sideRead) }

// ended reports whether the session is off the network.
func (l *sessionLife) ended() bool { return l.state >= sessionFailed }

// removed reports whether the session has been taken off its socket.
func (l *sessionLife) removed() bool { return l.state == sessionRemoved }

// headless reports whether Accept does not return the session yet.
func (l *sessionLife) headless() bool { return l.state == sessionHeadless }

// nextEvent returns when the session is to be looked at whatever its state machine does.
func (l *sessionLife) nextEvent() millis { return min(l.lingerAt, l.finWaitAt) }

// awaitHead makes a new session headless, until the first segment comes or the time limit is over.
func (l *sessionLife) awaitHead(limit millis) {
	l.setState(sessionHeadless)
	l.lingerAt = limit
}

// head ends that state. A program may have closed the session meanwhile, which it can find among
// the Sessions of the listener: the linger time counts on then.
func (l *sessionLife) head() {
	l.setState(sessionOpen)
	if l.closed() {
		l.setState(sessionLingering)
		return
	}
	l.lingerAt = never
}

// shutRead notes that the program reads no more.
func (l *sessionLife) shutRead() { l.shut |= sideRead }

// close notes that Close was called.
func (l *sessionLife) close() {
	l.shut = sidesBoth
	l.readErr, l.writeErr = errClosed, errClosed
	l.setState(sessionLingering)
}

// setLinger sets how long a closed session lingers.
func (l *sessionLife) setLinger(d time.Duration) { l.linger = d }

// lingerUntil sets when the session is given up.
func (l *sessionLife) lingerUntil(at millis) { l.lingerAt = at }

// setErrors sets the errors that calls report, unless they are set already.
func (l *sessionLife) setErrors(err error) {
	if l.readErr == nil {
		l.readErr = err
	}
	if l.writeErr == nil {
		l.writeErr = err
	}
}

// fail takes the session off the network.
func (l *sessionLife) fail(err error) {
	if l.headless() {
		l.shut |= sideNoProgram // so that nothing is kept for its Reads
	}
	l.setState(sessionFailed)
	l.setErrors(err)
}

// delivering notes that not all is delivered.
func (l *sessionLife) delivering() {
	l.setState(sessionLingering)
	l.finWaitAt = never
}

// awaitFIN notes that all is delivered but the peer has not ended its stream, for which it has
// until the limit.
func (l *sessionLife) awaitFIN(limit millis) {
	l.setState(sessionFinWait)
	if l.finWaitAt == never {
		l.finWaitAt = limit
	}
}

// grace prolongs the time limits that are over at now, where a worker of the scheduler came late.
func (l *sessionLife) grace(p *liveness, now millis) {
	if l.closed() && l.linger != 0 && p.late(l.lingerAt, now) {
		l.lingerAt = p.graceUntil
	}
	if p.late(l.finWaitAt, now) {
		l.finWaitAt = p.graceUntil
	}
}
