// SPDX-License-Identifier: MIT

package kcp

import "testing"

// benchBuffers runs bench with the pool alone, and with a cache for each goroutine that calls use.
func benchBuffers(b *testing.B,
	bench func(b *testing.B, use func() (get func() []byte, put func([]byte)))) {
	b.Run("pool", func(b *testing.B) {
		bench(b, func() (func() []byte, func([]byte)) {
			return func() []byte { return getBuffer(1400) }, putBuffer
		})
	})
	b.Run("cache", func(b *testing.B) {
		bench(b, func() (func() []byte, func([]byte)) {
			c := new(bufferCache)
			return c.get, c.put
		})
	})
}

// BenchmarkBufferPair gets a buffer and puts it at once.
func BenchmarkBufferPair(b *testing.B) {
	benchBuffers(b, func(b *testing.B, use func() (func() []byte, func([]byte))) {
		get, put := use()
		b.ReportAllocs()
		for b.Loop() {
			put(get())
		}
	})
}

// BenchmarkBufferWindow holds 256 buffers, as a sender does with its window,
// and releases them together.
func BenchmarkBufferWindow(b *testing.B) {
	benchBuffers(b, func(b *testing.B, use func() (func() []byte, func([]byte))) {
		get, put := use()
		held := make([][]byte, 0, 256)
		b.ReportAllocs()
		for b.Loop() {
			held = append(held, get())
			if len(held) < cap(held) {
				continue
			}
			for _, buf := range held {
				put(buf)
			}
			held = held[:0]
		}
	})
}

// BenchmarkBufferHandOver gets buffers in one goroutine and puts them in another, as Write and the
// reader of ACKs do.
func BenchmarkBufferHandOver(b *testing.B) {
	benchBuffers(b, func(b *testing.B, use func() (func() []byte, func([]byte))) {
		const size = 64
		full, empty := make(chan [][]byte, 16), make(chan [][]byte, 18)
		for range cap(empty) {
			empty <- make([][]byte, 0, size)
		}
		done := make(chan struct{})
		go func() {
			defer close(done)
			_, put := use()
			for batch := range full {
				for _, buf := range batch {
					put(buf)
				}
				empty <- batch[:0]
			}
		}()
		get, _ := use()
		batch := <-empty
		b.ReportAllocs()
		for b.Loop() {
			if batch = append(batch, get()); len(batch) == size {
				full <- batch
				batch = <-empty
			}
		}
		close(full)
		<-done
	})
}
