// SPDX-License-Identifier: MIT

package kcp

import (
	"bytes"
	"container/heap"
	"math/rand/v2"
	"testing"
)

// linkProfile describes a simulated link between two state machines.
type linkProfile struct {
	loss      float64
	duplicate float64
	delay     millis
	jitter    millis // reorders
}

type linkPacket struct {
	at   millis
	seq  int
	to   int
	data []byte
}

type linkQueue []linkPacket

func (q linkQueue) Len() int { return len(q) }
func (q linkQueue) Less(i, j int) bool {
	return q[i].at < q[j].at || q[i].at == q[j].at && q[i].seq < q[j].seq
}
func (q linkQueue) Swap(i, j int) { q[i], q[j] = q[j], q[i] }
func (q *linkQueue) Push(x any)   { *q = append(*q, x.(linkPacket)) }
func (q *linkQueue) Pop() any {
	old := *q
	x := old[len(old)-1]
	*q = old[:len(old)-1]
	return x
}

// coreLink joins two state machines by a simulated link in virtual time. A seed always gives the
// same run.
type coreLink struct {
	now     millis
	ends    [2]*core
	profile linkProfile
	rng     *rand.Rand
	queue   linkQueue
	sent    int
	out     packetWriter
	packets [2]int
	// onPacket, if set, is called with every packet that an end sends; false drops it.
	onPacket func(from int, data []byte) bool
	// shells, if set, drive the ends by their own clock.
	shells [2]*KCP
}

func newCoreLink(seed uint64, p linkProfile) *coreLink {
	l := &coreLink{profile: p, rng: rand.New(rand.NewPCG(seed, 1))}
	l.now = 1000
	for i := range l.ends {
		l.ends[i] = new(core)
		l.ends[i].init(7, l.now)
	}
	l.out.arena = make([]byte, 1<<16)
	l.out.maxPackets = 16
	return l
}

func (l *coreLink) chance(p float64) bool { return p > 0 && l.rng.Float64() < p }

func (l *coreLink) flush(i int) {
	for more := true; more; {
		l.out.reset(0, 0, l.ends[i].mtu)
		more = l.ends[i].flush(l.now.instant(), &l.out)
		for _, p := range l.out.packets {
			l.packets[i]++
			data := append([]byte(nil), l.out.arena[p.start:p.end]...)
			if l.onPacket != nil && !l.onPacket(i, data) {
				continue
			}
			l.carry(1-i, data)
		}
	}
}

// newShellLink joins two KCPs in fast mode by a link without loss and delay. Their packets stay on
// the link until settle.
func newShellLink(t *testing.T) (l *coreLink, a, b *KCP) {
	l = newCoreLink(1, linkProfile{})
	for i := range l.shells {
		k := NewKCP(7, func(buf []byte, size int) { l.carry(1-i, bytes.Clone(buf[:size])) })
		k.NoDelay(1, 10, 2, 1)
		t.Cleanup(func() { releaseCore(&k.core) })
		l.shells[i], l.ends[i] = k, &k.core
	}
	return l, l.shells[0], l.shells[1]
}

// settle updates both KCPs and delivers what they send, until neither sends any more.
func (l *coreLink) settle(t *testing.T) {
	t.Helper()
	for more := true; more; more = len(l.queue) > 0 {
		for i, k := range l.shells {
			for _, data := range l.waiting(i) {
				if r := k.Input(data, IKCP_PACKET_REGULAR, true); r != 0 {
					t.Fatalf("Input = %d, want 0", r)
				}
			}
			k.Update()
		}
	}
}

// waiting removes the packets for an end from the link, in order.
func (l *coreLink) waiting(to int) (packets [][]byte) {
	rest := linkQueue{}
	for len(l.queue) > 0 {
		if p := l.pop(); p.to == to {
			packets = append(packets, p.data)
		} else {
			rest = append(rest, p) // in order, which is a heap
		}
	}
	l.queue = rest
	return packets
}

func (l *coreLink) carry(to int, data []byte) {
	copies := 1
	if l.chance(l.profile.duplicate) {
		copies = 2
	}
	for range copies {
		if l.chance(l.profile.loss) {
			continue
		}
		at := l.now + l.profile.delay
		if l.profile.jitter > 0 {
			at += millis(l.rng.Int64N(int64(l.profile.jitter)))
		}
		l.sent++
		heap.Push(&l.queue, linkPacket{at: at, seq: l.sent, to: to, data: data})
	}
}

// pop removes the next packet from the link.
func (l *coreLink) pop() linkPacket { return heap.Pop(&l.queue).(linkPacket) }

// step advances the time to the next event of the link or of an end, and handles it. It reports
// false if nothing is left to happen.
func (l *coreLink) step() bool {
	at := never
	for _, c := range l.ends {
		at = min(at, c.nextEvent(l.now))
	}
	if len(l.queue) > 0 {
		at = min(at, max(l.queue[0].at, l.now))
	}
	if at == never {
		return false
	}
	l.now = at
	for len(l.queue) > 0 && l.queue[0].at <= l.now {
		p := l.pop()
		l.ends[p.to].input(inputAt(l.now), p.data, true)
	}
	for i, c := range l.ends {
		if c.nextEvent(l.now) <= l.now {
			l.flush(i)
		}
	}
	return true
}

