// SPDX-License-Identifier: MIT

package kcp

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"
)

// memoryHoards are ways to make a server hold memory. Each is called for every one of many peers,
// with sessions of its own.
var memoryHoards = []struct {
	name  string
	hoard func(h *fuzzHost, from memAddr, conv uint32)
}{
	{"data that nobody reads", func(h *fuzzHost, from memAddr, conv uint32) {
		memoryPushes(h, from, conv, 0, 300, 0, 1000)
	}},
	{"data behind a hole", func(h *fuzzHost, from memAddr, conv uint32) {
		memoryPushes(h, from, conv, 1, 300, 0, 1000)
	}},
	{"a message without its end", func(h *fuzzHost, from memAddr, conv uint32) {
		memoryPushes(h, from, conv, 0, 250, 255, 1000)
	}},
	{"large segments that nobody reads", func(h *fuzzHost, from memAddr, conv uint32) {
		memoryPushes(h, from, conv, 0, 30, 0, 60_000)
	}},
	{"large segments behind a hole", func(h *fuzzHost, from memAddr, conv uint32) {
		memoryPushes(h, from, conv, 1, 30, 0, 60_000)
	}},
	{"a large message without its end", func(h *fuzzHost, from memAddr, conv uint32) {
		memoryPushes(h, from, conv, 0, 30, 255, 60_000)
	}},
	{"shards of error correction", func(h *fuzzHost, from memAddr, conv uint32) {
		batch := [][]byte{memoryPush(conv, 0, 0)}
		for i := range uint32(450) {
			if i%13 < 9 { // one less than it takes to rebuild the group
				header := fuzzBytes{4, 255, byte(i), byte(i >> 8), 0, 0}
				batch = append(batch, header.frame(memoryPush(conv, 60000, 0), conv))
			}
			if len(batch) == 50 {
				h.receive(from, batch...)
				batch = nil
			}
		}
	}},
	{"answers that are not acknowledged", func(h *fuzzHost, from memAddr, conv uint32) {
		h.receive(from, memoryPush(conv, 0, 0))
		s := h.demux.find(&sessionKey{mustPeer(from), conv})
		for {
			s.mu.Lock()
			free, _ := s.core.writeRoom()
			s.mu.Unlock()
			if free == 0 {
				return
			}
			_, _ = s.Write(make([]byte, 1000))
		}
	}},
}

// memoryPushes sends the segments from first to end, several in a batch as fast senders do.
func memoryPushes(h *fuzzHost, from memAddr, conv uint32, first, end seqNum, frg uint8, size int) {
	for sn := first; sn < end; {
		var batch [][]byte
		for ; sn < end && len(batch) < 50; sn++ {
			batch = append(batch, appendSegment(nil, &segment{
				conv: conv, cmd: cmdPush, frg: frg, wnd: 128, ts: 1, sn: sn,
				data: make([]byte, size),
			}))
		}
		h.receive(from, batch...)
	}
}

func mustPeer(addr memAddr) peerAddr {
	return newPeerAddr(addr)
}

func memoryPush(conv uint32, sn seqNum, frg uint8) []byte {
	return appendSegment(nil, &segment{conv: conv, cmd: cmdPush, frg: frg, wnd: 128, ts: 1,
		sn: sn, data: make([]byte, 1000)})
}

const memoryPeers = 200

// memoryHost returns a server with peers that take as much memory as they can.
func memoryHost(t *testing.T, most int64, peers int,
	hoard func(h *fuzzHost, from memAddr, conv uint32)) (n *fuzzNet, h *fuzzHost) {
	n = newFuzzNet(t)
	h = n.host("server", Config{MaxMemory: most, MaxPending: 2 * peers,
		AcceptBacklog: 2 * peers, AmplificationLimit: -1,
		DataShards: 10, ParityShards: 3})
	h.listen()
	for i := range peers {
		hoard(h, memAddr(fmt.Sprint("thief ", i)), uint32(i+1))
	}
	return n, h
}

func TestMemoryOfAllSessionsIsBounded(t *testing.T) {
	const most = 32 << 20
	for _, tt := range memoryHoards {
		t.Run(tt.name, func(t *testing.T) {
			n, h := memoryHost(t, -1, memoryPeers/10, tt.hoard)
			without := 10 * h.demux.memory.held.Load()
			n.close()
			n, h = memoryHost(t, most, memoryPeers, tt.hoard)
			defer n.close()
			st := h.demux.backlog.stats()
			// A few segments in each direction, and the rings for them, are always allocated.
			bound := int64(most + st.Sessions*(2*roomLeast*memorySegment+4096))
			t.Logf("%d sessions hold %d bytes of at most %d, %d without the bound",
				st.Sessions, st.Memory, most, without)
			if st.Sessions != memoryPeers || st.Memory > bound || st.Memory < most/2 ||
				without < bound+bound/4 {
				t.Errorf("%d sessions hold %d bytes, want some of %d; %d without the bound",
					st.Sessions, st.Memory, bound, without)
			}
			if held := memoryHeld(h) - int64(st.Sessions)*memoryUncounted; held > st.Memory {
				t.Errorf("%d bytes are in use besides what is not counted, %d in the account",
					held, st.Memory)
			}
			if st.RefusedMemory == 0 && tt.name != "answers that are not acknowledged" {
				t.Error("nothing was counted as refused")
			}
			fragments := 12
			if strings.HasSuffix(tt.name, "without its end") {
				fragments = roomLeast // there is memory left for no more
			}
			memoryServesOthers(t, n, h, fragments)
		})
	}
}

