// SPDX-License-Identifier: MIT

package tables

import (
	"time"

	"github.com/seedkcp/kcp/internal/simnet"
)

// payloadShare is what a full datagram carries of what it takes on the line: 1376 of 1428 bytes.
const payloadShare = float64(datagram-segmentHeader) / (datagram + udpOverhead)

// segmentHeader is the size of a segment's header in bytes.
const segmentHeader = 24

// bottleneck is a line that flows share, the same in both directions.
type bottleneck struct {
	rate    float64       // bits a second; 0: lineRate
	rtt     time.Duration // without queueing
	queue   float64       // in bandwidth-delay products; 0: 1
	packets int           // the queue in datagrams, in place of queue
	loss    float64       // share of packets lost, each way
	run     float64       // losses come in runs of this length on average; 0: independently
	jitter  time.Duration // evenly spread over the delay of each way, with reordering
	policer int           // bytes of a bucket that takes the place of queue and rate
}

func (b bottleneck) bits() float64 {
	if b.rate == 0 {
		return lineRate
	}
	return b.rate
}

// ideal is the goodput in bits a second of a sender that never errs.
func (b bottleneck) ideal() float64 { return b.bits() * payloadShare * (1 - b.loss) }

// queueBytes is the size of the queue. A tenth of a product may be less than what a burst needs,
// but never less than two datagrams.
func (b bottleneck) queueBytes() int {
	queue := b.queue
	if queue == 0 {
		queue = 1
	}
	size := int(b.bits() * b.rtt.Seconds() / 8 * queue)
	if b.packets > 0 {
		size = b.packets * (datagram + udpOverhead)
	}
	return max(size, 2*(datagram+udpOverhead))
}

func (b bottleneck) profile() simnet.Profile {
	p := simnet.Profile{
		Rate: int64(b.bits()), Overhead: udpOverhead, QueueBytes: b.queueBytes(),
		Delay: b.rtt / 2, Loss: b.loss, Jitter: b.jitter / 2, JitterReorders: b.jitter > 0,
	}
	if b.run > 0 {
		p.Loss, p.Burst = 0, simnet.BurstLoss(b.loss, b.run)
	}
	if b.policer > 0 {
		p.Policer = simnet.Policer{Rate: int64(b.bits()), Bucket: b.policer}
		p.Rate, p.QueueBytes = 0, 0
	}
	return p
}
