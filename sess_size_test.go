// SPDX-License-Identifier: MIT

package kcp

import (
	"testing"
	"unsafe"
)

// An idle session is little more than this struct. With its table entries, and half as much again
// for the garbage collector, it must stay below 2 KiB. Go's allocator puts a header of 8 bytes in
// front of an object of more than 512 bytes that has pointers. It has a size class of 1408 bytes,
// and the next is 1536.
func TestSessionStructStaysSmall(t *testing.T) {
	const most = 1408 - 8
	if size := unsafe.Sizeof(UDPSession{}); size > most {
		t.Errorf("a session takes %d bytes, want at most %d", size, most)
	}
}

// The demux of a dialled session serves that session alone. It has a size class of 640 bytes.
func TestDemuxStructStaysSmall(t *testing.T) {
	const most = 640 - 8
	if size := unsafe.Sizeof(demux{}); size > most {
		t.Errorf("a demux takes %d bytes, want at most %d", size, most)
	}
}
