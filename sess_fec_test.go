// SPDX-License-Identifier: MIT

package kcp

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// fecRecording is the FEC part of what one side of a recording sent.
type fecRecording struct {
	r      recording
	server bool // whether it is replayed into a listener
	groups [][]int
	opens  []bool   // by packet: whether it can open a session
	opened [][]byte // the packets without their cipher
}

// fecRecordings returns both sides of each recording with FEC.
func fecRecordings(t *testing.T) (all []fecRecording) {
	for _, r := range recordings(t) {
		if r.DataShards == 0 {
			continue
		}
		for _, server := range []bool{true, false} {
			packets := r.ServerPackets
			if server {
				packets = r.ClientPackets
			}
			f := fecRecording{r: r, server: server, opens: make([]bool, len(packets))}
			sealer := newSealer(r.block(t))
			groups := make(map[uint32][]int)
			parity := make(map[uint32]bool)
			for i, hex := range packets {
				opened, ok := sealer.open(unhex(t, hex))
				if !ok {
					t.Fatal("a recorded packet does not open")
				}
				h, ok := parseFECHeader(opened)
				if !ok || h.kind != fecTypeData && h.kind != fecTypeParity {
					t.Fatalf("a recorded packet of kind %#x", h.kind)
				}
				group := h.seqid / uint32(r.DataShards+r.ParityShards)
				groups[group] = append(groups[group], i)
				f.opened = append(f.opened, bytes.Clone(opened))
				parity[group] = parity[group] || h.kind == fecTypeParity
				if h.kind == fecTypeData {
					s := segmentsOf(opened[fecHeaderSize:])[0]
					f.opens[i] = s.cmd == cmdPush && s.sn < wndInitial && s.una == 0
				}
			}
			for _, group := range slices.Sorted(maps.Keys(groups)) {
				if members := groups[group]; parity[group] &&
					len(members) == r.DataShards+r.ParityShards {
					f.groups = append(f.groups, members)
				}
			}
			all = append(all, f)
		}
	}
	return all
}

// lost returns the packets that do not reach a session if the given ones are dropped. A listener
// also loses what precedes the packet that opens the session. ok is false if a group loses more
// than its parity recovers.
func (f *fecRecording) lost(dropped map[int]bool) (lost map[int]bool, ok bool) {
	lost = maps.Clone(dropped)
	if f.server {
		for i := 0; i < len(f.opens) && (!f.opens[i] || dropped[i]); i++ {
			lost[i] = true
		}
	}
	inGroups := 0
	for _, members := range f.groups {
		n := 0
		for _, i := range members {
			if lost[i] {
				n++
			}
		}
		inGroups += n
		if n > f.r.ParityShards {
			return nil, false
		}
	}
	return lost, inGroups == len(lost)
}

// certain reports whether a decoder without a session recovers everything that is lost.
func (f *fecRecording) certain(lost map[int]bool) bool {
	d := newFECDecoder()
	defer d.release()
	d.hint(f.r.DataShards, f.r.ParityShards)
	back, want := 0, 0
	for i, p := range f.opened {
		if !lost[i] {
			back += len(d.input(p))
		} else if !fecIsParity(p) {
			want++
		}
	}
	return back == want
}

// replayWithout replays the recording without the given packets and checks that recovery was
// immediate.
func (f *fecRecording) replayWithout(t *testing.T, dropped map[int]bool) {
	connRun(t, simProfile{}, func(t *testing.T, w *connWorld) {
		start := time.Now()
		f.r.replay(w, f.server, func(i int, _ []byte) bool { return dropped[i] })
		// A replay ends with a second in which nothing more may arrive.
		if d := time.Since(start); d > 1050*time.Millisecond {
			t.Fatalf("without packets %v it took %v, want what is lost back at once",
				slices.Sorted(maps.Keys(dropped)), d)
		}
	})
}

