// SPDX-License-Identifier: MIT

package kcp

import (
	"bytes"
	"io"
	"net"
	"sync"
	"syscall"
	"testing"
	"time"
)

// mtuPath is a network path that carries datagrams up to a size that may change, in each direction.
type mtuPath struct {
	mu     sync.Mutex // guards what follows
	up     int        // to the server, 0 for any size
	down   int
	lost   int // datagrams that were too large
	probes int // datagrams with a PAD
	most   int // the largest that passed to the server
}

func (p *mtuPath) set(up, down int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.up, p.down, p.most = up, down, 0
}

func (p *mtuPath) drop(_, to string, payload []byte) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	limit := p.down
	if to == connServerAddr {
		limit = p.up
	}
	if limit > 0 && len(payload) > limit {
		p.lost++
		return true
	}
	if to == connServerAddr {
		p.most = max(p.most, len(payload))
	}
	if i := bytes.Index(payload, []byte{ctlPing, pingLen}); i == segmentHeaderSize &&
		len(payload) > probeLeast {
		p.probes++
	}
	return false
}

// mtuFlow writes to one session and reads from the other until stop, which returns the longest time
// without any data, and the error of the reader.
type mtuFlow struct {
	t       *testing.T
	w       *UDPSession
	mu      sync.Mutex // guards what follows
	at      time.Time
	longest time.Duration
	read    int
	done    sync.WaitGroup
}

func startFlow(t *testing.T, from, to *UDPSession) *mtuFlow {
	f := &mtuFlow{t: t, w: from, at: time.Now()}
	chunk := pattern(1<<18, 9)
	f.done.Go(func() {
		for {
			if _, err := from.Write(chunk); err != nil {
				return
			}
		}
	})
	f.done.Go(func() {
		buf := make([]byte, 1<<16)
		for at := 0; ; {
			n, err := to.Read(buf)
			for i := range n {
				if buf[i] != chunk[(at+i)%len(chunk)] {
					t.Errorf("byte %d has changed", at+i)
					return
				}
			}
			at += n
			f.note(n)
			if err != nil {
				return
			}
		}
	})
	return f
}

func (f *mtuFlow) note(n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.longest = max(f.longest, time.Since(f.at))
	f.at = time.Now()
	f.read += n
}

// stall returns the longest time without data since the last call.
func (f *mtuFlow) stall() time.Duration {
	f.note(0)
	f.mu.Lock()
	defer f.mu.Unlock()
	d := f.longest
	f.longest = 0
	return d
}

func (f *mtuFlow) stop() {
	_ = f.w.CloseWrite()
	f.done.Wait()
}

// mtuLink is a line of 4 Mbit/s with a round trip of 100 ms.
var mtuLink = simProfile{Delay: 50 * time.Millisecond, Rate: 500_000, Queue: 100_000}

// mtuRun runs f with a session whose ends have exchanged a message.
func mtuRun(t *testing.T, link simProfile, c Config,
	f func(t *testing.T, p *mtuPath, client, server *UDPSession)) {
	t.Helper()
	connRun(t, link, func(t *testing.T, w *connWorld) {
		p := new(mtuPath)
		w.setDrop(p.drop)
		client, server, _ := w.pair(c)
		f(t, p, client, server)
	})
}

func wantMTU(t *testing.T, s *UDPSession, want int) {
	t.Helper()
	if got := s.Stats().PathMTU; got != want {
		t.Errorf("datagrams of %d bytes, want %d", got, want)
	}
}

func TestMTUGrowsToWhatThePathCarries(t *testing.T) {
	for _, tt := range []struct{ path, most, want int }{
		{1500, 0, 1472}, {1500, 1452, 1452}, {1440, 0, 1428}, {1400, 0, 1400}, {9000, 8972, 8972},
		{9000, 8000, 8000}, {8960, 8972, 8952}, {0, 16368, 16368}, {1500, 16368, 1472},
	} {
		mtuRun(t, mtuLink, Config{StreamMode: true, MaxMTU: tt.most},
			func(t *testing.T, p *mtuPath, client, server *UDPSession) {
				p.set(tt.path, tt.path)
				f := startFlow(t, client, server)
				time.Sleep(15 * time.Second)
				wantMTU(t, client, tt.want)
				wantMTU(t, server, 1400) // it sends nothing large
				if d := f.stall(); d > time.Second {
					t.Errorf("no data for %v", d)
				}
				f.stop()
				if p.most != tt.want {
					t.Errorf("a datagram of %d bytes has passed, want %d", p.most, tt.want)
				}
			})
	}
}

