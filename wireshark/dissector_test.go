// SPDX-License-Identifier: MIT

// Package wireshark tests the dissector in kcp.lua with tshark, where that is
// installed.
package wireshark

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/seedkcp/kcp"
)

// frame is one captured datagram.
type frame struct {
	toServer bool
	data     []byte
	offset   uint16 // added to the client's port
}

// recorder is a client's socket that keeps what passes.
type recorder struct {
	net.PacketConn
	mu     sync.Mutex // guards frames
	frames []frame
}

func (r *recorder) record(toServer bool, data []byte) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.frames = append(r.frames, frame{toServer: toServer, data: bytes.Clone(data)})
}

func (r *recorder) WriteTo(p []byte, to net.Addr) (int, error) {
	r.record(true, p)
	return r.PacketConn.WriteTo(p, to)
}

func (r *recorder) ReadFrom(p []byte) (int, net.Addr, error) {
	n, from, err := r.PacketConn.ReadFrom(p)
	if err == nil {
		r.record(false, p[:n])
	}
	return n, from, err
}

// capture has two sessions of config talk: a stream both ways, one out-of-band
// packet and both ends.
func capture(t *testing.T, config *kcp.Config) (conv uint32, frames []frame) {
	t.Helper()
	listener, err := config.Listen(t.Context(), "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	socket, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer socket.Close()
	rec := &recorder{PacketConn: socket}
	client, err := config.Client(rec, listener.Addr())
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	deadline := time.Now().Add(20 * time.Second)
	client.SetDeadline(deadline)
	listener.SetDeadline(deadline)

	if _, err := client.Write(bytes.Repeat([]byte("up"), 10000)); err != nil {
		t.Fatal(err)
	}
	server, err := listener.AcceptKCP()
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	server.SetDeadline(deadline)
	arrived := make(chan struct{})
	server.SetOOBHandler(func([]byte) { close(arrived) })
	if err := client.SendOOB([]byte("aside")); err != nil {
		t.Fatal(err)
	}
	select {
	case <-arrived:
	case <-time.After(20 * time.Second):
		t.Fatal("the out-of-band packet did not arrive")
	}
	if err := client.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(server, server); err != nil {
		t.Fatal(err)
	}
	if err := server.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if n, err := io.Copy(io.Discard, client); n != 20000 || err != nil {
		t.Fatalf("%d bytes came back, %v", n, err)
	}
	rec.mu.Lock()
	defer rec.mu.Unlock()
	return client.GetConv(), rec.frames
}

// writePcap writes the frames as a capture of raw IPv4 packets between a
// client and a server at port 4000.
func writePcap(t *testing.T, frames []frame) (path string) {
	t.Helper()
	le, be := binary.LittleEndian, binary.BigEndian
	const rawIP = 101 // LINKTYPE_RAW
	b := le.AppendUint32(nil, 0xa1b2c3d4)
	b = le.AppendUint16(le.AppendUint16(b, 2), 4)
	b = le.AppendUint32(append(b, make([]byte, 8)...), 65535)
	b = le.AppendUint32(b, rawIP)
	for i, f := range frames {
		size := 20 + 8 + len(f.data)
		b = le.AppendUint32(le.AppendUint32(b, uint32(1000+i)), 0)
		b = le.AppendUint32(le.AppendUint32(b, uint32(size)), uint32(size))
		client, server := []byte{192, 0, 2, 1}, []byte{192, 0, 2, 2}
		ports := [2]uint16{40000 + f.offset, 4000}
		if !f.toServer {
			client, server = server, client
			ports[0], ports[1] = ports[1], ports[0]
		}
		b = append(b, 0x45, 0)
		b = be.AppendUint16(b, uint16(size))
		b = append(b, 0, 0, 0, 0, 64, 17, 0, 0) // UDP; no checksum is checked
		b = append(append(b, client...), server...)
		b = be.AppendUint16(be.AppendUint16(b, ports[0]), ports[1])
		b = append(be.AppendUint16(b, uint16(8+len(f.data))), 0, 0)
		b = append(b, f.data...)
	}
	path = filepath.Join(t.TempDir(), "capture.pcap")
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// tshark returns the fields of each frame as the dissector sees them.
func tshark(t *testing.T, frames []frame, fields []string, options ...string) [][]string {
	t.Helper()
	tool, err := exec.LookPath("tshark")
	if err != nil {
		t.Skip("tshark is not installed")
	}
	// The results of go test are cached until a file changes that the test itself has read.
	for _, name := range []string{"kcp.lua", "kcp_aes.lua"} {
		if _, err := os.ReadFile(name); err != nil {
			t.Fatal(err)
		}
	}
	args := append([]string{"-X", "lua_script:kcp.lua", "-r", writePcap(t, frames), "-T", "fields"}, options...)
	for _, field := range fields {
		args = append(args, "-e", field)
	}
	var out, errs bytes.Buffer
	cmd := exec.Command(tool, args...)
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil || strings.Contains(errs.String(), "Lua") {
		t.Fatalf("tshark: %v\n%s", err, &errs)
	}
	var rows [][]string
	for line := range strings.Lines(out.String()) {
		rows = append(rows, strings.Split(strings.TrimSuffix(line, "\n"), "\t"))
	}
	if len(rows) != len(frames) {
		t.Fatalf("tshark shows %d frames, want %d", len(rows), len(frames))
	}
	return rows
}

func TestTrafficIsShownAsItIs(t *testing.T) {
	none, err := kcp.NewNoneBlockCrypt(nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name    string
		config  kcp.Config
		header  int // bytes in front
		options []string
	}{
		{name: "plain"},
		{name: "FEC", config: kcp.Config{DataShards: 3, ParityShards: 1}},
		{name: "crypto header", config: kcp.Config{BlockCrypt: none}, header: 20, options: []string{"-o", "kcp.crypto:20 bytes (the cipher 'none')"}},
		{name: "by port", options: []string{"-o", "kcp.heuristic:FALSE", "-o", "kcp.ports:4000"}},
		{name: "decode as", options: []string{"-o", "kcp.heuristic:FALSE", "-d", "udp.port==4000,kcp"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tt.config.StreamMode = true
			conv, frames := capture(t, &tt.config)
			rows := tshark(t, frames, []string{"_ws.col.Protocol", "_ws.expert.severity", "kcp.conv", "kcp.cmd", "kcp.fec.type", "kcp.data",
				"kcp.hello.incarnation", "kcp.final", "kcp.oob.data", "_ws.col.Info"}, tt.options...)
			seen := map[string]bool{}
			up := 0
			for i, row := range rows {
				if row[0] != "KCP" || row[1] != "" {
					t.Errorf("frame %d is %s, expert severity %q: %s", i+1, row[0], row[1], row[9])
				}
				kind := frameKind(frames[i].data[tt.header:])
				if got := row[4]; got != kind {
					t.Errorf("frame %d has the FEC type %q, want %q", i+1, got, kind)
				}
				for _, c := range strings.Split(row[2], ",") {
					if want := fmt.Sprintf("0x%08x", conv); c != want && kind != "0x00f2" && kind != "0x00f4" {
						t.Errorf("frame %d is of conversation %s, want %s", i+1, c, want)
					}
				}
				for _, data := range strings.Split(row[5], ",") {
					if frames[i].toServer {
						up += len(data) / 2
					}
				}
				for _, word := range []string{"PUSH", "ACK", "HELLO", "FIN ", "FINACK", "out of band", "FEC parity"} {
					if strings.Contains(row[9], word) {
						seen[word] = true
					}
				}
			}
			if up < 20000 {
				t.Errorf("%d bytes of data to the server are shown, want 20000 at least", up)
			}
			for _, word := range []string{"PUSH", "ACK", "HELLO", "FIN ", "FINACK", "out of band"} {
				if !seen[word] {
					t.Errorf("no frame shows %q", word)
				}
			}
			if seen["FEC parity"] != (tt.config.ParityShards > 0) {
				t.Errorf("parity is shown: %v, want %v", seen["FEC parity"], tt.config.ParityShards > 0)
			}
		})
	}
}

// frameKind is the FEC type of a packet as tshark prints it.
func frameKind(packet []byte) string {
	if t := binary.LittleEndian.Uint16(packet[4:]); t >= 0xF1 && t <= 0xF4 {
		return fmt.Sprintf("0x%04x", t)
	}
	return ""
}

// push is a data segment; its bytes may be changed.
func push(data string) []byte {
	b := append([]byte{0x44, 0x33, 0x22, 0x11, 81, 0, 128, 0}, make([]byte, 16)...)
	b[20] = byte(len(data))
	return append(b, data...)
}

func changed(b []byte, at int, value byte) []byte {
	b[at] = value
	return b
}

func TestMalformedPacketsAreMarked(t *testing.T) {
	wins := append(push("\x01\xc8lies"), nil...)
	wins[4] = 84
	copy(wins[8:], "\x01\x00\x00\x00KCPX")
	reset := append(push("\x04\x12\x05\x00\x00\x00\x00\x00\x00\x00\x00\x00\x07\x00\x00\x00\x00\x00\x00\x00"), nil...)
	copy(reset[4:], wins[4:20])
	unknown := append(push("\x0f\x01?"), nil...)
	copy(unknown[4:], wins[4:20])
	// rcv_nxt 100; 101 to 400, and 403
	ranges := append(push("\x07\x0e\xe8\x03\x00\x00\x64\x00\x00\x00\x02\x01\xac\x02\x02\x01"), nil...)
	copy(ranges[4:], wins[4:20])
	badRanges := append(push("\x07\x0b\xe8\x03\x00\x00\x64\x00\x00\x00\x02\x01\x01"), nil...)
	copy(badRanges[4:], wins[4:20])
	// 200 to 202, and 204 to 205 as one message
	message := func(text string) []byte {
		b := append(push(text), nil...)
		copy(b[4:], wins[4:20])
		return b
	}
	named := append([]byte{2, 0, 0, 0, 0xF4, 0, 0, 2, 1, 0, 0, 0, 0, 0, 1, 2, 3, 4}, push("hello")...)
	skips := append(push("\x0c\x13\xe8\x03\x00\x00\xcd\x00\x00\x00\xc8\x00\x00\x00\x02\x00\x01\x03\x01\x02\x01"), nil...)
	copy(skips[4:], wins[4:20])
	badSkips := append(push("\x0c\x10\xe8\x03\x00\x00\xcd\x00\x00\x00\xc8\x00\x00\x00\x02\x00\x01\x03"), nil...)
	copy(badSkips[4:], wins[4:20])
	fec := append([]byte{0, 0, 0, 0, 0xF1, 0, 99, 0}, push("hello")...)
	tests := []struct {
		name, field, info string
		data              []byte
	}{
		{"first, a good one", "", "11223344 PUSH sn=0 len=5, una=0 wnd=128", push("hello")},
		{"len beyond the datagram", "kcp.truncated", "[truncated]", changed(push("hello"), 20, 6)},
		{"len of 2^31", "kcp.truncated", "[truncated]", changed(push("hello"), 23, 0x80)},
		{"unknown command", "kcp.unknown", "[unknown]", changed(push("hello"), 4, 99)},
		{"two conversations", "kcp.other_conv", "11223344 PUSH sn=0 len=1, [other conv], una=0 wnd=128", append(push("a"), changed(push("b"), 0, 1)...)},
		{"a rest", "kcp.short", "11223344 PUSH sn=0 len=1, [short], una=0 wnd=128", append(push("a"), 1, 2, 3)},
		{"short", "kcp.short", "[short]", []byte{1, 2, 3}},
		{"FEC size", "kcp.fec.bad_size", "FEC data seqid=0 [bad size]: 11223344 PUSH sn=0 len=5, una=0 wnd=128", fec},
		{"out of band without a conversation", "kcp.short", "out of band [short]", []byte{255, 255, 255, 255, 0xF3, 0, 4, 0, 1, 2}},
		{"control message that lies", "kcp.control.malformed", "11223344 [malformed control message], una=0 wnd=128", wins},
		{"RESET that echoes a number", "kcp.reset", "11223344 RESET (no such session), una=0 wnd=128", reset},
		{"unknown control message", "", "11223344 type 15, una=0 wnd=128", unknown},
		{"ACKR", "", "11223344 ACKR 101-400 403, una=0 wnd=128", ranges},
		{"ACKR cut off", "kcp.ackr.malformed", "11223344 ACKR 101 [malformed ranges], una=0 wnd=128", badRanges},
		{"SKIP", "", "11223344 SKIP 200-202 204-205, una=0 wnd=128", skips},
		{"SKIP cut off", "kcp.skip.malformed", "11223344 SKIP 200-202 [malformed runs], una=0 wnd=128", badSkips},
		{"ACKR with ECN", "", "11223344 ACKR 101, una=0 wnd=128", message("\x07\x17\xe8\x03\x00\x00\x64\x00\x00\x00\x01\x01\x01\x01\x00\x00\x00\x02\x00\x00\x00\x03\x00\x00\x00")},
		{"PAD", "", "11223344 PAD len=3, PAD len=0, una=0 wnd=128", message("\x09\x03abc\x09\x00")},
		{"KEX1", "", "11223344 KEX1 suite=1 len=2, una=0 wnd=128", message("\x0a\x03\x01ab")},
		{"KEX2 and one without a suite", "", "11223344 KEX2 suite=2 len=0, KEX1, una=0 wnd=128", message("\x0b\x01\x02\x0a\x00")},
		{"HELLO's first version", "", "11223344 HELLO, una=0 wnd=128", message("\x01\x14" + strings.Repeat("\x07", 20))},
		{"PING of 64 bits, PONG, and half a PONG", "", "11223344 PING, PONG, PONG, una=0 wnd=128", message("\x05\x0812345678\x06\x0812345678\x06\x041234")},
		{"parity of a named group", "", "FEC parity 1/1 of 0-1 len=29", named},
		{"parity of no group", "kcp.fec.bad_group", "FEC parity seqid=2 [bad group]", changed(bytes.Clone(named), 7, 3)},
		{"two datagrams in a packet", "", "FEC data seqid=0: 11223344 PUSH sn=0 len=5, una=0 wnd=128 | FEC data seqid=0: 11223344 PUSH sn=0 len=5, una=0 wnd=128",
			append(changed(bytes.Clone(fec), 6, 31), changed(bytes.Clone(fec), 6, 31)...)},
		{"data in an ACK", "kcp.unexpected_data", "11223344 ACK sn=0 len=1, una=0 wnd=128", changed(push("a"), 4, 82)},
		{"full window", "kcp.window_full", "11223344 PUSH sn=0 len=1, una=0 wnd=0", changed(push("a"), 6, 0)},
	}
	fields := []string{"_ws.col.Info"}
	var frames []frame
	for i, tt := range tests {
		frames = append(frames, frame{toServer: true, data: tt.data, offset: uint16(i)})
		if tt.field != "" && !slices.Contains(fields, tt.field) {
			fields = append(fields, tt.field)
		}
	}
	for i, row := range tshark(t, frames, fields, "-o", "kcp.ports:4000") {
		tt := tests[i]
		if row[0] != tt.info {
			t.Errorf("%s: Info is %q, want %q", tt.name, row[0], tt.info)
		}
		for n, field := range fields[1:] {
			if got, want := row[n+1] != "", field == tt.field; got != want {
				t.Errorf("%s: expert information %s is there: %v, want %v", tt.name, field, got, want)
			}
		}
	}
}

func TestOtherProtocolsAreLeftAlone(t *testing.T) {
	stun := append([]byte{0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42}, make([]byte, 12)...)
	dns := []byte("\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x07example\x03com\x00\x00\x01\x00\x01")
	var frames []frame
	for i, data := range [][]byte{
		stun, dns, make([]byte, 100), []byte("Q"), bytes.Repeat([]byte{0x51}, 60), nil,
		changed(push("hello"), 20, 4),                         // a byte too many
		append([]byte{2, 0, 0, 0, 0xF2, 0}, push("hello")...), // parity alone proves nothing
	} {
		frames = append(frames, frame{toServer: true, data: data, offset: uint16(i)})
	}
	for i, row := range tshark(t, frames, []string{"kcp.conv", "_ws.col.Protocol"}) {
		if row[1] == "KCP" {
			t.Errorf("frame %d, %x, was taken for KCP", i+1, frames[i].data)
		}
	}
}