func TestRecordedSessionsWithFECLoseNothing(t *testing.T) {
	for _, f := range fecRecordings(t) {
		name := fmt.Sprintf("cipher %q fec %d,%d stream %v server %v", f.r.Cipher, f.r.DataShards,
			f.r.ParityShards, f.r.Stream, f.server)
		t.Run(name, func(t *testing.T) {
			if len(f.groups) == 0 {
				t.Skip("no group of this recording has its parity")
			}
			patterns, doubtful := 0, 0
			try := func(dropped map[int]bool) {
				lost, ok := f.lost(dropped)
				switch {
				case !ok || len(lost) == 0:
				// the rest of a short stream is too little to find its shape
				case len(lost) > 1 && !f.certain(lost):
					doubtful++
				default:
					f.replayWithout(t, dropped)
					patterns++
				}
			}
			for _, members := range f.groups {
				// Each packet alone, and each run of as many as the parity recovers.
				for at := range members {
					try(map[int]bool{members[at]: true})
					run := make(map[int]bool)
					for _, i := range members[at:min(at+f.r.ParityShards, len(members))] {
						run[i] = true
					}
					try(run)
				}
			}
			rng := rand.New(rand.NewPCG(1, 2))
			for range 30 {
				// In all groups at once, at random.
				dropped := make(map[int]bool)
				for _, members := range f.groups {
					for _, at := range rng.Perm(len(members))[:rng.IntN(f.r.ParityShards+1)] {
						dropped[members[at]] = true
					}
				}
				try(dropped)
			}
			t.Logf("%d patterns of loss, and %d ambiguous ones", patterns, doubtful)
			if patterns < 20 {
				t.Errorf("only %d patterns of loss were tried", patterns)
			}
		})
	}
}

// fastConfig returns the configuration of a program that needs low latency.
func fastConfig(data, parity int) Config {
	return Config{
		DataShards: data, ParityShards: parity, NoDelay: true,
		Interval: 10 * time.Millisecond, FastResend: 2,
		NoCongestionControl: true, ACKNoDelay: true,
	}
}

// chatter sends messages in both directions, one every 10 ms, until count have been sent. It checks
// that they arrive in order.
func chatter(t *testing.T, n *connPair, count int) {
	t.Helper()
	done := make(chan struct{}, 2)
	for _, ends := range [2][2]*UDPSession{{n.client, n.server}, {n.server, n.client}} {
		go func() {
			for i := range count {
				if _, err := ends[0].Write(fmt.Appendf(nil, "message %d", i)); err != nil {
					t.Errorf("Write: %v", err)
				}
				time.Sleep(10 * time.Millisecond)
			}
		}()
		go func() {
			defer func() { done <- struct{}{} }()
			buf := make([]byte, 100)
			for i := range count {
				m, err := ends[1].Read(buf)
				if got, want := string(buf[:m]), fmt.Sprintf("message %d", i); got != want ||
					err != nil {
					t.Errorf("got %q, %v, want %q", got, err, want)
					return
				}
			}
		}()
	}
	<-done
	<-done
}

func TestFECIsUnderstoodWhateverEachSideHasConfigured(t *testing.T) {
	tests := []struct{ client, server fecShards }{
		{fecShards{10, 3}, fecShards{10, 3}},
		{fecShards{10, 3}, fecShards{}},
		{fecShards{}, fecShards{5, 2}},
		{fecShards{3, 1}, fecShards{10, 3}},
		{fecShards{1, 1}, fecShards{20, 5}},
		{fecShards{2, 2}, fecShards{4, 4}},
	}
	for i, tt := range tests {
		t.Run(fmt.Sprint(tt.client, tt.server), func(t *testing.T) {
			p := simProfile{Delay: 20 * time.Millisecond, Loss: 0.08}
			client := fastConfig(tt.client.data, tt.client.parity)
			server := fastConfig(tt.server.data, tt.server.parity)
			unlikePairRun(t, uint64(i), p, client, server, func(t *testing.T, n *connPair) {
				chatter(t, n, 1000)
				for name, check := range map[string]struct {
					peer fecShards
					st   Stats
				}{
					"client": {tt.server, n.client.Stats()},
					"server": {tt.client, n.server.Stats()},
				} {
					if got := check.st.FECRecovered; check.peer.data > 0 && got < 30 ||
						check.peer.data == 0 && got > 0 {
						t.Errorf("the %s recovered %d packets of a peer with shards %v",
							name, got, check.peer)
					}
				}
			})
		})
	}
}

