// SPDX-License-Identifier: MIT

package tables

import (
	"encoding/binary"
	"errors"
	"math"
	"os"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/seedkcp/kcp/internal/simnet"
)

// A competitor is the sender of a transfer that behaves as a kernel's TCP with CUBIC does: RFC 9438
// without HyStart, selective acknowledgements, no pacing, an initial window of ten segments. It
// always has data.
type competitor struct {
	conn *simnet.Endpoint
	to   *simnet.Endpoint

	una      uint64 // the first segment not acknowledged
	sent     []transmission
	lost     []uint64 // segments to send again, in order
	order    uint64   // of the next transmission
	newest   uint64   // order of the newest transmission that has arrived, plus one
	inFlight int      // segments
	rtt      estimate
	rto      time.Time // when nothing has been acknowledged for too long
	backoff  uint
	recover  uint64 // the losses before this segment are those of the last reduction
	cubic    cubic

	transmissions, repetitions atomic.Int64
}

// transmission is the state of a segment from una on.
type transmission struct {
	order    uint64
	at       time.Time
	state    segmentState
	repeated bool
}

type segmentState uint8

const (
	segmentInFlight segmentState = iota
	segmentHeld                  // by the receiver, selectively acknowledged
	segmentLost
)

const (
	tcpSegment = 1448      // bytes of data
	tcpPacket  = 1500 - 28 // bytes of a UDP payload that takes as much on the line
	tcpAck     = 52 - 28   // likewise, of an acknowledgement without blocks
	leastRTO   = 200 * time.Millisecond
)

// estimate is the round-trip time of RFC 6298.
type estimate struct{ smooth, variation time.Duration }

func (e *estimate) sample(rtt time.Duration) {
	if e.smooth == 0 {
		e.smooth, e.variation = rtt, rtt/2
		return
	}
	e.variation += ((e.smooth - rtt).Abs() - e.variation) / 4
	e.smooth += (rtt - e.smooth) / 8
}

func (e *estimate) rto() time.Duration {
	if e.smooth == 0 {
		return time.Second
	}
	return max(leastRTO, e.smooth+4*e.variation)
}

// cubic is the congestion window of RFC 9438 in segments. The names are those of its section 4.1.
type cubic struct {
	cwnd, ssthresh float64
	wMax, wEst     float64
	cwndEpoch, k   float64
	epoch          time.Time // zero: congestion avoidance has not begun
}

const (
	cubicC    = 0.4
	cubicBeta = 0.7
)

func newCubic() cubic { return cubic{cwnd: 10, ssthresh: math.Inf(1)} }

// grow takes n newly acknowledged segments outside recovery.
func (c *cubic) grow(now time.Time, rtt time.Duration, n float64) {
	if c.cwnd < c.ssthresh {
		c.cwnd += n
		return
	}
	if c.epoch.IsZero() {
		c.epoch, c.cwndEpoch, c.wEst = now, c.cwnd, c.cwnd
		c.k = 0
		if c.wMax > c.cwnd {
			c.k = math.Cbrt((c.wMax - c.cwnd) / cubicC)
		} else {
			c.wMax = c.cwnd
		}
	}
	alpha := 3 * (1 - cubicBeta) / (1 + cubicBeta)
	if c.wEst >= c.wMax {
		alpha = 1
	}
	c.wEst += alpha * n / c.cwnd
	window := func(t time.Duration) float64 {
		return cubicC*math.Pow(t.Seconds()-c.k, 3) + c.wMax
	}
	elapsed := now.Sub(c.epoch)
	if window(elapsed) < c.wEst {
		c.cwnd = max(c.cwnd, c.wEst)
		return
	}
	target := min(max(window(elapsed+rtt), c.cwnd), 1.5*c.cwnd)
	c.cwnd += (target - c.cwnd) / c.cwnd * n
}

// reduce takes a congestion event.
func (c *cubic) reduce() {
	if c.cwnd < c.wMax {
		c.wMax = c.cwnd * (1 + cubicBeta) / 2 // fast convergence
	} else {
		c.wMax = c.cwnd
	}
	c.cwnd = max(c.cwnd*cubicBeta, 2)
	c.ssthresh = c.cwnd
	c.epoch = time.Time{}
}

