// SPDX-License-Identifier: MIT

package kcp

import (
	"fmt"
	"strconv"
	"strings"
)

// CongestionControl names the controller of a session: it decides how many bytes are in flight and
// how fast they leave. Each side chooses for what it sends, and the peer need not know. The windows
// of both sides and SetRateLimit apply as well.
//
// Where a round trip takes less than a millisecond, such as on loopback, nothing is paced, and no
// controller but CongestionClassic limits what is in flight. This includes CongestionFixed: use
// SetRateLimit there.
type CongestionControl string

const (
	// CongestionRate measures the path's bandwidth and shortest round trip, and paces what it sends
	// by them. It tells losses at random from those of a full queue: the former do not slow it
	// down. It keeps queues short and shares the path with other flows. It is the default: ""
	// means it too.
	CongestionRate CongestionControl = "rate"

	// CongestionRateAggressive is CongestionRate that probes with a larger window, leaves less of
	// the path free, and allows for more loss at random. It is for a path that nothing else needs.
	CongestionRateAggressive CongestionControl = "rate-aggressive"

	// CongestionCubic is CUBIC (RFC 9438), as TCP uses it. A loss lowers the window by 30 %,
	// whatever its cause.
	CongestionCubic CongestionControl = "cubic"

	// CongestionClassic is the congestion window of KCP, in segments. A loss halves it, and a
	// timeout sets it to one segment. What the window allows leaves at once.
	CongestionClassic CongestionControl = "classic"

	// CongestionFixed sends at the rate of Config.Bandwidth, and makes up for a part of what is
	// lost. It slows down only if much is lost for long, or if round trips take several times as
	// long as the shortest.
	CongestionFixed CongestionControl = "fixed"

	// CongestionOff leaves the data in flight to the windows and to twice what the path has
	// delivered in a round trip. What they allow leaves at once.
	CongestionOff CongestionControl = "off"
)

// congestionNames has the name of each controlKind.
var congestionNames = [...]CongestionControl{
	controlRate:       CongestionRate,
	controlAggressive: CongestionRateAggressive,
	controlCubic:      CongestionCubic,
	controlClassic:    CongestionClassic,
	controlFixed:      CongestionFixed,
	controlOff:        CongestionOff,
}

// kind returns what cc means. An error gives the field or the argument that cc is the value of.
func (cc CongestionControl) kind(name string) (controlKind, error) {
	if cc == "" {
		return controlRate, nil
	}
	var names []string
	for kind, known := range congestionNames {
		if cc == known {
			return controlKind(kind), nil
		}
		names = append(names, string(known))
	}
	return 0, badArgument(name, strconv.Quote(string(cc)), strings.Join(names, ", "))
}

// Bounds of Config.Bandwidth: 8 kbit/s and 32 Gbit/s.
const (
	bandwidthMin = 1000
	bandwidthMax = 4_000_000_000
)

// checkBandwidth returns an error that gives the field or the argument if a bandwidth is out of
// range. 0 is no bandwidth, which CongestionFixed alone needs.
func checkBandwidth(name string, bandwidth int64, kind controlKind) error {
	inRange := bandwidth >= bandwidthMin && bandwidth <= bandwidthMax
	if inRange || bandwidth == 0 && kind != controlFixed {
		return nil
	}
	want := fmt.Sprintf("%d to %d bytes a second", bandwidthMin, int64(bandwidthMax))
	if kind == controlFixed {
		want += ", which " + strconv.Quote(string(CongestionFixed)) + " needs"
	} else {
		want += ", or 0"
	}
	return badArgument(name, bandwidth, want)
}

// setCongestion takes the fields of a Config about congestion control. noControl counts only if cc
// names no controller.
func (o *options) setCongestion(cc CongestionControl, noControl bool, bandwidth int64) (err error) {
	if o.control, err = cc.kind("Config.CongestionControl"); err != nil {
		return err
	}
	switch {
	case cc != "":
		o.modes.set(modeNamedControl, true)
	case noControl:
		o.control = controlOf(1)
	default:
		o.control = controlOf(0)
	}
	o.bandwidth = bandwidth
	return checkBandwidth("Config.Bandwidth", bandwidth, o.control)
}
