// SPDX-License-Identifier: MIT

package kcp

import "sync"

// bufferBatch is how many buffers move between a cache and the shared pools at once. The pools'
// cost per buffer is then negligible, and a batch holds 96 KiB.
const bufferBatch = 64

// These are batches on their way from one cache to another, and empty ones.
var (
	fullBatches  sync.Pool
	emptyBatches = sync.Pool{New: func() any { return new([bufferBatch]*[bufferPacket]byte) }}
)

// getPacketBuffer returns a buffer of the class that caches hold. It may take one that a cache has
// spilled: a Write of one message takes its buffer from the pool, and the reader that gets the
// acknowledgement puts it into its cache.
func getPacketBuffer() *[bufferPacket]byte {
	if b, _ := packetBuffers.Get().(*[bufferPacket]byte); b != nil {
		return b
	}
	batch, _ := fullBatches.Get().(*[bufferBatch]*[bufferPacket]byte)
	if batch == nil {
		return new([bufferPacket]byte)
	}
	b := batch[0]
	for _, other := range batch[1:] {
		packetBuffers.Put(other)
	}
	recycleBatch(batch)
	return b
}

// recycleBatch makes a batch available to be filled again.
func recycleBatch(batch *[bufferBatch]*[bufferPacket]byte) {
	clear(batch[:])
	emptyBatches.Put(batch)
}

// bufferCache is a stack of packet-sized buffers for an owner that gets or puts many under a lock
// that it holds anyway. A pair of calls was measured at 5 ns where each buffer returns at once, the
// pool's at 11. With a window of 256 it is 7 against 27, and 11 against 43 if another goroutine
// releases the buffers. A cache takes 1 KiB and keeps up to 128 buffers, so that it suits endpoints
// and workers, not sessions. The zero value is empty and ready. It is not safe for concurrent use.
// A nil cache stands for the shared pools in getSize, put and clone.
type bufferCache struct {
	n    int
	bufs [2 * bufferBatch]*[bufferPacket]byte
}

// bufferCaches has caches for calls that get or put many buffers.
var bufferCaches = sync.Pool{New: func() any { return new(bufferCache) }}

// get returns a buffer like getBuffer(bufferPacket).
func (c *bufferCache) get() []byte {
	if bufferDebug {
		return debugGetBuffer(bufferPacket)
	}
	if c.n == 0 && !c.refill() {
		return getBuffer(bufferPacket)
	}
	c.n--
	b := c.bufs[c.n]
	c.bufs[c.n] = nil // its next owner decides how long it lives
	return b[:]
}

// getSize returns a buffer like getBuffer(n).
func (c *bufferCache) getSize(n int) []byte {
	if c != nil && n > bufferSmall && n <= bufferPacket {
		return c.get()[:n]
	}
	return getBuffer(n)
}

// put is putBuffer for b of any size.
func (c *bufferCache) put(b []byte) {
	if c == nil || bufferDebug || cap(b) != bufferPacket {
		putBuffer(b)
		return
	}
	if c.n == len(c.bufs) {
		c.spill()
	}
	c.bufs[c.n] = (*[bufferPacket]byte)(b[:bufferPacket])
	c.n++
}

// clone returns a copy of data in a buffer. Data that fills less than half of its class gets memory
// of its own size if it is longer than a packet: a peer must not make it cost many times as much.
func (c *bufferCache) clone(data []byte) []byte {
	if n := len(data); n > bufferPacket && 2*n < bufferClass(n) || n > bufferHuge {
		return append([]byte(nil), data...)
	}
	return append(c.getSize(len(data))[:0], data...)
}

// refill takes buffers that another cache has spilled, and reports whether there were any.
func (c *bufferCache) refill() bool {
	batch, _ := fullBatches.Get().(*[bufferBatch]*[bufferPacket]byte)
	if batch == nil {
		return false
	}
	c.n = copy(c.bufs[:], batch[:])
	recycleBatch(batch)
	return true
}

// spill makes half of a full cache available to other caches.
func (c *bufferCache) spill() {
	batch := emptyBatches.Get().(*[bufferBatch]*[bufferPacket]byte)
	c.n -= copy(batch[:], c.bufs[bufferBatch:])
	clear(c.bufs[c.n:])
	fullBatches.Put(batch)
}

// drain releases all buffers of an owner that ends or is idle.
func (c *bufferCache) drain() {
	for _, b := range c.bufs[:c.n] {
		putBuffer(b[:])
	}
	clear(c.bufs[:c.n])
	c.n = 0
}
