// SPDX-License-Identifier: MIT

package kcp

import (
	"errors"
	"net"
	"slices"
	"testing"
)

func TestSetDSCPValidatesItsArguments(t *testing.T) {
	conn := batchSocket(t, "127.0.0.1:0")
	for _, dscp := range []int{-1, 64, 255, 1 << 20} {
		if err := setDSCP(conn, dscp); err == nil {
			t.Errorf("setDSCP(%d) succeeded, want an error", dscp)
		}
	}
	for _, dscp := range []int{0, 46, 63} {
		if err := setDSCP(conn, dscp); err != nil {
			t.Errorf("setDSCP(%d): %v", dscp, err)
		}
	}
	if err := setDSCP(&batchTestConn{}, 46); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("setDSCP on a connection without a socket: %v, want errors.ErrUnsupported", err)
	}
	if err := setDSCP(batchTestWrapper{conn}, 46); err != nil {
		t.Errorf("setDSCP on a wrapped socket: %v", err)
	}
	_ = conn.Close()
	if err := setDSCP(conn, 46); !errors.Is(err, net.ErrClosed) {
		t.Errorf("setDSCP on a closed socket: %v, want net.ErrClosed", err)
	}
}

func TestSetDefaultBuffersNeverMakesOneSmaller(t *testing.T) {
	conn := batchSocket(t, "127.0.0.1:0")
	rcv, snd, err := socketBuffers(conn)
	if err != nil || rcv <= 0 || snd <= 0 {
		t.Fatalf("socketBuffers = %d, %d, %v, want sizes", rcv, snd, err)
	}
	setDefaultBuffers(conn)
	rcv2, snd2, err := socketBuffers(conn)
	if err != nil || rcv2 < rcv || snd2 < snd {
		t.Fatalf("socketBuffers = %d, %d, %v after the defaults, want at least %d, %d",
			rcv2, snd2, err, rcv, snd)
	}
	setDefaultBuffers(&batchTestConn{})
	if _, _, err := socketBuffers(&batchTestConn{}); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("socketBuffers without a socket: %v, want errors.ErrUnsupported", err)
	}
}

func TestGrowBufferAsksForLessUntilTheSystemAgrees(t *testing.T) {
	for _, tt := range []struct {
		name           string
		current, limit int
		asked          []int
	}{
		{"granted", 200 << 10, 8 << 20, []int{4 << 20}},
		{"third time", 200 << 10, 1 << 20, []int{4 << 20, 2 << 20, 1 << 20}},
		{"never below what it is", 1 << 20, 0, []int{4 << 20, 2 << 20}},
		{"large already", 4 << 20, 8 << 20, nil},
		{"not known", 0, 0, []int{4 << 20, 2 << 20, 1 << 20, 512 << 10, 256 << 10}},
	} {
		var asked []int
		growBuffer(func(bytes int) error {
			asked = append(asked, bytes)
			if bytes > tt.limit {
				return errors.ErrUnsupported
			}
			return nil
		}, tt.current)
		if !slices.Equal(asked, tt.asked) {
			t.Errorf("%s: asked for %v, want %v", tt.name, asked, tt.asked)
		}
	}
}
