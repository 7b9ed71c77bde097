// SPDX-License-Identifier: MIT

package kcp

// endedSession is what is known of a session that has ended: late packets for it are compared with that.
type endedSession struct {
	keep        bool   // anything was received: late segments may still arrive
	aborted     bool   // the peer was not told of a regular end: whatever arrives is answered by a RESET
	peer        uint64 // the peer's incarnation, 0 if it is not known
	incarnation uint64 // the session's own
	rcvNxt      seqNum
	newestTS    timestamp
	newestAt    millis
	born        millis // when the session ended
}
