// SPDX-License-Identifier: MIT

package kcp

// reports is the state of the reports on parity, of both directions (S4.45). It knows nothing of
// the state machine.
type reports struct {
	due    parityReport // to be sent with the next datagram
	heard  parityReport // the newest of the peer
	sentAt millis       // when the latest report was made due
	state  reportState
}

// reportState is the set of reports that wait.
type reportState uint8

const (
	reportDue   reportState = 1 << iota // due waits to be sent
	reportHeard                         // heard waits to be taken
)

// reportLeast is the shortest time in ms between two reports.
const reportLeast millis = 100

func (r *reports) has(s reportState) bool { return r != nil && r.state&s != 0 }

// ready reports whether so much time has passed since the latest report that another one is useful
// to the peer.
func (r *reports) ready(now, srtt millis) bool {
	return r == nil || now-r.sentAt >= max(reportLeast, srtt)
}

// send makes a report due, in place of one that waits.
func (r *reports) send(report *parityReport, now millis) {
	r.due, r.sentAt = *report, now
	r.state |= reportDue
}

// sent notes that the report that was due has been sent.
func (r *reports) sent() { r.state &^= reportDue }

// hear takes a report of the peer.
func (r *reports) hear(report parityReport) {
	r.heard = report
	r.state |= reportHeard
}

// take returns the newest report of the peer, once.
func (r *reports) take() (report parityReport, ok bool) {
	if !r.has(reportHeard) {
		return report, false
	}
	r.state &^= reportHeard
	return r.heard, true
}
