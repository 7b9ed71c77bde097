// SPDX-License-Identifier: MIT

package main

import (
	"bytes"
	"errors"
	"io"
	"net"
	"path/filepath"
	"runtime"
	"syscall"
	"testing"
	"time"
)

func TestConnectionIsCarriedBothWays(t *testing.T) {
	noGoroutinesLeft(t)
	for name, clientArgs := range map[string][]string{
		"plain": nil,
		"zstd":  {"-compress", "zstd"},
	} {
		t.Run(name, func(t *testing.T) {
			target := serveTCP(t, echoConn)
			tun := startTunnel(t, []string{"-t", target}, append(clientArgs, local...))
			entry := tun.client.address(t, "connections")
			for _, data := range [][]byte{nil, []byte("x"), noise(3<<20, 1), make([]byte, 3<<20)} {
				got := roundTrip(t, connect(t, entry), data)
				if !bytes.Equal(got, data) {
					t.Errorf("%d bytes returned as %d others", len(data), len(got))
				}
			}
		})
	}
}

func TestServerMaySpeakFirst(t *testing.T) {
	target := serveTCP(t, func(conn *net.TCPConn) { _, _ = conn.Write([]byte("220 ready\r\n")) })
	tun := startTunnel(t, []string{"-t", target}, local)
	got, err := io.ReadAll(connect(t, tun.client.address(t, "")))
	if string(got) != "220 ready\r\n" || err != nil {
		t.Errorf("got %q, %v", got, err)
	}
}

// The target answers after the end of what the client writes, and at length.
func TestHalfCloseIsCarried(t *testing.T) {
	answer := noise(1<<20, 2)
	target := serveTCP(t, func(conn *net.TCPConn) {
		if request, err := io.ReadAll(conn); string(request) == "request" && err == nil {
			_, _ = conn.Write(answer)
		}
	})
	tun := startTunnel(t, []string{"-t", target}, local)
	if got := roundTrip(t, connect(t, tun.client.address(t, "")), []byte("request")); !bytes.Equal(got, answer) {
		t.Errorf("%d of %d bytes", len(got), len(answer))
	}
}

func TestResetOfTheTargetIsCarried(t *testing.T) {
	target := serveTCP(t, func(conn *net.TCPConn) {
		_, _ = io.ReadFull(conn, make([]byte, 1))
		_ = conn.SetLinger(0)
	})
	tun := startTunnel(t, []string{"-t", target}, local)
	conn := connect(t, tun.client.address(t, ""))
	if _, err := conn.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	if n, err := conn.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("got %d, %v", n, err)
	}
}

func TestResetOfTheUserIsCarried(t *testing.T) {
	seen := make(chan error, 1)
	target := serveTCP(t, func(conn *net.TCPConn) {
		_, _ = conn.Write([]byte("x"))
		_, err := conn.Read(make([]byte, 1))
		seen <- err
	})
	tun := startTunnel(t, []string{"-t", target}, local)
	conn := connect(t, tun.client.address(t, "")).(*net.TCPConn)
	if _, err := io.ReadFull(conn, make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	_ = conn.SetLinger(0)
	_ = conn.Close()
	if err := <-seen; !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("the target reads %v", err)
	}
}

func TestRefusedTargetResetsTheConnection(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	target := l.Addr().String()
	_ = l.Close()
	tun := startTunnel(t, []string{"-t", target}, local)
	conn, err := net.Dial("tcp", tun.client.address(t, ""))
	if err == nil { // the reset may be faster
		defer conn.Close()
		_ = conn.SetDeadline(time.Now().Add(testTimeout))
		_, err = conn.Read(make([]byte, 1))
	}
	if !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("got %v", err)
	}
	tun.client.log.wait(t, map[string]string{"level": "WARN", "error": statusRefused.String()})
	tun.server.log.wait(t, map[string]string{"level": "WARN", "status": statusRefused.String()})
}

func TestUnixSocketsAtBothEnds(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("paths of Windows are no addresses")
	}
	dir := t.TempDir()
	target, entry := filepath.Join(dir, "t"), filepath.Join(dir, "e")
	l, err := net.Listen("unix", target)
	if err != nil {
		t.Fatal(err)
	}
	serveListener(t, l, func(conn net.Conn) {
		request, _ := io.ReadAll(conn)
		_, _ = conn.Write(bytes.ToUpper(request))
	})
	tun := startTunnel(t, []string{"-t", target}, []string{"-l", entry})
	tun.client.address(t, "")
	if got := roundTrip(t, connect(t, entry), []byte("request")); string(got) != "REQUEST" {
		t.Errorf("got %q", got)
	}
}
