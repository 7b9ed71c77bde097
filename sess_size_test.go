// SPDX-License-Identifier: MIT

package kcp

import (
	"testing"
	"unsafe"
)

// An idle session is little more than this struct. With its table entries, and half as much again
// for the garbage collector, it must stay below 2 KiB. Go's allocator has a size class of 1408
// bytes.
func TestSessionStructStaysSmall(t *testing.T) {
	const most = 1408
	if size := unsafe.Sizeof(UDPSession{}); size > most {
		t.Errorf("a session takes %d bytes, want at most %d", size, most)
	}
}
