// SPDX-License-Identifier: MIT

package kcp

import (
	"bytes"
	"math"
	"net"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// snmpSince returns the process's counters since before, field by field.
func snmpSince(before *Snmp) (d Snmp) {
	now := DefaultSnmp.Copy()
	for i := range d.words() {
		d.words()[i] = now.words()[i] - before.words()[i]
	}
	return d
}

// Every datagram that no session can use is dropped and counted, and opens none.
func TestListenerDropsAndCountsBadDatagrams(t *testing.T) {
	push := func(change func(s *segment)) []byte {
		s := segment{conv: 7, cmd: cmdPush, wnd: 32, ts: 5, data: []byte("x")}
		change(&s)
		return appendSegment(nil, &s)
	}
	keep := func(*segment) {}
	shard := func(kind uint16, size int, rest []byte) []byte {
		h := fecHeader{seqid: 4, kind: kind, size: uint16(size)}
		return append(h.append(nil), rest...)
	}
	tests := []struct {
		name   string
		packet []byte
	}{
		{"one byte", []byte{1}},
		{"seven bytes", make([]byte, 7)},
		{"a header less a byte", push(keep)[:23]},
		{"zeros", make([]byte, 100)},
		{"the largest datagram of ones", bytes.Repeat([]byte{255}, 65000)},
		{"unknown command", push(func(s *segment) { s.cmd = 85 })},
		{"a length that lies", push(keep)[:24]},
		{"a length of 2^31", append(push(keep)[:23:23], 0x80)},
		{"an ACK", push(func(s *segment) { s.cmd = cmdAck })},
		{"a window update", push(func(s *segment) { s.cmd = cmdWins })},
		{"beyond the initial window", push(func(s *segment) { s.sn = wndInitial })},
		{"far ahead", push(func(s *segment) { s.sn = math.MaxUint32 })},
		{"acknowledges what was never sent", push(func(s *segment) { s.una = 1 })},
		{"a data shard with nothing in it", shard(fecTypeData, 2, nil)},
		{"a data shard whose size lies", shard(fecTypeData, 500, push(keep))},
		{"a data shard with less than a segment", shard(fecTypeData, 2+23, push(keep)[:23])},
		{"a data shard of an unknown command",
			shard(fecTypeData, 2+25, push(func(s *segment) { s.cmd = 99 }))},
		{"a parity shard of nobody", shard(fecTypeParity, 7, make([]byte, 50))},
		{"out of band for nobody", shard(fecTypeOOB, 2+8, make([]byte, 8))},
		{"out of band without a conversation", shard(fecTypeOOB, 2+3, make([]byte, 3))},
	}
	for _, keyed := range []bool{false, true} {
		connRun(t, simProfile{}, func(t *testing.T, w *connWorld) {
			var c Config
			if keyed {
				var err error
				if c.BlockCrypt, err = NewAESGCMCrypt(make([]byte, 16)); err != nil {
					t.Fatal(err)
				}
			}
			seal := newSealer(c.BlockCrypt)
			conn := w.conn(memAddr("server"), nil)
			l := w.serveOver(conn, false, c)
			before := DefaultSnmp.Copy()
			for i, tt := range tests {
				packet := make([]byte, seal.headroom()+len(tt.packet)+seal.tailroom())
				copy(packet[seal.headroom():], tt.packet)
				if err := seal.seal(packet); err != nil {
					t.Fatal(err)
				}
				conn.put(packet, memAddr("peer"))
				synctest.Wait()
				if d := snmpSince(before); d.InErrs != uint64(i+1) || d.InPkts != uint64(i+1) ||
					d.PassiveOpens != 0 {
					t.Fatalf("keyed %v: after %s: %d of %d datagrams counted, %d sessions opened",
						keyed, tt.name,
						d.InErrs, d.InPkts, d.PassiveOpens)
				}
			}
			if keyed {
				for i := range 40 {
					conn.put(make([]byte, i+1), memAddr("peer"))
				}
				synctest.Wait()
				if d := snmpSince(before); d.InCsumErrors != 40 {
					t.Errorf("%d of 40 forgeries counted", d.InCsumErrors)
				}
			}
			t.Log("# the listener still works")
			good := make([]byte, seal.headroom()+25+seal.tailroom())
			copy(good[seal.headroom():], push(keep))
			if err := seal.seal(good); err != nil {
				t.Fatal(err)
			}
			conn.put(good, memAddr("peer"))
			w.accept(l)
		})
	}
}

// A datagram from another address, or of another conversation, does not reach a dialled session.
func TestDialledSessionDropsAndCountsWhatIsNotItsOwn(t *testing.T) {
	connRun(t, simProfile{}, func(t *testing.T, w *connWorld) {
		conn := w.conn(memAddr("client"), nil)
		s := w.dialOver(conn, true, memAddr("server"), 7, Config{})
		before := DefaultSnmp.Copy()
		for i, tt := range []struct {
			from net.Addr
			conv uint32
		}{
			{memAddr("server"), 8}, {memAddr("other"), 7},
			{&net.UDPAddr{IP: net.IPv4(10, 0, 0, 1), Port: 5}, 7},
		} {
			s := segment{conv: tt.conv, cmd: cmdPush, wnd: 32, data: []byte("x")}
			conn.put(appendSegment(nil, &s), tt.from)
			synctest.Wait()
			if d := snmpSince(before); d.InErrs != uint64(i+1) || d.InSegs != 0 {
				t.Errorf("from %v for conv %d: %d errors counted, %d segments taken",
					tt.from, tt.conv, d.InErrs, d.InSegs)
			}
		}
		conn.put(appendSegment(nil, &segment{conv: 7, cmd: cmdPush, wnd: 32, data: []byte("ours")}),
			memAddr("server"))
		if got := string(mustRead(t, s, 10)); got != "ours" {
			t.Errorf("read %q", got)
		}
		bad := appendSegment(nil, &segment{conv: 7, cmd: cmdWask, wnd: 32})
		bad = append(bad, "\x07\x00\x00\x00\x63 and nothing that makes sense behind it"...)
		conn.put(bad, memAddr("server"))
		synctest.Wait()
		if st := s.Stats(); st.InputErrors != 1 || snmpSince(before).KCPInErrors != 1 {
			t.Errorf("Stats count %d bad datagrams, Snmp %d, want 1",
				st.InputErrors, snmpSince(before).KCPInErrors)
		}
	})
}

// A transfer over a bad link changes every counter that can change, in the sessions and in the
// process alike.
func TestStatsAndSnmpAgree(t *testing.T) {
	connAwaitStillness(t) // what earlier tests left counts as well
	before := DefaultSnmp.Copy()
	p := simProfile{Delay: 20 * time.Millisecond, Jitter: 4 * time.Millisecond, Loss: 0.05,
		Duplicate: 0.02, Reorder: 0.02, ReorderDelay: 30 * time.Millisecond}
	config := Config{
		StreamMode: true, NoDelay: true, FastResend: 2, NoCongestionControl: true,
		SendWindow: 64, FixedWindows: true, DataShards: 5, ParityShards: 2,
	}
	pairRun(t, 3, p, config, func(t *testing.T, n *connPair) {
		if d := snmpSince(before); d.ActiveOpens != 1 || d.PassiveOpens != 1 || d.CurrEstab != 2 {
			t.Errorf("opened %d and %d, now %d, want 1, 1, 2",
				d.ActiveOpens, d.PassiveOpens, d.CurrEstab)
		}
		const size = 2 << 20
		n.server.SetOOBHandler(func([]byte) {})
		if err := n.client.SendOOB([]byte("out of band")); err != nil {
			t.Fatal(err)
		}
		n.move(t, pattern(size, 1))
		time.Sleep(time.Second)
		a, b, d := n.client.Stats(), n.server.Stats(), snmpSince(before)
		for _, c := range []struct {
			name      string
			got, want uint64
		}{
			{"BytesSent of the writer", a.BytesSent, size + uint64(len("hello"))},
			{"BytesReceived of the reader", b.BytesReceived, size + uint64(len("hello"))},
			{"Snmp.BytesSent", d.BytesSent, a.BytesSent + b.BytesSent},
			{"Snmp.BytesReceived", d.BytesReceived, a.BytesReceived + b.BytesReceived},
			{"Snmp.OutPkts", d.OutPkts, a.PacketsSent + b.PacketsSent},
			{"Snmp.OutBytes", d.OutBytes, a.WireBytesSent + b.WireBytesSent},
			{"Snmp.InPkts", d.InPkts, a.PacketsReceived + b.PacketsReceived},
			{"Snmp.InBytes", d.InBytes, a.WireBytesReceived + b.WireBytesReceived},
			{"Snmp.OutSegs", d.OutSegs, a.SegmentsSent + b.SegmentsSent},
			{"Snmp.InSegs", d.InSegs, a.SegmentsReceived + b.SegmentsReceived},
			{"Snmp.FastRetransSegs", d.FastRetransSegs, a.FastRetransmits + b.FastRetransmits},
			{"Snmp.EarlyRetransSegs", d.EarlyRetransSegs, a.EarlyRetransmits + b.EarlyRetransmits},
			{"Snmp.LostSegs", d.LostSegs, a.TimeoutRetransmits + b.TimeoutRetransmits},
			{"Snmp.RetransSegs", d.RetransSegs,
				d.FastRetransSegs + d.EarlyRetransSegs + d.LostSegs},
			{"Snmp.RepeatSegs", d.RepeatSegs, a.DuplicatesReceived + b.DuplicatesReceived},
			{"Snmp.FECRecovered", d.FECRecovered, a.FECRecovered + b.FECRecovered},
			{"Snmp.FECParityShards", d.FECParityShards, a.FECParityReceived + b.FECParityReceived},
			{"Snmp.FECFullShardSet", d.FECFullShardSet, a.FECGroupsComplete + b.FECGroupsComplete},
			{"Snmp.FECShardMin", d.FECShardMin, a.FECGroupsFailed + b.FECGroupsFailed},
			{"Snmp.FECErrs", d.FECErrs, a.FECErrors + b.FECErrors},
			{"Snmp.OOBPackets", d.OOBPackets, 1},
			{"Snmp.CopiedSegs", d.CopiedSegs, a.CopiedSegments + b.CopiedSegments},
			{"what arrived", a.PacketsReceived + b.PacketsReceived, n.net.Stats().Delivered},
		} {
			if c.got != c.want {
				t.Errorf("%s is %d, want %d", c.name, c.got, c.want)
			}
		}
		for name, moved := range map[string]bool{
			"FastRetransmits":     a.FastRetransmits > 0,
			"DuplicatesReceived":  b.DuplicatesReceived > 0,
			"SpuriousRetransmits": a.SpuriousRetransmits > 0 && b.SpuriousRetransmits == 0,
			"Bandwidth":           a.Bandwidth > 0 && b.Bandwidth == 0,
			"PacingRate":          a.PacingRate > 0 && b.PacingRate == 0,
			"RandomLoss":          a.RandomLoss >= 0 && a.RandomLoss < 0.3,
			"CongestionState":     a.CongestionState != "" && b.CongestionState == "",
			"CongestionControl":   a.CongestionControl == CongestionRateAggressive,
			"FECGroupsComplete":   b.FECGroupsComplete > 0,
			"FECGroupsRecovered":  b.FECGroupsRecovered > 0,
			"FECRecovered":        b.FECRecovered > 0,
			"FECParityReceived":   b.FECParityReceived > 0,
			"FECParityUnused":     b.FECParityUnused > 0,
			"SRTT":                a.SRTT >= 40*time.Millisecond && a.SRTT < 300*time.Millisecond,
			"MinRTT":              a.MinRTT >= 40*time.Millisecond && a.MinRTT <= a.LastRTT,
			"RTO":                 a.RTO > a.SRTT,
			"windows": a.SendWindow == 64 && a.ReceiveWindow == 512 &&
				a.PeerWindow > 400,
			"congestion window": a.CongestionWindow > 0 && a.Bandwidth > 0,
			"queues empty": a.InFlight == 0 && a.SendQueue == 0 &&
				b.ReceiveQueue == 0 && b.ReceiveHoles == 0,
			"RingBufferSndBuffer": DefaultSnmp.Copy().RingBufferSndBuffer >= 30,
			"RingBufferSndQueue":  DefaultSnmp.Copy().RingBufferSndQueue > 0,
			"RingBufferRcvQueue":  DefaultSnmp.Copy().RingBufferRcvQueue > 0,
			"getters": n.client.GetRTO() == uint32(a.RTO.Milliseconds()) &&
				n.client.GetSRTT() == int32(a.SRTT.Milliseconds()) &&
				n.client.GetSRTTVar() == int32(a.RTTVar.Milliseconds()),
		} {
			if !moved {
				t.Errorf("%s is not as expected: %+v and %+v", name, a, b)
			}
		}
	})
}

func TestSessionLogsOutsideItsLocks(t *testing.T) {
	inSession(t, Config{}, func(t *testing.T, client, server *UDPSession) {
		var mu sync.Mutex
		seen := make(map[string]int)
		client.SetLogger(IKCP_LOG_ALL, func(msg string, args ...any) {
			mu.Lock()
			seen[msg]++
			mu.Unlock()
			client.Stats() // would hang if the lock were held
			if len(args) < 4 || args[0] != "conv" || args[1] != client.GetConv() {
				t.Errorf("%s: %v", msg, args)
			}
		})
		mustWrite(t, client, []byte("hello"))
		mustRead(t, server, 10)
		mustWrite(t, server, []byte("back"))
		mustRead(t, client, 10)
		time.Sleep(time.Second)
		mu.Lock()
		for _, want := range []string{
			"send", "recv", "output", "input",
			"output push", "output ack", "input push", "input ack",
		} {
			if seen[want] == 0 {
				t.Errorf("no %q was reported: %v", want, seen)
			}
		}
		clear(seen)
		mu.Unlock()
		client.SetLogger(0, nil)
		mustWrite(t, client, []byte("hello"))
		time.Sleep(time.Second)
		mu.Lock()
		defer mu.Unlock()
		if len(seen) > 0 {
			t.Errorf("reported without a logger: %v", seen)
		}
	})
}