func TestSetFECAtRunTime(t *testing.T) {
	p := simProfile{Delay: 20 * time.Millisecond, Loss: 0.08}
	unlikePairRun(t, 9, p, fastConfig(0, 0), fastConfig(10, 3), func(t *testing.T, n *connPair) {
		local := n.client.LocalAddr().String()
		newest, outOfOrder, plain, shards := uint32(0), 0, 0, 0
		n.net.SetTap(func(_ time.Time, from, _ net.Addr, payload []byte) simAction {
			if from.String() == local {
				switch p := parsePacket(payload); p.kind {
				case packetData:
					if shards++; fecSeqid(payload) <= newest && newest > 0 {
						outOfOrder++
					}
					newest = fecSeqid(payload)
				case packetParity:
					shards++
				case packetPlain:
					if segmentsOf(payload)[0].cmd == cmdPush {
						plain++
					}
				}
			}
			return simAction{}
		})
		for _, step := range []fecShards{
			{10, 3}, {3, 1}, {0, 0}, {5, 2}, {1, 1}, {0, 0}, {0, 0}, {10, 3}, {30, 10},
		} {
			if err := n.client.SetFEC(step.data, step.parity); err != nil {
				t.Fatalf("SetFEC(%d, %d): %v", step.data, step.parity, err)
			}
			n.net.mu.Lock() // the tap runs under it
			plain, shards = 0, 0
			n.net.mu.Unlock()
			before := n.server.Stats()
			chatter(t, n, 500)
			recovered := n.server.Stats().FECRecovered - before.FECRecovered
			n.net.mu.Lock()
			plain, shards := plain, shards
			n.net.mu.Unlock()
			if step.data > 0 && (recovered < 10 || plain > 3 || shards < 500) {
				t.Errorf("with %v the peer recovered %d packets of %d shards and %d plain ones",
					step, recovered, shards, plain)
			}
			if step.data == 0 && (shards > 3 || plain < 500) {
				t.Errorf("without FEC %d shards and %d plain packets left", shards, plain)
			}
		}
		n.net.mu.Lock()
		defer n.net.mu.Unlock()
		if outOfOrder > 0 {
			t.Errorf("%d seqids went backwards", outOfOrder)
		}
	})
}

func TestSetFECUnderTraffic(t *testing.T) {
	for seed := range uint64(5) {
		c := fastConfig(0, 0)
		c.StreamMode = true
		p := simProfile{Delay: 10 * time.Millisecond, Loss: 0.1, Jitter: 5 * time.Millisecond,
			JitterReorders: true, Duplicate: 0.05}
		pairRun(t, seed, p, c, func(t *testing.T, n *connPair) {
			stop := make(chan struct{})
			go func() {
				rng := rand.New(rand.NewPCG(seed, 7))
				for {
					select {
					case <-stop:
						return
					case <-time.After(time.Duration(rng.IntN(40)) * time.Millisecond):
						k := rng.IntN(12)
						if err := n.client.SetFEC(k, min(k, 1+rng.IntN(4))); err != nil {
							t.Error(err)
						}
					}
				}
			}()
			n.move(t, pattern(1<<20, seed))
			close(stop)
		})
	}
}