// memoryHeld returns the size of the buffers of all segments.
func memoryHeld(h *fuzzHost) (bytes int64) {
	for s := range h.demux.sessions.all {
		c := &s.core
		for i := range uint32(4096) {
			if c.in != nil && i < c.in.size() && c.in.present.has(c.in.slot(c.readNxt+seqNum(i))) {
				bytes += int64(cap(c.in.at(c.readNxt + seqNum(i)).data))
			}
			if c.ring != nil && i < c.queued() {
				bytes += int64(cap(c.ring.at(c.sendUna + seqNum(i)).data))
			}
		}
		if s.decoder != nil {
			bytes += int64(s.decoder.memory())
		}
	}
	return bytes
}

// memoryServesOthers checks that an honest peer can send messages of that many fragments while it
// respects the advertised window.
func memoryServesOthers(t *testing.T, n *fuzzNet, h *fuzzHost, fragments int) {
	t.Helper()
	const conv = 9999
	var s *UDPSession
	wnd := uint16(32)
	n.tap = func(_ *fuzzHost, p memPacket) bool {
		var seg segment
		if _, status := parseSegment(parsePacket(p.data).segments, &seg); status == parseOK &&
			seg.conv == conv {
			wnd = seg.wnd
		}
		return false
	}
	buf := make([]byte, 1<<16)
	sn, got := seqNum(0), 0
	for round, end := 0, seqNum(20*fragments); sn < end; round++ {
		if round > 400 {
			t.Fatalf("%d of %d segments after %d rounds, window %d", sn, end, round, wnd)
		}
		for range min(max(wnd, 1), 10) {
			frg := uint8(fragments - 1 - int(sn)%fragments)
			h.receive("honest", memoryPush(conv, sn, frg))
			if s = h.demux.find(&sessionKey{mustPeer("honest"), conv}); s == nil {
				t.Fatal("the honest peer gets no session")
			}
			sn = s.core.rcvNxt // what was refused is sent again
		}
		n.run(50 * time.Millisecond)
		for fuzzReadable(s) {
			m, err := s.Read(buf)
			if err != nil {
				t.Fatal(err)
			}
			got += m
		}
	}
	if want := 20 * fragments * 1000; got < want-1000*fragments || got > want+10_000 {
		t.Errorf("%d bytes were read, want %d", got, want)
	}
}

// Honest peers whose data is read slowly share the memory. Everything arrives, and little is
// refused on the way.
func TestMemoryIsSharedAmongBusySessions(t *testing.T) {
	connRun(t, simProfile{Delay: 10 * time.Millisecond}, func(t *testing.T, w *connWorld) {
		const sessions, size = 20, 400_000
		l := w.serve(Config{StreamMode: true, MaxMemory: 1 << 20})
		done := make(chan error, 2*sessions)
		data := pattern(size, 5)
		for range sessions {
			c := w.dial(Config{StreamMode: true, NoDelay: true})
			go func() {
				_, err := c.Write(data)
				_ = c.CloseWrite()
				done <- err
			}()
		}
		var most int64
		for range sessions {
			s, err := l.AcceptKCP()
			if err != nil {
				t.Fatal(err)
			}
			w.sessions = append(w.sessions, s)
			go func() {
				time.Sleep(2 * time.Second) // all windows are full by then
				got, err := io.ReadAll(s)
				if err == nil && !bytes.Equal(got, data) {
					err = fmt.Errorf("%d bytes, not as they were sent", len(got))
				}
				done <- err
			}()
		}
		for range 40 {
			time.Sleep(50 * time.Millisecond)
			most = max(most, l.Stats().Memory)
		}
		for range 2 * sessions {
			if err := <-done; err != nil {
				t.Fatal(err)
			}
		}
		st := l.Stats()
		t.Logf("at most %d bytes were held, %d segments refused", most, st.RefusedMemory)
		if limit := int64(1<<20 + sessions*(memorySegment+4096)); most > limit || most < 1<<19 {
			t.Errorf("%d bytes were held at most, want %d to %d", most, 1<<19, limit)
		}
		if sent := uint64(sessions * size / 1376); st.RefusedMemory > sent/4 {
			t.Errorf("%d of %d segments were refused", st.RefusedMemory, sent)
		}
		if st.Memory > sessions*2048 {
			t.Errorf("%d bytes are held when all is read", st.Memory)
		}
	})
}

