// SPDX-License-Identifier: MIT

package tables

import (
	"fmt"
	"strings"
	"time"

	"github.com/seedkcp/kcp/internal/simnet"
)

// tick is how often a measurement looks at what has arrived.
const tick = 100 * time.Millisecond

// figures are what the flows of a line did in the time that counts.
type figures struct {
	goodput  []float64     // bits a second, by flow
	share    float64       // of the sum in what the line can carry
	p50, p95 time.Duration // how long packets waited for the line
	wire     float64       // bytes on the line, with IP and UDP headers, a byte delivered
	resent   float64       // share of the data packets that had been sent before
	twice    float64       // share of the data packets that the receiver had already
	dropped  float64       // share of all packets that the queue or the policer dropped
	jain     float64       // index of fairness
	rise     time.Duration // until the sum over a second was 90 % of the ideal; 0: never
}

// total is the sum of the goodputs.
func (f figures) total() (sum float64) {
	for _, g := range f.goodput {
		sum += g
	}
	return sum
}

func (f figures) String() string {
	var each []string
	for _, g := range f.goodput {
		each = append(each, megabits(g))
	}
	rise := "never"
	if f.rise > 0 {
		rise = fmt.Sprintf("in %.1f s", f.rise.Seconds())
	}
	return fmt.Sprintf("%s Mbit/s (%.3f of the ideal), queue p50 %.1f p95 %.1f ms, wire %.3f, "+
		"resent %.2f %%, twice %.2f %%, dropped %.2f %%, Jain %.3f, 90 %% %s",
		strings.Join(each, " + "), f.share, milli(f.p50), milli(f.p95), f.wire,
		f.resent*100, f.twice*100, f.dropped*100, f.jain, rise)
}

// mean returns the mean of several runs. Its rise is the longest.
func mean(all []figures) (m figures) {
	n := float64(len(all))
	m.goodput = make([]float64, len(all[0].goodput))
	for i, f := range all {
		for j, g := range f.goodput {
			m.goodput[j] += g / n
		}
		m.share += f.share / n
		m.p50 += f.p50 / time.Duration(n)
		m.p95 += f.p95 / time.Duration(n)
		m.wire += f.wire / n
		m.resent += f.resent / n
		m.twice += f.twice / n
		m.dropped += f.dropped / n
		m.jain += f.jain / n
		if i == 0 || f.rise == 0 || f.rise > m.rise && m.rise != 0 {
			m.rise = f.rise
		}
	}
	return m
}

func milli(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// totals are counters at one instant.
type totals struct {
	received []int64
	sender   senderFigures // of all flows
	link     simnet.Stats
}

func (w *world) totals(flows []*flow) (t totals) {
	t.link = w.there.Stats()
	for _, f := range flows {
		t.received = append(t.received, f.received.Load())
		s := f.sender()
		t.sender.sent += s.sent
		t.sender.resent += s.resent
		t.sender.twice += s.twice
	}
	return t
}

// watch measures flows that have been started. What they do in the warm-up does not count, except
// for the rise.
func (w *world) watch(b bottleneck, warm, span time.Duration, flows ...*flow) (f figures) {
	var arrived []int64 // at each tick
	begin := totals{}
	for i := range int(span / tick) {
		if time.Duration(i)*tick == warm {
			begin = w.totals(flows)
			w.there.MeasureQueue()
		}
		time.Sleep(tick)
		sum := int64(0)
		for _, fl := range flows {
			sum += fl.received.Load()
		}
		arrived = append(arrived, sum)
	}
	end := w.totals(flows)
	bytes, squares := 0.0, 0.0
	for i := range flows {
		got := float64(end.received[i])
		if len(begin.received) > i {
			got -= float64(begin.received[i])
		}
		bytes += got
		squares += got * got
		f.goodput = append(f.goodput, got*8/(span-warm).Seconds())
	}
	f.share = f.total() / b.ideal()
	f.p50, f.p95 = w.there.QueueDelay(0.5), w.there.QueueDelay(0.95)
	packets := float64(end.link.Sent - begin.link.Sent)
	f.wire = (float64(end.link.SentBytes-begin.link.SentBytes) + packets*udpOverhead) / bytes
	sent := end.sender.sent - begin.sender.sent
	f.resent = (end.sender.resent - begin.sender.resent) / sent
	f.twice = (end.sender.twice - begin.sender.twice) / sent
	drops := func(s simnet.Stats) float64 {
		return float64(s.Lost[simnet.LossQueue] + s.Lost[simnet.LossPolicer])
	}
	f.dropped = (drops(end.link) - drops(begin.link)) / packets
	f.jain = bytes * bytes / (float64(len(flows)) * squares)
	f.rise = rise(arrived, 0, 0.9*b.ideal())
	return f
}

// rise returns how long after the tick from it took until a second's goodput reached bits, 0 for
// never. The second is the one that ends then.
func rise(arrived []int64, from int, bits float64) time.Duration {
	const second = int(time.Second / tick)
	for i := from; i < len(arrived); i++ {
		before := int64(0)
		if i >= second {
			before = arrived[i-second]
		}
		if float64(arrived[i]-before)*8 >= bits {
			return time.Duration(i+1-from) * tick
		}
	}
	return 0
}