// compete starts a transfer of a competitor.
func (w *world) compete() *flow {
	w.t.Helper()
	from, at := w.ends()
	f := new(flow)
	s := &competitor{conn: from, to: at, cubic: newCubic()}
	r := &competitorReceiver{conn: at, to: from, flow: f}
	go s.run()
	go r.run()
	f.sender = func() senderFigures {
		sent, resent := s.transmissions.Load(), s.repetitions.Load()
		return senderFigures{sent: float64(sent), resent: float64(resent)}
	}
	w.closers = append(w.closers, func() {
		_ = from.Close()
		_ = at.Close()
	})
	return f
}

// run is the sender's goroutine.
func (s *competitor) run() {
	buf := make([]byte, tcpPacket)
	for {
		s.fill()
		_ = s.conn.SetReadDeadline(s.rto)
		n, _, err := s.conn.ReadFrom(buf)
		switch {
		case errors.Is(err, os.ErrDeadlineExceeded):
			s.timeout()
		case err != nil:
			return
		default:
			s.take(buf[:n])
		}
	}
}

// fill sends what the window allows, lost segments first.
func (s *competitor) fill() {
	for float64(s.inFlight) < math.Floor(s.cubic.cwnd) {
		if len(s.lost) > 0 {
			seq := s.lost[0]
			s.lost = s.lost[1:]
			if seq >= s.una && s.sent[seq-s.una].state == segmentLost {
				s.repetitions.Add(1)
				s.transmit(seq, true)
			}
			continue
		}
		s.sent = append(s.sent, transmission{})
		s.transmit(s.una+uint64(len(s.sent))-1, false)
	}
}

func (s *competitor) transmit(seq uint64, repeated bool) {
	now := time.Now()
	if s.inFlight == 0 {
		s.rto = now.Add(s.rtt.rto() << s.backoff)
	}
	s.sent[seq-s.una] = transmission{order: s.order, at: now, repeated: repeated}
	s.order++
	s.inFlight++
	s.transmissions.Add(1)
	packet := make([]byte, tcpPacket)
	putWords(packet, seq)
	_, _ = s.conn.WriteTo(packet, s.to.LocalAddr())
}

// timeout takes everything for lost.
func (s *competitor) timeout() {
	s.cubic.reduce()
	s.cubic.cwnd = 1
	s.recover = s.una + uint64(len(s.sent))
	s.lost = s.lost[:0]
	for i := range s.sent {
		if s.sent[i].state != segmentHeld {
			s.sent[i].state = segmentLost
			s.lost = append(s.lost, s.una+uint64(i))
		}
	}
	s.inFlight = 0
	s.backoff = min(s.backoff+1, 8)
}

// take handles an acknowledgement: everything below the first word, and the ranges that follow.
func (s *competitor) take(packet []byte) {
	words := words(packet)
	newly, rtt := s.arrived(words)
	if newly == 0 {
		return
	}
	now := time.Now()
	if rtt > 0 {
		s.rtt.sample(rtt)
	}
	s.backoff = 0
	s.rto = now.Add(s.rtt.rto())
	s.detect()
	if s.una >= s.recover {
		s.cubic.grow(now, s.rtt.smooth, float64(newly))
	}
}

// arrived marks what the receiver holds, and returns how many segments that are, and the RTT of the
// newest one that was sent once.
func (s *competitor) arrived(words []uint64) (newly int, rtt time.Duration) {
	mark := func(seq uint64) {
		if seq < s.una || seq-s.una >= uint64(len(s.sent)) {
			return
		}
		p := &s.sent[seq-s.una]
		if p.state == segmentHeld {
			return
		}
		if p.state == segmentInFlight {
			s.inFlight--
		}
		p.state = segmentHeld
		newly++
		if p.order+1 > s.newest {
			s.newest = p.order + 1
			if !p.repeated {
				rtt = time.Since(p.at)
			}
		}
	}
	for seq := s.una; seq < words[0]; seq++ {
		mark(seq)
	}
	for r := words[1:]; len(r) >= 2; r = r[2:] {
		for seq := r[0]; seq < r[1]; seq++ {
			mark(seq)
		}
	}
	if words[0] > s.una {
		s.sent = append(s.sent[:0], s.sent[words[0]-s.una:]...)
		s.una = words[0]
	}
	return newly, rtt
}

// detect finds segments lost after which three later transmissions were made of which one has
// arrived.
func (s *competitor) detect() {
	reduce := false
	for i := range s.sent {
		p := &s.sent[i]
		if p.state == segmentInFlight && p.order+3 < s.newest {
			p.state = segmentLost
			s.inFlight--
			seq := s.una + uint64(i)
			s.lost = append(s.lost, seq)
			reduce = reduce || seq >= s.recover
		}
	}
	if reduce {
		s.cubic.reduce()
		s.recover = s.una + uint64(len(s.sent))
	}
	slices.Sort(s.lost)
}

