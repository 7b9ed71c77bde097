// SPDX-License-Identifier: MIT

package main

import (
	"bytes"
	"encoding/binary"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestMain is the program itself where -lossy has started it again in a
// network of its own.
func TestMain(m *testing.M) {
	if os.Getenv("KCP_BENCH_NETWORK") != "" {
		main()
		return
	}
	os.Exit(m.Run())
}

// testLine is a line of 20 Mbit/s and 100 ms that queues as long.
var testLine = lineSettings{rate: 20e6, rtt: 100 * time.Millisecond, queue: 1, share: 0.05}

func TestLineDelaysQueuesAndDrops(t *testing.T) {
	l := line{lineSettings: testLine, meter: new(meter)}
	now := time.Unix(1000, 0)
	const size = 1400
	leaves := time.Duration(size * 8 / l.rate * float64(time.Second))
	for i := 1; i <= 3; i++ {
		at, passes := l.pass(now, size, 0.5)
		want := now.Add(time.Duration(i)*leaves + l.rtt/2)
		if !passes || at.Sub(want).Abs() > time.Microsecond {
			t.Errorf("packet %d of a burst comes out at %v, %v, want %v", i, at, passes, want)
		}
	}
	if _, passes := l.pass(now, size, 0.04); passes {
		t.Error("a packet passes that is to be lost")
	}
	bytes, waits := l.meter.take()
	if bytes != 4*size || len(waits) != 4 || waits[0] != 0 || (waits[3]-3*leaves).Abs() > time.Microsecond {
		t.Errorf("the meter has %d bytes and %v", bytes, waits)
	}
	passed := 0
	for range 1000 {
		if _, passes := l.pass(now, size, 0.5); passes {
			passed++
		}
	}
	if want := int(l.rtt / leaves); passed < want-5 || passed > want+5 {
		t.Errorf("the queue took %d packets, want some %d", passed, want)
	}
	if bytes, waits := l.meter.take(); bytes != 1000*size || len(waits) != passed {
		t.Errorf("the meter has %d bytes and %d waits, want %d and %d", bytes, len(waits), 1000*size, passed)
	}
	now = now.Add(time.Second)
	if at, passes := l.pass(now, size, 0.5); !passes || at.Sub(now) > leaves+l.rtt/2+time.Microsecond {
		t.Errorf("an empty line delays by %v, %v", at.Sub(now), passes)
	}
}

// ipv4 is a packet with ports and no more.
func ipv4(from, to byte, fromPort, toPort uint16) []byte {
	p := make([]byte, 24)
	p[0] = 0x45
	copy(p[12:], []byte{198, 18, 1, from, 198, 18, 1, to})
	binary.BigEndian.PutUint16(p[20:], fromPort)
	binary.BigEndian.PutUint16(p[22:], toPort)
	return p
}

func TestSwapExchangesAddressesAndTellsTheWay(t *testing.T) {
	there, back := ipv4(1, 2, 40000, 4000), ipv4(1, 2, 4000, 40000)
	a, b := swap(there), swap(back)
	if a == b {
		t.Error("both directions go the same way")
	}
	if want := ipv4(2, 1, 40000, 4000); !bytes.Equal(there, want) {
		t.Errorf("got %x, want %x", there, want)
	}
}

// deviceOf hands out packets and collects what is written.
type deviceOf struct {
	packets [][]byte
	written chan []byte
}

func (d *deviceOf) Read(p []byte) (int, error) {
	if len(d.packets) == 0 {
		return 0, io.EOF
	}
	n := copy(p, d.packets[0])
	d.packets = d.packets[1:]
	return n, nil
}

func (d *deviceOf) Write(p []byte) (int, error) {
	d.written <- bytes.Clone(p)
	return len(p), nil
}

func TestCarryReturnsWhatIsNotLost(t *testing.T) {
	d := &deviceOf{packets: [][]byte{{0x60, 1, 2}, ipv4(1, 2, 9, 4), ipv4(1, 2, 4, 9)}, written: make(chan []byte, 9)}
	without := testLine
	without.share = 0
	m := new(meter)
	carry(d, without, m)
	if got := len(d.written); got != 2 {
		t.Errorf("%d packets came back, want 2", got)
	}
	if bytes, waits := m.take(); bytes != 24 || len(waits) != 1 {
		t.Errorf("the meter has %d bytes and %v, want those to the lower port", bytes, waits)
	}
	d = &deviceOf{packets: [][]byte{ipv4(1, 2, 9, 4)}, written: make(chan []byte, 9)}
	without.share = 1
	carry(d, without, m)
	if got := len(d.written); got != 0 {
		t.Errorf("%d packets came back where all are lost", got)
	}
}

func TestJitterLetsPacketsOvertake(t *testing.T) {
	d := &deviceOf{written: make(chan []byte, 1000)}
	for i := range 300 {
		p := ipv4(1, 2, 9, 4)
		p[4] = byte(i)
		d.packets = append(d.packets, p)
	}
	s := lineSettings{rate: 1e9, rtt: time.Millisecond, queue: 10, jitter: 5 * time.Millisecond}
	carry(d, s, new(meter))
	overtaken, last := 0, byte(0)
	for range len(d.written) {
		p := <-d.written
		if p[4] < last {
			overtaken++
		}
		last = p[4]
	}
	if overtaken < 30 {
		t.Errorf("%d packets were overtaken, want many", overtaken)
	}
}

func TestLossyLinesHaveNamesOfTheirOwn(t *testing.T) {
	seen := map[string]bool{}
	for _, l := range lossyLines() {
		if seen[l.name] || l.measure == nil || l.length == 0 || l.settings.queue == 0 {
			t.Errorf("%+v is twice there or incomplete", l)
		}
		seen[l.name] = true
	}
	s, err := parseSettings("bench", []string{"-lossy"})
	if err != nil {
		t.Fatal(err)
	}
	if got, want := len(lossyPlan(t.Context(), s)), 2*len(summaryShares); got != want {
		t.Errorf("%d lines are measured for the document, want %d", got, want)
	}
	if s, err = parseSettings("bench", []string{"-lossy", "-run", "beside/kcp, no-delay$"}); err != nil {
		t.Fatal(err)
	}
	if plan := lossyPlan(t.Context(), s); len(plan) != 1 || len(plan[0].contenders) != 1 {
		t.Errorf("got %+v, want messages-beside alone", plan)
	}
}

func TestLossyLinesAreMeasured(t *testing.T) {
	if f, err := os.OpenFile("/dev/net/tun", os.O_RDWR, 0); err != nil || os.Getuid() != 0 {
		t.Skip("no TUN devices here, or no right to make any")
	} else {
		f.Close()
	}
	document := filepath.Join(t.TempDir(), "doc.md")
	if err := os.WriteFile(document, []byte("<!-- lossy: begin -->\n<!-- lossy: end -->\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	args := os.Args
	defer func() { os.Args = args }()
	os.Args = []string{"bench", "-lossy", "-time", "20ms", "-doc", document}
	s, err := parseSettings("bench", os.Args[1:])
	if err != nil {
		t.Fatal(err)
	}
	var out, log bytes.Buffer
	if err := run(s, &out, &log, nil); err != nil {
		t.Skipf("no network of its own: %v\n%s", err, &log)
	}
	text, err := os.ReadFile(document)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range lossyContenders {
		if strings.HasPrefix(c.name, "TCP") {
			continue // the system may not have that one
		}
		_, row, found := strings.Cut(string(text), "| "+c.name+" |")
		row, _, _ = strings.Cut(row, "\n")
		if !found || strings.Contains(row, "–") {
			t.Errorf("%s: %q, want figures of every share\n%s", c.name, row, &log)
		}
		// At 5 % the little that crosses in this time may come to nothing.
		if figures := strings.Split(row, "|"); len(figures) < 2 || strings.TrimSpace(figures[1]) == "0.0" {
			t.Errorf("%s: %q, want some goodput without loss\n%s", c.name, row, &log)
		}
	}
}