// The first datagram of a session passes any path. All others of the first flight are too large.
func TestBlackHoleAtTheStart(t *testing.T) {
	for name, c := range map[string]Config{
		"streams": {StreamMode: true}, "fast": {StreamMode: true, NoDelay: true, FastResend: 2},
		"FEC": {StreamMode: true, DataShards: 10, ParityShards: 3},
	} {
		t.Run(name, func(t *testing.T) {
			connRun(t, mtuLink, func(t *testing.T, w *connWorld) {
				p := &mtuPath{up: 1300, down: 1300}
				w.setDrop(p.drop)
				l := w.serve(c)
				client := w.dial(c)
				begun := time.Now()
				go func() { _, _ = client.Write(pattern(1<<18, 9)) }()
				server := w.accept(l)
				if d := time.Since(begun); d > 100*time.Millisecond {
					t.Errorf("accepted after %v", d)
				}
				f := startFlow(t, client, server)
				time.Sleep(6 * time.Second)
				if d := f.stall(); d > 3*time.Second {
					t.Errorf("no data for %v, want 3s at most", d)
				}
				wantMTU(t, client, 1280)
				f.stop()
			})
		})
	}
}

func TestBlackHoleInMidSession(t *testing.T) {
	aead, err := NewAESGCMCrypt(make([]byte, 16))
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]Config{
		"1472":  {StreamMode: true},
		"jumbo": {StreamMode: true, MaxMTU: 8972},
		"huge":  {StreamMode: true, MaxMTU: mtuLargest},
		"fast":  {StreamMode: true, MaxMTU: 8972, NoDelay: true, FastResend: 2},
		"FEC":   {StreamMode: true, MaxMTU: 8972, DataShards: 1, ParityShards: 5},
		"AEAD":  {StreamMode: true, MaxMTU: 8972, BlockCrypt: aead},
	} {
		t.Run(name, func(t *testing.T) {
			mtuRun(t, mtuLink, c, func(t *testing.T, p *mtuPath, client, server *UDPSession) {
				f := startFlow(t, client, server)
				want := max(c.MaxMTU, 1472)
				for i := 0; client.Stats().PathMTU < want && i < 40; i++ {
					time.Sleep(500 * time.Millisecond)
				}
				wantMTU(t, client, want)
				f.stall()
				p.set(1300, 1300)
				time.Sleep(6 * time.Second)
				if d := f.stall(); d > 3*time.Second {
					t.Errorf("no data for %v, want 3s at most", d)
				}
				wantMTU(t, client, 1280)
				if c.MaxMTU == 0 {
					p.set(0, 0)
					time.Sleep(65 * time.Second)
					wantMTU(t, client, 1472)
				}
				f.stop()
			})
		})
	}
}

// A message is all that is in flight.
func TestBlackHoleForSingleMessages(t *testing.T) {
	mtuRun(t, mtuLink, Config{}, func(t *testing.T, p *mtuPath, client, server *UDPSession) {
		p.set(1300, 1300)
		for i := range 3 {
			message := string(pattern(1360, uint64(i)))
			begun := time.Now()
			connWrite(t, client, message)
			connWantRead(t, server, message)
			if d := time.Since(begun); d > 3*time.Second || i > 0 && d > 500*time.Millisecond {
				t.Errorf("message %d took %v", i, d)
			}
		}
	})
}

func TestRandomLossIsNoBlackHole(t *testing.T) {
	for _, loss := range []float64{0.1, 0.2} {
		link := mtuLink
		link.Loss = loss
		for seed := range uint64(2) {
			connRunSeed(t, seed+1, link, func(t *testing.T, w *connWorld) {
				c := Config{StreamMode: true, NoDelay: true, FastResend: 2}
				client, server, _ := w.pair(c)
				f := startFlow(t, client, server)
				least := 1 << 20
				for range 30 {
					time.Sleep(500 * time.Millisecond)
					least = min(least, client.Stats().PathMTU)
				}
				if least < 1400 {
					t.Errorf("loss %v, seed %d: datagrams of %d bytes", loss, seed, least)
				}
				f.stop()
			})
		}
	}
}

// Single messages give few signs of what passes.
func TestRandomLossOfSingleMessagesIsNoBlackHole(t *testing.T) {
	link := simProfile{Delay: 20 * time.Millisecond, Loss: 0.2}
	mtuRun(t, link, Config{NoDelay: true}, func(t *testing.T, _ *mtuPath, client,
		server *UDPSession) {
		fell := 0
		for i := range 500 {
			message := string(pattern(1360, uint64(i)))
			connWrite(t, client, message)
			connWantRead(t, server, message)
			if client.Stats().PathMTU < 1400 {
				fell++
			}
		}
		if fell > 0 {
			t.Errorf("of 500 messages %d were sent with a smaller MTU", fell)
		}
	})
}

