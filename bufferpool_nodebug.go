// SPDX-License-Identifier: MIT

//go:build !kcpdebug

package kcp

// bufferDebug reports whether buffers are tracked (build tag kcpdebug).
const bufferDebug = false

func debugGetBuffer(int) []byte { panic("kcp: buffers are tracked with the tag kcpdebug only") }

func debugPutBuffer([]byte) { panic("kcp: buffers are tracked with the tag kcpdebug only") }

// buffersOutstanding is 0 in this build: a counter shared by all processors would cost more than
// the pool itself.
func buffersOutstanding() int64 { return 0 }

func reserveBuffer([]byte, int64) {}