func TestSetFECNamesWhatIsWrong(t *testing.T) {
	inSession(t, Config{}, func(t *testing.T, client, server *UDPSession) {
		for _, tt := range []struct {
			data, parity int
			want         string // part of the error; "": none
		}{
			{10, 3, ""}, {0, 0, ""}, {-1, -1, ""}, {255, 1, ""}, {1, 255, ""}, {128, 128, ""},
			{0, 3, "dataShards"}, {3, 0, "parityShards"}, {-1, 3, "dataShards"},
			{3, -1, "parityShards"},
			{256, 1, "dataShards"}, {200, 57, "parityShards"}, {1 << 30, 1 << 30, "dataShards"},
		} {
			switch err := client.SetFEC(tt.data, tt.parity); {
			case tt.want == "" && err != nil:
				t.Errorf("SetFEC(%d, %d): %v", tt.data, tt.parity, err)
			case tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)):
				t.Errorf("SetFEC(%d, %d): %v, want an error that names %s",
					tt.data, tt.parity, err, tt.want)
			}
		}
		if err := client.SetFEC(-1, 0); err != nil || client.turns.encoder != nil {
			t.Errorf("SetFEC(-1, 0) leaves an encoder, or %v", err)
		}
		if !client.SetMtu(32) {
			t.Fatal("SetMtu(32) = false")
		}
		if err := client.SetFEC(10, 3); err == nil || !strings.Contains(err.Error(), "MTU 32") ||
			client.core.mtu != 32 {
			t.Errorf("SetFEC without room: %v, an MTU of %d inside, want an error and 32",
				err, client.core.mtu)
		}
		client.SetMtu(1400)
		if err := client.SetFEC(10, 3); err != nil || client.core.mtu != 1380 {
			t.Errorf("SetFEC: %v, an MTU of %d inside, want 1380", err, client.core.mtu)
		}
		if err := client.SetFEC(0, 0); err != nil || client.core.mtu != 1400 {
			t.Errorf("SetFEC off: %v, an MTU of %d inside, want 1400", err, client.core.mtu)
		}
	})
}

// Several sessions from one address, each with FEC. Parity names no session, and nothing is mixed
// up.
func TestSessionsOfOneAddressWithFEC(t *testing.T) {
	connRun(t, simProfile{}, func(t *testing.T, w *connWorld) {
		const sessions = 3
		var packets atomic.Uint64
		var near [sessions]*memConn
		server := w.conn(memAddr("server"), nil)
		server.send = func(data []byte, _ net.Addr) {
			for _, c := range near {
				c.put(data, memAddr("server"))
			}
		}
		c := fastConfig(5, 2)
		l := w.serveOver(server, false, c)
		var dialled, accepted [sessions]*UDPSession
		for i := range near {
			near[i] = w.conn(memAddr("address of all"), func(data []byte, _ net.Addr) {
				if packets.Add(1)*0x9E3779B97F4A7C15>>32%20 > 0 { // as good as random
					server.put(data, memAddr("address of all"))
				}
			})
		}
		for i := range near {
			dialled[i] = w.dialOver(near[i], false, memAddr("server"), uint32(100+i), c)
			dialled[i].core.ctl.shareAddress()
			mustWrite(t, dialled[i], []byte{byte(i)})
			accepted[i] = w.accept(l)
			if got := mustRead(t, accepted[i], 10); got[0] != byte(i) {
				t.Fatalf("session %d read %d", i, got[0])
			}
		}
		t.Log("# all send at the same time")
		recovered := uint64(0)
		for i := range sessions {
			// They send at different rates, so that their seqids differ.
			go func() {
				for m := range 600 {
					_, _ = dialled[i].Write(fmt.Appendf(nil, "session %d message %d", i, m))
					time.Sleep(time.Duration(5+3*i) * time.Millisecond)
				}
			}()
		}
		t.Log("# each reads its own messages")
		for i, s := range accepted {
			for m := range 600 {
				want := fmt.Sprintf("session %d message %d", i, m)
				if got := string(mustRead(t, s, 100)); got != want {
					t.Fatalf("got %q, want %q", got, want)
				}
			}
		}
		for i, s := range accepted {
			st := s.Stats()
			recovered += st.FECRecovered
			if st.InvalidFields+st.InputErrors > 0 {
				t.Errorf("session %d: %+v", i, st)
			}
		}
		if recovered < 20 {
			t.Errorf("%d packets were recovered, want more", recovered)
		}
	})
}

// latencies sends messages of 64 bytes every 10 ms over a link with 50 ms of delay and 5 % loss. It
// returns how long each took from Write to Read, sorted.
func latencies(t *testing.T, seed uint64, shards fecShards, count int) (took []time.Duration) {
	t.Helper()
	p := simProfile{Delay: 50 * time.Millisecond, Loss: 0.05}
	c := fastConfig(shards.data, shards.parity)
	c.Redundancy = RedundancyOff
	pairRun(t, seed, p, c, func(t *testing.T, n *connPair) {
		go func() {
			for range count {
				var message [64]byte
				binary.LittleEndian.PutUint64(message[:], uint64(time.Now().UnixNano()))
				if _, err := n.client.Write(message[:]); err != nil {
					t.Error(err)
				}
				time.Sleep(10 * time.Millisecond)
			}
		}()
		for range count {
			var message [64]byte
			if _, err := io.ReadFull(n.server, message[:]); err != nil {
				t.Fatal(err)
			}
			sent := time.Unix(0, int64(binary.LittleEndian.Uint64(message[:])))
			took = append(took, time.Since(sent))
		}
	})
	slices.Sort(took)
	return took
}

