// SPDX-License-Identifier: MIT

package kcp

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"slices"
	"testing"
)

// skipModel sends messages with and without a deadline from end 0 of a link to end 1, which reads
// them. Those without one arrive, all arrive whole, once at most, and in order.
type skipModel struct {
	t        *testing.T
	link     *coreLink
	messages [][]byte
	timed    map[int]millis // the deadlines of messages
	sentAt   map[int]millis
	next     int // the least number that the next message may have
	arrived  map[int]millis
	latest   millis // how long after its deadline a message arrived, at most
}

// newSkipModel joins two state machines. extended is false for a legacy receiver.
func newSkipModel(t *testing.T, seed uint64, p linkProfile, base seqNum, extended bool) *skipModel {
	m := &skipModel{t: t, link: newCoreLink(seed, p), timed: map[int]millis{},
		sentAt: map[int]millis{}, arrived: map[int]millis{}}
	for i, c := range m.link.ends {
		c.setNoDelay(1, 10, 2, 1)
		c.setWindows(64, 64)
		if i == 0 || extended {
			c.ctl.incarnation = uint64(i) + 1
		}
	}
	a, b := m.link.ends[0], m.link.ends[1]
	a.sendUna, a.sendNxt, a.sendEnd = base, base, base
	b.readNxt, b.rcvNxt = base, base
	t.Cleanup(func() {
		releaseCore(a)
		releaseCore(b)
	})
	return m
}

// write queues the next message with a deadline, never for none.
func (m *skipModel) write(size int, deadline millis) {
	c, n := m.link.ends[0], len(m.messages)
	p := binary.LittleEndian.AppendUint32(nil, uint32(n))
	p = append(p, pattern(max(size-4, 0), uint64(n))...)
	m.messages = append(m.messages, p)
	m.sentAt[n] = m.link.now
	if deadline == never && n%2 == 0 && c.messageSegments(len(p)) == 1 {
		c.send(p)
		return
	}
	if deadline != never {
		m.timed[n] = deadline
	}
	c.queueMessage(p, deadline)
}

// read reads all that has arrived.
func (m *skipModel) read() {
	m.t.Helper()
	c := m.link.ends[1]
	for _, p := range coreMessages(c) {
		if len(p) == 0 {
			continue // skipped
		}
		n := int(binary.LittleEndian.Uint32(p))
		if n < m.next || n >= len(m.messages) {
			m.t.Fatalf("message %d arrived, want one from %d to %d", n, m.next, len(m.messages)-1)
		}
		if !bytes.Equal(p, m.messages[n]) {
			m.t.Fatalf("message %d of %d bytes arrived with %d", n, len(m.messages[n]), len(p))
		}
		for ; m.next < n; m.next++ {
			m.missed(m.next)
		}
		m.next = n + 1
		m.arrived[n] = m.link.now
		if at, timed := m.timed[n]; timed {
			m.latest = max(m.latest, m.link.now-at)
		}
	}
}

// missed checks that a message that others have overtaken had a deadline, which has passed.
func (m *skipModel) missed(n int) {
	m.t.Helper()
	if at, timed := m.timed[n]; !timed || m.link.now < at {
		m.t.Fatalf("message %d is missing at %d, its deadline is %d (%v)", n, m.link.now, at, timed)
	}
}

// run runs the link until a time.
func (m *skipModel) run(until millis) {
	m.t.Helper()
	for steps := 0; ; steps++ {
		at := never
		for _, c := range m.link.ends {
			checkCore(m.t, c)
			at = min(at, c.nextEvent(m.link.now))
		}
		if len(m.link.queue) > 0 {
			at = min(at, m.link.queue[0].at)
		}
		if at >= until {
			m.link.now = until
			return
		}
		if steps > 100_000 {
			m.t.Fatalf("%d steps until %d", steps, m.link.now)
		}
		m.link.step()
		m.read()
		for _, c := range m.link.ends {
			if c.nextEvent(m.link.now) <= m.link.now {
				m.link.flush(0)
				m.link.flush(1)
			}
		}
	}
}

