// SPDX-License-Identifier: MIT

package wireshark

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"encoding/hex"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seedkcp/kcp"
	"github.com/seedkcp/kcp/internal/simnet"
)

// lossy has a session of messages with deadlines over a line that loses packets. Then it rests, until
// it is aborted. The frames are those that were sent.
func lossy(t *testing.T) (frames []frame) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		line := simnet.New(1)
		sched := kcp.NewTimedSched(1)
		defer func() { _ = line.Close(); sched.Close() }()
		line.SetDefault(simnet.Profile{Delay: 30 * time.Millisecond, Loss: 0.2})
		line.SetTap(func(_ time.Time, _, to net.Addr, payload []byte) simnet.Action {
			frames = append(frames, frame{toServer: to.String() == "192.0.2.2:4000", data: bytes.Clone(payload)})
			return simnet.Action{}
		})
		config := kcp.Config{
			Scheduler: sched, NoDelay: true, Interval: 10 * time.Millisecond, FastResend: 2,
			DataShards: 4, ParityShards: 2, Redundancy: kcp.RedundancyOff, KeepAlive: time.Second,
		}
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
		defer socket.Close()
		client, err := config.Client(socket, l.Addr())
		if err != nil {
			t.Fatal(err)
		}
		defer client.Close()
		client.SetOOBHandler(func([]byte) {})
		for range 200 {
			if err := client.WriteMessage(make([]byte, 200), time.Now().Add(70*time.Millisecond)); err != nil {
				t.Fatal(err)
			}
			time.Sleep(5 * time.Millisecond)
		}
		server, err := l.AcceptKCP()
		if err != nil {
			t.Fatal(err)
		}
		defer server.Close()
		time.Sleep(10 * time.Second)
		client.SetLinger(0)
		_ = client.Close()
		time.Sleep(5 * time.Second)
	})
	return frames
}

// Every control message that the library sends is shown, from the library itself.
func TestMessagesOfTheLibrary(t *testing.T) {
	frames := lossy(t)
	rows := tshark(t, frames, []string{"_ws.col.Info", "kcp.control.type", "kcp.fec.first", "kcp.hello.skips", "kcp.skip.run",
		"kcp.ackr.range", "kcp.rprt.data", "kcp.ping.number", "kcp.reset.code", "_ws.expert.group"})
	seen := map[string]bool{}
	for i, row := range rows {
		for n, field := range row[1:9] {
			for _, value := range strings.Split(field, ",") {
				if value != "" {
					seen[fmt.Sprint(n+1)] = true
				}
				if n == 0 {
					seen["type "+value] = true
				}
			}
		}
		if strings.Contains(row[9], "117440512") || strings.Contains(row[0], "malformed") { // PI_MALFORMED
			t.Errorf("frame %d is malformed: %s", i+1, row[0])
		}
	}
	for _, want := range []string{"type 1", "type 4", "type 5", "type 6", "type 7", "type 8", "type 12", "2", "3", "4", "5", "6", "7", "8"} {
		if !seen[want] {
			t.Errorf("%s is not shown in %d frames", want, len(frames))
		}
	}
}

// merged joins full frames of one direction as they are captured on the machine that sends them. The
// first one of each size stays alone, for the dissector to learn the size.
func merged(frames []frame) (all []frame, joined int) {
	const full = 1300
	seen := map[int]bool{}
	size := 0 // of the datagrams of the newest packet, 0 if it is complete
	for _, f := range frames {
		if n := len(all); n > 0 && size > 0 && all[n-1].toServer == f.toServer && len(f.data) <= size {
			all[n-1].data = append(all[n-1].data, f.data...)
			joined++
			if len(f.data) < size {
				size = 0
			}
			continue
		}
		size = 0
		if n := len(f.data); n >= full && seen[n] {
			size = n
		}
		seen[len(f.data)] = true
		f.data = bytes.Clone(f.data)
		all = append(all, f)
	}
	return all, joined
}

// newGCM returns AES-GCM for sessions that never have keys of their own.
func newGCM(key []byte) (kcp.BlockCrypt, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	aead, err := cipher.NewGCM(block)
	return kcp.NewAEADCrypt(aead), err
}

