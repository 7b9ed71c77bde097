// SPDX-License-Identifier: MIT

package kcp

import "testing"

// kexRide lets the rider of a flush leave if it is due, or if withHello or along says so. It
// reports whether it has left.
func kexRide(x *keyExchange, now millis, withHello, along bool) bool {
	r := x.rider(now)
	switch {
	case r.state == riderDue, r.state == riderWithHello && withHello,
		r.state == riderAlong && along:
		r.state = riderLeft
	}
	x.rode(&r, now, 200)
	return r.state == riderLeft
}

func TestKEX1GoesAlongWithHello(t *testing.T) {
	var x keyExchange
	if r := x.rider(0); r.state != riderNone || x.event() != never {
		t.Error("a session that makes no keys sends a message")
	}
	x.ask([]byte{1})
	for now := millis(0); now < 1000; now += 100 {
		if kexRide(&x, now, false, true) {
			t.Error("KEX1 leaves without a HELLO")
		}
		if !kexRide(&x, now, true, false) || x.event() != never {
			t.Error("KEX1 does not leave with a HELLO alone")
		}
	}
	r := x.rider(1000)
	r.state = riderDue // a HELLO has left, and there was no room
	x.rode(&r, 1000, 200)
	if x.event() != 1000 || !kexRide(&x, 1000, false, false) {
		t.Error("KEX1 does not follow a HELLO that left no room")
	}
	x.knows(1100, 200)
	if x.event() != 1300 {
		t.Errorf("KEX1 is repeated at %d, want an RTO after the peer is known", x.event())
	}
}

// Each message is repeated with back-off, and does not keep a timer for ever.
func TestKEXIsRepeated(t *testing.T) {
	for _, answers := range []bool{false, true} {
		var x keyExchange
		if answers {
			x.answer([]byte{2}, 0)
		} else {
			x.ask([]byte{1})
			x.knows(0, 200)
		}
		last, pause, sent := millis(0), millis(0), 0
		for x.event() != never {
			now := x.event()
			if kexRide(&x, now-1, true, true) && now > 0 {
				t.Error("a message leaves too early")
			}
			if !kexRide(&x, now, false, false) {
				t.Fatal("a message that is due does not leave")
			}
			if sent > 0 && (now-last < pause || now-last > exchangePause) {
				t.Errorf("%d ms after the one before, which came after %d", now-last, pause)
			}
			if sent > 0 {
				pause = now - last
			}
			last = now
			sent++
		}
		if sent != exchangeAlone || last < 60_000 {
			t.Errorf("sent %d times in %d ms", sent, last)
		}
		if kexRide(&x, last+1, false, true) || !kexRide(&x, last+exchangePause, false, true) {
			t.Error("later on it does not go along with what leaves anyway")
		}
		if answers {
			x.again(last + 2*exchangePause)
			if x.event() == never {
				t.Error("KEX2 is not repeated when KEX1 comes again")
			}
		}
		x.end()
		if !x.over() || x.event() != never || x.rider(last+100_000).state != riderNone {
			t.Error("an exchange that is over sends a message")
		}
	}
}

func FuzzKEX(f *testing.F) {
	m := kexMessage{ctlKex1, []byte("message")}
	f.Add(m.append(nil))
	f.Add([]byte{ctlKex2, 0, ctlKex1, 255})
	f.Fuzz(func(t *testing.T, b []byte) {
		m := findKex(b)
		if m.kind == 0 {
			return
		}
		again := findKex(m.append(nil))
		if again.kind != m.kind || string(again.data) != string(m.data) {
			t.Errorf("%x becomes %x", m, again)
		}
	})
}
