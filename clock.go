// SPDX-License-Identifier: MIT

package kcp

import (
	"math"
	"time"
)

// millis is a point in time or a span in milliseconds, on the clock of whoever drives the state machine. It does not
// wrap; only its low 32 bits, plus a random origin, go onto the wire as ts.
type millis int64

// never is the time of an event that will not come.
const never millis = math.MaxInt64

// longest is the most that a duration counts. The scheduler's clock is in nanoseconds as well, and must hold what lies so far
// ahead of it.
const longest = 100 * 365 * 24 * time.Hour

// instant is a point in time in nanoseconds, on the clock of whoever drives the state machine. Its milliseconds are what the
// state machine counts in.
type instant int64

// ms returns the milliseconds that have passed at t.
func (t instant) ms() millis { return millis(t / instant(time.Millisecond)) }

// instant returns the moment at which so many milliseconds have passed.
func (m millis) instant() instant { return instant(m) * instant(time.Millisecond) }

func (m millis) duration() time.Duration { return time.Duration(m) * time.Millisecond }

// toMillis rounds a duration up to whole milliseconds, longest at most.
func toMillis(d time.Duration) millis {
	return millis((min(max(d, -longest), longest) + time.Millisecond - 1) / time.Millisecond)
}
