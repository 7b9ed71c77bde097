// SPDX-License-Identifier: MIT

package main

import (
	"bytes"
	"crypto/cipher"
	"encoding/hex"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gopacket/gopacket/pcapgo"

	"github.com/seedkcp/kcp"
)

// line is a record as JSON has it.
type line struct {
	From, To, Cipher, Note, Conv, Fault string
	FEC                                 *fecHeader
	OOB                                 *oob
	Segments                            []struct {
		Cmd, Fault  string
		SN, Len     uint32
		Again, Copy bool
		Control     []struct {
			Name  string
			Value map[string]any
		}
	}
}

func jsonLines(t *testing.T, lines []string) (all []line) {
	t.Helper()
	for _, text := range lines {
		var l line
		if err := json.Unmarshal([]byte(text), &l); err != nil {
			t.Fatalf("%v: %s", err, text)
		}
		all = append(all, l)
	}
	return all
}

// seen sums up the lines of a session.
type seen struct {
	up       map[uint32]uint32 // lengths of the client's segments
	kinds    map[string]int
	grouped  int // FEC packets whose group is known
	controls map[string]bool
}

// check looks at the decoded lines of a conversation: nothing may be unknown or malformed.
func (c *conversation) check(t *testing.T, lines []line, cipher string) seen {
	t.Helper()
	s := seen{map[uint32]uint32{}, map[string]int{}, 0, map[string]bool{}}
	if len(lines) != len(c.packets) {
		t.Fatalf("%d lines for %d datagrams", len(lines), len(c.packets))
	}
	for i, l := range lines {
		if l.Note != "" || l.Fault != "" || l.Cipher != cipher || l.From != c.packets[i].from.String() {
			t.Fatalf("line %d: %+v, want cipher %q from %v", i+1, l, cipher, c.packets[i].from)
		}
		if want := hex32(c.conv).String(); l.Conv != want && (l.FEC == nil || l.FEC.Kind != "parity") {
			t.Errorf("line %d: conversation %q, want %s", i+1, l.Conv, want)
		}
		if l.FEC != nil {
			s.kinds[l.FEC.Kind]++
			if l.FEC.Group != nil {
				s.grouped++
			}
		}
		if l.OOB != nil && l.OOB.Len == len("aside") {
			s.kinds["aside"]++
		}
		for _, segment := range l.Segments {
			if segment.Cmd == "PUSH" && strings.HasSuffix(l.To, ":4000") && segment.Len > 0 {
				s.up[segment.SN] = segment.Len
			}
			if segment.Fault != "" {
				t.Errorf("line %d: %s", i+1, segment.Fault)
			}
			for _, m := range segment.Control {
				s.controls[m.Name] = true
				if m.Value == nil {
					t.Errorf("line %d: %s has no value", i+1, m.Name)
				}
			}
		}
	}
	sum := 0
	for _, n := range s.up {
		sum += int(n)
	}
	if sum != len(c.up) {
		t.Errorf("%d bytes of the client are shown, want %d", sum, len(c.up))
	}
	for _, name := range []string{"HELLO", "FIN", "FINACK"} {
		if !s.controls[name] {
			t.Errorf("no line shows %s", name)
		}
	}
	if s.kinds["aside"] != 1 {
		t.Errorf("%d out-of-band packets, want 1", s.kinds["aside"])
	}
	return s
}

// blockOf makes the library's cipher of a name and key.
func blockOf(t *testing.T, name string, key []byte) kcp.BlockCrypt {
	t.Helper()
	for _, k := range cipherKinds {
		if k.name != name {
			continue
		}
		var block kcp.BlockCrypt
		var err error
		if k.aead != nil {
			var aead cipher.AEAD
			aead, err = k.aead(key)
			block = kcp.NewAEADCrypt(aead)
		} else {
			block, err = k.block(key)
		}
		if err != nil {
			t.Fatal(err)
		}
		return block
	}
	t.Fatalf("no cipher %s", name)
	return nil
}

func testKey(size int) []byte {
	key := make([]byte, size)
	for i := range key {
		key[i] = byte(i + 1)
	}
	return key
}

func TestSessionsOfAllCiphers(t *testing.T) {
	for _, k := range cipherKinds {
		t.Run(k.name, func(t *testing.T) {
			size, _ := keySize(k.name)
			key := testKey(size)
			c := converse(t, kcp.Config{BlockCrypt: blockOf(t, k.name, key), DataShards: 5, ParityShards: 2}, 40000, 9)
			capture := pcapOf(t, c.packets...)
			args := []string{"-json", "-crypt", k.name}
			if size > 0 {
				args = append(args, "-key", hex.EncodeToString(key))
			}
			s := c.check(t, jsonLines(t, mustDump(t, capture, args...)), k.name)
			if s.kinds["data"] == 0 || s.kinds["parity"] == 0 || s.grouped == 0 {
				t.Errorf("got %v, %d of them in groups", s.kinds, s.grouped)
			}
			if !s.controls["ACKR"] {
				t.Error("no ACKR is shown for a session with losses")
			}
			// Without the key nothing can be told of the packets, but that they cannot be read.
			if lines := mustDump(t, capture); size > 0 && lines[0] != "" {
				t.Errorf("without the key: %q", lines[0])
			}
			if size == 0 {
				return
			}
			key[0] ^= 0x10
			wrong := mustDump(t, capture, "-crypt", k.name, "-key", hex.EncodeToString(key), "-port", "4000")
			if !strings.Contains(wrong[0], "no key opens it") {
				t.Errorf("with a wrong key: %q", wrong[0])
			}
		})
	}
}

