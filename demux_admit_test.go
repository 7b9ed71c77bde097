// SPDX-License-Identifier: MIT

package kcp

import (
	"fmt"
	"testing"
)

// A doorCase is one case of a rule of docs/protocol.md, "Who opens a session".
type doorCase struct {
	rule    string
	name    string
	view    func(v *doorView) // nil: a listener with room, and nothing else
	segment segment
	control controlSet
	nonce   nonceState
	want    decision
}

// The peer's and the ended session's own incarnations, and another one.
const (
	doorPeer  = 1111
	doorOwn   = 2222
	doorOther = 3333
)

func doorHello(incarnation uint64, flags uint32) (m controlSet) {
	m.has[ctlHello], m.incarnation, m.flags = true, incarnation, flags
	return m
}

func doorReset(code uint16, incarnation, echo uint64) (m controlSet) {
	m.has[ctlReset], m.resetCode, m.resetFor, m.echo = true, code, incarnation, echo
	return m
}

// doorSays is a decision to answer with control messages.
func doorSays(d decision, una seqNum, m controlSet) decision {
	d.answer(&m, una)
	return d
}

// doorEnded is a view with the record of a session that received 100 segments, the last of them at
// the clock 50000.
func doorEnded(change func(w *timeWait)) func(v *doorView) {
	return func(v *doorView) {
		v.record = &timeWait{endedSession: endedSession{
			peer: doorPeer, incarnation: doorOwn, rcvNxt: 100, newestTS: 50000,
			newestAt: v.now - 1000,
		}}
		if change != nil {
			change(v.record)
		}
	}
}

func doorLegacy(w *timeWait) { w.peer = 0 }

func doorAborted(w *timeWait) { w.outcome = endedAborted }

