// SPDX-License-Identifier: MIT

package kcp

// endedOutcome is how a session has ended.
type endedOutcome uint8

const (
	endedUnheard endedOutcome = iota // nothing was received, so no late segments are to be expected
	endedRegular
	endedAborted // the peer was not told of a regular end: whatever arrives is answered by a RESET
)

// An endedSession is what is known of a session that has ended, to be compared with late packets.
type endedSession struct {
	outcome     endedOutcome
	peer        uint64 // the peer's incarnation, 0 if it is not known
	incarnation uint64 // the session's own
	rcvNxt      seqNum
	newestTS    timestamp
	newestAt    millis
	born        millis // when the session ended
}
