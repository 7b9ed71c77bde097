// SPDX-License-Identifier: MIT

package kcp

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// oobInbox collects the arguments of a handler.
type oobInbox struct {
	mu  sync.Mutex
	got []string
}

func (b *oobInbox) handle(p []byte) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.got = append(b.got, string(p))
}

// take waits until nothing more arrives and returns what has.
func (b *oobInbox) take() []string {
	time.Sleep(time.Second)
	b.mu.Lock()
	defer b.mu.Unlock()
	got := b.got
	b.got = nil
	return got
}

func TestOOBBothWays(t *testing.T) {
	aead, err := NewAESGCMCrypt(make([]byte, 32))
	if err != nil {
		t.Fatal(err)
	}
	block, err := NewSalsa20BlockCrypt(make([]byte, 32))
	if err != nil {
		t.Fatal(err)
	}
	for _, crypt := range []struct {
		name     string
		block    BlockCrypt
		overhead int
	}{{"plain", nil, 0}, {"AEAD", aead, 28}, {"Salsa20", block, 20}} {
		for _, shards := range []fecShards{{}, {3, 2}} {
			t.Run(fmt.Sprint(crypt.name, shards), func(t *testing.T) {
				c := Config{BlockCrypt: crypt.block, DataShards: shards.data,
					ParityShards: shards.parity, MTU: 1200}
				inSession(t, c, func(t *testing.T, client, server *UDPSession) {
					// the opener is acknowledged, the address validated
					time.Sleep(2 * proveAfter.duration())
					for name, ends := range map[string][2]*UDPSession{
						"to the server": {client, server}, "to the client": {server, client},
					} {
						from, to := ends[0], ends[1]
						most := from.GetOOBMaxSize()
						if want := 1200 - crypt.overhead - 12; most != want {
							t.Errorf("GetOOBMaxSize = %d, want %d", most, want)
						}
						t.Log("# packets of every length up to the maximum are sent")
						var inbox oobInbox
						if err := to.SetOOBHandler(inbox.handle); err != nil {
							t.Fatal(err)
						}
						before, snmp := from.Stats(), DefaultSnmp.Copy()
						var want []string
						for _, size := range []int{0, 1, 2, 3, 4, 5, 100, most - 1, most} {
							p := pattern(size, uint64(size))
							if err := from.SendOOB(p); err != nil {
								t.Fatalf("%s: SendOOB of %d bytes: %v", name, size, err)
							}
							want = append(want, string(p))
						}
						got := inbox.take()
						if strings.Join(got, "|") != strings.Join(want, "|") {
							t.Errorf("%s: %d packets came, or others, want %d",
								name, len(got), len(want))
						}
						t.Log("# each is a packet of its own and no segment")
						after := from.Stats()
						if after.SegmentsSent != before.SegmentsSent ||
							after.PacketsSent != before.PacketsSent+uint64(len(want)) {
							t.Errorf("%s: %d segments and %d packets were sent, want 0 and %d",
								name, after.SegmentsSent-before.SegmentsSent,
								after.PacketsSent-before.PacketsSent, len(want))
						}
						if d := snmpSince(snmp); d.OOBPackets != uint64(len(want)) {
							t.Errorf("%s: counted %d packets, want %d",
								name, d.OOBPackets, len(want))
						}
					}
					t.Log("# the stream is not affected")
					mustWrite(t, client, []byte("in band"))
					if got := string(mustRead(t, server, 100)); got != "in band" {
						t.Errorf("read %q", got)
					}
					mustReadNothing(t, server)
				})
			})
		}
	}
}

func TestOOBLargestPacketFillsTheMTU(t *testing.T) {
	config := Config{DataShards: 3, ParityShards: 1}
	pairRun(t, 1, shortLink, config, func(t *testing.T, n *connPair) {
		time.Sleep(2 * proveAfter.duration())
		var w wire
		n.net.SetTap(w.tap(n.client))
		for _, mtu := range []int{1400, 1500, 600} {
			n.client.SetMtu(mtu)
			if err := n.client.SendOOB(make([]byte, n.client.GetOOBMaxSize())); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Second)
			if got := w.take(); len(got) != 1 || got[0] != mtu {
				t.Errorf("datagrams of %v bytes left, want one of %d", got, mtu)
			}
		}
	})
}

