// SPDX-License-Identifier: MIT

package main

import (
	"bytes"
	"encoding/hex"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"github.com/gopacket/gopacket/pcapgo"

	"github.com/seedkcp/kcp"
	"github.com/seedkcp/kcp/internal/simnet"
)

// captured is a UDP packet of a test's capture.
type captured struct {
	at       time.Time
	from, to netip.AddrPort
	payload  []byte
}

var (
	clientAddr = netip.MustParseAddrPort("192.0.2.1:40000")
	serverAddr = netip.MustParseAddrPort("192.0.2.2:4000")
	startTime  = time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)
)

// up and down make packets of the client and the server, ms after the beginning.
func up(ms int, payload []byte) captured {
	return captured{startTime.Add(time.Duration(ms) * time.Millisecond), clientAddr, serverAddr, payload}
}

func down(ms int, payload []byte) captured {
	return captured{startTime.Add(time.Duration(ms) * time.Millisecond), serverAddr, clientAddr, payload}
}

// pcapOf returns a capture of raw IP packets.
func pcapOf(t testing.TB, packets ...captured) []byte {
	t.Helper()
	var b bytes.Buffer
	w, err := newPlainWriter(&b)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range packets {
		if err := w.write(p.at, p.from, p.to, p.payload); err != nil {
			t.Fatal(err)
		}
	}
	return b.Bytes()
}

// ipOf returns the IP packet of a datagram.
func ipOf(t testing.TB, p captured) []byte { return pcapOf(t, p)[24+16:] }

// pcapOfFrames returns a capture of frames of a link type.
func pcapOfFrames(t testing.TB, link layers.LinkType, frames ...[]byte) []byte {
	t.Helper()
	var b bytes.Buffer
	w := pcapgo.NewWriter(&b)
	if err := w.WriteFileHeader(65535, link); err != nil {
		t.Fatal(err)
	}
	for i, f := range frames {
		info := gopacket.CaptureInfo{
			Timestamp: startTime.Add(time.Duration(i) * time.Millisecond), CaptureLength: len(f), Length: len(f),
		}
		if err := w.WritePacket(info, f); err != nil {
			t.Fatal(err)
		}
	}
	return b.Bytes()
}

// dump runs the program on a capture and returns what it prints.
func dump(t testing.TB, capture []byte, args ...string) (stdout, stderr string, status int) {
	t.Helper()
	zone := time.Local
	time.Local = time.UTC
	defer func() { time.Local = zone }()
	var out, errs bytes.Buffer
	status = program(args, bytes.NewReader(capture), &out, &errs)
	return out.String(), errs.String(), status
}

// mustDump returns the lines of a capture that can be read to its end.
func mustDump(t testing.TB, capture []byte, args ...string) []string {
	t.Helper()
	stdout, stderr, status := dump(t, capture, args...)
	if status != 0 {
		t.Fatalf("status %d: %s", status, stderr)
	}
	return strings.Split(strings.TrimSuffix(stdout, "\n"), "\n")
}

// document returns a file of the repository.
func document(t testing.TB, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "..", filepath.FromSlash(name)))
	if err != nil {
		t.Fatal(err)
	}
	return strings.ReplaceAll(string(text), "\r\n", "\n")
}

// documentedBytes returns the examples of docs/protocol.md by name.
func documentedBytes(t testing.TB) map[string][]byte {
	t.Helper()
	examples := map[string][]byte{}
	block := regexp.MustCompile("(?s)\n```hex ([a-z0-9-]+)\n(.*?)\n```")
	for _, m := range block.FindAllStringSubmatch(document(t, "docs/protocol.md"), -1) {
		for line := range strings.Lines(m[2]) {
			column, _, _ := strings.Cut(strings.TrimSpace(line), "  ")
			b, err := hex.DecodeString(strings.ReplaceAll(column, " ", ""))
			if err != nil {
				t.Fatalf("%s: %v", m[1], err)
			}
			examples[m[1]] = append(examples[m[1]], b...)
		}
	}
	if len(examples) < 20 {
		t.Fatalf("docs/protocol.md has %d examples", len(examples))
	}
	return examples
}

// A conversation is a capture of a real session, and what its programs sent.
type conversation struct {
	packets []captured
	conv    uint32
	up      []byte
	lost    int // packets of the client that the network dropped behind the capture
}

// converse runs a session of config over a simulated line in virtual time: data goes up, comes back,
// both streams end. Each lose-th packet to the server is lost behind the capture, unless that is 0.
func converse(t *testing.T, config kcp.Config, size, lose int) (c conversation) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		line := simnet.New(1)
		sched := kcp.NewTimedSched(1)
		defer func() { _ = line.Close(); sched.Close() }()
		line.SetDefault(simnet.Profile{Delay: 10 * time.Millisecond})
		n := 0
		line.SetTap(func(now time.Time, from, to net.Addr, payload []byte) simnet.Action {
			p := captured{now, addrPort(from), addrPort(to), bytes.Clone(payload)}
			c.packets = append(c.packets, p)
			if p.to.Port() != 4000 || lose == 0 {
				return simnet.Action{}
			}
			n++
			drop := n%lose == 0
			if drop {
				c.lost++
			}
			return simnet.Action{Drop: drop}
		})
		config.Scheduler, config.StreamMode, config.NoDelay = sched, true, true
		c.run(t, line, &config, size)
	})
	return c
}

func addrPort(a net.Addr) netip.AddrPort { return netip.MustParseAddrPort(a.String()) }

// run has the two ends of the session talk.
func (c *conversation) run(t *testing.T, line *simnet.Network, config *kcp.Config, size int) {
	at, err := line.Listen("192.0.2.2:4000")
	if err != nil {
		t.Fatal(err)
	}
	l, err := config.Serve(at)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	socket, err := line.Listen("192.0.2.1:40000")
	if err != nil {
		t.Fatal(err)
	}
	client, err := config.Client(socket, l.Addr())
	if err != nil {
		t.Fatal(err)
	}
	defer socket.Close()
	defer client.Close()
	c.conv, c.up = client.GetConv(), bytes.Repeat([]byte("upstream"), size/8)
	if _, err := client.Write(c.up[:100]); err != nil {
		t.Fatal(err)
	}
	server, err := l.AcceptKCP()
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	time.Sleep(100 * time.Millisecond)
	if err := client.SendOOB([]byte("aside")); err != nil {
		t.Fatal(err)
	}
	go func() {
		_, _ = client.Write(c.up[100:])
		_ = client.CloseWrite()
	}()
	if _, err := io.Copy(server, server); err != nil {
		t.Fatal(err)
	}
	if err := server.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	back, err := io.ReadAll(client)
	if err != nil || !bytes.Equal(back, c.up) {
		t.Fatalf("%d bytes came back, %v", len(back), err)
	}
	time.Sleep(time.Second)
	synctest.Wait()
}