// finish ends the stream, lets the link lose nothing any more, and checks what has arrived.
func (m *skipModel) finish() {
	m.t.Helper()
	a, b := m.link.ends[0], m.link.ends[1]
	a.closeWrite(m.link.now)
	m.link.profile.loss = 0
	for end := m.link.now + 300_000; m.link.now < end && !(a.writeDone() && a.queued() == 0); {
		m.run(m.link.now + 100)
	}
	if a.queued() != 0 || !a.writeDone() || a.ctl.known() && !b.endOfStream() {
		m.t.Fatalf("the stream does not end: %+v, %+v", viewOf(a), viewOf(b))
	}
	for ; m.next < len(m.messages); m.next++ {
		m.missed(m.next)
	}
	missing := len(m.messages) - len(m.arrived)
	if missing > int(a.droppedMessages()) || b.skipped > a.droppedMessages() {
		m.t.Errorf("%d messages missing, %d dropped, %d skipped",
			missing, a.droppedMessages(), b.skipped)
	}
	if a.sendBytes != 0 {
		m.t.Errorf("%d bytes are left", a.sendBytes)
	}
	a.releaseIdle()
	b.releaseIdle()
	if a.ring != nil || b.in != nil {
		m.t.Error("a ring is kept with nothing in it")
	}
}

// Messages with and without deadlines go through loss, reordering and duplication, in one fragment
// and in many, with sequence numbers that wrap.
func TestMessagesWithDeadlinesThroughLoss(t *testing.T) {
	for _, extended := range []bool{true, false} {
		for _, loss := range []float64{0.05, 0.2, 0.5} {
			t.Run(fmt.Sprintf("extended %v, loss %v", extended, loss), func(t *testing.T) {
				for seed := range uint64(12) {
					skipThroughLoss(t, seed, loss, extended)
				}
			})
		}
	}
}

func skipThroughLoss(t *testing.T, seed uint64, loss float64, extended bool) {
	p := linkProfile{loss: loss, duplicate: 0.05, delay: 30, jitter: 1 + millis(seed%4)*15}
	m := newSkipModel(t, seed, p, inputBases[seed%4], extended)
	random := m.link.rng
	for range 300 {
		size := 4 + random.IntN(200)
		if random.IntN(8) == 0 {
			size = random.IntN(20_000)
		}
		deadline := never
		if random.IntN(3) > 0 {
			deadline = m.link.now + millis(1+random.Int64N(250))
		}
		m.write(size, deadline)
		switch random.IntN(40) {
		case 0:
			m.link.ends[0].setMTU(900 + random.IntN(600))
		case 1:
			m.run(m.link.now + 2000)
		}
		m.link.flush(0)
		m.run(m.link.now + millis(random.IntN(30)))
	}
	m.finish()
	a, b := m.link.ends[0], m.link.ends[1]
	t.Logf("seed %d: %d of %d arrived, %d dropped, %d skipped, %d ms late at most", seed,
		len(m.arrived), len(m.messages), a.droppedMessages(), b.skipped, m.latest)
	if bad := a.stats.badFields + b.stats.badFields; bad > 0 {
		t.Errorf("%d bad fields", bad)
	}
	// With 5 % there may be none. Half of all HELLOs may be lost.
	if skipped := b.skipped > 0; skipped && !extended || !skipped && extended && loss == 0.2 {
		t.Errorf("%d messages skipped by a peer that reads SKIP: %v", b.skipped, extended)
	}
}

// gameRun sends 30 messages of 100 bytes a second for ten minutes over a path with a round trip of
// 100 ms, with a deadline of lifetime, 0 for none. It returns the times of those that arrived, in
// order, and the datagrams sent.
func gameRun(t *testing.T, loss float64, lifetime millis, extended bool,
) (took []millis, sent int) {
	t.Helper()
	m := newSkipModel(t, 7, linkProfile{loss: loss, delay: 50}, 0, extended)
	m.link.ends[0].setCopyRule(copiesNone)
	start := m.link.now
	for i := range gameMessages {
		m.run(start + millis(i*1000/30))
		deadline := never
		if lifetime > 0 {
			deadline = m.link.now + lifetime
		}
		m.write(100, deadline)
		m.link.flush(0)
	}
	m.finish()
	for n, at := range m.arrived {
		took = append(took, at-m.sentAt[n])
	}
	slices.Sort(took)
	return took, m.link.packets[0]
}

