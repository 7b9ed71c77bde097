// SPDX-License-Identifier: MIT

package kcp

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// messages reads all messages that are there.
func messages(t *testing.T, k *KCP) (all []string) {
	t.Helper()
	for {
		size := k.PeekSize()
		if size < 0 {
			return all
		}
		buf := make([]byte, size)
		if n := k.Recv(buf); n != size {
			t.Fatalf("Recv = %d, want %d as from PeekSize", n, size)
		}
		all = append(all, string(buf))
	}
}

func TestKCPCarriesMessagesOfManyFragments(t *testing.T) {
	l, a, b := newShellLink(t)
	const mss = IKCP_MTU_DEF - IKCP_OVERHEAD
	for _, k := range l.shells {
		k.WndSize(512, 512)
	}
	var want []string
	for i, size := range []int{1, mss - 1, mss, mss + 1, 3*mss + 7, 255 * mss} {
		m := string(pattern(size, uint64(i)))
		if r := a.Send([]byte(m)); r != 0 {
			t.Fatalf("Send of %d bytes = %d, want 0", size, r)
		}
		want = append(want, m)
	}
	if n, segments := a.WaitSnd(), 1+1+1+2+4+255; n != segments {
		t.Errorf("WaitSnd = %d, want %d", n, segments)
	}
	l.settle(t)
	if got := messages(t, b); !slices.Equal(got, want) {
		t.Errorf("%d messages came, or with other bounds, want %d", len(got), len(want))
	}
	l.settle(t)
	if n := a.WaitSnd(); n != 0 {
		t.Errorf("all delivered, but WaitSnd = %d", n)
	}
}

func TestKCPReturnCodes(t *testing.T) {
	l, a, b := newShellLink(t)
	const mss = IKCP_MTU_DEF - IKCP_OVERHEAD
	buf := make([]byte, 100)
	good := appendSegment(nil, &segment{conv: 7, cmd: cmdWins, wnd: 32, data: []byte("data")})
	change := func(at int, v byte) []byte {
		c := bytes.Clone(good)
		c[at] = v
		return c
	}
	input := func(data []byte) int { return a.Input(data, IKCP_PACKET_REGULAR, false) }
	for _, tt := range []struct {
		name string
		got  int
		want int
	}{
		{"Send of nothing", a.Send(nil), -1},
		{"Send of an empty slice", a.Send(buf[:0]), -1},
		{"Send of 255 fragments and a byte", a.Send(make([]byte, 255*mss+1)), -2},
		{"WaitSnd after Sends that failed", a.WaitSnd(), 0},
		{"PeekSize of nothing", a.PeekSize(), -1},
		{"Recv of nothing", a.Recv(buf), -1},
		{"Input of nothing", input(nil), -1},
		{"Input of 23 bytes", input(good[:23]), -1},
		{"Input of another conv", input(change(0, 8)), -1},
		{"Input of a length beyond", input(change(20, 5)), -2},
		{"Input of a huge length", input(change(23, 0x80)), -2},
		{"Input of an unknown command", input(change(4, 80)), -3},
		{"Input of a segment", input(good), 0},
		{"Input of a recovered one", a.Input(good, IKCP_PACKET_FEC, false), 0},
		{"SetMtu without room for data", a.SetMtu(IKCP_OVERHEAD), -1},
		{"SetMtu of a negative size", a.SetMtu(-1), -1},
		{"SetMtu", a.SetMtu(IKCP_OVERHEAD + 1), 0},
		{"Send of 256 fragments of one byte", a.Send(make([]byte, 256)), -2},
		{"SetMtu back", a.SetMtu(IKCP_MTU_DEF), 0},
		{"NoDelay", a.NoDelay(1, 10, 2, 1), 0},
		{"WndSize", a.WndSize(64, 64), 0},
		{"Send", a.Send([]byte("hello")), 0},
	} {
		if tt.got != tt.want {
			t.Errorf("%s = %d, want %d", tt.name, tt.got, tt.want)
		}
	}
	l.settle(t)
	if n := b.Recv(buf[:4]); n != -2 {
		t.Errorf("Recv into too little = %d, want -2", n)
	}
	if n := b.Recv(buf[:5]); n != 5 || string(buf[:5]) != "hello" {
		t.Errorf("Recv = %d %q, want 5 and hello: nothing may be lost", n, buf[:5])
	}
}

func TestKCPWaitsForTheWholeMessage(t *testing.T) {
	l, a, b := newShellLink(t)
	a.SetMtu(IKCP_OVERHEAD + 10)
	a.Send([]byte("one message in three"))
	a.Send([]byte("another one"))
	a.Update()
	packets := l.waiting(1)
	slices.Reverse(packets)
	for _, d := range packets[:len(packets)-1] {
		b.Input(d, IKCP_PACKET_REGULAR, false)
		if n := b.PeekSize(); n != -1 {
			t.Fatalf("PeekSize = %d before the first fragment, want -1", n)
		}
	}
	b.Input(packets[len(packets)-1], IKCP_PACKET_REGULAR, false)
	if got := messages(t, b); !slices.Equal(got, []string{"one message in three", "another one"}) {
		t.Errorf("got %q", got)
	}
}