// lineHeader is the size of the IPv4 and UDP headers.
const lineHeader = 28

// line is one direction of a path of limited rate.
type line struct {
	rate  int // bytes a second
	queue int // bytes that wait, beyond which it drops
	free  int64
	sent  int // packets
	bytes int
}

// take returns how many milliseconds after now a packet has left the line, or false if the line
// drops it.
func (n *line) take(now millis, size int) (millis, bool) {
	n.sent++
	n.bytes += size
	size += lineHeader
	at := int64(now) * 1e6
	wait := max(n.free-at, 0)
	if wait*int64(n.rate)/1e9+int64(size) > int64(n.queue) {
		return 0, false
	}
	n.free = at + wait + int64(size)*1e9/int64(n.rate)
	return millis((n.free - at + 999_999) / 1e6), true
}

// newLineLink joins two state machines by a line in each direction; lines[0] is that of end 0.
func newLineLink(seed uint64, p linkProfile, lines *[2]line) *coreLink {
	l := newCoreLink(seed, p)
	for i, c := range l.ends {
		c.ctl.incarnation = uint64(i) + 1
	}
	l.ends[0].ctl.dial()
	l.onPacket = func(from int, data []byte) bool {
		if wait, ok := lines[from].take(l.now, len(data)); ok {
			at := l.now + wait + l.profile.delay
			if l.profile.jitter > 0 {
				at += millis(l.rng.Int64N(int64(l.profile.jitter)))
			}
			l.sent++
			heap.Push(&l.queue, linkPacket{at: at, seq: l.sent, to: 1 - from, data: data})
		}
		return false
	}
	return l
}

// bulk sends size bytes from end 0 to end 1 in Writes of chunk bytes. It returns the time taken and
// the bytes that end 1 has read, which are all of them unless the limit is reached.
func (l *coreLink) bulk(t *testing.T, size, chunk int, limit millis) (took millis, read int) {
	t.Helper()
	start, buf := l.now, make([]byte, 1<<17)
	a, b := l.ends[0], l.ends[1]
	defer releaseCore(a)
	defer releaseCore(b)
	for left := size; read < size && l.now-start < limit; {
		for n := b.recv(buf); n >= 0; n = b.recv(buf) {
			read += n
		}
		for left > 0 && a.queued() < a.sndWnd {
			n := min(left, chunk, a.cut(a.sendEnd))
			a.send(buf[:n])
			left -= n
		}
		for i, c := range l.ends {
			if c.nextEvent(l.now) <= l.now {
				l.flush(i)
			}
		}
		if read < size && !l.step() {
			t.Fatalf("nothing left to happen with %d of %d bytes there", read, size)
		}
	}
	return l.now - start, read
}

// pattern returns bytes that depend on their position in the stream, so that a shift is detected.
func pattern(n int, seed uint64) []byte {
	r := rand.New(rand.NewPCG(seed, 2))
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return b
}

// transfer moves data from end 0 to end 1, which echoes it, and returns the virtual time taken.
func transfer(t *testing.T, l *coreLink, data []byte) millis {
	t.Helper()
	t.Cleanup(func() {
		releaseCore(l.ends[0])
		releaseCore(l.ends[1])
	})
	start := l.now
	var got [2][]byte
	pending := [2][]byte{data, nil}
	echoed := 0
	buf := make([]byte, 1<<17)
	for steps := 0; len(got[0]) < len(data); steps++ {
		if steps > 5_000_000 || l.now-start > 3_600_000 {
			t.Fatalf("no end after %d steps and %d ms: %d of %d bytes there, %d back",
				steps, l.now-start, len(got[1]), len(data), len(got[0]))
		}
		for i, c := range l.ends {
			for {
				n := c.recv(buf)
				if n < 0 {
					break
				}
				got[i] = append(got[i], buf[:n]...)
			}
			if i == 1 && echoed < len(got[1]) {
				pending[1] = append(pending[1], got[1][echoed:]...)
				echoed = len(got[1])
			}
			for len(pending[i]) > 0 && c.queued() < c.sndWnd {
				n := min(len(pending[i]), c.mss)
				c.send(pending[i][:n])
				pending[i] = pending[i][n:]
			}
			if c.nextEvent(l.now) <= l.now {
				l.flush(i)
			}
		}
		if !l.step() && len(got[0]) < len(data) {
			t.Fatalf("nothing left to happen with %d of %d bytes there, %d back",
				len(got[1]), len(data), len(got[0]))
		}
	}
	if !bytes.Equal(got[1], data) {
		t.Fatal("bytes arrived changed")
	}
	if !bytes.Equal(got[0], data) {
		t.Fatal("bytes came back changed")
	}
	return l.now - start
}

// deliver delivers the packets that have arrived by now.
func (l *coreLink) deliver() {
	for len(l.queue) > 0 && l.queue[0].at <= l.now {
		p := heap.Pop(&l.queue).(linkPacket)
		l.ends[p.to].input(inputAt(l.now), p.data, true)
	}
}
