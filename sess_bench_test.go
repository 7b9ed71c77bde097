// SPDX-License-Identifier: MIT

package kcp

import (
	"io"
	"testing"
)

// benchPair returns two ends of a session over loopback with the settings of a fast link. They are
// traced to trace, unless it is nil.
func benchPair(b *testing.B, trace io.Writer) (client, server *UDPSession) {
	b.Helper()
	_, client, server = pairLoopback(b)
	for _, s := range []*UDPSession{client, server} {
		s.SetStreamMode(true)
		s.SetWindowSize(1024, 1024)
		s.SetNoDelay(1, 10, 2, 1)
		s.SetMtu(1400)
		s.SetTrace(trace)
	}
	return client, server
}

func echoSpeed(b *testing.B, size int, trace io.Writer) {
	client, server := benchPair(b, trace)
	go io.CopyBuffer(struct{ io.Writer }{server}, struct{ io.Reader }{server}, make([]byte, 64<<10))
	msg, back := make([]byte, size), make([]byte, size)
	b.ReportAllocs()
	b.SetBytes(int64(size))
	for b.Loop() {
		if _, err := client.Write(msg); err != nil {
			b.Fatal(err)
		}
		if _, err := io.ReadFull(client, back); err != nil {
			b.Fatal(err)
		}
	}
}

func sinkSpeed(b *testing.B, size int, trace io.Writer) {
	client, server := benchPair(b, trace)
	done := make(chan error, 1)
	got := make(chan int, 1)
	total := 0
	go func() {
		buf := make([]byte, 128<<10)
		n := 0
		for {
			m, err := server.Read(buf)
			n += m
			if err != nil {
				done <- err
				got <- n
				return
			}
		}
	}()
	msg := make([]byte, size)
	b.ReportAllocs()
	b.SetBytes(int64(size))
	for b.Loop() {
		n, err := client.Write(msg)
		total += n
		if err != nil {
			b.Fatal(err)
		}
	}
	b.StopTimer()
	if err := client.CloseWrite(); err != nil {
		b.Fatal(err)
	}
	if err := <-done; err != io.EOF {
		b.Fatal(err)
	}
	if n := <-got; n != total {
		b.Fatalf("got %d of %d bytes", n, total)
	}
	if st := client.Stats(); b.N > 1000 {
		share := float64(retransmits(st)) / float64(st.SegmentsSent+1)
		b.ReportMetric(share*100, "%retrans")
	}
}

func BenchmarkEchoSpeed4K(b *testing.B)   { echoSpeed(b, 4<<10, nil) }
func BenchmarkEchoSpeed64K(b *testing.B)  { echoSpeed(b, 64<<10, nil) }
func BenchmarkEchoSpeed512K(b *testing.B) { echoSpeed(b, 512<<10, nil) }
func BenchmarkEchoSpeed1M(b *testing.B)   { echoSpeed(b, 1<<20, nil) }

func BenchmarkSinkSpeed4K(b *testing.B)   { sinkSpeed(b, 4<<10, nil) }
func BenchmarkSinkSpeed64K(b *testing.B)  { sinkSpeed(b, 64<<10, nil) }
func BenchmarkSinkSpeed256K(b *testing.B) { sinkSpeed(b, 256<<10, nil) }
func BenchmarkSinkSpeed1M(b *testing.B)   { sinkSpeed(b, 1<<20, nil) }

func BenchmarkTracedEchoSpeed4K(b *testing.B)  { echoSpeed(b, 4<<10, io.Discard) }
func BenchmarkTracedSinkSpeed64K(b *testing.B) { sinkSpeed(b, 64<<10, io.Discard) }
