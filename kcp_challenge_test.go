// SPDX-License-Identifier: MIT

package kcp

import "testing"

// challengeCore is controlCore with a key and a peer of the second version of HELLO.
func challengeCore(t *testing.T, base seqNum) *core {
	t.Helper()
	c := controlCore(t, base)
	c.ctl.keyed, c.ctl.peerMost = true, largestDatagram
	c.ctl.dial()
	c.draw = drawNumber
	return c
}

// challengeSay inputs one control segment.
func challengeSay(c *core, una seqNum, m controlSet, now millis) {
	inputSegment(c, now, segment{conv: 7, cmd: cmdWins, wnd: 99, ts: controlVersion,
		sn: controlMagic, una: una,
		data: appendControl(nil, &m)})
}

func challengeMessage(m controlSet, kinds ...int) controlSet {
	for _, k := range kinds {
		m.has[k] = true
	}
	return m
}

// challengeAsk runs c until it sends something, and returns the control messages.
func challengeAsk(t *testing.T, c *core, now millis) controlSet {
	t.Helper()
	var w packetWriter
	w.arena, w.maxPackets = make([]byte, 1<<16), 16
	w.reset(0, 0, c.mtu)
	c.flush(now.instant(), &w)
	for _, p := range w.packets {
		if m := findControl(w.arena[p.start:p.end]); m.has[ctlPing] {
			return m
		}
	}
	return controlSet{}
}

// A message that the session is gone acknowledges nothing and is no sign of life. Only the PONG
// settles the question.
func TestSuspicionIsSettledByThePong(t *testing.T) {
	for _, base := range inputBases {
		words := map[string]struct {
			una seqNum
			m   controlSet
		}{
			"RESET for none": {base + 2,
				challengeMessage(controlSet{resetCode: resetUnknown}, ctlReset)},
			"RESET for none, at rcv": {0,
				challengeMessage(controlSet{resetCode: resetUnknown}, ctlReset)},
			"HELLO of another": {base + 2,
				challengeMessage(controlSet{incarnation: 78, heard: 1<<63 | 5}, ctlHello)},
			"RESET without its HELLO": {base + 2,
				challengeMessage(controlSet{resetFor: 1<<63 | 5}, ctlReset)},
		}
		for name, word := range words {
			c := challengeCore(t, base)
			if name == "RESET for none, at rcv" {
				word.una = c.rcvNxt
			}
			before, heard := viewOf(c), c.life.heardAt
			challengeSay(c, word.una, word.m, 1100)
			after := viewOf(c)
			if after != before || c.life.heardAt != heard {
				t.Errorf("%s at %d: the state has changed from %+v to %+v",
					name, base, before, after)
			}
			first := challengeAsk(t, c, 1100)
			if !first.has[ctlPing] || !first.has[ctlHello] ||
				first.heard != c.ctl.peer || first.ping == 0 {
				t.Fatalf("%s at %d: the peer is asked by %+v", name, base, first)
			}
			pong := controlSet{pong: first.ping + 1}
			challengeSay(c, base+2, challengeMessage(pong, ctlPong), 1110)
			pong = controlSet{pong: first.ping, incarnation: 79, heard: c.ctl.incarnation}
			challengeSay(c, base+2, challengeMessage(pong, ctlPong, ctlHello), 1120)
			if !c.suspicious() {
				t.Errorf("%s at %d: a wrong PONG has settled it, or another session's", name, base)
			}
			challengeSay(c, base+2, challengeMessage(controlSet{pong: first.ping}, ctlPong), 1130)
			if c.suspicious() || c.ctl.wasReset() || c.gone() || c.ctl.replacement != 0 {
				t.Errorf("%s at %d: the PONG has not settled it", name, base)
			}
			challengeSay(c, word.una, word.m, 1130+c.rto())
			if again := challengeAsk(t, c, 1130+c.rto()); again.ping == first.ping ||
				again.ping == 0 {
				t.Errorf("%s at %d: the numbers are %x and %x", name, base, first.ping, again.ping)
			}
		}
	}
}

// Without a PONG the session ends after 3 RTO and six questions, if the message has been repeated.
// Silence alone ends nothing.
func TestSuspicionEndsTheSession(t *testing.T) {
	for _, again := range []bool{false, true} {
		c := challengeCore(t, 0)
		gone := challengeMessage(controlSet{resetCode: resetUnknown}, ctlReset)
		began, questions := millis(1100), 0
		challengeSay(c, 2, gone, began)
		wait := 6 * ((c.rto() + 1) / 2)
		for now := began; now <= began+wait+10; now++ {
			if m := challengeAsk(t, c, now); m.has[ctlPing] {
				questions++
				if gone.echo = m.ping; again && now > began {
					challengeSay(c, 0, gone, now)
				}
			}
			if c.gone() && now < began+wait {
				t.Fatalf("it has ended after %d of %d ms", now-began, wait)
			}
		}
		if c.gone() != again || questions != challengeQuestions {
			t.Errorf("repeated %v: ended %v after %d questions", again, c.gone(), questions)
		}
	}
}

// A RESET that names the session, or comes from a peer that cannot name it, ends it at once.
func TestResetsThatCount(t *testing.T) {
	right := controlSet{resetFor: 1<<63 | 5, incarnation: 77, heard: 1<<63 | 5}
	tests := []struct {
		name  string
		setUp func(c *core)
		una   seqNum
		m     controlSet
		want  bool
	}{
		{"beside its HELLO", func(*core) {}, 2, challengeMessage(right, ctlReset, ctlHello), true},
		{"of the first version", func(c *core) { c.ctl.peerMost = 0 }, 2,
			challengeMessage(right, ctlReset), true},
		{"without a key", func(c *core) { c.ctl.keyed = false }, 2,
			challengeMessage(right, ctlReset), true},
		{"alone", func(*core) {}, 2, challengeMessage(right, ctlReset), false},
		{"beside another's HELLO", func(*core) {}, 2,
			challengeMessage(controlSet{resetFor: 1<<63 | 5, incarnation: 78},
				ctlReset, ctlHello), false},
		{"una beyond", func(*core) {}, 99, challengeMessage(right, ctlReset, ctlHello), false},
		{"una beyond, but an answer", func(c *core) { c.ping(); c.ctl.pingNumber = 42 }, 99,
			challengeMessage(controlSet{resetFor: 1<<63 | 5, incarnation: 77, echo: 42},
				ctlReset, ctlHello), true},
	}
	for _, tt := range tests {
		c := challengeCore(t, 0)
		tt.setUp(c)
		challengeSay(c, tt.una, tt.m, 1100)
		if c.ctl.wasReset() != tt.want {
			t.Errorf("%s: reset %v, want %v", tt.name, c.ctl.wasReset(), tt.want)
		}
	}
}