func TestMTUOfAnAsymmetricPath(t *testing.T) {
	mtuRun(t, mtuLink, Config{StreamMode: true, MaxMTU: 8972},
		func(t *testing.T, p *mtuPath, client, server *UDPSession) {
			p.set(9000, 1350)
			up, down := startFlow(t, client, server), startFlow(t, server, client)
			time.Sleep(10 * time.Second)
			wantMTU(t, client, 8972)
			wantMTU(t, server, 1342)
			up.stop()
			down.stop()
		})
}

// mtuSlow is a line on which many segments are in flight at little speed.
var mtuSlow = simProfile{Delay: 200 * time.Millisecond, Rate: 60_000, Queue: 4 << 20}

// A busy session finds that the path carries more ten minutes after a larger size has failed.
func TestMTUOfAPathThatGrows(t *testing.T) {
	mtuRun(t, mtuSlow, Config{StreamMode: true},
		func(t *testing.T, p *mtuPath, client, server *UDPSession) {
			p.set(1430, 1430)
			f := startFlow(t, client, server)
			time.Sleep(20 * time.Second)
			wantMTU(t, client, 1428)
			p.set(0, 0)
			time.Sleep(9 * time.Minute)
			wantMTU(t, client, 1428)
			time.Sleep(2 * time.Minute)
			wantMTU(t, client, 1472)
			f.stop()
		})
}

// A session that was idle tries again with its next data, and keeps what it has found until then.
func TestMTUOfAPathThatGrowsWhileIdle(t *testing.T) {
	mtuRun(t, mtuSlow, Config{StreamMode: true},
		func(t *testing.T, p *mtuPath, client, server *UDPSession) {
			data := pattern(600_000, 1)
			for _, tt := range []struct{ path, want int }{{1430, 1428}, {0, 1472}} {
				p.set(tt.path, tt.path)
				go func() { _, _ = client.Write(data) }()
				connWantRead(t, server, string(data))
				wantMTU(t, client, tt.want)
				p.mu.Lock()
				probes := p.probes
				p.mu.Unlock()
				time.Sleep(20 * time.Minute)
				wantMTU(t, client, tt.want)
				client.mu.Lock()
				if client.core.path != nil || p.probes > probes {
					t.Errorf("an idle session searches: %d probes", p.probes-probes)
				}
				client.mu.Unlock()
			}
		})
}

func TestLegacyPeerIsSentWhatItWasBefore(t *testing.T) {
	connRun(t, mtuLink, func(t *testing.T, w *connWorld) {
		p := new(mtuPath)
		w.setDrop(p.drop)
		c := Config{StreamMode: true}
		l := w.serve(Config{StreamMode: true, MTUDiscovery: MTUDiscoveryOff})
		client := w.dial(c)
		client.mu.Lock()
		client.core.ctl.incarnation = 0 // it speaks as a legacy peer would have it
		client.mu.Unlock()
		server := w.join(client, l)
		f := startFlow(t, client, server)
		time.Sleep(5 * time.Second)
		wantMTU(t, client, 1400)
		client.Close()
		server.Close()
		f.done.Wait()
		p.mu.Lock()
		defer p.mu.Unlock()
		if p.probes > 0 || p.most > 1400 {
			t.Errorf("%d probes, and a datagram of %d bytes", p.probes, p.most)
		}
	})
}

func TestMTUDiscoveryOff(t *testing.T) {
	for name, set := range map[string]func(c *Config, s *UDPSession){
		"Config": func(c *Config, _ *UDPSession) { c.MTUDiscovery = MTUDiscoveryOff },
		"SetMtu": func(_ *Config, s *UDPSession) {
			if s != nil {
				s.SetMtu(1400)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			c := Config{StreamMode: true}
			set(&c, nil)
			mtuRun(t, mtuLink, c, func(t *testing.T, p *mtuPath, client, server *UDPSession) {
				set(&c, client)
				f := startFlow(t, client, server)
				time.Sleep(5 * time.Second)
				wantMTU(t, client, 1400)
				f.stop()
				if p.probes > 0 {
					t.Errorf("%d probes", p.probes)
				}
			})
		})
	}
}

// refusingConn is a packet connection that refuses datagrams larger than a size.
type refusingConn struct {
	net.PacketConn
	mu      sync.Mutex // guards what follows
	most    int
	refused int
}

