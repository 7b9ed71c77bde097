// SPDX-License-Identifier: MIT

package main

import (
	"crypto/aes"
	"crypto/cipher"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"testing"
	"time"

	kcp "github.com/xtaci/kcp-go/v5"
)

func replacedMessage(size int) []byte {
	message := make([]byte, size)
	rand.NewChaCha8([32]byte{1}).Read(message)
	return message
}

// plainCrypt is a cipher as a program may bring its own.
type plainCrypt struct{}

func (plainCrypt) Encrypt(dst, src []byte) { copy(dst, src) }
func (plainCrypt) Decrypt(dst, src []byte) { copy(dst, src) }

func TestMessageComesBackUnderEveryConfiguration(t *testing.T) {
	key := []byte("0123456789abcdef")
	aesBlock, err := kcp.NewAESBlockCrypt(key)
	if err != nil {
		t.Fatal(err)
	}
	none, err := kcp.NewNoneBlockCrypt(key)
	if err != nil {
		t.Fatal(err)
	}
	stdBlock, err := aes.NewCipher(key)
	if err != nil {
		t.Fatal(err)
	}
	gcm, err := cipher.NewGCM(stdBlock)
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name                     string
		block                    kcp.BlockCrypt
		dataShards, parityShards int
	}{
		{"no cipher", nil, 0, 0},
		{"no cipher, FEC", nil, 10, 3},
		{"none", none, 0, 0},
		{"AES", aesBlock, 0, 0},
		{"AES, FEC", aesBlock, 10, 3},
		{"AEAD", kcp.NewAEADCrypt(gcm), 0, 0},
		{"a cipher of the program's own", plainCrypt{}, 0, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if err := roundTrip(tt.block, tt.dataShards, tt.parityShards, replacedMessage(256<<10)); err != nil {
				t.Fatal(err)
			}
		})
	}
}

func TestMessageComesBackOverSocketsOfTheProgram(t *testing.T) {
	if err := roundTripOnSockets(nil, replacedMessage(64<<10)); err != nil {
		t.Fatal(err)
	}
}

func TestSessionsAreNetConns(t *testing.T) {
	listener, err := kcp.Listen("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	conn, err := kcp.Dial(listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := conn.Write([]byte("ping")); err != nil {
		t.Fatal(err)
	}
	accepted, err := listener.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer accepted.Close()
	buf := make([]byte, 16)
	if n, err := accepted.Read(buf); err != nil || string(buf[:n]) != "ping" {
		t.Fatalf("Read = %q, %v, want ping", buf[:n], err)
	}

	accepted.SetReadDeadline(time.Now().Add(-time.Second))
	_, err = accepted.Read(buf)
	if netErr, ok := err.(net.Error); !ok || !netErr.Timeout() {
		t.Errorf("Read past its deadline: %v, want a net.Error that is a timeout", err)
	}
	if err := accepted.(*kcp.UDPSession).SetReadBuffer(1 << 16); err == nil {
		t.Error("SetReadBuffer on an accepted session succeeded: its socket is the listener's")
	}
	if err := conn.Close(); err != nil {
		t.Errorf("Close: %v", err)
	}
	if err := conn.Close(); err == nil {
		t.Error("the second Close succeeded")
	}
	if _, err := conn.Write([]byte("late")); !errors.Is(err, io.ErrClosedPipe) {
		t.Errorf("Write after Close: %v, want io.ErrClosedPipe", err)
	}
}

func TestCountersCountTheMessage(t *testing.T) {
	before := kcp.DefaultSnmp.Copy()
	const size = 32 << 10
	if err := roundTrip(nil, 0, 0, replacedMessage(size)); err != nil {
		t.Fatal(err)
	}
	// There and back, both ends being in this process. Counts are added up in
	// batches, behind the bytes that they count, those of other tests too.
	const want = 2 * size
	var sent, received uint64
	for end := time.Now().Add(5 * time.Second); time.Now().Before(end); time.Sleep(time.Millisecond) {
		after := kcp.DefaultSnmp.Copy()
		sent, received = after.BytesSent-before.BytesSent, after.BytesReceived-before.BytesReceived
		if sent >= want && received >= want {
			break
		}
	}
	if sent < want || received < want {
		t.Errorf("BytesSent grew by %d, BytesReceived by %d, want %d at least", sent, received, want)
	}
}
