// SPDX-License-Identifier: MIT

package kcp

import (
	"math/rand/v2"
	"testing"
)

// Forged control messages change nothing and are counted.
func TestForgedControlMessagesChangeNothing(t *testing.T) {
	message := func(una seqNum, m controlSet, kinds ...int) segment {
		for _, k := range kinds {
			m.has[k] = true
		}
		return segment{conv: 7, cmd: cmdWins, wnd: 32, ts: controlVersion, sn: controlMagic,
			una: una, data: appendControl(nil, &m)}
	}
	for _, base := range inputBases {
		lies := map[string]segment{
			"RESET for another incarnation": message(base+2,
				controlSet{resetFor: 6}, ctlReset),
			"RESET for none, without a key": message(base+2, controlSet{}, ctlReset),
			"RESET below what is in flight": message(base-1,
				controlSet{resetFor: 1<<63 | 5}, ctlReset),
			"RESET beyond what was sent": message(base+9,
				controlSet{resetFor: 1<<63 | 5}, ctlReset),
			"FIN below what was received": message(base+2,
				controlSet{final: base + 12}, ctlFin),
			"FIN far ahead": message(base+2,
				controlSet{final: base + 1<<30}, ctlFin),
			"HELLO of another": message(base+2,
				controlSet{incarnation: 78, heard: 1}, ctlHello),
			"HELLO of nobody": message(base+2, controlSet{}, ctlHello),
			"a TLV longer than the segment": {conv: 7, cmd: cmdWins, wnd: 32,
				ts: controlVersion, sn: controlMagic, una: base + 2,
				data: []byte{ctlFin, 4, 1, 2, 3}},
			"a TLV without its length": {conv: 7, cmd: cmdWins, wnd: 32,
				ts: controlVersion, sn: controlMagic, una: base + 2, data: []byte{ctlReset}},
			"a bad TLV behind a valid RESET": {conv: 7, cmd: cmdWins, wnd: 32, ts: controlVersion,
				sn: controlMagic, una: base + 2, data: append(appendControl(nil, &controlSet{
					has: [ctlPong + 1]bool{ctlReset: true}, resetFor: 1<<63 | 5}), 9, 200)},
		}
		for name, s := range lies {
			c := controlCore(t, base)
			before, ctl := viewOf(c), c.ctl
			if got := c.input(inputAt(1100), appendSegment(nil, &s), true); got != inputOK {
				t.Errorf("%s at %d: input = %d", name, base, got)
			}
			if after := viewOf(c); after != before || c.ctl != ctl {
				t.Errorf("%s at %d: the state has changed\nfrom %+v\nto   %+v",
					name, base, ctl, c.ctl)
			}
			if c.stats.badFields == 0 {
				t.Errorf("%s at %d: not counted", name, base)
			}
		}
		// The end of the stream cannot change.
		c := controlCore(t, base)
		for _, final := range []seqNum{base + 20, base + 19, base + 21, base + 13} {
			s := message(base+2, controlSet{final: final}, ctlFin)
			c.input(inputAt(1100), appendSegment(nil, &s), true)
		}
		if c.ctl.peerFinal != base+20 || c.stats.badFields != 3 || c.ctl.resetDue() {
			t.Errorf("at %d: the end is %d, %d bad fields counted, reset %v",
				base, c.ctl.peerFinal, c.stats.badFields, c.ctl.resetDue())
		}
	}
}

func TestAMillionForgedResetsEndNoSession(t *testing.T) {
	c := controlCore(t, 0)
	rng := rand.New(rand.NewPCG(1, 2))
	m := controlSet{has: [ctlPong + 1]bool{ctlReset: true}}
	s := segment{conv: 7, cmd: cmdWins, wnd: 32, ts: controlVersion, sn: controlMagic}
	var packet, data [100]byte
	const forged = 1_000_000
	for i := range forged {
		m.resetFor = rng.Uint64()
		if i%2 == 0 {
			m.resetFor = 0
		}
		s.una = c.sendUna + seqNum(i%5)
		s.data = appendControl(data[:0], &m)
		c.input(inputAt(1100), appendSegment(packet[:0], &s), true)
	}
	if c.ctl.wasReset() || c.stats.badFields < forged {
		t.Errorf("reset %v, %d counted", c.ctl.wasReset(), c.stats.badFields)
	}
}

// A state machine without the extension cannot send a RESET, and does not wait for one to be sent.
func TestResetWithoutTheExtension(t *testing.T) {
	c := timedCore(t, 0, 10, 0)
	c.ctl.sendReset(resetAborted)
	flushAll(c, 1000)
	if at := c.nextEvent(1000); c.ctl.incarnation == 0 && at <= 1000 {
		t.Errorf("a flush is due again at %d, with nothing to send", at)
	}
}
