// SPDX-License-Identifier: MIT

package kcp

import (
	"math/bits"
	"time"
)

const (
	second      = instant(time.Second)
	millisecond = instant(time.Millisecond)
	microsecond = instant(time.Microsecond)
)

// mulDiv returns a*b/c without overflow in between, unlimited at most and if c is 0. The arguments
// are not negative.
func mulDiv(a, b, c int64) int64 {
	hi, lo := bits.Mul64(uint64(a), uint64(b))
	if hi >= uint64(c) {
		return unlimited
	}
	q, _ := bits.Div64(hi, lo, uint64(c))
	return int64(min(q, uint64(unlimited)))
}

// perSecond returns the rate of so many bytes in a time, in bytes a second.
func perSecond(bytes int64, took instant) int64 {
	return mulDiv(bytes, int64(second), int64(max(took, 1)))
}

// during returns the bytes of a rate in a time.
func during(rate int64, took instant) int64 {
	return mulDiv(rate, int64(max(took, 0)), int64(second))
}

// percent returns so many percent of n.
func percent(n, p int64) int64 { return mulDiv(n, p, 100) }

// sqrt returns the integer square root, 0 of a negative number.
func sqrt(x int64) int64 {
	if x <= 0 {
		return 0
	}
	// Newton's method from above, where it falls until the root is reached.
	r := int64(1) << ((bits.Len64(uint64(x)) + 1) / 2)
	for {
		n := (r + x/r) / 2
		if n >= r {
			return r
		}
		r = n
	}
}

// cbrt returns the integer cube root, 0 of a negative number (Hacker's Delight, section 11-2).
func cbrt(x int64) int64 {
	if x <= 0 {
		return 0
	}
	var y int64
	for s := 63; s >= 0; s -= 3 {
		y += y
		if b := 3*y*(y+1) + 1; x>>s >= b {
			x -= b << s
			y++
		}
	}
	return y
}