// competitorReceiver acknowledges every second segment, or after 40 ms, and at once while segments
// are missing.
type competitorReceiver struct {
	conn, to *simnet.Endpoint
	flow     *flow
	next     uint64   // the first segment that has not arrived
	blocks   []uint64 // ranges beyond it, each its first segment and the one behind it
	unacked  int
}

func (r *competitorReceiver) run() {
	buf := make([]byte, tcpPacket)
	for {
		n, _, err := r.conn.ReadFrom(buf)
		switch {
		case errors.Is(err, os.ErrDeadlineExceeded):
			r.acknowledge()
		case err != nil:
			return
		default:
			r.take(words(buf[:n])[0])
		}
	}
}

func (r *competitorReceiver) take(seq uint64) {
	inOrder := seq == r.next && len(r.blocks) == 0
	r.add(seq)
	if r.unacked++; !inOrder || r.unacked >= 2 {
		r.acknowledge()
	} else {
		_ = r.conn.SetReadDeadline(time.Now().Add(r.delay()))
	}
}

// delay is 40 ms and a little that varies, so that it does not end in the instant of an arrival.
// Which of both came first would not be determined.
func (r *competitorReceiver) delay() time.Duration {
	return 40*time.Millisecond + time.Duration(r.next*7919%100_003)
}

// add notes that a segment has arrived. The block it belongs to becomes the first.
func (r *competitorReceiver) add(seq uint64) {
	first, end := seq, seq+1
	kept := []uint64(nil)
	for b := r.blocks; len(b) > 0; b = b[2:] {
		if b[0] <= end && first <= b[1] {
			first, end = min(first, b[0]), max(end, b[1])
		} else {
			kept = append(kept, b[0], b[1])
		}
	}
	if first <= r.next {
		if end > r.next {
			r.flow.received.Add(int64(end-r.next) * tcpSegment)
			r.next = end
		}
		r.blocks = kept
		return
	}
	r.blocks = append([]uint64{first, end}, kept...)
}

func (r *competitorReceiver) acknowledge() {
	r.unacked = 0
	_ = r.conn.SetReadDeadline(time.Time{})
	const most = 3 // blocks, beside the timestamp option
	sending := append([]uint64{r.next}, r.blocks[:min(len(r.blocks), 2*most)]...)
	packet := make([]byte, max(tcpAck, len(sending)*8))
	putWords(packet, sending...)
	_, _ = r.conn.WriteTo(packet, r.to.LocalAddr())
}

// TestCompetitorIsLikeAKernel measures the competitor alone and beside another one.
func TestCompetitorIsLikeAKernel(t *testing.T) {
	const span = 60 * time.Second
	run := func(loss float64, flows int) (f figures) {
		b := bottleneck{rtt: 100 * time.Millisecond, loss: loss}
		inWorld(t, 1, b, func(w *world) {
			var all []*flow
			for range flows {
				all = append(all, w.compete())
			}
			f = w.watch(b, span/3, span, all)
		})
		return f
	}
	for _, c := range []struct {
		loss        float64
		flows       int
		least, most float64 // Mbit/s
		p95         time.Duration
		jain        float64
	}{
		{0, 1, 18.9, 19.4, 60 * time.Millisecond, 1},
		{0.01, 1, 0.9, 1.6, 0, 1},
		{0.05, 1, 0.2, 0.6, 0, 1},
		{0, 2, 18.7, 19.4, 60 * time.Millisecond, 0.85},
	} {
		f := run(c.loss, c.flows)
		t.Logf("%d at %g %%: %v", c.flows, c.loss*100, f)
		got := f.total() / 1e6
		if got < c.least || got > c.most || f.p95 < c.p95 || f.jain < c.jain-1e-9 {
			t.Errorf("got %v, want %+v", f, c)
		}
	}
}

// putWords and words are the contents of a competitor's packets, up to the first zero beyond the
// first word. Numbers are sent plus one.
func putWords(packet []byte, numbers ...uint64) {
	for i, n := range numbers {
		binary.LittleEndian.PutUint64(packet[8*i:], n+1)
	}
}

func words(packet []byte) (numbers []uint64) {
	for ; len(packet) >= 8; packet = packet[8:] {
		n := binary.LittleEndian.Uint64(packet)
		if n == 0 {
			break
		}
		numbers = append(numbers, n-1)
	}
	return numbers
}
