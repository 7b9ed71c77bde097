// SPDX-License-Identifier: MIT

package kcp

// controlKind is a way of congestion control.
type controlKind uint8

const (
	controlRate       controlKind = iota // by the rate that the path delivers
	controlAggressive                    // likewise, and asks more of the path
	controlCubic                         // RFC 9438, paced
	controlClassic                       // KCP's own window
	controlFixed                         // a rate that is given
	controlOff                           // none but flightLimit
)

// controlOf returns what nc of SetNoDelay selects.
func controlOf(nc int) controlKind {
	if nc == 1 {
		return controlOff
	}
	return controlClassic
}

// newController returns a controller of a kind, nil for none.
func newController(kind controlKind, bandwidth int64) controller {
	switch kind {
	case controlClassic:
		return newCongestion()
	}
	return nil
}