const gameMessages = 30 * 600

// A message that is late does not delay the next ones for longer than the notice of it takes.
func TestDeadlinesShortenTheWait(t *testing.T) {
	if testing.Short() {
		t.Skip("ten minutes of virtual time for each line")
	}
	for _, c := range []struct {
		loss        float64
		lifetime    millis
		extended    bool
		p99, p999   millis // at most
		missing     float64
		perMessages float64
	}{
		{0.05, 0, true, 1000, 1000, 0, 2},
		{0.05, 150, true, 190, 200, 0.006, 1.2},
		{0.05, 150, false, 1000, 1000, 0, 2},
		{0.2, 0, true, 1000, 1000, 0, 2},
		{0.2, 50, true, 170, 220, 0.23, 1.5},
		{0.2, 150, true, 200, 240, 0.05, 1.65},
		{0.2, 150, false, 1000, 1000, 0, 2},
		{0.2, 250, true, 320, 340, 0.02, 1.6},
	} {
		took, sent := gameRun(t, c.loss, c.lifetime, c.extended)
		at := func(permille int) millis { return took[len(took)*permille/1000] }
		missing := 1 - float64(len(took))/gameMessages
		each := float64(sent) / gameMessages
		t.Logf("loss %2.0f %%, deadline %3d ms, reads SKIP %5v: p50 %3d, p99 %3d, p99.9 %3d ms, "+
			"%5.2f %% dropped, %.2f datagrams a message", 100*c.loss, c.lifetime, c.extended,
			at(500), at(990), at(999), 100*missing, each)
		if at(990) > c.p99 || at(999) > c.p999 || missing > c.missing || each > c.perMessages {
			t.Errorf("want at most p99 %d, p99.9 %d ms, %.1f %% dropped, %.2f datagrams",
				c.p99, c.p999, 100*c.missing, c.perMessages)
		}
	}
}

// skipCore returns a state machine whose peer reads SKIP, and which has measured a round trip of 40
// ms. The time is 1100.
func skipCore(t *testing.T, base seqNum) *core {
	c := timedCore(t, 1, 10, 2)
	c.ctl.incarnation, c.ctl.peer = 5, 77
	c.ctl.peerFlags, c.ctl.hello.acked = helloRanges|helloSkips, true
	c.sendUna, c.sendNxt, c.sendEnd = base, base, base
	c.send([]byte("first"))
	flushAll(c, 1000)
	c.input(inputAt(1040), testAck(c, base+1, base), true)
	flushAll(c, 1100)
	return c
}

// skipsIn returns the SKIPs among segments.
func skipsIn(sent []segment) (values [][]byte) {
	for i := range sent {
		if v := findSkip(sent[i].data); isControl(&sent[i]) && v != nil {
			values = append(values, v)
		}
	}
	return values
}

// wantSkip checks that the segments are one SKIP of the messages, and returns its sn and ts.
func wantSkip(t *testing.T, sent []segment, want ...skipRun) (sn seqNum, ts timestamp) {
	t.Helper()
	values := skipsIn(sent)
	if len(values) != 1 || count(sent, cmdPush) != 0 {
		t.Fatalf("%d SKIPs and %d PUSHes of %d segments, want one SKIP",
			len(values), count(sent, cmdPush), len(sent))
	}
	m, runs, ok := readRuns(values[0])
	if !ok || !slices.Equal(runs, want) {
		t.Fatalf("a SKIP of %v, want %v", runs, want)
	}
	return m.sn, m.ts
}