// doorCases has a row for each rule, in the order of the rules.
func doorCases() []doorCase {
	const sn = 7
	push, wask := segment{cmd: cmdPush, ts: 51000}, segment{cmd: cmdWask}
	data := func(sn seqNum) segment { return segment{cmd: cmdPush, sn: sn, ts: 51000} }
	asks := doorHello(doorPeer, helloOpens)
	fin, ping, reset := controlSet{final: 5}, controlSet{ping: 9},
		doorReset(resetAborted, doorOwn, 0)
	fin.has[ctlFin], ping.has[ctlPing] = true, true
	finAck := controlSet{finalAcked: 5}
	finAck.has[ctlFinAck] = true
	wins, ack := segment{cmd: cmdWins}, segment{cmd: cmdAck, sn: 3}
	renewed := decision{record: recordRenewed}
	named := func(m controlSet) controlSet { // with the HELLO that a key makes affordable
		m.has[ctlHello], m.incarnation, m.heard, m.largest = true, doorOwn, doorPeer,
			largestDatagram
		return m
	}
	room := func(r acceptRoom) func(v *doorView) { return func(v *doorView) { v.room = r } }
	address := func(a addressState) func(v *doorView) { return func(v *doorView) { v.address = a } }
	older := func(n int) func(v *doorView) { return func(v *doorView) { v.older = n } }
	open, dropped, window := decision{action: doorOpen}, decision{errors: 1}, answerWindow()
	yields := decision{action: doorOpen, record: recordYields}
	challenged := decision{action: doorChallenge, count: countChallenged,
		reply: segment{cmd: cmdPush, wnd: wndInitial}}
	refused := func(count admissionCount) decision {
		return doorSays(decision{errors: 1, count: count}, 0, doorReset(resetRefused, doorPeer, 0))
	}
	return []doorCase{
		{"S1.34", "the first PUSH", nil, push, controlSet{}, nonceNone, open},
		{"S1.34", "a PUSH that overtook the first", nil, data(31), controlSet{}, nonceNone, open},
		{"S1.34", "a PUSH with sn 32", nil, data(32), controlSet{}, nonceNone, dropped},
		{"S1.34", "a PUSH with una 1", nil, segment{cmd: cmdPush, una: 1}, controlSet{},
			nonceNone, dropped},
		{"S1.35", "an opening WASK", nil, wask, asks, nonceNone, open},
		{"S1.35", "a WASK without bit 6", nil, wask, doorHello(doorPeer, 0), nonceNone, window},
		{"S1.35", "a WASK without an incarnation", nil, wask, doorHello(0, helloOpens), nonceNone,
			window},
		{"S1.35", "a WASK with sn 1", nil, segment{cmd: cmdWask, sn: 1}, asks, nonceNone, window},
		{"S1.35", "a WASK with una 1", nil, segment{cmd: cmdWask, una: 1}, asks, nonceNone, window},
		{"S1.39", "no segment", nil, segment{}, controlSet{}, nonceFresh, dropped},
		{"S1.39", "no segment, and a record", doorEnded(nil), segment{}, controlSet{}, nonceFresh,
			dropped},

		{"S1.40", "an opening WASK of another incarnation", doorEnded(nil), wask,
			doorHello(doorOther, helloOpens), nonceNone, yields},
		{"S1.40", "a PUSH of another incarnation", doorEnded(nil), push, doorHello(doorOther, 0),
			nonceNone, yields},
		{"S1.40", "one that opens nothing", doorEnded(nil), data(200), doorHello(doorOther, 0),
			nonceNone,
			decision{errors: 1, record: recordYields}},
		{"S1.40", "a legacy peer's older clock", doorEnded(doorLegacy),
			segment{cmd: cmdPush, ts: 39999}, controlSet{}, nonceNone, yields},
		{"S1.40", "a legacy peer's late segment", doorEnded(doorLegacy),
			segment{cmd: cmdPush, ts: 40000}, controlSet{}, nonceNone, renewed},
		{"S1.40", "a legacy peer's older clock, sn 1", doorEnded(doorLegacy),
			segment{cmd: cmdPush, ts: 39999, sn: 1}, controlSet{}, nonceNone, renewed},
		{"S1.41", "a WASK of another incarnation", doorEnded(nil), wask, doorHello(doorOther, 0),
			nonceNone, window},
		{"S1.41", "a PUSH with another clock", doorEnded(nil), segment{cmd: cmdPush, ts: 250000},
			controlSet{}, nonceNone, window},
		{"S1.42", "a legacy peer", doorEnded(doorLegacy), data(200), controlSet{}, nonceNone,
			renewed},
		{"S1.42", "a RESET", doorEnded(nil), wins, reset, nonceFresh, renewed},
		{"S1.42", "a RESET to an aborted session", doorEnded(doorAborted), wins, reset,
			nonceFresh, renewed},
		{"S1.43", "data", doorEnded(doorAborted), data(200), controlSet{}, nonceNone,
			doorSays(renewed, 200, doorReset(resetAborted, doorPeer, 0))},
		{"S1.43", "an ACK", doorEnded(doorAborted), ack, controlSet{}, nonceNone,
			doorSays(renewed, 100, doorReset(resetAborted, doorPeer, 0))},
		{"S1.43", "a PING", doorEnded(doorAborted), wins, ping, nonceNone,
			doorSays(renewed, 100, doorReset(resetAborted, doorPeer, 9))},
		{"S1.43", "the first HELLO",
			doorEnded(func(w *timeWait) { w.outcome, w.peer = endedAborted, 0 }), data(200),
			doorHello(doorPeer, 0),
			nonceNone, doorSays(renewed, 200, doorReset(resetAborted, doorPeer, 0))},
		{"S1.43", "a WASK whose HELLO names the session",
			doorEnded(func(w *timeWait) { w.outcome, w.peer = endedAborted, 0 }), wask,
			controlSet{has: doorHello(doorPeer, 0).has, incarnation: doorPeer, heard: doorOwn},
			nonceNone, doorSays(renewed, 100, doorReset(resetAborted, doorPeer, 0))},
		{"S1.44", "new data", doorEnded(nil), data(100), controlSet{}, nonceNone,
			doorSays(renewed, 100, doorReset(resetClosed, doorPeer, 0))},
		{"S1.44", "new data, authenticated", doorEnded(nil), data(100), controlSet{}, nonceFresh,
			doorSays(renewed, 100, named(doorReset(resetClosed, doorPeer, 0)))},
		{"S1.45", "a FIN", doorEnded(nil), wins, fin, nonceFresh, doorSays(renewed, 100, finAck)},
		{"S1.46", "a PING", doorEnded(nil), wins, ping, nonceNone,
			doorSays(renewed, 100, doorReset(resetClosed, doorPeer, 9))},
		{"S1.47", "a WASK of the peer", doorEnded(nil), wask, asks, nonceNone,
			doorSays(renewed, 100, doorReset(resetClosed, doorPeer, 0))},
		{"S1.47", "a WASK without HELLO", doorEnded(nil), segment{cmd: cmdWask, sn: 1},
			controlSet{}, nonceNone, renewed},
		{"S1.48", "old data", doorEnded(nil), data(99), controlSet{}, nonceNone,
			decision{action: doorAnswer, record: recordRenewed,
				reply: segment{cmd: cmdAck, wnd: wndInitial, ts: 51000, sn: 99, una: 100}}},
		{"S1.48", "an ACK", doorEnded(nil), ack, controlSet{}, nonceNone, renewed},

		{"S1.49", "the answer to a challenge", address(addressAnswers), ack, controlSet{},
			nonceNone, decision{count: countValidated}},
		{"S1.50", "a WASK", nil, wask, controlSet{}, nonceNone, window},
		{"S1.50", "a WASK without a listener", room(acceptNobody), wask, controlSet{}, nonceNone,
			dropped},
		{"S1.51", "data without a key", nil, data(32), controlSet{}, nonceNone, dropped},
		{"S1.51", "data", nil, data(32), controlSet{}, nonceFresh,
			doorSays(dropped, 32, doorReset(resetUnknown, 0, 0))},
		{"S1.51", "data without a listener", room(acceptNobody), data(32), controlSet{}, nonceFresh,
			doorSays(dropped, 32, doorReset(resetUnknown, 0, 0))},
		{"S1.51", "a FIN", nil, segment{cmd: cmdWins, una: sn}, fin, nonceFresh,
			doorSays(dropped, sn, doorReset(resetUnknown, 0, 5))},
		{"S1.51", "a PING", nil, segment{cmd: cmdWins, una: sn}, ping, nonceFresh,
			doorSays(dropped, sn, doorReset(resetUnknown, 0, 9))},
		{"S1.51", "a RESET", nil, data(32), reset, nonceFresh, dropped},
		{"S1.51", "an ACK", nil, ack, controlSet{}, nonceFresh, dropped},
		{"S1.52", "a PUSH", room(acceptNobody), push, controlSet{}, nonceFresh, dropped},
		{"S1.52", "a WASK", room(acceptNobody), wask, asks, nonceFresh, dropped},
		{"S1.53", "sn 1 with older sessions", older(2), data(1), controlSet{}, nonceFresh, dropped},
		{"S1.53", "sn 1 without", nil, data(1), controlSet{}, nonceFresh, open},
		{"S1.54", "a nonce seen before", nil, push, controlSet{}, nonceSeen, dropped},
		{"S1.55", "a PUSH", room(acceptFull), push, doorHello(doorPeer, 0), nonceNone,
			decision{errors: 1, count: countQueueFull}},
		{"S1.55", "a WASK", room(acceptFull), wask, asks, nonceNone, refused(countQueueFull)},
		{"S1.56", "too many sessions", func(v *doorView) { v.sessions = v.limits.sessions }, push,
			doorHello(doorPeer, 0), nonceNone,
			refused(countFull)},
		{"S1.56", "too many of the network", func(v *doorView) { v.prefix = v.limits.perPrefix },
			push, doorHello(doorPeer, 0), nonceNone,
			refused(countPrefixFull)},
		{"S1.56", "without HELLO", func(v *doorView) { v.sessions = v.limits.sessions }, push,
			controlSet{}, nonceNone,
			decision{errors: 1, count: countFull}},
		{"S1.57", "validated by a challenge", address(addressValidated), push, controlSet{},
			nonceNone, decision{action: doorOpenValidated}},
		{"S1.57", "validated, in a flood", func(v *doorView) {
			v.address, v.pending, v.room, v.older = addressValidated, v.limits.pending,
				acceptScarce, 1
		}, push, controlSet{}, nonceNone, decision{action: doorOpenValidated, superseded: 1}},
		{"S1.58", "too many not validated", func(v *doorView) { v.pending = v.limits.pending },
			push, controlSet{}, nonceFresh, challenged},
		{"S1.58", "a queue more than half full", room(acceptScarce), push, controlSet{},
			nonceFresh, challenged},
		{"S1.58", "older sessions and no key", older(1), push, controlSet{}, nonceNone, challenged},
		{"S1.59", "one below each limit", func(v *doorView) {
			v.sessions, v.pending, v.prefix = v.limits.sessions-1, v.limits.pending-1,
				v.limits.perPrefix-1
		}, push, controlSet{}, nonceNone, open},
		{"S1.60", "older sessions", older(2), push, controlSet{}, nonceFresh,
			decision{action: doorOpen, superseded: 2}},
		{"S1.60", "older sessions, and bit 0 in the HELLO", older(2), data(1),
			doorHello(doorPeer, helloShared), nonceNone, open},
	}
}

