// SPDX-License-Identifier: MIT

package kcp

import (
	"testing"
	"unsafe"
)

// An idle session is this struct and little else: with its places in the tables, and half as much again for the garbage
// collector, it has to stay below 2 KiB. 1408 bytes are a size class of Go's allocator.
func TestSessionStructStaysSmall(t *testing.T) {
	const most = 1408
	if size := unsafe.Sizeof(UDPSession{}); size > most {
		t.Errorf("a session takes %d bytes, want at most %d", size, most)
	}
}
