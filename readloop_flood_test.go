// SPDX-License-Identifier: MIT

package kcp

import (
	"context"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"sync/atomic"
	"testing"
	"time"
)

// garbage sends perSecond datagrams of noise a second to addr until ctx ends, and returns how many.
func garbage(t *testing.T, ctx context.Context, addr netip.AddrPort, perSecond int) (sent int) {
	conn, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Error(err)
		return 0
	}
	defer conn.Close()
	out := newBatchConn(conn)
	rng := rand.New(rand.NewPCG(1, 1))
	noise := make([]byte, 1<<16)
	for i := range noise {
		noise[i] = byte(rng.Uint32())
	}
	const batch = 64
	for began := time.Now(); ctx.Err() == nil; {
		if due := int(time.Since(began).Seconds() * float64(perSecond)); sent+batch > due {
			time.Sleep(time.Millisecond)
			continue
		}
		msgs := make([]outgoing, batch)
		for i := range msgs {
			at, n := rng.IntN(len(noise)-1400), 1+rng.IntN(300)
			msgs[i] = outgoing{buf: noise[at : at+n], to: addr}
		}
		_, _, _ = out.writeBatch(msgs) // what the socket does not take is not sent
		sent += batch
	}
	return sent
}

// goodput returns the throughput of an honest client in bytes a second. A limit other than 0 is its
// rate limit.
func goodput(t *testing.T, l *Listener, c *Config, d time.Duration, limit uint32) float64 {
	client, err := c.Dial(t.Context(), l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	client.SetRateLimit(limit)
	mustWrite(t, client, []byte{1})
	server, err := l.AcceptKCP()
	if err != nil {
		t.Fatal(err)
	}
	var got atomic.Int64
	done := make(chan struct{})
	go func() {
		defer close(done)
		buf := make([]byte, 1<<16)
		for {
			n, err := server.Read(buf)
			got.Add(int64(n))
			if err != nil {
				return
			}
		}
	}()
	data := pattern(1<<16, 1)
	for end := time.Now().Add(d); time.Now().Before(end); {
		if _, err := client.Write(data); err != nil && err != io.EOF {
			t.Fatal(err)
		}
	}
	n := got.Load()
	for _, s := range []*UDPSession{client, server} {
		s.SetLinger(0)
		s.Close()
	}
	<-done
	return float64(n) / d.Seconds()
}

// floodedRate is 1 Gbit/s, in bytes.
const floodedRate = 125_000_000

// A flood of noise opens no session, takes hardly any memory, and leaves an honest client most of
// its goodput. The share is logged. Only the long form (-args -long) requires 80 %, on an idle
// machine, and for a client that does not use all of its processors. The sender of the flood runs
// on them too.
func TestGarbageFloodLeavesHonestClientsTheirGoodput(t *testing.T) {
	connCheckLeaks(t)
	d, perSecond := time.Second/2, 100_000
	if *longForm {
		d = 10 * time.Second
	}
	c := &Config{StreamMode: true, NoDelay: true, FastResend: 2, NoCongestionControl: true}
	l, err := c.Listen(t.Context(), "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_ = l.SetReadBuffer(4 << 20)
	without, limitedWithout := goodput(t, l, c, d, 0), goodput(t, l, c, d, floodedRate)
	before := pollHeap()
	ctx, stop := context.WithCancel(t.Context())
	sent := make(chan int)
	go func() { sent <- garbage(t, ctx, l.Addr().(*net.UDPAddr).AddrPort(), perSecond) }()
	with, limitedWith := goodput(t, l, c, d, 0), goodput(t, l, c, d, floodedRate)
	stop()
	count := <-sent
	for end := time.Now().Add(5 * time.Second); l.Stats().Sessions > 0 && time.Now().Before(end); {
		time.Sleep(time.Millisecond)
	}
	grown := pollHeap() - before
	st := l.Stats()
	t.Logf("%d datagrams of noise in %v: %.0f MB/s of %.0f MB/s without (%.0f %%); "+
		"%d KiB more on the heap, %d sessions",
		count, d, with/1e6, without/1e6, 100*with/without, grown>>10, st.Sessions)
	if st.Sessions != 0 || st.Backlog != 0 || st.Pending != 0 || grown > 16<<20 {
		t.Errorf("%d sessions, %d wait, %d bytes more on the heap", st.Sessions, st.Backlog, grown)
	}
	t.Logf("a client that sends %d MB/s: %.1f MB/s of %.1f (%.0f %%)",
		floodedRate/1_000_000, limitedWith/1e6, limitedWithout/1e6, 100*limitedWith/limitedWithout)
	if *longForm && limitedWith < 0.8*limitedWithout {
		t.Errorf("%.0f of %.0f bytes a second are left", limitedWith, limitedWithout)
	}
}