// A session is read all the time, and its window has shrunk because others hold the memory. When
// they are read, its window grows again.
func TestMemoryGivenBackOpensTheWindowsOfOthers(t *testing.T) {
	connRun(t, closeLink, func(t *testing.T, w *connWorld) {
		const hoarders, size = 8, 400_000
		c := Config{StreamMode: true, NoDelay: true, NoCongestionControl: true,
			SendWindow: 256, ReceiveWindow: 256}
		served := c
		served.MaxMemory = 1 << 20
		l := w.serve(served)
		var full []*UDPSession
		for range hoarders {
			client := w.dial(c)
			full = append(full, w.join(client, l))
			go func() { _, _ = client.Write(make([]byte, size)) }()
		}
		time.Sleep(5 * time.Second)
		client := w.dial(c)
		s := w.join(client, l)
		go func() {
			for {
				if _, err := client.Write(make([]byte, 64<<10)); err != nil {
					return
				}
			}
		}()
		buf := make([]byte, 64<<10)
		rate := func() int {
			n := 0
			for began := time.Now(); time.Since(began) < 2*time.Second; {
				_ = s.SetReadDeadline(began.Add(2 * time.Second))
				m, _ := s.Read(buf)
				n += m
			}
			return n / 2
		}
		time.Sleep(time.Second)
		starved := rate()
		for _, h := range full {
			go func() { _, _ = io.Copy(io.Discard, h) }()
		}
		time.Sleep(time.Second)
		fed := rate()
		t.Logf("%d bytes a second while others hold the memory, %d when they are read",
			starved, fed)
		if starved < 8*1376*10 || fed < 5*starved {
			t.Errorf("%d bytes a second while others hold the memory, %d when they are read",
				starved, fed)
		}
	})
}

func TestMemoryOfOutOfBandPackets(t *testing.T) {
	connRun(t, simProfile{}, func(t *testing.T, w *connWorld) {
		l := w.serve(Config{MaxMemory: 64 << 10})
		var clients, servers []*UDPSession
		release := make(chan struct{})
		for i := range 10 {
			c := w.dial(Config{})
			connWrite(t, c, "x")
			s, err := l.AcceptKCP()
			if err != nil {
				t.Fatal(err)
			}
			connWantRead(t, s, "x")
			w.sessions = append(w.sessions, s)
			if err := s.SetOOBHandler(func([]byte) { <-release }); err != nil {
				t.Fatal(i, err)
			}
			clients, servers = append(clients, c), append(servers, s)
		}
		for range 60 {
			for _, c := range clients {
				if err := c.SendOOB(make([]byte, 1000)); err != nil {
					t.Fatal(err)
				}
			}
			time.Sleep(time.Millisecond)
		}
		if held := l.Stats().Memory; held > 64<<10 || held < 32<<10 {
			t.Errorf("%d bytes are held, want some 64 KiB", held)
		}
		var dropped uint64
		for _, s := range servers {
			dropped += s.Stats().OOBDropped
		}
		if dropped < 10*60-64<<10/memorySegment {
			t.Errorf("%d packets were dropped", dropped)
		}
		close(release)
		time.Sleep(time.Second)
		if held := l.Stats().Memory; held != 0 {
			t.Errorf("%d bytes are held after all were handed over", held)
		}
	})
}

// Large out-of-band packets, which this library does not send, are charged at their size.
func TestMemoryOfLargeOutOfBandPackets(t *testing.T) {
	connRun(t, simProfile{}, func(t *testing.T, w *connWorld) {
		const most = 1 << 20
		l := w.serve(Config{MaxMemory: most})
		server := l.demux.eps[0].conn.(*simEndpoint)
		release := make(chan struct{})
		payload := make([]byte, 60_000)
		var queues []*oobQueue
		for range 10 {
			c := w.dial(Config{})
			s := w.join(c, l)
			if err := s.SetOOBHandler(func([]byte) { <-release }); err != nil {
				t.Fatal(err)
			}
			queues = append(queues, s.oob.Load())
			header := binary.LittleEndian.AppendUint32(nil, oobSeqID)
			header = binary.LittleEndian.AppendUint16(header, fecTypeOOB)
			header = binary.LittleEndian.AppendUint16(header, uint16(2+4+len(payload)))
			header = binary.LittleEndian.AppendUint32(header, c.GetConv())
			for range oobQueueMax {
				server.put(append(header, payload...), c.LocalAddr())
				time.Sleep(time.Millisecond)
			}
		}
		held := 0
		for _, q := range queues {
			q.mu.Lock()
			for _, b := range q.waiting {
				held += cap(b)
			}
			q.mu.Unlock()
		}
		if st := l.Stats(); held > most || int64(held) > st.Memory || st.Memory < most/4 {
			t.Errorf("%d bytes wait, %d are in the account, want at most %d", held, st.Memory, most)
		}
		close(release)
		time.Sleep(time.Second)
		if held := l.Stats().Memory; held != 0 {
			t.Errorf("%d bytes are held after all were handed over", held)
		}
	})
}
