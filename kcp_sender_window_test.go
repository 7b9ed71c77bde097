// SPDX-License-Identifier: MIT

package kcp

import (
	"bytes"
	"fmt"
	"testing"
	"time"
)

// legacyWindow returns a state machine that has 32 segments in flight to a legacy peer. The peer's
// request arrived with clock as its ts.
func legacyWindow(t *testing.T, clock timestamp) *core {
	c := new(core)
	c.init(7, 1000)
	c.tsOrigin = 1 << 20
	c.setNoDelay(1, 10, 0, 1)
	c.setWindows(128, 128)
	t.Cleanup(func() { releaseCore(c) })
	request := segment{conv: 7, cmd: cmdPush, ts: clock, wnd: 32, data: []byte("GET")}
	c.input(inputAt(1000), appendSegment(nil, &request), true)
	for range 64 {
		c.send([]byte("x"))
	}
	if n := count(flushAll(c, 1000), cmdPush); n != 32 {
		t.Fatalf("%d segments sent into a window of 32", n)
	}
	return c
}

// permutations returns all orders of n things.
func permutations(n int) (all [][]int) {
	if n == 0 {
		return [][]int{nil}
	}
	for _, p := range permutations(n - 1) {
		for at := range n {
			q := append([]int(nil), p[:at]...)
			all = append(all, append(append(q, n-1), p[at:]...))
		}
	}
	return all
}

// A legacy peer sets ts to its clock in PUSH alone. Its WINS has 0 or the ts of the last ACK before
// it. It must open the window whatever the clock of a PUSH was, in any order of the packets around
// the closing.
func TestLegacyWindowOpensInEveryOrder(t *testing.T) {
	for _, clock := range []timestamp{200, 9_999, 20_000, 1 << 31, 1<<32 - 50} {
		for _, winsTS := range []string{"0", "echo", "clock"} {
			for _, order := range permutations(4) {
				c := legacyWindow(t, clock)
				echo := c.ts(1000)
				wins := segment{conv: 7, cmd: cmdWins, una: 32, wnd: 32}
				switch winsTS {
				case "echo":
					wins.ts = echo
				case "clock":
					wins.ts = clock + 120
				}
				said := [][]byte{
					appendSegment(nil, &segment{conv: 7, cmd: cmdAck, ts: echo, sn: 31, una: 32}),
					appendSegment(nil, &segment{conv: 7, cmd: cmdPush, ts: clock + 20, sn: 1,
						una:  32,
						data: []byte("more")}),
					appendSegment(nil, &wins),
					appendSegment(nil, &segment{conv: 7, cmd: cmdPush, ts: clock + 10, sn: 2,
						una: 16,
						wnd: 16, data: []byte("data")}),
				}
				for _, i := range order {
					c.input(inputAt(1100), said[i], true)
				}
				if c.rmtWnd != 32 {
					t.Errorf("clock %d, WINS with %s, order %v: window %d, want 32",
						clock, winsTS, order, c.rmtWnd)
				}
				if n := count(flushAll(c, 1101), cmdPush); n != 32 {
					t.Errorf("clock %d, WINS with %s, order %v: %d segments follow, want 32",
						clock, winsTS, order, n)
				}
			}
		}
	}
}

// Answers to probes are WINS as well.
func TestLegacyAnswerToAProbeOpensTheWindow(t *testing.T) {
	for _, clock := range []timestamp{1, 200, 9_999, 20_000} {
		c := legacyWindow(t, clock)
		inputSegment(c, 1010, segment{conv: 7, cmd: cmdPush, ts: clock + 5, sn: 1, una: 32,
			data: []byte("y")})
		now, asked := millis(1010), 0
		for asked == 0 && now < 10_000 {
			now = max(c.nextEvent(now), now+1)
			asked = count(flushAll(c, now), cmdWask)
		}
		inputSegment(c, now, segment{conv: 7, cmd: cmdWins, una: 32, wnd: 32})
		if asked == 0 || c.rmtWnd != 32 {
			t.Errorf("clock %d: asked %d times, window %d, want 32", clock, asked, c.rmtWnd)
		}
	}
}

// The ts of a challenge is random, so it cannot be used to order windows.
func TestProbeClockDoesNotJudgeWindows(t *testing.T) {
	c := legacyWindow(t, 200)
	c.ctl.incarnation, c.ctl.peer = 1, 2
	inputSegment(c, 1010, segment{conv: 7, cmd: cmdPush, ts: 210, sn: 1, una: 32,
		data: []byte("y")})
	inputSegment(c, 1010, segment{conv: 7, cmd: cmdPush, ts: 5_000, sn: belowAll(0, 5), una: 32})
	inputSegment(c, 1020, segment{conv: 7, cmd: cmdWins, ts: 220, una: 32, wnd: 20})
	if c.rmtWnd != 20 {
		t.Errorf("window %d, want 20", c.rmtWnd)
	}
}

// A legacy client sends a request, pauses and reads. The whole answer must arrive, however recently
// its process started.
func TestLegacyClientThatPausesGetsItsDownload(t *testing.T) {
	for _, age := range []millis{200, 9_999, 20_000} {
		t.Run(fmt.Sprintf("%d ms old", age), func(t *testing.T) {
			connRun(t, shortLink, func(t *testing.T, w *connWorld) {
				l := w.serve(Config{})
				answer := bytes.Repeat([]byte("answer"), 50_000)
				go func() {
					s, err := l.AcceptKCP()
					if err != nil {
						return
					}
					defer s.Close()
					_, _ = s.Read(make([]byte, 100))
					_, _ = s.Write(answer)
				}()
				p := w.legacyPeer(restartAddr, l.Addr(), 5)
				p.set(func() { p.age, p.lazy = age, true; p.core.setWindows(32, 32) })
				p.write([]byte("GET"))
				for range 50 {
					time.Sleep(100 * time.Millisecond)
					p.set(p.read)
				}
				if got := p.wait(len(answer), time.Second); !bytes.Equal(got, answer) {
					t.Errorf("%d of %d bytes came", len(got), len(answer))
				}
			})
		})
	}
}
