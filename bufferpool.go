// SPDX-License-Identifier: MIT

package kcp

import "sync"

// These are the size classes of pooled buffers. Each is a size class of Go's allocator too, so that
// rounding wastes no memory.
const (
	// bufferTiny holds a control packet: up to five ACKs, or one short message with its headers.
	bufferTiny = 128
	// bufferSmall holds the messages of chats and games. A session with a few of them queued does
	// not hold the memory of whole packets.
	bufferSmall = 512
	// bufferPacket holds any packet of a path without jumbo frames: the MTU is at most 1500 unless
	// it is discovered.
	bufferPacket = 1536
	// bufferJumbo holds a packet of a path with jumbo frames, and bufferHuge one of a loopback
	// interface (mtuLargest).
	bufferJumbo = 9472
	bufferHuge  = 16384
	// bufferLarge holds the largest UDP payload (65507), and so what one system call moves with
	// segmentation offload.
	bufferLarge = 65536
)

// There is one pool for each class. They hold pointers to arrays, which fit an interface value, so
// that getting and putting allocate nothing.
var (
	tinyBuffers   = sync.Pool{New: func() any { return new([bufferTiny]byte) }}
	smallBuffers  = sync.Pool{New: func() any { return new([bufferSmall]byte) }}
	packetBuffers sync.Pool // see getPacketBuffer
	jumboBuffers  = sync.Pool{New: func() any { return new([bufferJumbo]byte) }}
	hugeBuffers   = sync.Pool{New: func() any { return new([bufferHuge]byte) }}
	largeBuffers  = sync.Pool{New: func() any { return new([bufferLarge]byte) }}
)

// getBuffer returns a buffer of length n with arbitrary contents. The caller owns it until it gives
// it to putBuffer or to another owner. Above bufferLarge it is newly allocated and never pooled.
// getBuffer is safe for concurrent use.
func getBuffer(n int) []byte {
	if bufferDebug {
		return debugGetBuffer(n)
	}
	switch {
	case n > bufferLarge:
		return make([]byte, n)
	case n > bufferHuge:
		return largeBuffers.Get().(*[bufferLarge]byte)[:n]
	case n > bufferJumbo:
		return hugeBuffers.Get().(*[bufferHuge]byte)[:n]
	case n > bufferPacket:
		return jumboBuffers.Get().(*[bufferJumbo]byte)[:n]
	case n > bufferSmall:
		return getPacketBuffer()[:n]
	case n > bufferTiny:
		return smallBuffers.Get().(*[bufferSmall]byte)[:n]
	default:
		return tinyBuffers.Get().(*[bufferTiny]byte)[:n]
	}
}

// putBuffer releases b. No slice of the same memory may be used afterwards. The capacity of b
// determines its pool, so that b may have been shortened, but not at its front. A buffer with the
// capacity of no class, such as nil, is left to the garbage collector. putBuffer is safe for
// concurrent use.
func putBuffer(b []byte) {
	if bufferDebug {
		debugPutBuffer(b)
		return
	}
	switch cap(b) {
	case bufferPacket:
		packetBuffers.Put((*[bufferPacket]byte)(b[:bufferPacket]))
	case bufferSmall:
		smallBuffers.Put((*[bufferSmall]byte)(b[:bufferSmall]))
	case bufferTiny:
		tinyBuffers.Put((*[bufferTiny]byte)(b[:bufferTiny]))
	case bufferJumbo:
		jumboBuffers.Put((*[bufferJumbo]byte)(b[:bufferJumbo]))
	case bufferHuge:
		hugeBuffers.Put((*[bufferHuge]byte)(b[:bufferHuge]))
	case bufferLarge:
		largeBuffers.Put((*[bufferLarge]byte)(b[:bufferLarge]))
	}
}

// bufferClass returns the capacity of getBuffer(n).
func bufferClass(n int) int {
	for _, size := range [...]int{
		bufferTiny, bufferSmall, bufferPacket, bufferJumbo, bufferHuge, bufferLarge,
	} {
		if n <= size {
			return size
		}
	}
	return n
}

// maxDatagram holds any datagram, so that none is truncated, even if the peer's MTU is larger.
const maxDatagram = 65535
