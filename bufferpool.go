// SPDX-License-Identifier: MIT

package kcp

import "sync"

// The size classes of pooled buffers. Each is a size class of Go's allocator
// too, so that none wastes memory on rounding.
const (
	// bufferTiny holds a control packet: up to five ACKs, or one short
	// message with its headers.
	bufferTiny = 128
	// bufferSmall holds the messages of chats and games; an idle-ish session
	// with one of them queued does not hold a whole packet's memory.
	bufferSmall = 512
	// bufferPacket holds any packet: the MTU is at most 1500.
	bufferPacket = 1536
	// bufferLarge holds the largest UDP payload (65507) and so what one
	// system call moves with segmentation offload.
	bufferLarge = 65536
)

// One pool for each class. They hold pointers to arrays, which fit an
// interface value: neither getting nor putting allocates.
var (
	tinyBuffers   = sync.Pool{New: func() any { return new([bufferTiny]byte) }}
	smallBuffers  = sync.Pool{New: func() any { return new([bufferSmall]byte) }}
	packetBuffers sync.Pool // see getPacketBuffer
	largeBuffers  = sync.Pool{New: func() any { return new([bufferLarge]byte) }}
)

// getBuffer returns a buffer of length n whose contents are arbitrary. The
// caller owns it until it hands it to putBuffer or to another owner. Above
// bufferLarge it is freshly allocated and never pooled. Safe for concurrent
// use.
func getBuffer(n int) []byte {
	if bufferDebug {
		return debugGetBuffer(n)
	}
	switch {
	case n > bufferLarge:
		return make([]byte, n)
	case n > bufferPacket:
		return largeBuffers.Get().(*[bufferLarge]byte)[:n]
	case n > bufferSmall:
		return getPacketBuffer()[:n]
	case n > bufferTiny:
		return smallBuffers.Get().(*[bufferSmall]byte)[:n]
	default:
		return tinyBuffers.Get().(*[bufferTiny]byte)[:n]
	}
}

// putBuffer gives b back; nobody may use b, or any other slice of the same
// memory, from here on. Its capacity says which pool it goes to, so b may
// have been cut short, but not cut at its front: a buffer of no class's
// capacity, nil among them, is left to the garbage collector. Safe for
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
	case bufferLarge:
		largeBuffers.Put((*[bufferLarge]byte)(b[:bufferLarge]))
	}
}

// bufferClass returns the capacity that getBuffer(n) gives.
func bufferClass(n int) int {
	for _, size := range [...]int{bufferTiny, bufferSmall, bufferPacket, bufferLarge} {
		if n <= size {
			return size
		}
	}
	return n
}

// maxDatagram holds any datagram, so that none is ever cut short, also that of a peer with a larger MTU than ours.
const maxDatagram = 65535