// A SKIP leaves when the deadline passes, and again after each RTO with its back-off, until it is
// acknowledged. Its acknowledgement measures the round trip.
func TestSkipIsRepeatedUntilItIsAcknowledged(t *testing.T) {
	for _, base := range inputBases {
		c := skipCore(t, base)
		c.queueMessage([]byte("late"), 1250)
		flushAll(c, 1100)
		// The message is resent as usual until then.
		at, sent := nextSent(c, 1100)
		for ; at < 1250; at, sent = nextSent(c, at) {
			if count(sent, cmdPush) != 1 || string(sent[0].data) != "late" {
				t.Fatalf("%+v at %d, want the message", sent, at)
			}
		}
		if at != 1250 {
			t.Fatalf("the next transmission is at %d, want 1250", at)
		}
		sn, ts := wantSkip(t, sent, skipRun{base + 1, 1, 1})
		last := at
		for range 4 {
			at, sent = nextSent(c, at)
			if least := c.rto(); at < last+least || at > last+3000 {
				t.Errorf("repeated after %d ms, the RTO is %d", at-last, least)
			}
			last = at
			sn, ts = wantSkip(t, sent, skipRun{base + 1, 1, 1})
		}
		if sn != base+1 || c.queued() != 1 || c.droppedMessages() != 1 || c.sendBytes != 0 {
			t.Errorf("sn %d, %d queued, %d dropped, %d bytes",
				sn, c.queued(), c.droppedMessages(), c.sendBytes)
		}
		inputSegment(c, at+35,
			segment{conv: 7, cmd: cmdAck, wnd: 32, ts: ts, sn: sn, una: base + 2})
		if c.rtt.latest != 35 || c.queued() != 0 || c.nextEvent(at+35) != never {
			t.Errorf("round trip %d, %d queued, next event %d; want 35, 0 and none",
				c.rtt.latest, c.queued(), c.nextEvent(at+35))
		}
		if c.releaseIdle(); c.ring != nil || c.stats.badFields != 0 {
			t.Errorf("the ring is kept, or %d bad fields", c.stats.badFields)
		}
	}
}

// Data that was sent once, less than 9/8 of a round trip ago, may arrive in time or not: it is not
// taken for lost at the deadline. Its acknowledgement ends the matter.
func TestDeadlineWaitsForWhatIsOnItsWay(t *testing.T) {
	c := skipCore(t, 0)
	c.queueMessage([]byte("late"), 1110)
	flushAll(c, 1100)
	if at := c.nextEvent(1100); at != 1110 {
		t.Fatalf("next event %d, want 1110", at)
	}
	if sent := flushAll(c, 1110); len(sent) != 0 {
		t.Fatalf("%d segments at the deadline, want none", len(sent))
	}
	if at, sent := nextSent(c, 1111); at != 1145 || len(skipsIn(sent)) != 1 {
		t.Errorf("%d SKIPs at %d, want one at 1145", len(skipsIn(sent)), at)
	}

	c = skipCore(t, 0)
	c.queueMessage([]byte("late"), 1110)
	flushAll(c, 1100)
	flushAll(c, 1110)
	c.input(inputAt(1140), testAck(c, 2, 1), true)
	if at := c.nextEvent(1140); at != never || c.droppedMessages() != 0 {
		t.Errorf("next event %d and %d dropped after the acknowledgement", at, c.droppedMessages())
	}
}

