// SPDX-License-Identifier: MIT

package tables

import (
	"fmt"
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

	// Of messages beside the flows, from the moment they are due until they have been read.
	message50, message99 time.Duration
}

// total is the sum of the goodputs.
func (f figures) total() (sum float64) {
	for _, g := range f.goodput {
		sum += g
	}
	return sum
}

func (f figures) String() string {
	rise := "never"
	if f.rise > 0 {
		rise = fmt.Sprintf("in %.1f s", f.rise.Seconds())
	}
	text := fmt.Sprintf("%s Mbit/s (%.3f of the ideal), queue p50 %.1f p95 %.1f ms, wire %.3f, "+
		"resent %.2f %%, twice %.2f %%, dropped %.2f %%, Jain %.3f, 90 %% %s",
		goodputs(f), f.share, milli(f.p50), milli(f.p95), f.wire,
		f.resent*100, f.twice*100, f.dropped*100, f.jain, rise)
	if f.message50 > 0 {
		text += fmt.Sprintf(", messages p50 %.1f p99 %.1f ms", milli(f.message50), milli(f.message99))
	}
	return text
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
		m.message50 += f.message50 / time.Duration(n)
		m.message99 += f.message99 / time.Duration(n)
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

// watch measures flows that have been started, between two times from now.
func (w *world) watch(b bottleneck, from, to time.Duration, flows []*flow) (f figures) {
	time.Sleep(from)
	w.there.MeasureQueue()
	begin := w.totals(flows)
	time.Sleep(to - from)
	end := w.totals(flows)
	bytes, squares := 0.0, 0.0
	for i := range flows {
		got := float64(end.received[i] - begin.received[i])
		bytes += got
		squares += got * got
		f.goodput = append(f.goodput, got*8/(to-from).Seconds())
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
	return f
}

// riseOf waits until the sum of a second has reached 90 % of what the line can carry, and returns
// how long that took, at most limit. 0 means that it was never reached.
func riseOf(b bottleneck, limit time.Duration, flows []*flow) time.Duration {
	const second = int(time.Second / tick)
	arrived := func() (sum int64) {
		for _, fl := range flows {
			sum += fl.received.Load()
		}
		return sum
	}
	before := []int64{arrived()} // at each tick
	for i := 1; time.Duration(i)*tick <= limit; i++ {
		time.Sleep(tick)
		before = append(before, arrived())
		if got := before[i] - before[max(i-second, 0)]; float64(got)*8 >= 0.9*b.ideal() {
			return time.Duration(i) * tick
		}
	}
	return 0
}

// logSeries logs the state of each flow so many times.
func (w *world) logSeries(flows []*flow, count int) {
	start := time.Now()
	before := make([]int64, len(flows))
	for range count {
		link := w.there.Stats()
		time.Sleep(*series)
		drops := w.there.Stats()
		for i, f := range flows {
			got := f.received.Load()
			text := fmt.Sprintf("%5.1f s flow %d: %5s Mbit/s", time.Since(start).Seconds(), i,
				megabits(float64(got-before[i])*8/series.Seconds()))
			before[i] = got
			if f.session != nil {
				st := f.session.Stats()
				text += fmt.Sprintf(", %s, estimate %s, pace %s, loss %.1f %%, window %d, in flight %d of %d, "+
					"RTT %.1f, least %.1f, RTO %.0f ms, resent %d", st.CongestionState,
					megabits(float64(st.Bandwidth)*8), megabits(float64(st.PacingRate)*8), st.RandomLoss*100,
					st.CongestionWindow, st.InFlight, st.SendWindow, milli(st.SRTT), milli(st.MinRTT), milli(st.RTO),
					st.FastRetransmits+st.EarlyRetransmits+st.TimeoutRetransmits)
			}
			w.t.Logf("%s; queue %d, dropped %d", text, drops.QueueLen,
				drops.Lost[simnet.LossQueue]-link.Lost[simnet.LossQueue]+
					drops.Lost[simnet.LossPolicer]-link.Lost[simnet.LossPolicer])
		}
	}
}