func TestSessionsWithoutCipher(t *testing.T) {
	for _, tt := range []struct {
		name   string
		config kcp.Config
		lose   int
		parity bool
	}{
		{"plain", kcp.Config{}, 0, false},
		{"with losses", kcp.Config{}, 10, false},
		{"FEC", kcp.Config{DataShards: 3, ParityShards: 1}, 0, true},
		{"FEC with losses", kcp.Config{DataShards: 10, ParityShards: 3}, 10, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := converse(t, tt.config, 100000, tt.lose)
			s := c.check(t, jsonLines(t, mustDump(t, pcapOf(t, c.packets...), "-json")), "")
			if (s.kinds["parity"] > 0) != tt.parity {
				t.Errorf("%d parity packets", s.kinds["parity"])
			}
			if tt.lose > 0 && !s.controls["ACKR"] {
				t.Error("no ACKR is shown")
			}
		})
	}
}

func TestSummaryOfASession(t *testing.T) {
	c := converse(t, kcp.Config{DataShards: 10, ParityShards: 3}, 3_000_000, 12)
	lines := mustDump(t, pcapOf(t, c.packets...), "-stats", "-json")
	if len(lines) != 1 {
		t.Fatalf("%d sessions, want 1: %q", len(lines), lines)
	}
	var s struct {
		Session, Ended string
		Sides          [2]sideSummaryText
	}
	if err := json.Unmarshal([]byte(lines[0]), &s); err != nil {
		t.Fatal(err)
	}
	client, server := s.Sides[0], s.Sides[1]
	if s.Session != hex32(c.conv).String() || s.Ended != "both streams ended" || client.From != clientAddr.String() {
		t.Errorf("got %+v", s)
	}
	for i, side := range s.Sides {
		if side.Data != len(c.up) || side.Incarnation == "" || side.Faults > 0 || side.Missing > 0 {
			t.Errorf("side %d: got %+v, want %d bytes of data", i, side, len(c.up))
		}
	}
	if n := client.Datagrams + server.Datagrams; n != len(c.packets) {
		t.Errorf("%d datagrams, want %d", n, len(c.packets))
	}
	// Packets are captured where they are sent, so the time of half a round trip is seen.
	if r := client.RTT; r.Samples < 10 || r.Min != 10 || r.Max > 100 {
		t.Errorf("got RTT %+v, want 10 ms", r)
	}
	// What is captured has not crossed the line yet, so each loss is repaired by parity or again.
	if client.Again+client.Copies == 0 && client.Reported.Recovered == 0 {
		t.Errorf("%d packets were lost: got %+v", c.lost, client)
	}
	if r := client.Reported; r.Packets == 0 || r.Lost == 0 || r.Lost > c.lost+client.FECParity {
		t.Errorf("%d packets were lost, reported: %+v", c.lost, r)
	}
	text := strings.Join(mustDump(t, pcapOf(t, c.packets...), "-stats"), "\n")
	for _, want := range []string{"session " + s.Session, "both streams ended", "RTT          min 10.000", "reported"} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is missing in\n%s", want, text)
		}
	}
}

// sideSummaryText is a side of a summary as JSON has it.
type sideSummaryText struct {
	From, Incarnation string
	figures
}

// A decrypted capture is read as what it is, also by Wireshark.
func TestDecryptedCapture(t *testing.T) {
	key := testKey(32)
	c := converse(t, kcp.Config{BlockCrypt: blockOf(t, "salsa20", key), DataShards: 5, ParityShards: 2}, 20000, 0)
	path := filepath.Join(t.TempDir(), "plain.pcap")
	args := []string{"-crypt", "salsa20", "-key", hex.EncodeToString(key)}
	mustDump(t, pcapOf(t, c.packets...), append(args, "-w", path)...)
	if info, err := os.Stat(path); err != nil || info.Mode().Perm()&0o077 != 0 {
		t.Errorf("the file is %v, %v", info, err)
	}
	plain, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	c.check(t, jsonLines(t, mustDump(t, plain, "-json")), "")
	r, err := pcapgo.NewReader(bytes.NewReader(plain))
	if err != nil {
		t.Fatal(err)
	}
	_, info, err := r.ReadPacketData()
	if err != nil || !info.Timestamp.Equal(c.packets[0].at) {
		t.Errorf("got %v, %v, want the time %v", info, err, c.packets[0].at)
	}
}