func TestDecryption(t *testing.T) {
	key := make([]byte, 32)
	for i := range key {
		key[i] = byte(3 * i)
	}
	log := filepath.Join(t.TempDir(), "keys")
	text := fmt.Sprintf("# a comment\nKCP_LATER 1 2\nKCP_PSK salsa20 %x\nKCP_PSK aes-128 %x\nKCP_PSK aes-256-gcm %x\nKCP_PSK aes-128-gcm %x more\n",
		key, key[16:], key, key[:16])
	if err := os.WriteFile(log, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	byKey := func(cipher string, size int) []string {
		return []string{"-o", "kcp.crypto:" + cipher, "-o", "kcp.key:" + hex.EncodeToString(key[:size])}
	}
	byLog := []string{"-o", "kcp.keylog:" + log}
	for _, tt := range []struct {
		name    string
		make    func([]byte) (kcp.BlockCrypt, error)
		key     []byte
		options []string
		merge   bool
	}{
		{"AES-128-GCM", newGCM, key[:16], byKey("AES-GCM", 16), false},
		{"several in a packet", newGCM, key[:24], byKey("AES-GCM", 24), true},
		{"AES-256-GCM by key log", newGCM, key, byLog, false},
		{"AES-256-CFB", kcp.NewAESBlockCrypt, key, byKey("AES-CFB", 32), true},
		{"AES-128-CFB by key log", kcp.NewAESBlockCrypt, key[16:], byLog, false},
		{"by port", kcp.NewAESBlockCrypt, key, append(byKey("AES-CFB", 32), "-o", "kcp.heuristic:FALSE", "-o", "kcp.ports:4000"), false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			block, err := tt.make(tt.key)
			if err != nil {
				t.Fatal(err)
			}
			conv, frames := capture(t, &kcp.Config{BlockCrypt: block, DataShards: 3, ParityShards: 1, StreamMode: true})
			if frames, joined := merged(frames); tt.merge {
				if joined == 0 {
					t.Error("no packets were joined")
				}
				checkDecrypted(t, conv, frames, tt.options)
				return
			}
			checkDecrypted(t, conv, frames, tt.options)
		})
	}
}

// checkDecrypted looks for what the sessions of capture have sent.
func checkDecrypted(t *testing.T, conv uint32, frames []frame, options []string) {
	t.Helper()
	var all strings.Builder
	up := 0
	rows := tshark(t, frames, []string{"_ws.col.Protocol", "_ws.expert.severity", "kcp.conv", "kcp.data", "_ws.col.Info"}, options...)
	for i, row := range rows {
		if row[0] != "KCP" || row[1] != "" {
			t.Errorf("frame %d is %s, expert severity %q: %s", i+1, row[0], row[1], row[4])
		}
		if !strings.Contains(row[2], fmt.Sprintf("0x%08x", conv)) && !strings.Contains(row[4], "FEC parity") {
			t.Errorf("frame %d is of conversation %s, want %08x", i+1, row[2], conv)
		}
		if frames[i].toServer {
			up += len(strings.ReplaceAll(row[3], ",", "")) / 2
		}
		all.WriteString(row[4] + "\n")
	}
	if up < 20000 {
		t.Errorf("%d bytes of data to the server are shown, want 20000 at least", up)
	}
	for _, word := range []string{"PUSH", "ACK", "HELLO", "FIN ", "FINACK", "out of band", "FEC parity"} {
		if !strings.Contains(all.String(), word) {
			t.Errorf("no frame shows %q", word)
		}
	}
}

func TestWrongKeys(t *testing.T) {
	block, err := newGCM(make([]byte, 16))
	if err != nil {
		t.Fatal(err)
	}
	_, frames := capture(t, &kcp.Config{BlockCrypt: block, StreamMode: true})
	wrong := []string{"-o", "kcp.crypto:AES-GCM", "-o", "kcp.key:" + strings.Repeat("01", 16)}
	for _, row := range tshark(t, frames, []string{"_ws.col.Protocol"}, wrong...) {
		if row[0] == "KCP" {
			t.Error("a packet that the key does not open was taken for KCP")
		}
	}
	for i, row := range tshark(t, frames, []string{"_ws.col.Info", "kcp.crypto.closed"}, append(wrong, "-o", "kcp.ports:4000")...) {
		if row[0] != "[no key opens it]" || row[1] == "" {
			t.Errorf("frame %d: %q", i+1, row)
		}
	}
}