func TestOOBErrors(t *testing.T) {
	inSession(t, Config{}, func(t *testing.T, client, server *UDPSession) {
		before := client.Stats().PacketsSent
		for _, size := range []int{client.GetOOBMaxSize() + 1, 1 << 20} {
			err := client.SendOOB(make([]byte, size))
			if err == nil || !strings.Contains(err.Error(), fmt.Sprint(size)) ||
				!strings.Contains(err.Error(), "out-of-band") {
				t.Errorf("SendOOB of %d bytes: %v, want an error that names it", size, err)
			}
		}
		if n := client.Stats().PacketsSent; n != before {
			t.Errorf("%d packets left in spite of the errors", n-before)
		}
		SetEntropy(brokenReader{})
		defer SetEntropy(nil)
		if err := client.SendOOB([]byte("x")); err != nil {
			t.Errorf("without a cipher no nonce is needed: %v", err)
		}
	})
	aead, err := NewAESGCMCrypt(make([]byte, 16))
	if err != nil {
		t.Fatal(err)
	}
	inSession(t, Config{BlockCrypt: aead}, func(t *testing.T, client, server *UDPSession) {
		SetEntropy(brokenReader{})
		defer SetEntropy(nil)
		if err := client.SendOOB([]byte("x")); err != nil {
			t.Errorf("under keys of the session no nonce is needed: %v", err)
		}
	})
	inSession(t, Config{BlockCrypt: keyless(aead)}, func(t *testing.T, client, _ *UDPSession) {
		SetEntropy(brokenReader{})
		defer SetEntropy(nil)
		if err := client.SendOOB([]byte("x")); !errors.Is(err, errBroken) {
			t.Errorf("without a nonce: %v, want the reason", err)
		}
	})
}

var errBroken = errors.New("broken")

type brokenReader struct{}

func (brokenReader) Read([]byte) (int, error) { return 0, errBroken }

func TestOOBHandlerMayCallTheSession(t *testing.T) {
	inSession(t, Config{}, func(t *testing.T, client, server *UDPSession) {
		var inbox oobInbox
		client.SetOOBHandler(inbox.handle)
		server.SetOOBHandler(func(p []byte) {
			server.Stats()
			server.SetNoDelay(1, 10, 2, 1)
			server.SetMtu(1300)
			if _, err := server.Write([]byte("from the handler")); err != nil {
				t.Error(err)
			}
			if err := server.SendOOB(append([]byte("echo of "), p...)); err != nil {
				t.Error(err)
			}
			if string(p) == "the last" {
				server.SetOOBHandler(nil)
				_ = server.Close()
			}
		})
		for _, p := range []string{"one", "the last"} {
			if err := client.SendOOB([]byte(p)); err != nil {
				t.Fatal(err)
			}
			if got := inbox.take(); len(got) != 1 || got[0] != "echo of "+p {
				t.Errorf("got %q back", got)
			}
			if got := string(mustRead(t, client, 100)); got != "from the handler" {
				t.Errorf("read %q", got)
			}
		}
	})
}

// A slow handler delays neither the stream nor other sessions. The first packets are kept, further
// ones are dropped.
func TestOOBQueueIsBounded(t *testing.T) {
	inSession(t, Config{}, func(t *testing.T, client, server *UDPSession) {
		var inbox oobInbox
		release := make(chan struct{})
		server.SetOOBHandler(func(p []byte) {
			<-release
			inbox.handle(p)
		})
		const sent = 200
		for i := range sent {
			if err := client.SendOOB(fmt.Appendf(nil, "%d", i)); err != nil {
				t.Fatal(err)
			}
		}
		mustWrite(t, client, []byte("in band"))
		if got := string(mustRead(t, server, 100)); got != "in band" {
			t.Errorf("read %q", got)
		}
		time.Sleep(time.Second)
		const kept = oobQueueMax + 1 // and the one that the handler has
		if n := server.Stats().OOBDropped; n != sent-kept {
			t.Errorf("%d packets were dropped, want %d", n, sent-kept)
		}
		close(release)
		got := inbox.take()
		if len(got) != kept {
			t.Fatalf("%d packets came, want the first %d", len(got), kept)
		}
		for i, p := range got {
			if p != fmt.Sprint(i) {
				t.Fatalf("packet %d is %q: not in order, or not the oldest", i, p)
			}
		}
		t.Log("# the handler continues")
		if err := client.SendOOB([]byte("another")); err != nil {
			t.Fatal(err)
		}
		if got := inbox.take(); len(got) != 1 || got[0] != "another" {
			t.Errorf("afterwards came %q", got)
		}
	})
}

