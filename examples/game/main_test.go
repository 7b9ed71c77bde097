// SPDX-License-Identifier: MIT

package main

import (
	"bytes"
	"context"
	"io"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/seedkcp/kcp"
	"github.com/seedkcp/kcp/examples/internal/cli/clitest"
)

// tripsLine is what is printed for a kind, with all that was sent come back.
var tripsLine = regexp.MustCompile(`(messages|out of band) +\d+ sent, ([\d.]+) % came back, round trip p50 [\d.]+ ms, p99 [\d.]+ ms`)

func TestMessagesAllComeBack(t *testing.T) {
	key := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(key, []byte(strings.Repeat("0123456789abcdef", 4)), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, args := range []string{"", "-key " + key, "-loss 20", "-loss 20 -parity 1"} {
		t.Run(args, func(t *testing.T) {
			t.Parallel()
			var out, errs bytes.Buffer
			args := append(strings.Fields(args), "-players", "6", "-time", "300ms")
			if status := run(t.Context(), args, &out, &errs); status != 0 {
				t.Fatalf("exit status %d: %s", status, &errs)
			}
			found := tripsLine.FindAllStringSubmatch(out.String(), -1)
			if len(found) != 2 {
				t.Fatalf("no figures of two kinds in the output:\n%s", &out)
			}
			if got := found[0][2]; got != "100.0" {
				t.Errorf("%s %% of the messages came back, want all:\n%s", got, &out)
			}
		})
	}
}

func TestSimulatedPathComparesBothVariants(t *testing.T) {
	var out, errs bytes.Buffer
	args := strings.Fields("-simulate -players 4 -time 1500ms -rtt 20ms -loss 10 -bursts 2")
	if status := run(t.Context(), args, &out, &errs); status != 0 {
		t.Fatalf("exit status %d: %s", status, &errs)
	}
	if !strings.Contains(out.String(), "loss 10 % in bursts of 2") {
		t.Errorf("the path is not named:\n%s", &out)
	}
	found := tripsLine.FindAllStringSubmatch(out.String(), -1)
	if len(found) != 2*len(variants) {
		t.Fatalf("%d lines of figures, want one of each kind and variant:\n%s", len(found), &out)
	}
	for i, line := range found {
		if i%2 == 0 && line[2] != "100.0" {
			t.Errorf("%s %% of the messages came back, want all:\n%s", line[2], &out)
		}
	}
	for _, v := range variants {
		if live := "s   " + v.name; v.name == variants[0].name && !strings.Contains(out.String(), live) {
			t.Errorf("nothing is printed while the game runs:\n%s", &out)
		}
	}
}

// startServer runs the server until the test ends.
func startServer(t *testing.T) (addr string) {
	t.Helper()
	listener, err := (&kcp.Config{}).Listen(t.Context(), "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, interrupt := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- newServer(listener).serve(ctx) }()
	t.Cleanup(func() {
		interrupt()
		if err := <-served; err != nil {
			t.Errorf("interrupted server: %v", err)
		}
	})
	return listener.Addr().String()
}

func enterByHand(t *testing.T, addr, greeting string) *kcp.UDPSession {
	t.Helper()
	sess, err := (&kcp.Config{NoDelay: true}).Dial(t.Context(), addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { sess.Close() })
	sess.SetDeadline(time.Now().Add(10 * time.Second))
	if _, err := sess.Write([]byte(greeting)); err != nil {
		t.Fatal(err)
	}
	return sess
}

func TestServerThrowsOutWhoBreaksTheRules(t *testing.T) {
	addr := startServer(t)
	for _, tt := range []struct {
		name, greeting string
		then           func(sess *kcp.UDPSession) // once in
	}{
		{"another protocol", "GET / HTTP/1.1\r\n\r\n", nil},
		{"a message too long", greeting, func(sess *kcp.UDPSession) {
			sess.Write(make([]byte, maxMessage+1))
		}},
		{"too many messages", greeting, func(sess *kcp.UDPSession) {
			for range 100 * maxRate {
				if _, err := sess.Write([]byte("x")); err != nil {
					return
				}
			}
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			sess := enterByHand(t, addr, tt.greeting)
			if tt.then != nil {
				buf := make([]byte, maxMessage)
				if n, err := sess.Read(buf); err != nil || string(buf[:n]) != greeting {
					t.Fatalf("got %q, %v, want to be let in", buf[:n], err)
				}
				go tt.then(sess)
			}
			if _, err := io.Copy(io.Discard, sess); os.IsTimeout(err) {
				t.Error("the player is still in the game")
			}
		})
	}
}

func TestRoomsHaveFourPlayers(t *testing.T) {
	s := newServer(nil)
	var rooms []*room
	var players []*player
	for range 2*roomSize + 1 {
		p := &player{out: make(chan []byte, 1)}
		players = append(players, p)
		rooms = append(rooms, s.join(p))
	}
	if len(s.rooms) != 3 || rooms[0] != rooms[roomSize-1] || rooms[0] == rooms[roomSize] {
		t.Errorf("%d rooms for %d players, want 3 that are filled one after the other", len(s.rooms), len(players))
	}
	for i, p := range players {
		s.leave(rooms[i], p)
	}
	if len(s.rooms) != 0 || s.players != 0 {
		t.Errorf("%d rooms and %d players are left, want none", len(s.rooms), s.players)
	}
	s.players = maxPlayers
	if s.join(&player{}) != nil {
		t.Error("a full server let a player in")
	}
}

func TestLimitBeginsAnewEachSecond(t *testing.T) {
	var l limit
	now := time.Unix(100, 0)
	for i := range maxRate {
		if l.exceeded(now) {
			t.Fatalf("event %d exceeds a limit of %d", i+1, maxRate)
		}
	}
	if !l.exceeded(now) || l.exceeded(now.Add(time.Second)) {
		t.Error("want the limit to hold for one second and to begin anew")
	}
}

func TestFailuresNameTheirCause(t *testing.T) {
	taken, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	clitest.Status(t, run, 1, map[string]string{
		"-listen " + taken.LocalAddr().String(): "bind",
		"-dial 127.0.0.1":                       "port",
		"-key missing.key":                      "missing.key",
	})
}

func TestWrongCommandLinesExitWith2(t *testing.T) {
	clitest.Status(t, run, 2, map[string]string{
		"-nonsense":                    "nonsense",
		"file":                         `"file"`,
		"-listen :0 -dial 127.0.0.1:1": "exclude",
		"-players 0":                   "-players",
		"-time 0s":                     "-time",
		"-loss 51":                     "-loss",
		"-parity -1":                   "-parity",
		"-simulate -listen :0":         "-simulate",
		"-rtt 3s":                      "-rtt",
		"-bursts 0":                    "-bursts",
	})
}
