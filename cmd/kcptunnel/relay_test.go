// SPDX-License-Identifier: MIT

package main

import (
	"bytes"
	"errors"
	"io"
	"net"
	"testing"
	"testing/synctest"
	"time"
)

// finisher waits for the end of a relay.
type finisher func() (relayed, error)

// relayOver runs a relay in a bubble between two connections, whose other ends f gets.
func relayOver(t *testing.T, closeWait time.Duration, blind bool,
	f func(t *testing.T, user, target *memConn, finish finisher)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		user, local := memPipe()
		remote, target := memPipe()
		type result struct {
			sums relayed
			err  error
		}
		ended := make(chan result, 1)
		go func() {
			var sums relayed
			var err error
			if blind {
				sums, err = relay(local, blindStream{remote}, closeWait)
			} else {
				sums, err = relay(local, remote, closeWait)
			}
			ended <- result{sums, err}
		}()
		f(t, user, target, func() (relayed, error) { r := <-ended; return r.sums, r.err })
	})
}

// blindStream is a stream of smux 1.
type blindStream struct{ *memConn }

func (blindStream) writesBlindly() bool { return true }

func mustWrite(t *testing.T, c io.Writer, s string) {
	t.Helper()
	if _, err := io.WriteString(c, s); err != nil {
		t.Fatal(err)
	}
}

func mustRead(t *testing.T, c io.Reader, want string) {
	t.Helper()
	got := make([]byte, len(want))
	if _, err := io.ReadFull(c, got); err != nil || string(got) != want {
		t.Fatalf("read %q, %v; want %q", got, err, want)
	}
}

func mustEnd(t *testing.T, c io.Reader, want error) {
	t.Helper()
	n, err := c.Read(make([]byte, 1))
	if n != 0 || !errors.Is(err, want) {
		t.Fatalf("read %d bytes, %v; want %v", n, err, want)
	}
}

func TestRelayPassesHalfCloseOn(t *testing.T) {
	relayOver(t, 0, false, func(t *testing.T, user, target *memConn, finish finisher) {
		mustWrite(t, user, "request")
		mustRead(t, target, "request")
		_ = user.CloseWrite()
		mustEnd(t, target, io.EOF)
		time.Sleep(halfClosedLimit - time.Second)
		mustWrite(t, target, "answer")
		mustRead(t, user, "answer")
		_ = target.CloseWrite()
		mustEnd(t, user, io.EOF)
		if sums, err := finish(); err != nil || sums != (relayed{7, 6}) {
			t.Errorf("relay returned %+v, %v", sums, err)
		}
	})
}

func TestRelayCarriesResetThrough(t *testing.T) {
	relayOver(t, 0, false, func(t *testing.T, user, target *memConn, finish finisher) {
		mustWrite(t, user, "request")
		mustRead(t, target, "request")
		_ = target.Reset()
		mustEnd(t, user, errMemReset)
		if _, err := finish(); !errors.Is(err, errMemReset) {
			t.Errorf("relay returned %v", err)
		}
	})
	relayOver(t, 0, false, func(t *testing.T, user, target *memConn, finish finisher) {
		_ = user.Reset()
		mustEnd(t, target, errMemReset)
		if _, err := finish(); !errors.Is(err, errMemReset) {
			t.Errorf("relay returned %v", err)
		}
	})
}

// A reset is noticed behind a half close, too.
func TestRelayCarriesResetThroughWhenHalfClosed(t *testing.T) {
	relayOver(t, 0, false, func(t *testing.T, user, target *memConn, finish finisher) {
		_ = user.CloseWrite()
		mustEnd(t, target, io.EOF)
		_ = target.Reset()
		mustEnd(t, user, errMemReset)
		if _, err := finish(); !errors.Is(err, errMemReset) {
			t.Errorf("relay returned %v", err)
		}
	})
}

func TestRelayEndsSilentHalfClosedConnection(t *testing.T) {
	const wait = 30 * time.Second
	relayOver(t, wait, false, func(t *testing.T, user, target *memConn, finish finisher) {
		_ = user.CloseWrite()
		mustEnd(t, target, io.EOF)
		for range 3 {
			time.Sleep(wait * 2 / 3)
			mustWrite(t, target, "x")
			mustRead(t, user, "x")
		}
		spoke := time.Now()
		_, err := finish()
		if silent := time.Since(spoke); !errors.Is(err, errSilent) || silent > 2*wait {
			t.Errorf("relay returned %v, %v after the last byte", err, silent)
		}
		mustEnd(t, user, errMemReset)
	})
}

// Without windows of streams a server would go on to send a download that its client has given up.
func TestRelayBoundsBlindWrites(t *testing.T) {
	const wait = 30 * time.Second
	relayOver(t, wait, true, func(t *testing.T, user, target *memConn, finish finisher) {
		_ = target.CloseWrite()
		mustEnd(t, user, io.EOF)
		go io.Copy(io.Discard, target)
		start := time.Now()
		for {
			if _, err := user.Write(bytes.Repeat([]byte{1}, 100)); err != nil {
				break
			}
			time.Sleep(time.Second)
		}
		if _, err := finish(); !errors.Is(err, errSilent) || time.Since(start) > wait+time.Second {
			t.Errorf("relay returned %v after %v", err, time.Since(start))
		}
	})
}

// A connection that cannot end one direction alone is closed when the other ends.
func TestRelayWithoutHalfClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		user, local := memPipe()
		remote, target := memPipe()
		ended := make(chan error, 1)
		go func() {
			_, err := relay(wholeConn{local}, remote, 0)
			ended <- err
		}()
		_ = target.CloseWrite()
		mustWrite(t, user, "more")
		mustRead(t, target, "more")
		_ = user.CloseWrite()
		mustEnd(t, target, io.EOF)
		mustEnd(t, user, io.EOF)
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}

// wholeConn hides CloseWrite.
type wholeConn struct{ net.Conn }
