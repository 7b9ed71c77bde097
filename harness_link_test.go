// SPDX-License-Identifier: MIT

package kcp

import (
	"container/heap"
	"math/rand/v2"
)

// linkProfile is what a simulated link between two state machines does to packets.
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

// coreLink joins two state machines by a simulated link in virtual time. The same seed gives the same run.
type coreLink struct {
	now     millis
	ends    [2]*core
	profile linkProfile
	rng     *rand.Rand
	queue   linkQueue
	sent    int
	out     packetWriter
	packets [2]int
	// onPacket, if set, sees every packet that an end sends; false drops it.
	onPacket func(from int, data []byte) bool
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
		more = l.ends[i].flush(l.now, &l.out)
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

// pop takes the next packet off the link.
func (l *coreLink) pop() linkPacket { return heap.Pop(&l.queue).(linkPacket) }

// step moves time to the next event, of the link or of an end, and handles it. It reports false once nothing is left
// to happen.
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
		l.ends[p.to].input(p.data, true, l.now)
	}
	for i, c := range l.ends {
		if c.nextEvent(l.now) <= l.now {
			l.flush(i)
		}
	}
	return true
}
