// SPDX-License-Identifier: MIT

package kcp

import (
	"encoding/binary"
	"maps"
	"math/rand/v2"
	"testing"
)

// fecLegacySender is an encoder as legacy versions before v5.6.16 have it. A group whose last
// packet comes 500 ms or more after the one before has no parity, and no seqids are used for it.
type fecLegacySender struct {
	*fecEncoder
	skips bool // or the later versions: the seqids are skipped
}

func (e *fecLegacySender) send(payload []byte, nowMillis int64) [][]byte {
	packets := fecSend(e.fecEncoder, payload, nowMillis)
	if e.filled == 0 && len(packets) == 1 && !e.skips {
		e.next -= uint32(e.shape.parity())
	}
	return packets
}

// fecOracle knows the groups. It counts the data packets that could be recovered.
type fecOracle struct {
	lost, arrived, could int
}

func (o *fecOracle) end(shape fecShape) {
	if o.arrived >= shape.data {
		o.could += o.lost
	}
	o.lost, o.arrived = 0, 0
}

// fecLossRun sends the packets of one sender with pauses to a decoder.
func fecLossRun(t *testing.T, shape fecShape, skips, bursts bool, packets int,
	seed uint64) (share float64) {
	t.Helper()
	r := rand.New(rand.NewPCG(seed, uint64(shape.total)<<8|uint64(shape.data)))
	e := &fecLegacySender{fecNewEncoder(t, shape), skips}
	d := fecNewDecoder(t, fecShape{})
	switch r.IntN(3) {
	case 0:
		d.hint(shape.data, shape.parity())
	case 1:
		d.hint(10, 3)
	}
	const conv = 0x11223344
	d.expectConv(conv)
	var o fecOracle
	lost := map[string]int{} // payloads not yet back, and when they were lost
	now, dropping, made, back := int64(0), false, 0, 0
	for n := range packets {
		if now++; r.IntN(100) == 0 {
			now += 600
		}
		payload := fecRandom(r, 60) // all of one size, and alike in front as bulk data is
		binary.LittleEndian.PutUint32(payload, conv)
		binary.LittleEndian.PutUint32(payload[4:], 0x00200051)
		binary.LittleEndian.PutUint32(payload[12:], uint32(n))
		binary.LittleEndian.PutUint32(payload[20:], 36)
		for _, p := range e.send(payload, now) {
			if bursts {
				if dropping {
					dropping = r.IntN(4) != 0
				} else {
					dropping = r.IntN(76) == 0
				}
			} else {
				dropping = r.IntN(20) == 0
			}
			if !dropping {
				o.arrived++
				for _, got := range d.input(p) {
					if _, ok := lost[string(got)]; !ok {
						made++
					}
					delete(lost, string(got))
					back++
				}
			} else if !fecIsParity(p) {
				o.lost++
				lost[string(payload)] = n
			}
		}
		if e.filled == 0 {
			o.end(shape)
		}
		if len(lost) > 1<<14 {
			maps.DeleteFunc(lost, func(_ string, when int) bool {
				return when < n-2*fecWindowLarge
			})
		}
	}
	if made > 0 {
		t.Errorf("%d+%d, skips %v, bursts %v, seed %d: %d packets were made up",
			shape.data, shape.parity(), skips, bursts, seed, made)
	}
	if o.could == 0 {
		return 1
	}
	return float64(back) / float64(o.could)
}

// Senders of old and later versions pause at times, so that groups begin anywhere. Every recovered
// packet must have been sent, and nearly all recoverable ones must be recovered. With -long,
// 1,000,000 packets for each shape.
func TestFECGroupsOfDeployedSendersAreCertain(t *testing.T) {
	packets := 8000
	if *longForm {
		packets = 1_000_000
	}
	for _, shape := range []fecShape{
		{1, 2}, {2, 3}, {2, 4}, {3, 4}, {3, 5}, {4, 6}, {1, 4}, {2, 7}, {5, 10}, {5, 7}, {7, 8},
		{10, 13}, {10, 11}, {10, 20}, {16, 20}, {20, 30},
	} {
		for _, skips := range []bool{false, true} {
			for _, bursts := range []bool{false, true} {
				share := fecLossRun(t, shape, skips, bursts, packets, 1)
				t.Logf("%d+%d, seqids skipped %v, bursts %v: %.2f %% of what an oracle recovers",
					shape.data, shape.parity(), skips, bursts, 100*share)
				if share < 0.95 {
					t.Errorf("%d+%d, skips %v, bursts %v: %.3f of an oracle's, want 0.95",
						shape.data, shape.parity(), skips, bursts, share)
				}
			}
		}
	}
}

// Packets that differ only in their sequence number agree with many values of k at the beginning of
// a stream. Every recovered packet must still have been sent, and the true k must be found soon.
func TestFECPacketsThatHardlyDifferProveNoWrongShape(t *testing.T) {
	for _, shape := range []fecShape{{3, 10}, {4, 7}, {10, 13}, {20, 30}} {
		for seed := range uint64(150) {
			r := rand.New(rand.NewPCG(seed, uint64(shape.total)))
			e := fecNewEncoder(t, shape)
			e.lastMillis = 0
			d := fecNewDecoder(t, fecShape{})
			lost := map[string]bool{}
			payload := make([]byte, 60)
			for n := range 20 * shape.data {
				// the sequence number of a segment
				binary.LittleEndian.PutUint16(payload[12:], uint16(n))
				for _, p := range fecSend(e, payload, 0) {
					if r.IntN(5) == 0 {
						lost[string(p[fecHeaderSize:])] = true
						continue
					}
					for _, got := range d.input(p) {
						if !lost[string(got)] {
							t.Errorf("%v, seed %d, packet %d: made up %x", shape, seed, n, got)
						}
					}
				}
			}
			if d.shape.data != shape.data {
				t.Errorf("%v, seed %d: got %v after 20 groups", shape, seed, d.shape)
			}
			d.release()
		}
	}
}
