// SPDX-License-Identifier: MIT

package main

import (
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the files in testdata")

// golden compares lines with a file.
func golden(t *testing.T, name string, lines []string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	got := strings.Join(lines, "\n") + "\n"
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if text := strings.ReplaceAll(string(want), "\r\n", "\n"); got != text {
		t.Errorf("%s: got\n%s\nwant\n%s", name, got, text)
	}
}

// The session of docs/protocol.md, section 5, in every form.
func TestDocumentedSession(t *testing.T) {
	b := documentedBytes(t)
	capture := pcapOf(t, up(0, b["session-1"]), down(20, b["session-2"]), up(40, b["session-3"]),
		up(40, b["session-4"]), up(50, b["session-5"]), down(60, b["session-6"]))
	golden(t, "session.txt", mustDump(t, capture))
	golden(t, "session-v.txt", mustDump(t, capture, "-v", "-time", "relative"))
	golden(t, "session-x.txt", mustDump(t, capture, "-x", "-time", "delta", "-c", "2"))
	golden(t, "session.json", mustDump(t, capture, "-json"))
	golden(t, "session-stats.txt", mustDump(t, capture, "-stats"))
	golden(t, "session-stats.json", mustDump(t, capture, "-stats", "-json"))
}

// All other packets of docs/protocol.md.
func TestDocumentedPackets(t *testing.T) {
	b := documentedBytes(t)
	var packets []captured
	var names []string
	for _, name := range slices.Sorted(maps.Keys(b)) {
		switch {
		case strings.HasPrefix(name, "session-"), strings.HasPrefix(name, "aes-"),
			strings.HasPrefix(name, "keyed-"),
			slices.Contains([]string{"none", "blowfish", "salsa20", "xor"}, name):
			continue
		}
		names = append(names, name)
		// Each is the first of its client.
		p := up(len(packets), b[name])
		p.from = clientAddrOf(len(packets))
		packets = append(packets, p)
	}
	lines := mustDump(t, pcapOf(t, packets...), "-port", "4000", "-time", "date")
	for i := range lines {
		lines[i] = names[i] + ": " + lines[i]
	}
	golden(t, "packets.txt", lines)
	golden(t, "fec.txt", mustDump(t, pcapOf(t, up(0, b["fec-first"]), up(1, b["fec-second"]), up(2, b["fec-parity"]), up(3, b["fec-named"])), "-fec", "2/1"))

	for _, tt := range []struct{ name, key string }{
		{"aes-128", "000102030405060708090a0b0c0d0e0f"}, {"blowfish", "000102030405060708090a0b0c0d0e0f"},
		{"aes-128-gcm", "000102030405060708090a0b0c0d0e0f"}, {"xor", "736563726574"},
		{"salsa20", "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"},
	} {
		line := mustDump(t, pcapOf(t, up(0, b[tt.name])), "-crypt", tt.name, "-key", tt.key)[0]
		if !strings.HasSuffix(line, ": 11223344 PUSH 0 len 5; una 0 wnd 128") {
			t.Errorf("%s: %s", tt.name, line)
		}
	}
}

// Every control message in the table of docs/protocol.md is known by its number and name, here and
// in the Wireshark dissector.
func TestEveryControlMessageIsKnown(t *testing.T) {
	dissector := map[int]string{}
	for _, m := range regexp.MustCompile(`\[(\d+)\] = "([A-Z0-9]+)"`).FindAllStringSubmatch(
		regexp.MustCompile(`(?s)local control_types = \{.*?\n?\}`).FindString(document(t, "wireshark/kcp.lua")), -1) {
		n, _ := strconv.Atoi(m[1])
		dissector[n] = m[2]
	}
	table := regexp.MustCompile(`(?m)^\| *(\d+)(?: to (\d+))? *\| *([A-Z0-9]*) *\|.*\|.*\|$`)
	section := document(t, "docs/protocol.md")
	section = section[strings.Index(section, "## 4. Extension"):]
	section = section[:strings.Index(section, "\n### ")]
	count := 0
	for _, m := range table.FindAllStringSubmatch(section, -1) {
		first, _ := strconv.Atoi(m[1])
		last := first
		if m[2] != "" {
			last, _ = strconv.Atoi(m[2])
		}
		for n := first; n <= last; n++ {
			count++
			if n >= len(controlKinds) || controlKinds[n].name == "" {
				t.Fatalf("kcpdump does not know the control message %d", n)
			}
			name := m[3]
			if name == "" { // it is reserved
				name = controlKinds[n].name
			}
			if controlKinds[n].name != name || dissector[n] != name {
				t.Errorf("control message %d is %s: kcpdump has %q, the dissector %q", n, name, controlKinds[n].name, dissector[n])
			}
		}
	}
	if count < 12 {
		t.Errorf("the table has %d control messages", count)
	}
}

// controlSegment is a WINS with control messages.
func controlSegment(messages string) []byte {
	b := append([]byte("\x44\x33\x22\x11\x54\x00\x80\x00\x01\x00\x00\x00KCPX\x64\x00\x00\x00"), byte(len(messages)), 0, 0, 0)
	return append(b, messages...)
}

func TestControlMessages(t *testing.T) {
	for _, tt := range []struct{ name, message, want string }{
		{"HELLO's first version", "\x01\x14" + strings.Repeat("\x01", 16) + "\x21\x00\x01\x00", "HELLO 101010101010101 heard 101010101010101 (shared validated 0x10000)"},
		{"a long HELLO", "\x01\x17" + strings.Repeat("\x00", 16) + "\x10\x00\x00\x00\xdc\x05!", "HELLO 0 heard 0 (keys) largest 1500"},
		{"a short HELLO", "\x01\x02ab", "HELLO [6162]"},
		{"RESET's first version", "\x04\x0a\x01\x00\x07" + strings.Repeat("\x00", 7), "RESET code 1 (aborted) of 7"},
		{"a RESET that echoes", "\x04\x12\x05\x00" + strings.Repeat("\x00", 8) + "\x07" + strings.Repeat("\x00", 7), "RESET code 5 (no such session) of 0 echo 7"},
		{"a RESET of another version", "\x04\x0a\x63\x00" + strings.Repeat("\x00", 8), "RESET code 99 of 0"},
		{"PING of 64 bits", "\x05\x08\x08\x07\x06\x05\x04\x03\x02\x01", "PING 102030405060708"},
		{"PAD", "\x09\x03abc", "PAD len 3"},
		{"an empty PAD", "\x09\x00", "PAD len 0"},
		{"KEX1", "\x0a\x03\x01ab", "KEX1 suite 1 len 2"},
		{"KEX2", "\x0b\x02\x01a", "KEX2 suite 1 len 1"},
		{"KEX1 without a suite", "\x0a\x00", "KEX1 []"},
		{"an unknown one", "\xc8\x02ab", "control message 200 [6162]"},
		{"ACKR with ECN", "\x07\x17\xe8\x03\x00\x00\xfe\xff\xff\xff\x01\x01\x02" + "\x01\x00\x00\x00\x02\x00\x00\x00\x03\x00\x00\x00", "ACKR 4294967294: 4294967295-0 ECN 1 2 3"},
		{"ACKR cut off", "\x07\x0b\xe8\x03\x00\x00\x64\x00\x00\x00\x02\x01\x01", "ACKR 100: 101 [cut off]"},
		{"ACKR with an empty range", "\x07\x0b\xe8\x03\x00\x00\x64\x00\x00\x00\x01\x01\x00", "ACKR 100: [cut off]"},
		{"ACKR with a long number", "\x07\x10\xe8\x03\x00\x00\x64\x00\x00\x00\x01\x81\x81\x81\x81\x81\x01\x01", "ACKR 100: [cut off]"},
		{"SKIP cut off", "\x0c\x10\xe8\x03\x00\x00\xcd\x00\x00\x00\xc8\x00\x00\x00\x02\x00\x01\x03", "SKIP sn 205 ts 1000: 200-202 [cut off]"},
		{"one that lies", "\x05\xc8lies", "[the length of a control message exceeds its segment]"},
		{"half a header", "\x02", "[the length of a control message exceeds its segment]"},
		{"two", "\x02\x04\x09\x00\x00\x00\x03\x04\x04\x00\x00\x00", "FIN 9, FINACK 4"},
	} {
		line := mustDump(t, pcapOf(t, up(0, controlSegment(tt.message))))[0]
		if want := ": 11223344 " + tt.want + "; una 100 wnd 128"; !strings.HasSuffix(line, want) {
			t.Errorf("%s: %s, want %s", tt.name, line, want)
		}
	}
}

func TestLongControlMessages(t *testing.T) {
	for n := range 256 {
		messages, fault := parseControl(append([]byte{9, byte(n)}, make([]byte, n)...))
		if fault != "" || len(messages) != 1 || messages[0].Value != fmt.Stringer(pad{n}) {
			t.Errorf("a PAD of %d bytes: %v, %q", n, messages, fault)
		}
	}
}
