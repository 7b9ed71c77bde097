// SPDX-License-Identifier: MIT

//go:build kcpdebug

package kcp

import (
	"fmt"
	"sync"
	"unsafe"
)

// bufferDebug reports whether buffers are tracked (build tag kcpdebug).
const bufferDebug = true

const (
	// bufferPoison fills released buffers. It is no valid length, sequence number or command, so
	// that code that reads it fails soon.
	bufferPoison = 0xDB
	// bufferQuarantine is how many released buffers of a class wait before the oldest is used
	// again. A use after release then meets poison instead of another owner's data.
	bufferQuarantine = 64
)

// trackedBuffers replaces the pools. It never returns memory to the garbage collector, so that an
// address always stands for the same buffer.
var trackedBuffers = struct {
	mu       sync.Mutex       // guards all below
	released map[int][][]byte // by class, oldest first
	out      map[*byte]bool   // by first byte: true if in use, false if released
	count    int64            // buffers in use
	reserved int64            // of these, buffers that readers receive into
}{
	released: make(map[int][][]byte),
	out:      make(map[*byte]bool),
}

func debugGetBuffer(n int) []byte {
	size := bufferClass(n)
	if size > bufferLarge {
		return make([]byte, n)
	}
	t := &trackedBuffers
	t.mu.Lock()
	defer t.mu.Unlock()
	var b []byte
	if queue := t.released[size]; len(queue) > bufferQuarantine {
		b = queue[0]
		t.released[size] = queue[1:]
		checkPoison(b)
	} else {
		b = make([]byte, size)
		for i := range b {
			b[i] = ^byte(bufferPoison)
		}
	}
	t.out[unsafe.SliceData(b)] = true
	t.count++
	return b[:n]
}

func debugPutBuffer(b []byte) {
	size := cap(b)
	if size == 0 || size != bufferClass(size) || size > bufferLarge {
		return
	}
	b = b[:size]
	t := &trackedBuffers
	t.mu.Lock()
	defer t.mu.Unlock()
	outstanding, known := t.out[unsafe.SliceData(b)]
	if !known {
		return // not from getBuffer
	}
	if !outstanding {
		panic(fmt.Sprintf("kcp: buffer %p released twice", unsafe.SliceData(b)))
	}
	for i := range b {
		b[i] = bufferPoison
	}
	t.out[unsafe.SliceData(b)] = false
	t.released[size] = append(t.released[size], b)
	t.count--
}

// checkPoison panics if a released buffer was written to.
func checkPoison(b []byte) {
	for i, v := range b {
		if v != bufferPoison {
			panic(fmt.Sprintf("kcp: buffer %p written after its release: byte %d is %#02x",
				unsafe.SliceData(b), i, v))
		}
	}
}

// reserveBuffer takes a buffer that a reader receives into out of the count (1), or puts it back
// (-1): readers keep theirs while their socket is open.
func reserveBuffer(b []byte, by int64) {
	t := &trackedBuffers
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.out[unsafe.SliceData(b)] {
		t.reserved += by
	}
}

// buffersOutstanding returns how many pooled buffers have an owner, without those that readers
// receive into.
func buffersOutstanding() int64 {
	trackedBuffers.mu.Lock()
	defer trackedBuffers.mu.Unlock()
	return trackedBuffers.count - trackedBuffers.reserved
}

// DebugBuffersOutstanding returns how many pooled buffers are in use. It exists only with the tag
// kcpdebug, for tests that look for leaks.
func DebugBuffersOutstanding() int64 { return buffersOutstanding() }
