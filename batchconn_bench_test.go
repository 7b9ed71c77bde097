// SPDX-License-Identifier: MIT

package kcp

import (
	"net"
	"sync/atomic"
	"testing"
	"time"
)

// batchBenchModes are the implementations of batchConn. Each falls back to the next where the
// system does not support it.
var batchBenchModes = []struct {
	name string
	make func(testing.TB, *net.UDPConn) batchConn
}{
	{"gso", func(_ testing.TB, conn *net.UDPConn) batchConn { return newBatchConn(conn) }},
	{"mmsg", func(t testing.TB, conn *net.UDPConn) batchConn {
		t.Setenv("KCP_DISABLE_GSO", "1")
		t.Setenv("KCP_DISABLE_GRO", "1")
		return newBatchConn(conn)
	}},
	{"portable", func(_ testing.TB, conn *net.UDPConn) batchConn {
		c := newPortableConn(conn)
		c.chooseSources()
		return c
	}},
}

// BenchmarkBatchOneWay sends runs of 46 datagrams of 1400 bytes in one direction over loopback, a
// window of them at a time.
func BenchmarkBatchOneWay(b *testing.B) {
	const segment, segments = 1400, 46
	for _, mode := range batchBenchModes {
		b.Run(mode.name, func(b *testing.B) {
			rc, sc := batchSocket(b, "127.0.0.1:0"), batchSocket(b, "127.0.0.1:0")
			setDefaultBuffers(rc)
			setDefaultBuffers(sc)
			from, to := mode.make(b, sc), mode.make(b, rc)
			var got, sent atomic.Int64
			go batchBenchCount(to, &got)
			run := make([]byte, segment*segments)
			p := []outgoing{{buf: run, segment: segment, to: batchAddr(rc)}}
			window := batchBenchWindow(b, rc)
			var lost int64
			b.SetBytes(segment * segments)
			b.ReportAllocs()
			for b.Loop() {
				lost += batchBenchWait(&sent, &got, window)
				n, _, err := from.writeBatch(p)
				if err != nil {
					b.Fatal(err)
				}
				sent.Add(int64(n * segment))
			}
			b.ReportMetric(float64(lost)/segment/float64(b.N), "lost/op")
		})
	}
}

// BenchmarkBatchPeers sends one small datagram to each of 64 peers in a batch.
func BenchmarkBatchPeers(b *testing.B) {
	for _, mode := range batchBenchModes {
		b.Run(mode.name, func(b *testing.B) {
			rc, sc := batchSocket(b, "127.0.0.1:0"), batchSocket(b, "127.0.0.1:0")
			setDefaultBuffers(rc)
			from, to := mode.make(b, sc), mode.make(b, rc)
			var got, sent atomic.Int64
			go batchBenchCount(to, &got)
			p := make([]outgoing, 64)
			for i := range p {
				p[i] = outgoing{buf: make([]byte, 100), to: batchAddr(rc)}
			}
			window := batchBenchWindow(b, rc) / 8 // the kernel counts 768 bytes for such a datagram
			b.ReportAllocs()
			for b.Loop() {
				batchBenchWait(&sent, &got, window)
				n, _, err := from.writeBatch(p)
				if err != nil {
					b.Fatal(err)
				}
				sent.Add(int64(n * 100))
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/64, "ns/datagram")
		})
	}
}

// BenchmarkBatchEcho exchanges 64 bytes; "socket" uses package net's methods alone.
func BenchmarkBatchEcho(b *testing.B) {
	b.Run("socket", func(b *testing.B) {
		far, near := batchSocket(b, "127.0.0.1:0"), batchSocket(b, "127.0.0.1:0")
		go func() {
			buf := make([]byte, 2048)
			for {
				n, from, err := far.ReadFromUDPAddrPort(buf)
				if err != nil {
					return
				}
				_, _ = far.WriteToUDPAddrPort(buf[:n], from)
			}
		}()
		buf, to := make([]byte, 64), batchAddr(far)
		b.ReportAllocs()
		for b.Loop() {
			if _, err := near.WriteToUDPAddrPort(buf, to); err != nil {
				b.Fatal(err)
			}
			if _, _, err := near.ReadFromUDPAddrPort(buf); err != nil {
				b.Fatal(err)
			}
		}
	})
	for _, mode := range batchBenchModes {
		b.Run(mode.name, func(b *testing.B) {
			rc, sc := batchSocket(b, "127.0.0.1:0"), batchSocket(b, "127.0.0.1:0")
			near, far := mode.make(b, sc), mode.make(b, rc)
			go func() {
				p, out := batchBuffers(far), make([]outgoing, 1)
				for {
					n, err := far.readBatch(&p)
					if err != nil {
						return
					}
					for _, m := range p[:n] {
						out[0] = outgoing{buf: m.buf[:m.n], to: m.from}
						_, _, _ = far.writeBatch(out)
					}
				}
			}()
			p, out := batchBuffers(near), []outgoing{{buf: make([]byte, 64), to: batchAddr(rc)}}
			b.ReportAllocs()
			for b.Loop() {
				if _, _, err := near.writeBatch(out); err != nil {
					b.Fatal(err)
				}
				if _, err := near.readBatch(&p); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// batchBenchWindow returns how many bytes may be in transit: what the receive buffer holds,
// including the kernel's overhead.
func batchBenchWindow(b *testing.B, conn *net.UDPConn) int64 {
	rcv, _, err := socketBuffers(conn)
	if err != nil {
		b.Fatal(err)
	}
	return int64(max(rcv/4, 2*65536))
}

// batchBenchWait waits until less than window bytes are in transit and returns how many it counts
// as lost.
func batchBenchWait(sent, got *atomic.Int64, window int64) int64 {
	for start := time.Now(); ; time.Sleep(5 * time.Microsecond) {
		if under := sent.Load() - got.Load(); under < window {
			return 0
		} else if time.Since(start) > 100*time.Millisecond {
			sent.Add(-under)
			return under
		}
	}
}

func batchBenchCount(c batchConn, got *atomic.Int64) {
	p := batchBuffers(c)
	for {
		n, err := c.readBatch(&p)
		if err != nil {
			return
		}
		size := 0
		for _, m := range p[:n] {
			size += m.n
		}
		got.Add(int64(size))
	}
}

// batchBuffers returns what a reader of c allocates.
func batchBuffers(c batchConn) heldBuffers {
	messages, size := c.readBatchSize()
	arena := make([]byte, messages*size)
	p := make([]received, messages)
	for i := range p {
		p[i].buf = arena[i*size : (i+1)*size : (i+1)*size]
	}
	return p
}
