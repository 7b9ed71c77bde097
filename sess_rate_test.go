// SPDX-License-Identifier: MIT

package kcp

import (
	"fmt"
	"io"
	"math"
	"net"
	"sync"
	"testing"
	"time"
)

// rateMeter counts the bytes that one side sends in each millisecond.
type rateMeter struct {
	mu    sync.Mutex // guards what follows
	start time.Time
	bytes []int
}

func (m *rateMeter) watch(n *connPair, side *UDPSession) {
	local := side.LocalAddr().String()
	m.start = time.Now()
	n.net.SetTap(func(at time.Time, from, _ net.Addr, payload []byte) simAction {
		if from.String() == local {
			m.mu.Lock()
			defer m.mu.Unlock()
			ms := int(at.Sub(m.start) / time.Millisecond)
			for len(m.bytes) <= ms {
				m.bytes = append(m.bytes, 0)
			}
			m.bytes[ms] += len(payload)
		}
		return simAction{}
	})
}

// seconds returns the largest and the smallest number of bytes in any second between from and to.
func (m *rateMeter) seconds(from, to time.Duration) (most, least int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	first, last := int(from/time.Millisecond), int(to/time.Millisecond)
	for len(m.bytes) < last {
		m.bytes = append(m.bytes, 0)
	}
	sum := 0
	least = math.MaxInt
	for ms := first; ms < last; ms++ {
		if sum += m.bytes[ms]; ms < first+999 {
			continue
		}
		most, least = max(most, sum), min(least, sum)
		sum -= m.bytes[ms-999]
	}
	return most, least
}

func TestRateLimitHoldsOnTheWireInAnySecond(t *testing.T) {
	aead, err := NewAESGCMCrypt(make([]byte, 16))
	if err != nil {
		t.Fatal(err)
	}
	plain := Config{StreamMode: true, NoCongestionControl: true, NoDelay: true, FastResend: 2,
		SendWindow: 2048, ReceiveWindow: 2048}
	fec, secure, small := plain, plain, plain
	fec.DataShards, fec.ParityShards = 10, 3
	secure.BlockCrypt = aead
	small.StreamMode, small.BlockCrypt, small.DataShards, small.ParityShards = false, aead, 3, 3
	for _, tt := range []struct {
		name  string
		c     Config
		rate  int
		dup   int
		loss  float64
		write int           // bytes of each Write
		pause time.Duration // between bursts of 20 ms of the rate; 0 for bulk
	}{
		{"plain", plain, 50_000, 0, 0, 4000, 0},
		{"plain", plain, 1_000_000, 0, 0, 40_000, 0},
		{"lossy", plain, 1_000_000, 0, 0.05, 40_000, 0},
		{"fast", plain, 4_000_000, 0, 0, 200_000, 0},
		{"FEC", fec, 250_000, 0, 0, 4000, 0},
		{"FEC, lossy", fec, 1_000_000, 0, 0.05, 40_000, 0},
		{"copies", plain, 500_000, 1, 0, 40_000, 0},
		{"FEC and copies", fec, 1_000_000, 2, 0.02, 40_000, 0},
		{"AEAD", secure, 500_000, 0, 0, 40_000, 0},
		{"tiny messages, AEAD, 3/3 and a copy", small, 500_000, 1, 0, 10, 0},
		{"bursts", fec, 1_000_000, 0, 0, 150_000, 300 * time.Millisecond},
	} {
		t.Run(fmt.Sprintf("%s at %d", tt.name, tt.rate), func(t *testing.T) {
			link := simProfile{Delay: 10 * time.Millisecond, Loss: tt.loss}
			pairRun(t, 1, link, tt.c, func(t *testing.T, n *connPair) {
				n.client.SetDUP(tt.dup)
				n.client.SetRateLimit(uint32(tt.rate))
				go func() { _, _ = io.Copy(io.Discard, n.server) }()
				var m rateMeter
				m.watch(n, n.client)
				const seconds = 3
				done := make(chan struct{})
				go func() {
					defer close(done)
					buf := make([]byte, tt.write)
					for time.Since(m.start) < seconds*time.Second {
						if _, err := n.client.Write(buf); err != nil {
							t.Error(err)
							return
						}
						time.Sleep(tt.pause)
					}
				}()
				time.Sleep(seconds * time.Second)
				most, least := m.seconds(500*time.Millisecond, seconds*time.Second)
				if most > tt.rate*105/100 {
					t.Errorf("%d bytes left in some second, want at most %d", most, tt.rate*105/100)
				}
				if tt.pause == 0 && least < tt.rate*95/100 {
					t.Errorf("%d bytes left in some second, want at least %d",
						least, tt.rate*95/100)
				}
				n.client.SetRateLimit(0)
				<-done
			})
		})
	}
}

