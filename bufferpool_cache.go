// SPDX-License-Identifier: MIT

package kcp

import "sync"

// bufferBatch is how many buffers move between a cache and the shared pools
// at once: enough to make the pools' cost per buffer vanish, and 96 KiB of
// memory.
const bufferBatch = 64

// Batches on their way from one cache to another, and emptied ones to fill.
var (
	fullBatches  sync.Pool
	emptyBatches = sync.Pool{New: func() any { return new([bufferBatch]*[bufferPacket]byte) }}
)

// getPacketBuffer returns a buffer of the class that caches hold. One that no cache asks for may lie in what a cache has
// spilled: a Write of one message takes its buffer from the pool, and the reader, to whom the acknowledgement comes, puts
// it into its cache.
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

// recycleBatch lets a batch be filled again.
func recycleBatch(batch *[bufferBatch]*[bufferPacket]byte) {
	clear(batch[:])
	emptyBatches.Put(batch)
}

// bufferCache is a stack of packet-sized buffers for one owner who gets or
// puts many under a lock that it holds anyway. A pair of calls was measured
// at 5 ns against the pool's 11 where each buffer comes back at once, at 7
// against 27 where a window of 256 is held, and at 11 against 43 where
// another goroutine releases them. A cache takes 1 KiB itself and keeps up to
// 128 buffers, so it is for endpoints and workers, not for sessions. The
// zero value is empty and ready. It must not be used by several goroutines
// at once. A nil one stands for the shared pools in getSize, put and clone.
type bufferCache struct {
	n    int
	bufs [2 * bufferBatch]*[bufferPacket]byte
}

// bufferCaches lends a cache to a call that gets or puts many buffers.
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
	c.bufs[c.n] = nil // its next owner alone decides how long it lives
	return b[:]
}

// getSize returns a buffer like getBuffer(n).
func (c *bufferCache) getSize(n int) []byte {
	if c != nil && n > bufferSmall && n <= bufferPacket {
		return c.get()[:n]
	}
	return getBuffer(n)
}

// put is putBuffer: b may be of any size.
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

// clone returns a copy of data in a buffer. One that is longer than a packet gets memory of its own size, not a buffer of the
// next class, which is 40 times as large.
func (c *bufferCache) clone(data []byte) []byte {
	if len(data) > bufferPacket {
		return append([]byte(nil), data...)
	}
	return append(c.getSize(len(data))[:0], data...)
}

// refill takes over what another cache spilled, and reports whether there
// was anything.
func (c *bufferCache) refill() bool {
	batch, _ := fullBatches.Get().(*[bufferBatch]*[bufferPacket]byte)
	if batch == nil {
		return false
	}
	c.n = copy(c.bufs[:], batch[:])
	recycleBatch(batch)
	return true
}

// spill hands half of a full cache to the others.
func (c *bufferCache) spill() {
	batch := emptyBatches.Get().(*[bufferBatch]*[bufferPacket]byte)
	c.n -= copy(batch[:], c.bufs[bufferBatch:])
	clear(c.bufs[c.n:])
	fullBatches.Put(batch)
}

// drain gives all buffers back, as an owner does that ends or has been idle.
func (c *bufferCache) drain() {
	for _, b := range c.bufs[:c.n] {
		putBuffer(b[:])
	}
	clear(c.bufs[:c.n])
	c.n = 0
}
