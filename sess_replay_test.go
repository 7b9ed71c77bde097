// SPDX-License-Identifier: MIT

package kcp

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"sync/atomic"
	"testing"
	"time"
)

// recording is a recorded session between two legacy peers.
type recording struct {
	Cipher, Key   string
	DataShards    int
	ParityShards  int
	Stream        bool
	Conv          uint32
	ClientPackets []string
	ServerPackets []string
	ClientSends   string
	ServerSends   string
}

func recordings(t *testing.T) []recording {
	t.Helper()
	raw, err := os.ReadFile("testdata/session.json")
	if err != nil {
		t.Fatal(err)
	}
	var all []recording
	if err := json.Unmarshal(raw, &all); err != nil {
		t.Fatal(err)
	}
	return all
}

func (r *recording) name(i int) string {
	return fmt.Sprintf("%d cipher %q fec %d,%d stream %v",
		i, r.Cipher, r.DataShards, r.ParityShards, r.Stream)
}

func (r *recording) block(t *testing.T) BlockCrypt {
	t.Helper()
	if r.Cipher == "" {
		return nil
	}
	makers := map[string]func([]byte) (BlockCrypt, error){
		"aes-128": NewAESBlockCrypt, "salsa20": NewSalsa20BlockCrypt, "aes-gcm-128": NewAESGCMCrypt,
		"sm4": NewSM4BlockCrypt, "xor": NewSimpleXORBlockCrypt, "none": NewNoneBlockCrypt,
	}
	b, err := makers[r.Cipher](unhex(t, r.Key))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func unhex(t *testing.T, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// exchange writes what this side wrote in the recording and reads what it read.
func (r *recording) exchange(t *testing.T, s *UDPSession, write, read []byte) {
	t.Helper()
	s.SetStreamMode(r.Stream)
	s.SetWindowSize(128, 128)
	if _, err := s.Write(write); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, len(read))
	_ = s.SetReadDeadline(time.Now().Add(time.Minute))
	if n, err := io.ReadFull(s, got); err != nil {
		t.Fatalf("after %d of %d bytes: %v", n, len(got), err)
	}
	if !bytes.Equal(got, read) {
		t.Fatal("the bytes read are not those that the recorded peer wrote")
	}
	_ = s.SetReadDeadline(time.Now().Add(time.Second))
	if n, err := s.Read(got); n != 0 || !os.IsTimeout(err) {
		t.Fatalf("behind the recorded bytes: %d bytes, %v; want none and a timeout", n, err)
	}
}

// replay feeds the packets of one side of r to a session and checks the bytes that are read. drop,
// if set, selects the packets that are lost.
func (r *recording) replay(w *connWorld, server bool, drop func(i int, packet []byte) bool) {
	t := w.t
	t.Helper()
	peer := &net.UDPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 4000}
	var sent atomic.Int64 // by several goroutines
	conn := w.conn(&net.UDPAddr{IP: net.IPv4(192, 0, 2, 2), Port: 5000},
		func([]byte, net.Addr) { sent.Add(1) })
	packets, write, read := r.ClientPackets, unhex(t, r.ServerSends), unhex(t, r.ClientSends)
	if !server {
		packets, write, read = r.ServerPackets, read, write
	}
	feed := func() {
		for i, p := range packets {
			if b := unhex(t, p); drop == nil || !drop(i, b) {
				conn.put(b, peer)
			}
		}
	}
	c := Config{BlockCrypt: r.block(t), DataShards: r.DataShards,
		ParityShards: r.ParityShards, StreamMode: r.Stream}
	var s *UDPSession
	if server {
		l := w.serveOver(conn, false, c)
		feed()
		s = w.accept(l)
	} else {
		s = w.dialOver(conn, false, peer, r.Conv, c)
		go func() {
			time.Sleep(time.Millisecond) // what the packets acknowledge has to be written first
			feed()
		}()
	}
	r.exchange(t, s, write, read)
	if s.GetConv() != r.Conv {
		t.Errorf("conv is %#x, want %#x", s.GetConv(), r.Conv)
	}
	if sent.Load() == 0 {
		t.Error("nothing was sent")
	}
}

func TestRecordedSessions(t *testing.T) {
	for i, r := range recordings(t) {
		for _, server := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s server %v", r.name(i), server), func(t *testing.T) {
				connRun(t, simProfile{},
					func(t *testing.T, w *connWorld) { r.replay(w, server, nil) })
			})
		}
	}
}