func TestKCPStreamModeMergesMessages(t *testing.T) {
	l, a, b := newShellLink(t)
	a.core.setMode(modeStream, true)
	for range 100 {
		a.Send(bytes.Repeat([]byte("x"), 100))
	}
	const mss = IKCP_MTU_DEF - IKCP_OVERHEAD
	if got, want := a.WaitSnd(), (100*100+mss-1)/mss; got != want {
		t.Errorf("WaitSnd = %d, want %d full segments", got, want)
	}
	l.settle(t)
	if got := strings.Join(messages(t, b), ""); len(got) != 10000 {
		t.Errorf("got %d bytes, want 10000", len(got))
	}
}

func TestKCPSetMtuCutsAnewWhatIsQueued(t *testing.T) {
	long := string(pattern(3000, 1))
	tests := []struct {
		name   string
		stream bool
		mtus   []int
		sends  []string
		want   []string // nil: the sends as they were
	}{
		{"smaller", false, []int{500}, []string{long, "short", long[:600]}, nil},
		{"larger", false, []int{1500}, []string{long, "short"}, nil},
		{"to and fro", false, []int{100, 1500, 300, 50},
			[]string{long, long[:10], long[:700]}, nil},
		{"more than 255 fragments", false, []int{IKCP_OVERHEAD + 10}, []string{long},
			[]string{long[:2550], long[2550:]}},
		{"a stream", true, []int{500, 90}, []string{long, "tail"}, []string{long + "tail"}},
	}
	for _, tt := range tests {
		for _, started := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, started %v", tt.name, started), func(t *testing.T) {
				l, a, b := newShellLink(t)
				a.core.setMode(modeStream, tt.stream)
				a.WndSize(1024, 1024)
				b.WndSize(1024, 1024)
				if started {
					// The first fragments of the first message are on their way at the old size.
					a.WndSize(1, 0)
				}
				for _, m := range tt.sends {
					a.Send([]byte(m))
				}
				if started {
					a.Update()
					a.WndSize(1024, 0)
				}
				last := 0
				for _, mtu := range tt.mtus {
					if r := a.SetMtu(mtu); r != 0 {
						t.Fatalf("SetMtu(%d) = %d", mtu, r)
					}
					last = mtu
				}
				a.Update()
				if !started {
					for _, p := range l.queue {
						if len(p.data) > last {
							t.Errorf("a datagram of %d bytes left, want at most %d",
								len(p.data), last)
						}
					}
				}
				l.settle(t)
				want := tt.want
				if want == nil || started && !tt.stream {
					want = tt.sends
				}
				got := messages(t, b)
				if tt.stream {
					got, want = []string{strings.Join(got, "")}, []string{strings.Join(want, "")}
				}
				if !slices.Equal(got, want) {
					t.Errorf("%d messages came, want %d, with their bounds", len(got), len(want))
				}
			})
		}
	}
}

func TestKCPSetMtuIsClamped(t *testing.T) {
	l, a, b := newShellLink(t)
	for _, mtu := range []int{65535, 65536, 1 << 28, math.MaxInt32} {
		if r := a.SetMtu(mtu); r != 0 || a.core.mtu != 65535 {
			t.Errorf("SetMtu(%d) = %d and gives %d, want 0 and 65535", mtu, r, a.core.mtu)
		}
		m := string(pattern(65511, 1))
		a.Send([]byte(m))
		l.settle(t)
		if got := messages(t, b); len(got) != 1 || got[0] != m {
			t.Errorf("with an MTU of %d came %d messages, or others", mtu, len(got))
		}
	}
}

func TestKCPWndSizeIsClamped(t *testing.T) {
	k := NewKCP(1, func([]byte, int) {})
	for _, tt := range []struct{ snd, rcv, wantSnd, wantRcv int }{
		{0, 0, IKCP_WND_SND, IKCP_WND_RCV},
		{-5, -5, IKCP_WND_SND, IKCP_WND_RCV},
		{1, 0, 1, IKCP_WND_RCV},
		{0, 1, 1, 1},
		{65535, 65535, 65535, 65535},
		{65536, 1 << 30, 65535, 65535},
		{2, 3, 2, 3},
	} {
		k.WndSize(tt.snd, tt.rcv)
		if k.core.sndWnd != uint32(tt.wantSnd) || k.core.rcvWnd != uint32(tt.wantRcv) {
			t.Errorf("WndSize(%d, %d) gives %d, %d, want %d, %d",
				tt.snd, tt.rcv, k.core.sndWnd, k.core.rcvWnd, tt.wantSnd, tt.wantRcv)
		}
	}
}

