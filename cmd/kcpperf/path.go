// SPDX-License-Identifier: MIT

package main

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/seedkcp/kcp/internal/simnet"
)

// path is a simulated network between the two ends of a test.
type path struct {
	text     string
	seed     uint64
	up, down simnet.Profile // to the server, and back
	queue    string         // as given: packets, or a time at the line's rate
	burst    float64
	loss     float64
}

// pathKey is one of the things that --simulate understands.
type pathKey struct {
	name, value, meaning string
	set                  func(p *path, value string) error
}

var pathKeys = []pathKey{
	{"rtt", "TIME", "round-trip time without queueing", func(p *path, v string) error {
		d, err := parseTime(v)
		p.both(func(l *simnet.Profile) { l.Delay = d / 2 })
		return err
	}},
	{"jitter", "TIME", "most that a packet's way takes longer, each way; packets keep their order", func(p *path, v string) error {
		d, err := parseTime(v)
		p.both(func(l *simnet.Profile) { l.Jitter = d })
		return err
	}},
	{"rate", "SPEED", "speed of the line each way, as in 20Mbit (default unlimited)", func(p *path, v string) error {
		n, err := parseBits(v)
		p.both(func(l *simnet.Profile) { l.Rate = n })
		return err
	}},
	{"up", "SPEED", "speed towards the server", func(p *path, v string) (err error) {
		p.up.Rate, err = parseBits(v)
		return err
	}},
	{"down", "SPEED", "speed towards the client", func(p *path, v string) (err error) {
		p.down.Rate, err = parseBits(v)
		return err
	}},
	{"queue", "N|TIME", "packets that wait for the line before it drops them, or how long they wait (default: one RTT, at least 32)",
		func(p *path, v string) error { p.queue = v; return nil }},
	{"loss", "SHARE", "share of packets lost, each way, as in 5%", func(p *path, v string) (err error) {
		p.loss, err = parseShare(v)
		return err
	}},
	{"burst", "N", "mean number of packets in a row that loss takes (default 1)", func(p *path, v string) (err error) {
		if p.burst, err = strconv.ParseFloat(v, 64); err == nil && !(p.burst >= 1 && p.burst <= 1000) {
			err = fmt.Errorf("%q is not a number from 1 to 1000", v)
		}
		return err
	}},
	{"reorder", "SHARE", "share of packets held back while others pass", func(p *path, v string) error {
		share, err := parseShare(v)
		p.both(func(l *simnet.Profile) { l.Reorder = share })
		return err
	}},
	{"hold", "TIME", "how long those are held back (default 10ms)", func(p *path, v string) error {
		d, err := parseTime(v)
		p.both(func(l *simnet.Profile) { l.ReorderDelay = d })
		return err
	}},
	{"duplicate", "SHARE", "share of packets that arrive twice", func(p *path, v string) error {
		share, err := parseShare(v)
		p.both(func(l *simnet.Profile) { l.Duplicate = share })
		return err
	}},
	{"corrupt", "SHARE", "share of packets with a bit flipped", func(p *path, v string) error {
		share, err := parseShare(v)
		p.both(func(l *simnet.Profile) { l.Corrupt = share })
		return err
	}},
	{"outage", "DOWN@AFTER", "everything is lost for DOWN, once, AFTER the start, as in 500ms@3s", func(p *path, v string) error {
		down, after, ok := strings.Cut(v, "@")
		d, err1 := parseTime(down)
		a, err2 := parseTime(after)
		if !ok || err1 != nil || err2 != nil {
			return fmt.Errorf("%q is not two times as in 500ms@3s", v)
		}
		p.both(func(l *simnet.Profile) { l.Outage = simnet.Outage{After: a, Down: d} })
		return nil
	}},
	{"mtu", "N", "largest datagram that passes", func(p *path, v string) error {
		n, err := parseCount(v, 1, 65507)
		p.both(func(l *simnet.Profile) { l.MTU = n })
		return err
	}},
	{"seed", "N", "chooses which packets meet which fault (default 1)", func(p *path, v string) (err error) {
		p.seed, err = strconv.ParseUint(v, 10, 64)
		return err
	}},
}

func (p *path) both(set func(l *simnet.Profile)) {
	set(&p.up)
	set(&p.down)
}

// udpHeaders is what IPv4 and UDP add to a datagram on the line, in bytes.
const udpHeaders = 28

// parsePath reads what --simulate was given, as in "rtt=100ms loss=5% rate=20Mbit".
func parsePath(text string) (*path, error) {
	p := &path{text: text, seed: 1, burst: 1}
	p.both(func(l *simnet.Profile) { l.Overhead, l.ReorderDelay = udpHeaders, 10*time.Millisecond })
	for _, field := range strings.FieldsFunc(text, func(r rune) bool { return r == ' ' || r == ',' || r == '\t' || r == '\n' }) {
		key, value, ok := strings.Cut(field, "=")
		i := slices.IndexFunc(pathKeys, func(k pathKey) bool { return k.name == key })
		if i < 0 {
			var names []string
			for _, k := range pathKeys {
				names = append(names, k.name)
			}
			return nil, fmt.Errorf("there is no %q: want one of %s", key, strings.Join(names, ", "))
		}
		if !ok {
			return nil, fmt.Errorf("%s has no value: want %s=%s", key, key, pathKeys[i].value)
		}
		if err := pathKeys[i].set(p, value); err != nil {
			return nil, fmt.Errorf("%s: %w", key, err)
		}
	}
	return p, p.finish()
}

// finish derives what depends on several keys.
func (p *path) finish() error {
	if p.burst > 1 && p.loss > 0 {
		if p.loss >= 1 || p.loss/(1-p.loss) > p.burst {
			return fmt.Errorf("loss: %g%% cannot be lost in runs of %g on average", p.loss*100, p.burst)
		}
		p.both(func(l *simnet.Profile) { l.Burst = simnet.BurstLoss(p.loss, p.burst) })
	} else {
		p.both(func(l *simnet.Profile) { l.Loss = p.loss })
	}
	for _, l := range []*simnet.Profile{&p.up, &p.down} {
		if err := p.setQueue(l); err != nil {
			return err
		}
		if err := l.Validate(); err != nil {
			return errors.New(strings.TrimPrefix(err.Error(), "simnet: "))
		}
	}
	return nil
}

// setQueue turns a time into as many full packets as leave in it.
func (p *path) setQueue(l *simnet.Profile) error {
	packets := func(d time.Duration) int {
		return int(float64(l.Rate) * d.Seconds() / 8 / (1400 + udpHeaders))
	}
	switch n, err := strconv.Atoi(p.queue); {
	case p.queue == "":
		if l.Rate > 0 {
			l.Queue = max(32, packets(2*l.Delay))
		}
	case err == nil && n >= 1:
		l.Queue = n
	default:
		d, err := parseTime(p.queue)
		if err != nil || d <= 0 {
			return fmt.Errorf("queue: %q is neither a number of packets nor a time", p.queue)
		}
		if l.Rate == 0 {
			return errors.New("queue: a time needs a rate")
		}
		l.Queue = max(1, packets(d))
	}
	return nil
}

// fullWindow is what fits the path: one and a half times its bandwidth-delay product, in segments.
func (p *path) fullWindow(mtu int) int {
	rate := max(p.up.Rate, p.down.Rate)
	return int(float64(rate) * (2 * p.up.Delay).Seconds() / 8 / float64(mtu+udpHeaders) * 1.5)
}