// Messages that wait are dropped at their deadlines, and the others take over their numbers, with
// every peer.
func TestQueuedMessagesAreDroppedAtTheirDeadlines(t *testing.T) {
	for _, peer := range []uint64{0, 77} {
		c := skipCore(t, 0)
		c.ctl.peer, c.ctl.peerFlags = peer, 0
		c.rmtWnd = 0 // nothing leaves
		for i, deadline := range []millis{1300, never, 1200, 1300, never, 1200} {
			c.queueMessage(bytes.Repeat([]byte{'a' + byte(i)}, 1+i*700), deadline)
		}
		if at := c.expiry(); at != 1200 {
			t.Fatalf("expiry %d, want 1200", at)
		}
		flushAll(c, 1200)
		if c.droppedMessages() != 2 || c.expiry() != 1300 {
			t.Errorf("%d dropped, expiry %d; want 2, 1300", c.droppedMessages(), c.expiry())
		}
		flushAll(c, 1300)
		if c.droppedMessages() != 4 || c.expiry() != never {
			t.Errorf("%d dropped, expiry %d; want 4, never", c.droppedMessages(), c.expiry())
		}
		c.queueMessage([]byte("g"), never)
		c.rmtWnd = 32
		var got []string
		sent := flushAll(c, 1301)
		for i := range sent {
			if sent[i].cmd == cmdPush {
				got = append(got, fmt.Sprintf("%d/%d/%c", sent[i].sn, sent[i].frg, sent[i].data[0]))
			}
		}
		if want := []string{"1/0/b", "2/2/e", "3/1/e", "4/0/e", "5/0/g"}; !slices.Equal(got, want) {
			t.Errorf("sent %v, want %v", got, want)
		}
	}
}

// A legacy peer waits for what was sent, whatever its deadline. A peer that is not known yet may
// turn out to read SKIP.
func TestSentMessagesStayWithoutSkip(t *testing.T) {
	for _, known := range []bool{false, true} {
		c := skipCore(t, 0)
		c.ctl.peerFlags = helloRanges
		if !known {
			c.ctl.peer = 0
		}
		c.queueMessage([]byte("late"), 1150)
		flushAll(c, 1100)
		resent := 0
		for at, sent := nextSent(c, 1101); at < 5000; at, sent = nextSent(c, at) {
			resent += count(sent, cmdPush)
			if len(skipsIn(sent)) > 0 {
				t.Fatal("a SKIP was sent")
			}
		}
		if resent < 3 || c.droppedMessages() != 0 {
			t.Errorf("sent again %d times, %d dropped; want 3 or more and none",
				resent, c.droppedMessages())
		}
		c.ctl.peer, c.ctl.peerFlags = 77, helloRanges|helloSkips
		_, sent := nextSent(c, 5000)
		for i := 0; i < 20 && len(skipsIn(sent)) == 0; i++ {
			_, sent = nextSent(c, c.latest.ms())
		}
		if got := len(skipsIn(sent)); got == 1 == known {
			t.Errorf("%d SKIPs once the peer is known to read them", got)
		}
	}
}

// The sequence numbers of a message that was sent in part stay its own: the peer may have its first
// fragments.
func TestMessageSentInPartKeepsItsNumbers(t *testing.T) {
	c := skipCore(t, 0)
	c.rmtWnd = 2
	c.queueMessage(make([]byte, 4*c.mss), 1150)
	c.queueMessage([]byte("next"), never)
	if sent := flushAll(c, 1100); count(sent, cmdPush) != 2 {
		t.Fatalf("%d segments, want 2", count(sent, cmdPush))
	}
	_, sent := nextSent(c, 1149)
	wantSkip(t, sent, skipRun{1, 4, 1})
	c.rmtWnd = 32
	var pushed []seqNum
	for at := millis(1151); at < 1400; at += 10 {
		for _, s := range flushAll(c, at) {
			if s.cmd == cmdPush {
				pushed = append(pushed, s.sn)
			}
		}
	}
	if len(pushed) == 0 || slices.ContainsFunc(pushed, func(sn seqNum) bool { return sn != 5 }) {
		t.Errorf("sent %v, want segment 5 alone", pushed)
	}
	checkCore(t, c)
}

// A Write in stream mode adds nothing to a message that may be dropped.
func TestStreamDoesNotJoinAMessageWithADeadline(t *testing.T) {
	c := skipCore(t, 0)
	c.rmtWnd = 0
	c.queueMessage([]byte("message"), 1150)
	c.setMode(modeStream, true)
	c.send([]byte("stream"))
	flushAll(c, 1150)
	c.rmtWnd = 32
	if sent := flushAll(c, 1151); count(sent, cmdPush) != 1 || string(sent[0].data) != "stream" {
		t.Errorf("sent %+v, want the stream", sent)
	}
}
