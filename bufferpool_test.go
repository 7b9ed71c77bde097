// SPDX-License-Identifier: MIT

package kcp

import (
	"runtime/debug"
	"slices"
	"testing"
	"unsafe"
)

// bufferTestLossy reports whether the race detector is on. Then sync.Pool drops buffers at random,
// and allocations cannot be counted.
func bufferTestLossy() bool {
	info, ok := debug.ReadBuildInfo()
	return ok && slices.Contains(info.Settings, debug.BuildSetting{Key: "-race", Value: "true"})
}

func TestBufferHasItsLengthAndTheCapacityOfItsClass(t *testing.T) {
	for _, tt := range []struct{ n, wantCap int }{
		{0, 128}, {1, 128}, {128, 128},
		{129, 512}, {512, 512},
		{513, 1536}, {1400, 1536}, {1500, 1536}, {1536, 1536},
		{1537, 9472}, {8972, 9472}, {9472, 9472}, {9473, 16384}, {16384, 16384},
		{16385, 65536}, {65507, 65536}, {65536, 65536},
	} {
		b := getBuffer(tt.n)
		if len(b) != tt.n || cap(b) != tt.wantCap {
			t.Errorf("getBuffer(%d): got length %d, capacity %d, want length %d, capacity %d",
				tt.n, len(b), cap(b), tt.n, tt.wantCap)
		}
		if got := bufferClass(tt.n); got != tt.wantCap {
			t.Errorf("bufferClass(%d): got %d, want %d", tt.n, got, tt.wantCap)
		}
		putBuffer(b)
	}
}

func TestBufferAboveTheLargestClassIsPlainMemory(t *testing.T) {
	before := buffersOutstanding()
	b := getBuffer(bufferLarge + 1)
	if len(b) != bufferLarge+1 {
		t.Errorf("got length %d, want %d", len(b), bufferLarge+1)
	}
	if got := buffersOutstanding(); got != before {
		t.Errorf("got %d buffers outstanding, want %d as before", got, before)
	}
	putBuffer(b)
}

func TestForeignMemoryMayBePut(t *testing.T) {
	whole := getBuffer(bufferPacket)
	defer putBuffer(whole)
	for name, b := range map[string][]byte{
		"nil":             nil,
		"empty":           {},
		"odd size":        make([]byte, 100),
		"between classes": make([]byte, 1000, 2000),
		"cut at front":    whole[24:],
		"huge":            make([]byte, 1<<20),
	} {
		before := buffersOutstanding()
		putBuffer(b)
		if got := buffersOutstanding(); got != before {
			t.Errorf("%s: got %d buffers outstanding, want %d as before", name, got, before)
		}
	}
	for range 1000 {
		b := getBuffer(bufferPacket)
		if cap(b) != bufferPacket {
			t.Fatalf("got a buffer of capacity %d, want %d", cap(b), bufferPacket)
		}
		defer putBuffer(b)
	}
}

func TestBufferCutShortComesBackWhole(t *testing.T) {
	for _, size := range []int{
		bufferTiny, bufferSmall, bufferPacket, bufferJumbo, bufferHuge, bufferLarge,
	} {
		putBuffer(getBuffer(size)[:0])
		b := getBuffer(size)
		if len(b) != size {
			t.Errorf("got length %d, want %d", len(b), size)
		}
		putBuffer(b)
	}
}

// bufferTestOwners takes buffers from get and fails if one is handed out twice.
func bufferTestOwners(t *testing.T, get func() []byte, held map[*byte]bool, n int) {
	t.Helper()
	for range n {
		b := get()
		if len(b) == 0 {
			t.Fatal("got an empty buffer")
		}
		p := unsafe.SliceData(b)
		if held[p] {
			t.Fatalf("buffer %p was handed out while it has an owner", p)
		}
		held[p] = true
	}
}

