// SPDX-License-Identifier: MIT

package kcp

import (
	"math"
	"time"
)

// millis is a point in time or a duration in milliseconds, on the clock of the state machine's
// owner. It does not wrap. Its low 32 bits plus a random origin are the ts on the wire.
type millis int64

// never is the time of an event that is not due.
const never millis = math.MaxInt64

// longest is the longest duration that counts. The scheduler's clock in nanoseconds must hold such
// a time.
const longest = 100 * 365 * 24 * time.Hour

// instant is a point in time in nanoseconds, on the clock of the state machine's owner. The state
// machine counts in its milliseconds.
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
