// SPDX-License-Identifier: MIT

package tables

import (
	"fmt"
	"time"

	"github.com/seedkcp/kcp"
	"github.com/seedkcp/kcp/internal/simnet"
)

const (
	// lineRate is the speed of the line in bits per second, each way.
	lineRate = 20e6
	// udpOverhead is what IPv4 and UDP add to a datagram on the line, in bytes.
	udpOverhead = 28
	// datagram is the size of a full one in bytes, the library's default MTU.
	datagram = 1400
)

// path is a network between two hosts, the same in both directions.
type path struct {
	rtt  time.Duration // without queueing
	loss float64       // the share of packets lost, each way
	run  float64       // packets lost in a row on average, 0 for independent losses
}

var (
	rtts   = []time.Duration{20 * time.Millisecond, 100 * time.Millisecond, 300 * time.Millisecond}
	losses = []float64{0, 0.01, 0.05, 0.20}
)

// paths are the rows of the tables.
func paths() (all []path) {
	for _, rtt := range rtts {
		for _, loss := range losses {
			all = append(all, path{rtt: rtt, loss: loss})
		}
	}
	return all
}

func (p path) String() string { return fmt.Sprintf("%d ms, %g %%", p.rtt.Milliseconds(), p.loss*100) }

// product is the bandwidth-delay product in full datagrams.
func (p path) product() int {
	return int(lineRate * p.rtt.Seconds() / 8 / (datagram + udpOverhead))
}

func (p path) profile() simnet.Profile {
	line := simnet.Profile{Rate: lineRate, Overhead: udpOverhead, Queue: p.product(), Delay: p.rtt / 2}
	if p.run > 0 {
		line.Burst = simnet.BurstLoss(p.loss, p.run)
	} else {
		line.Loss = p.loss
	}
	return line
}

// mode is a column of the tables: one way to set up both ends.
type mode struct {
	name    string
	meaning string // in the document, as a Config
	config  kcp.Config
}

// free is no-delay mode with NoCongestionControl, the ground of the modes below it.
func free() kcp.Config {
	return kcp.Config{NoDelay: true, Interval: 10 * time.Millisecond, FastResend: 2, NoCongestionControl: true}
}

// withFEC is free with parity packets.
func withFEC(data, parity int) mode {
	c := free()
	c.DataShards, c.ParityShards = data, parity
	return mode{
		name:    fmt.Sprintf("FEC %d/%d", data, parity),
		meaning: fmt.Sprintf("no-delay with `DataShards: %d, ParityShards: %d`", data, parity),
		config:  c,
	}
}

// modes are the columns of both tables.
func modes() []mode {
	controlled := free()
	controlled.NoCongestionControl = false
	return []mode{
		{name: "default", meaning: "`Config{}`"},
		{name: "no-delay + cc", meaning: "`NoDelay: true, Interval: 10 * time.Millisecond, FastResend: 2`", config: controlled},
		{name: "no-delay", meaning: "the same with `NoCongestionControl: true`", config: free()},
		withFEC(10, 3), withFEC(3, 1), withFEC(1, 1),
	}
}

// bulkModes are the columns of the table of goodput.
func bulkModes() []mode {
	return append(modes(), mode{
		name: "cubic", meaning: "`CongestionControl: kcp.CongestionCubic`",
		config: kcp.Config{CongestionControl: kcp.CongestionCubic},
	})
}

// groupPath and groupModes are the table of FEC group sizes.
var groupPath = path{rtt: 100 * time.Millisecond, loss: 0.05}

func groupModes() []mode {
	return []mode{{name: "none", config: free()}, withFEC(10, 3), withFEC(3, 1), withFEC(2, 1), withFEC(1, 1)}
}