func TestOOBWithoutAHandlerIsIgnored(t *testing.T) {
	inSession(t, Config{}, func(t *testing.T, client, server *UDPSession) {
		var inbox oobInbox
		send := func() {
			t.Helper()
			if err := client.SendOOB([]byte("x")); err != nil {
				t.Fatal(err)
			}
		}
		send()
		time.Sleep(time.Second)
		server.SetOOBHandler(inbox.handle)
		send()
		if got := inbox.take(); len(got) != 1 {
			t.Errorf("%d packets came, want the one since the handler was set", len(got))
		}
		server.SetOOBHandler(nil)
		send()
		if got := inbox.take(); len(got) != 0 {
			t.Errorf("%d packets came after the handler was taken away", len(got))
		}
		if n := server.Stats().OOBDropped; n != 0 {
			t.Errorf("%d packets count as dropped", n)
		}
	})
}

// A packet of another conversation is not delivered, on either side.
func TestOOBConversationIsChecked(t *testing.T) {
	inSession(t, Config{}, func(t *testing.T, client, server *UDPSession) {
		for _, ends := range [2][2]*UDPSession{{client, server}, {server, client}} {
			var inbox oobInbox
			ends[1].SetOOBHandler(inbox.handle)
			packet := func(conv uint32) []byte {
				b := fecHeader{seqid: oobSeqID, kind: fecTypeOOB, size: 2 + 4 + 5}.append(nil)
				return append(binary.LittleEndian.AppendUint32(b, conv), "hello"...)
			}
			before := DefaultSnmp.Copy()
			for i, conv := range []uint32{client.GetConv() + 1, 0, client.GetConv()} {
				conn := endpointOf(ends[0]).conn
				if _, err := conn.WriteTo(packet(conv), ends[0].RemoteAddr()); err != nil {
					t.Fatal(err)
				}
				got := inbox.take()
				if wanted := i == 2; wanted != (len(got) == 1 && got[0] == "hello") {
					t.Errorf("of conv %d came %q", conv, got)
				}
			}
			if d := snmpSince(before); d.InErrs != 2 || d.OOBPackets != 1 {
				t.Errorf("counted %d errors and %d packets, want 2 and 1", d.InErrs, d.OOBPackets)
			}
		}
	})
}

func TestOOBIsNeverSentAgain(t *testing.T) {
	pairRun(t, 1, shortLink, Config{}, func(t *testing.T, n *connPair) {
		var inbox oobInbox
		n.server.SetOOBHandler(inbox.handle)
		var drop atomic.Bool
		drop.Store(true)
		n.net.SetTap(func(_ time.Time, _, _ net.Addr, payload []byte) simAction {
			return simAction{Drop: drop.Load() && bytes.Contains(payload, []byte("lost"))}
		})
		if err := n.client.SendOOB([]byte("lost")); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		drop.Store(false)
		mustWrite(t, n.client, []byte("in band"))
		time.Sleep(time.Minute)
		if got := inbox.take(); len(got) != 0 {
			t.Errorf("%q came all the same", got)
		}
		if got := string(mustRead(t, n.server, 100)); got != "in band" {
			t.Errorf("read %q", got)
		}
	})
}

func TestOOBAfterClose(t *testing.T) {
	inSession(t, Config{}, func(t *testing.T, client, server *UDPSession) {
		var inbox oobInbox
		server.SetOOBHandler(inbox.handle)
		// Undelivered data keeps the closed session alive for its linger time.
		mustWrite(t, client, []byte("unread"))
		if err := server.Close(); err != nil {
			t.Fatal(err)
		}
		for name, err := range map[string]error{
			"SendOOB":       server.SendOOB([]byte("x")),
			"SetOOBHandler": server.SetOOBHandler(inbox.handle),
		} {
			if !errors.Is(err, net.ErrClosed) {
				t.Errorf("%s after Close: %v, want net.ErrClosed", name, err)
			}
		}
		if n := server.GetOOBMaxSize(); n != 1400-12 {
			t.Errorf("GetOOBMaxSize after Close = %d", n)
		}
		if err := client.SendOOB([]byte("late")); err != nil {
			t.Fatal(err)
		}
		if got := inbox.take(); len(got) != 0 {
			t.Errorf("the handler was called with %q after Close", got)
		}
	})
}

// SendOOB allocates nothing, and a buffer on the caller's stack stays there.
func TestSendOOBAllocatesNothing(t *testing.T) {
	if raceDetector {
		t.Skip("the race detector allocates")
	}
	_, client, _ := pairLoopback(t)
	n := testing.AllocsPerRun(500, func() {
		var b [64]byte
		b[3] = 1
		_ = client.SendOOB(b[:])
	})
	if n >= 1 {
		t.Errorf("%v allocations, want 0", n)
	}
}