// The door decides as each rule says.
func TestDoorFollowsItsRules(t *testing.T) {
	for _, tt := range doorCases() {
		t.Run(fmt.Sprint(tt.rule, " ", tt.name), func(t *testing.T) {
			v := doorView{now: 100000, room: acceptPlenty,
				limits: admissionLimits{sessions: 1000, pending: 100, perPrefix: 10}}
			if tt.view != nil {
				tt.view(&v)
			}
			u := unknown{first: tt.segment, control: tt.control, nonce: tt.nonce}
			u.first.conv = 5
			u.segments = appendSegment(nil, &u.first)
			got := decide(&v, &u)
			if fmt.Sprintf("%+v", got) != fmt.Sprintf("%+v", tt.want) {
				t.Errorf("decided\n%+v\nwant\n%+v", got, tt.want)
			}
		})
	}
}

// Each rule from S1.39 on that is the door's has a row. S1.61 is the session's, and S1.36 to S1.38
// are those of sessions that are known.
func TestEveryRuleOfTheDoorHasARow(t *testing.T) {
	rows := make(map[string]bool)
	for _, tt := range doorCases() {
		rows[tt.rule] = true
	}
	for _, span := range [][2]int{{34, 35}, {39, 60}} {
		for n := span[0]; n <= span[1]; n++ {
			if rule := fmt.Sprintf("S1.%d", n); !rows[rule] {
				t.Errorf("%s has no row", rule)
			}
		}
	}
}
