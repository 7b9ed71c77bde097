// SPDX-License-Identifier: MIT

package main

import (
	"strings"
	"testing"
	"time"

	"github.com/seedkcp/kcp"
)

// brokenServer answers one client with what corrupt makes of its bytes.
func brokenServer(t *testing.T, corrupt func(offset int, p []byte)) (addr string) {
	t.Helper()
	listener, err := kcp.ListenWithOptions("127.0.0.1:0", nil, 0, 0)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	accepted := make(chan *kcp.UDPSession, 1)
	go func() {
		defer close(done)
		sess, err := listener.AcceptKCP()
		if err != nil {
			return
		}
		defer sess.Close()
		accepted <- sess
		tune(sess)
		sess.SetDeadline(time.Now().Add(10 * time.Second))
		buf := make([]byte, bufferSize)
		for offset := 0; ; {
			n, err := sess.Read(buf)
			if err != nil {
				return
			}
			corrupt(offset, buf[:n])
			if _, err := sess.Write(buf[:n]); err != nil {
				return
			}
			// The client's last byte follows header and data.
			if offset += n; offset > headerSize+mebibyte {
				return
			}
		}
	}()
	t.Cleanup(func() {
		listener.Close()
		select {
		case sess := <-accepted:
			sess.Close()
		default:
		}
		<-done
	})
	return listener.Addr().String()
}

func TestCorruptEchoIsFound(t *testing.T) {
	tests := []struct {
		name string
		at   int
		want string
	}{
		{"header", 0, "no echo server"},
		{"first byte", headerSize, "SHA-256 differs"},
		{"last byte", headerSize + mebibyte - 1, "SHA-256 differs"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			addr := brokenServer(t, func(offset int, p []byte) {
				if offset <= tt.at && tt.at < offset+len(p) {
					p[tt.at-offset] ^= 1
				}
			})
			status, stdout, stderr := echoRun(t, "-dial", addr, "-size", "1")
			if status != 1 || !strings.Contains(stderr, tt.want) {
				t.Errorf("exit status %d, %q; want 1 and %q; output:\n%s", status, stderr, tt.want, stdout)
			}
		})
	}
}