func TestNoBufferHasTwoOwners(t *testing.T) {
	var one, other bufferCache
	held := make(map[*byte]bool)
	pool := func() []byte { return getBuffer(bufferPacket) }
	release := func(put func([]byte), n int) {
		for p := range held {
			if n == 0 {
				return
			}
			delete(held, p)
			put(unsafe.Slice(p, bufferPacket))
			n--
		}
	}
	before := buffersOutstanding()
	for range 20 {
		bufferTestOwners(t, one.get, held, 300)
		bufferTestOwners(t, pool, held, 50)
		release(other.put, 200)
		bufferTestOwners(t, one.get, held, 100)
		release(putBuffer, 20)
		release(one.put, 10)
		bufferTestOwners(t, other.get, held, 250)
		release(other.put, 470)
	}
	release(putBuffer, len(held))
	one.drain()
	other.drain()
	if got := buffersOutstanding(); got != before {
		t.Errorf("got %d buffers outstanding, want %d as before", got, before)
	}
}

func TestBufferCacheMovesWholeBatches(t *testing.T) {
	if bufferDebug || bufferTestLossy() {
		t.Skip("buffers bypass the cache's batches in this build")
	}
	// What one processor put last is out of another's reach. A move between processors makes an
	// attempt fail, but not a hundred of them.
	for range 100 {
		if bufferTestMove(t) {
			return
		}
	}
	t.Error("no cache was ever refilled with what another spilled")
}

// bufferTestMove overfills one cache, refills another and reports whether
// the buffers arrived.
func bufferTestMove(t *testing.T) bool {
	for new(bufferCache).refill() {
		// Left over from other tests.
	}
	var from, to bufferCache
	released := make(map[*byte]bool)
	for range 2*bufferBatch + 1 {
		b := make([]byte, bufferPacket)
		released[unsafe.SliceData(b)] = true
		from.put(b)
	}
	if got, want := from.n, bufferBatch+1; got != want {
		t.Fatalf("after one put more than fits: got %d buffers in the cache, want %d", got, want)
	}
	kept := func(p *[bufferPacket]byte) bool { return p != nil }
	if slices.ContainsFunc(from.bufs[from.n:], kept) {
		t.Fatal("the cache keeps what it spilled")
	}
	from.drain()
	if from != (bufferCache{}) {
		t.Fatal("the cache keeps what it drained")
	}
	b := to.get()
	if to.n == 0 {
		return false
	}
	if got, want := to.n, bufferBatch-1; got != want {
		t.Fatalf("after a refill: got %d buffers in the cache, want %d", got, want)
	}
	if !released[unsafe.SliceData(b)] || len(b) != bufferPacket {
		t.Fatalf("got a buffer of length %d, spilled: %v, want one of %d that was",
			len(b), released[unsafe.SliceData(b)], bufferPacket)
	}
	return true
}

func TestBufferCacheTakesAnySize(t *testing.T) {
	var c bufferCache
	before := buffersOutstanding()
	for _, b := range [][]byte{
		nil, make([]byte, 7), getBuffer(1), getBuffer(bufferLarge), c.get()[:3],
	} {
		c.put(b)
	}
	if b := c.get(); len(b) != bufferPacket {
		t.Errorf("got length %d, want %d", len(b), bufferPacket)
	} else {
		c.put(b)
	}
	c.drain()
	if got := buffersOutstanding(); got != before {
		t.Errorf("got %d buffers outstanding, want %d as before", got, before)
	}
}

func TestBuffersCostNoAllocation(t *testing.T) {
	if bufferDebug || bufferTestLossy() {
		t.Skip("the pool drops buffers in this build")
	}
	var c bufferCache
	for name, pair := range map[string]func(){
		"tiny":   func() { putBuffer(getBuffer(10)) },
		"small":  func() { putBuffer(getBuffer(400)) },
		"packet": func() { putBuffer(getBuffer(1400)) },
		"large":  func() { putBuffer(getBuffer(60000)) },
		"cache":  func() { c.put(c.get()) },
		// This is a Write of one message, and a reader with a cache that receives its
		// acknowledgement.
		"packet to cache": func() { c.put(getBuffer(1024)) },
		"cache to packet": func() { putBuffer(c.get()) },
	} {
		if got := testing.AllocsPerRun(1000, pair); got != 0 {
			t.Errorf("%s: got %v allocations a pair, want 0", name, got)
		}
	}
}