func (c *refusingConn) WriteTo(p []byte, to net.Addr) (int, error) {
	c.mu.Lock()
	most := c.most
	if len(p) > most {
		c.refused++
	}
	c.mu.Unlock()
	if len(p) > most {
		return 0, &net.OpError{Op: "write", Net: "udp", Err: syscall.EMSGSIZE}
	}
	return c.PacketConn.WriteTo(p, to)
}

func (c *refusingConn) set(most int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.most = most
}

// What the system refuses as too large leaves at once in smaller datagrams.
func TestRefusedDatagramsLowerTheMTUAtOnce(t *testing.T) {
	for name, c := range map[string]Config{
		"searched": {StreamMode: true}, "fixed": {StreamMode: true, MTUDiscovery: MTUDiscoveryOff},
		"messages": {}, "jumbo": {StreamMode: true, MaxMTU: 8972},
	} {
		t.Run(name, func(t *testing.T) {
			connRun(t, mtuLink, func(t *testing.T, w *connWorld) {
				l := w.serve(c)
				conn := &refusingConn{PacketConn: w.endpoint("10.0.0.2:0"), most: 9000}
				client := w.dialOn(conn, 1, c)
				server := w.join(client, l)
				f := startFlow(t, client, server)
				time.Sleep(4 * time.Second)
				f.stall()
				conn.set(1300)
				time.Sleep(4 * time.Second)
				if d := f.stall(); d > 300*time.Millisecond {
					t.Errorf("no data for %v", d)
				}
				wantMTU(t, client, 1280)
				conn.mu.Lock()
				if conn.refused == 0 || conn.refused > 1000 {
					t.Errorf("%d datagrams were refused", conn.refused)
				}
				conn.mu.Unlock()
				f.stop()
			})
		})
	}
}

// Each cipher and FEC carry datagrams of any size that the path does, but for the pad of XOR and
// for ciphers of the program.
func TestJumboDatagramsWithFECAndEveryCipher(t *testing.T) {
	size := 3 << 20
	if raceDetector {
		size = 2 << 20
	}
	for name, block := range mtuCiphers(t) {
		for _, shards := range []int{0, 3} {
			if shards == 0 && block != nil {
				continue // it is within the other case
			}
			t.Run(name, func(t *testing.T) {
				link := simProfile{Delay: 2 * time.Millisecond, Loss: 0.02,
					Rate: 1_000_000, Queue: 1 << 20}
				c := Config{StreamMode: true, BlockCrypt: block, MaxMTU: 8972,
					DataShards: 2 * shards, ParityShards: shards}
				connRun(t, link, func(t *testing.T, w *connWorld) {
					client, server, _ := w.pair(c)
					data := pattern(size, 3)
					go func() {
						_, _ = client.Write(data)
						_ = client.CloseWrite()
					}()
					got, err := io.ReadAll(server)
					if err != nil || !bytes.Equal(got, data) {
						t.Fatalf("%d bytes of %d, or changed: %v", len(got), len(data), err)
					}
					if name == "xor" || name == "user" {
						wantMTU(t, client, mtuMax) // what the pad covers
					} else {
						wantMTU(t, client, 8972)
					}
					if st := server.Stats(); shards > 0 && (st.FECRecovered == 0 ||
						st.FECErrors > 0) {
						t.Errorf("%d packets recovered, %d errors", st.FECRecovered, st.FECErrors)
					}
				})
			})
		}
	}
}

func mtuCiphers(t *testing.T) map[string]BlockCrypt {
	t.Helper()
	all := map[string]BlockCrypt{"plain": nil, "user": userCrypt{}}
	for name, make := range map[string]func([]byte) (BlockCrypt, error){
		"aes": NewAESBlockCrypt, "aes-gcm": NewAESGCMCrypt, "salsa20": NewSalsa20BlockCrypt,
		"sm4": NewSM4BlockCrypt, "twofish": NewTwofishBlockCrypt, "xor": NewSimpleXORBlockCrypt,
		"none": NewNoneBlockCrypt, "blowfish": NewBlowfishBlockCrypt, "cast5": NewCast5BlockCrypt,
		"3des": NewTripleDESBlockCrypt, "tea": NewTEABlockCrypt, "xtea": NewXTEABlockCrypt,
	} {
		size := 16
		switch name {
		case "salsa20", "aes-gcm":
			size = 32
		case "3des":
			size = 24
		}
		b, err := make(bytes.Repeat([]byte{7, 5, 3, 1}, size/4))
		if err != nil {
			t.Fatal(name, err)
		}
		all[name] = b
	}
	return all
}