func TestKCPCheckTellsWhenUpdateHasSomethingToDo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var sent [][]byte
		k := NewKCP(7, func(buf []byte, size int) { sent = append(sent, bytes.Clone(buf[:size])) })
		defer releaseCore(&k.core)
		k.NoDelay(0, 40, 2, 1)
		wait := func() uint32 { return k.Check() - uint32(k.now().ms()) }
		if w := wait(); w != 60000 {
			t.Errorf("nothing to do: Check is %d ms ahead, want 60000", w)
		}
		k.Send([]byte("x"))
		if w := wait(); w != 0 {
			t.Errorf("something to send: Check is %d ms ahead, want 0", w)
		}
		if len(sent) > 0 {
			t.Error("Send put something out")
		}
		k.Update()
		if len(sent) != 1 || wait() != uint32(IKCP_RTO_DEF) {
			t.Errorf("%d datagrams out, Check %d ms ahead, want 1 and %d",
				len(sent), wait(), IKCP_RTO_DEF)
		}
		time.Sleep(time.Duration(IKCP_RTO_DEF-1) * time.Millisecond)
		k.Update()
		if len(sent) != 1 || wait() != 1 {
			t.Errorf("before its time: %d datagrams out, Check %d ms ahead, want 1 and 1",
				len(sent), wait())
		}
		time.Sleep(time.Millisecond)
		k.Update()
		if len(sent) != 2 {
			t.Errorf("at its time: %d datagrams out, want 2", len(sent))
		}
		ts := func(i int) uint32 { return binary.LittleEndian.Uint32(sent[i][8:]) }
		if ts(1)-ts(0) != uint32(IKCP_RTO_DEF) {
			t.Errorf("ts moved by %d, want %d", ts(1)-ts(0), IKCP_RTO_DEF)
		}
		// A PUSH is acknowledged within the interval, at once if asked for.
		push := func(sn seqNum) []byte {
			s := segment{conv: 7, cmd: cmdPush, sn: sn, una: 1, wnd: 32, data: []byte("y")}
			return appendSegment(nil, &s)
		}
		k.Input(push(0), IKCP_PACKET_REGULAR, false)
		if w := wait(); len(sent) != 2 || w != 40 {
			t.Errorf("%d datagrams out, the ACK waits %d ms, want 2 and 40", len(sent), w)
		}
		k.Input(push(1), IKCP_PACKET_REGULAR, true)
		if w := wait(); len(sent) != 3 || w != 60000 {
			t.Errorf("%d datagrams out, Check %d ms ahead, want 3 and 60000", len(sent), w)
		}
	})
}

func TestKCPLogsNamesAndPairs(t *testing.T) {
	l, a, b := newShellLink(t)
	type record struct {
		msg  string
		args []any
	}
	var logs []record
	a.SetLogger(IKCP_LOG_ALL,
		func(msg string, args ...any) { logs = append(logs, record{msg, args}) })
	a.Send([]byte("hello"))
	b.Send([]byte("back"))
	l.settle(t)
	a.Recv(make([]byte, 10))
	a.core.rmtWnd = 0
	a.core.askWindow = true
	b.core.askWindow = true
	l.settle(t)
	seen := make(map[string]bool)
	for _, r := range logs {
		seen[r.msg] = true
		if len(r.args)%2 != 0 {
			t.Fatalf("%s: %d arguments are no pairs", r.msg, len(r.args))
		}
		values := make(map[string]any)
		for i := 0; i < len(r.args); i += 2 {
			values[r.args[i].(string)] = r.args[i+1]
		}
		if values["conv"] != uint32(7) || values["bytes"] == nil {
			t.Errorf("%s: %v, want conv 7 and bytes", r.msg, values)
		}
		if (r.msg == "send" || r.msg == "output push") && values["bytes"] != 5 ||
			r.msg == "recv" && values["bytes"] != 4 {
			t.Errorf("%s: %v bytes", r.msg, values["bytes"])
		}
	}
	for _, name := range logNames {
		if !seen[name] {
			t.Errorf("no %q was reported", name)
		}
	}
	logs = nil
	a.SetLogger(IKCP_LOG_SEND,
		func(msg string, args ...any) { logs = append(logs, record{msg, args}) })
	a.Send([]byte("again"))
	l.settle(t)
	if len(logs) != 1 || logs[0].msg != "send" {
		t.Errorf("with a mask for Send alone came %v", logs)
	}
	a.SetLogger(IKCP_LOG_ALL, nil)
	a.Send([]byte("again"))
	l.settle(t)
	if len(logs) != 1 || a.core.logs != nil {
		t.Errorf("without a logger came %v, or it was kept", logs[1:])
	}
}

func TestKCPLoggingIsFreeWhenOff(t *testing.T) {
	if batchTestRace() {
		t.Skip("the race detector makes pools forget")
	}
	k := NewKCP(7, func([]byte, int) {})
	defer releaseCore(&k.core)
	k.NoDelay(1, 10, 0, 1)
	k.SetLogger(IKCP_LOG_ALL, nil)
	msg, buf := []byte("message"), make([]byte, 100)
	var sn, una seqNum
	data := make([]byte, 0, 100)
	round := func() {
		k.Send(msg)
		k.Update()
		una++
		data = appendSegment(data[:0],
			&segment{conv: 7, cmd: cmdPush, sn: sn, una: una, wnd: 32, data: msg})
		sn++
		k.Input(data, IKCP_PACKET_REGULAR, true)
		k.Recv(buf)
	}
	round()
	if n := testing.AllocsPerRun(100, round); n > 0 {
		t.Errorf("%v allocations a round, want 0", n)
	}
}