// The benefit of parity is bounded by its group. Recovery waits for the end of the group, 90 ms
// with 10 packets at this rate. Two losses are too many for one parity packet. At a low rate small
// groups with two parity packets are best.
func TestFECShortensTheDelayThatLossCosts(t *testing.T) {
	tests := []struct {
		shards fecShards
		most   float64 // share of what loss adds to the 99th percentile without FEC
	}{
		{fecShards{}, 1}, {fecShards{10, 3}, 0.6}, {fecShards{3, 1}, 0.8},
		{fecShards{5, 2}, 0.7}, {fecShards{3, 2}, 0.4},
	}
	const link = 50 * time.Millisecond
	var without time.Duration
	for _, tt := range tests {
		var took []time.Duration
		for seed := range uint64(3) {
			took = append(took, latencies(t, seed, tt.shards, 2000)...)
		}
		slices.Sort(took)
		at := func(share float64) time.Duration {
			return took[int(share*float64(len(took)))].Round(time.Millisecond)
		}
		if tt.shards.data == 0 {
			without = at(0.99)
		}
		t.Logf("FEC %2d/%d: p50 %v, p90 %v, p99 %v, p99.9 %v",
			tt.shards.data, tt.shards.parity, at(0.5), at(0.9), at(0.99), at(0.999))
		if got, most := at(0.99)-link, time.Duration(tt.most*float64(without-link)); got > most {
			t.Errorf("FEC %d/%d: loss adds %v to the 99th percentile, want at most %v of %v",
				tt.shards.data,
				tt.shards.parity, got, most, without-link)
		}
	}
}

// Memory of the decoder is in the account, and an idle session releases it.
func TestFECMemoryIsChargedAndGivenBack(t *testing.T) {
	link := simProfile{Delay: 10 * time.Millisecond}
	pairRun(t, 3, link, fastConfig(10, 3), func(t *testing.T, n *connPair) {
		chatter(t, n, 40)
		for _, s := range []*UDPSession{n.client, n.server} {
			s.mu.Lock()
			held, charged := s.decoder.memory(), s.charged
			s.mu.Unlock()
			if held < 4096 || int(charged) < held-memoryUncounted {
				t.Errorf("the decoder holds %d bytes and %d are charged", held, charged)
			}
		}
		time.Sleep(10 * time.Second)
		for _, s := range []*UDPSession{n.client, n.server} {
			s.mu.Lock()
			held, charged := s.decoder.memory(), s.charged
			s.mu.Unlock()
			if held != 0 || charged != 0 {
				t.Errorf("after 10 s without traffic the decoder holds %d bytes and %d are charged",
					held, charged)
			}
		}
		chatter(t, n, 50)
	})
}

// Large groups have so much parity under construction that it is charged as well.
func TestFECMemoryOfLargeGroupsIsCharged(t *testing.T) {
	link := simProfile{Delay: 10 * time.Millisecond}
	pairRun(t, 3, link, fastConfig(10, 100), func(t *testing.T, n *connPair) {
		legacyParity(n.client, 10, 100) // whose open group waits for more data
		if _, err := n.client.Write(pattern(4000, 1)); err != nil {
			t.Fatal(err)
		}
		time.Sleep(10 * time.Second) // the decoder has given everything back
		n.client.mu.Lock()
		held, charged := n.client.turns.encoder.memory(), n.client.charged
		n.client.mu.Unlock()
		if held < 100*bufferPacket || int(charged) < held-2*memoryUncounted {
			t.Errorf("the encoder holds %d bytes and %d are charged", held, charged)
		}
	})
}
