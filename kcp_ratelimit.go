// SPDX-License-Identifier: MIT

package kcp

// tokenBucket limits the rate of what leaves. Its depth is what the rate allows in burstMillis. The
// last packet of a burst may overdraw it, and what follows waits for that.
//
// The cost of a segment is known only once its packet is sealed, with headers, parity and copies.
// It is estimated when the segment is laid out, and corrected when the packet is out.
type tokenBucket struct {
	rate    uint32 // bytes a second, 0 = unlimited
	serial  uint32 // of the limit; charges under another one are not corrected
	scale   int64  // thousandths of a byte that leave for each byte of a segment, 0 = 1000
	tokens  int64  // thousandths of a byte; negative after a packet that overdrew
	charged int64  // likewise: charged and not yet corrected
	last    millis
}

// burstMillis bounds a burst. A scheduler that wakes a few milliseconds late loses no rate with it,
// and every whole second is within 5 %.
const burstMillis = 20

// set changes the rate. The bucket starts empty.
func (b *tokenBucket) set(rate uint32, now millis) {
	*b = tokenBucket{rate: rate, serial: b.serial + 1, scale: b.scale, last: now}
}

// setScale sets how many thousandths of a byte leave for each byte of a segment.
func (b *tokenBucket) setScale(scale int64) {
	if b.rate != 0 {
		b.scale = scale
	}
}

func (b *tokenBucket) refill(now millis) {
	if d := now - b.last; d > 0 {
		b.tokens = min(b.tokens+min(int64(d), 60000)*int64(b.rate), int64(b.rate)*burstMillis)
		b.last = now
	}
}

// allow reports whether a packet may be sent now.
func (b *tokenBucket) allow(now millis) bool {
	if b.rate == 0 {
		return true
	}
	b.refill(now)
	return b.tokens > 0
}

// spend charges the estimate for n bytes of a segment.
func (b *tokenBucket) spend(n int) {
	if b.rate != 0 {
		cost := int64(n) * 1000
		if b.scale != 0 {
			cost = int64(n) * b.scale
		}
		b.tokens -= cost
		b.charged += cost
	}
}

// rateReceipt is what a flush has been charged so far.
type rateReceipt struct {
	serial  uint32
	charged int64
}

// receipt returns what was charged since the last one.
func (b *tokenBucket) receipt() rateReceipt {
	r := rateReceipt{b.serial, b.charged}
	b.charged = 0
	return r
}

// reconcile replaces what r estimated by the bytes that have left.
func (b *tokenBucket) reconcile(r rateReceipt, bytes int) {
	if b.rate != 0 && b.serial == r.serial {
		b.tokens -= int64(bytes)*1000 - r.charged
	}
}

// readyAt returns when the next packet may be sent.
func (b *tokenBucket) readyAt(now millis) millis {
	if b.rate == 0 {
		return now
	}
	b.refill(now)
	if b.tokens > 0 {
		return now
	}
	return now + millis(-b.tokens/int64(b.rate)) + 1
}
