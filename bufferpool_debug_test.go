// SPDX-License-Identifier: MIT

//go:build kcpdebug

package kcp

import (
	"strings"
	"testing"
)

// bufferTestPanic runs f and fails unless it panics with a message that
// contains want.
func bufferTestPanic(t *testing.T, want string, f func()) {
	t.Helper()
	defer func() {
		t.Helper()
		if got, _ := recover().(string); !strings.Contains(got, want) {
			t.Errorf("got panic %q, want one about %q", got, want)
		}
	}()
	f()
}

func TestDoubleReleasePanics(t *testing.T) {
	var c bufferCache
	for name, put := range map[string]func([]byte){"pool": putBuffer, "cache": c.put} {
		t.Run(name, func(t *testing.T) {
			for _, size := range []int{
				bufferTiny, bufferSmall, bufferPacket, bufferJumbo, bufferHuge, bufferLarge,
			} {
				b := getBuffer(size)
				put(b[:1])
				bufferTestPanic(t, "released twice", func() { put(b) })
			}
		})
	}
}

func TestReleasedBufferIsPoisoned(t *testing.T) {
	b := getBuffer(1400)
	clear(b)
	putBuffer(b[:10])
	for i, v := range b {
		if v != bufferPoison {
			t.Fatalf("byte %d: got %#02x, want %#02x", i, v, bufferPoison)
		}
	}
}

func TestWriteAfterReleasePanicsAtTheNextOwner(t *testing.T) {
	b := getBuffer(1400)
	putBuffer(b)
	b[100]++
	defer func() { b[100] = bufferPoison }()
	bufferTestPanic(t, "written after its release: byte 100", func() {
		for range 100_000 {
			putBuffer(getBuffer(1400))
		}
	})
}

func TestOutstandingBuffersAreCounted(t *testing.T) {
	before := buffersOutstanding()
	var c bufferCache
	held := [][]byte{getBuffer(1), getBuffer(1400), getBuffer(65536), c.get()}
	if got, want := buffersOutstanding(), before+4; got != want {
		t.Errorf("got %d, want %d", got, want)
	}
	for _, b := range held {
		putBuffer(b)
	}
	if got := buffersOutstanding(); got != before {
		t.Errorf("after the release: got %d, want %d", got, before)
	}
}