// Acknowledgements are not delayed by the rate limit on data, whatever parity they have.
func TestRateLimitStarvesNoAcknowledgements(t *testing.T) {
	for _, parity := range []int{0, 1} {
		c := Config{StreamMode: true, NoCongestionControl: true, NoDelay: true,
			DataShards: parity, ParityShards: parity}
		pairRun(t, 1, simProfile{Delay: 10 * time.Millisecond}, c, func(t *testing.T, n *connPair) {
			data := pattern(1<<20, 1)
			download := func() time.Duration {
				start := time.Now()
				go func() { _, _ = n.server.Write(data) }()
				connWantRead(t, n.client, string(data))
				return time.Since(start)
			}
			free := download()
			const rate = 20_000
			n.client.SetRateLimit(rate)
			stop, done := make(chan struct{}), make(chan struct{})
			go func() {
				defer close(done)
				for {
					select {
					case <-stop:
						return
					default:
						_, _ = n.client.Write(make([]byte, 1000))
					}
				}
			}()
			go func() { _, _ = io.Copy(io.Discard, n.server) }()
			start := time.Now()
			for time.Since(start) < 4*time.Second {
				if limited := download(); limited > free*105/100 {
					t.Fatalf("a download beside a limited upload took %v, %v without",
						limited, free)
				}
				time.Sleep(300 * time.Millisecond)
			}
			took := time.Since(start).Seconds()
			sent := int(n.client.Stats().BytesSent)
			// A datagram of data also carries due acknowledgements, and with parity as much again.
			if least := int(took*rate) * 80 / 100 / (1 + parity); sent < least {
				t.Errorf("%d bytes were uploaded in %.1f s of %d bytes a second, want at least %d",
					sent, took, rate, least)
			}
			close(stop)
			n.client.SetRateLimit(0)
			<-done
		})
	}
}

// A session that waits for its rate limit delays no other session of the same socket and scheduler.
func TestRateLimitHoldsUpNoOtherSession(t *testing.T) {
	connRun(t, simProfile{Delay: 10 * time.Millisecond}, func(t *testing.T, w *connWorld) {
		c := Config{StreamMode: true, NoCongestionControl: true, NoDelay: true}
		l := w.serve(c)
		slow, fast := w.dialFrom("10.0.0.2:0", 1, c), w.dialFrom("10.0.0.3:0", 2, c)
		slowPeer, fastPeer := w.join(slow, l), w.join(fast, l)
		slowPeer.SetRateLimit(1000)
		go func() { _, _ = slowPeer.Write(make([]byte, 1<<20)) }()
		for range 20 {
			start := time.Now()
			connWrite(t, fast, "ping")
			connWantRead(t, fastPeer, "ping")
			connWrite(t, fastPeer, "pong")
			connWantRead(t, fast, "pong")
			if took := time.Since(start); took > 21*time.Millisecond {
				t.Fatalf("an echo beside a limited session took %v, want the link's 20ms", took)
			}
			time.Sleep(100 * time.Millisecond)
		}
	})
}

// Packets in flight when a limit is set are not charged to it.
func TestRateLimitBeginsAnew(t *testing.T) {
	connRun(t, simProfile{Delay: 10 * time.Millisecond}, func(t *testing.T, w *connWorld) {
		c := Config{StreamMode: true, NoCongestionControl: true, NoDelay: true}
		l := w.serve(c)
		conn := &slowConn{PacketConn: w.endpoint("10.0.0.2:0"), takes: time.Millisecond, most: 1500,
			sent: make(map[seqNum]bool)}
		s := w.dialOn(conn, 1, c)
		peer := w.join(s, l)
		s.SetRateLimit(100_000_000)
		go func() { _, _ = s.Write(make([]byte, 200_000)) }() // 146 datagrams of a millisecond each
		time.Sleep(20 * time.Millisecond)
		s.SetRateLimit(50_000)
		start := time.Now()
		connWantRead(t, peer, string(make([]byte, 200_000)))
		if took := time.Since(start); took > 5*time.Second {
			t.Errorf("what is left of 200 kB took %v at 50 kB/s", took)
		}
	})
}

// Parity makes up for what a full queue drops, so the sender sees no loss. It still leaves the
// queue short.
func TestParityDoesNotFillTheQueue(t *testing.T) {
	const rtt = 50 * time.Millisecond
	p := simProfile{Delay: rtt / 2, Rate: 20e6 / 8, Queue: 20e6 / 8 / 20}
	for _, shards := range [][2]int{{10, 3}, {1, 1}} {
		c := Config{StreamMode: true, DataShards: shards[0], ParityShards: shards[1]}
		pairRun(t, 1, p, c, func(t *testing.T, n *connPair) {
			var late, samples int
			done := make(chan bool)
			go func() {
				defer close(done)
				for n.client.Stats().BytesSent < 12e6 {
					time.Sleep(20 * time.Millisecond)
					if st := n.client.Stats(); st.BytesSent > 2e6 {
						samples++
						if st.LastRTT > rtt+rtt/2 {
							late++
						}
					}
				}
			}()
			took := n.move(t, pattern(12e6, 1))
			<-done
			rate := 12e6 / took.Seconds()
			line := 20e6 / 8 * float64(shards[0]) / float64(shards[0]+shards[1])
			t.Logf("FEC %v: %.2f of the line, the queue is long in %d of %d samples", shards,
				rate/line, late, samples)
			if late > samples/10 || rate < 0.8*line {
				t.Errorf("FEC %v: %.2f of the line, the queue is long in %d of %d samples",
					shards, rate/line, late, samples)
			}
		})
	}
}
