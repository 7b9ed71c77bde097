// SPDX-License-Identifier: MIT

package kcp

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"testing"
	"time"
)

// dlCall is a call that can block until a deadline. Each test has a new object for it.
type dlCall struct {
	name  string
	call  func() error
	set   func(time.Time) error
	close func() error
}

// dlCalls returns Read, Write and Accept, each blocked until its deadline.
func dlCalls(t *testing.T, w *connWorld) []dlCall {
	client, server, l := w.pair(Config{})
	for err := error(nil); err == nil; { // fill the windows, so that Write has to wait
		_ = client.SetWriteDeadline(time.Now().Add(time.Second))
		_, err = client.Write(make([]byte, 1000))
		if err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatal(err)
		}
	}
	_ = client.SetWriteDeadline(time.Time{})
	return []dlCall{
		{"Read", func() error { _, err := client.Read(make([]byte, 1)); return err },
			client.SetReadDeadline, client.Close},
		{"Write", func() error { _, err := client.Write([]byte{1}); return err },
			client.SetWriteDeadline, client.Close},
		{"Read of the accepted", func() error {
			for {
				if _, err := server.Read(make([]byte, 4096)); err != nil {
					return err
				}
			}
		}, server.SetReadDeadline, server.Close},
		{"Accept", func() error { _, err := l.Accept(); return err }, l.SetDeadline, l.Close},
	}
}

// dlEach runs f for each blocking call in a world of its own.
func dlEach(t *testing.T, f func(t *testing.T, c dlCall)) {
	for i, name := range []string{"Read", "Write", "Read of the accepted", "Accept"} {
		t.Run(name, func(t *testing.T) {
			connRun(t, closeLink, func(t *testing.T, w *connWorld) {
				c := dlCalls(t, w)[i]
				if c.name != name {
					t.Fatalf("got the call %q", c.name)
				}
				if c.name == "Read of the accepted" {
					// What has arrived is read before a deadline takes effect.
					_ = c.set(time.Now().Add(5 * time.Second))
					_ = c.call()
				}
				f(t, c)
			})
		})
	}
}

// dlWantTimeout checks that err is the error of an expired deadline.
func dlWantTimeout(t *testing.T, err error) {
	t.Helper()
	var ne net.Error
	if !errors.Is(err, os.ErrDeadlineExceeded) || !errors.As(err, &ne) || !ne.Timeout() {
		t.Errorf("got %v, want a net.Error that is a timeout and matches os.ErrDeadlineExceeded",
			err)
	}
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, net.ErrClosed) {
		t.Errorf("%v matches too much", err)
	}
}

func TestDeadlineEndsACall(t *testing.T) {
	dlEach(t, func(t *testing.T, c dlCall) {
		for _, d := range []time.Duration{
			-time.Hour, -1, 0, 1, time.Millisecond, time.Second, time.Hour, 24 * time.Hour,
		} {
			if err := c.set(time.Now().Add(d)); err != nil {
				t.Fatal(err)
			}
			for range 3 { // it stays passed
				began := time.Now()
				dlWantTimeout(t, c.call())
				if took := time.Since(began); took != max(d, 0) {
					t.Errorf("deadline in %v: the call took %v", d, took)
				}
				d = 0
			}
		}
	})
}

func TestDeadlineInThePastEndsABlockedCall(t *testing.T) {
	dlEach(t, func(t *testing.T, c dlCall) {
		for _, at := range []time.Time{time.Unix(1, 0), time.Now().Add(-1)} {
			_ = c.set(time.Time{})
			done := make(chan error)
			go func() { done <- c.call() }()
			time.Sleep(time.Minute)
			began := time.Now()
			_ = c.set(at)
			dlWantTimeout(t, <-done)
			if took := time.Since(began); took != 0 {
				t.Errorf("the blocked call returned after %v", took)
			}
		}
	})
}

// If the deadline moves while a call is blocked, the last value counts.
func TestDeadlineMovesUnderABlockedCall(t *testing.T) {
	tests := []struct {
		name  string
		steps []time.Duration // a new deadline every 10 s, so far ahead; 0 takes it away
		want  time.Duration
	}{
		{"put off", []time.Duration{15 * time.Second, 15 * time.Second, 15 * time.Second},
			35 * time.Second},
		{"drawn nearer",
			[]time.Duration{time.Hour, time.Minute, 5 * time.Second}, 25 * time.Second},
		{"taken away and set again",
			[]time.Duration{15 * time.Second, 0, 0, 5 * time.Second}, 35 * time.Second},
		{"to and fro", []time.Duration{time.Hour, 20 * time.Second, time.Hour, 30 * time.Second},
			60 * time.Second},
	}
	dlEach(t, func(t *testing.T, c dlCall) {
		for _, tt := range tests {
			set := func(d time.Duration) {
				if d == 0 {
					_ = c.set(time.Time{})
				} else {
					_ = c.set(time.Now().Add(d))
				}
			}
			began := time.Now()
			set(tt.steps[0])
			done := make(chan error, 1)
			go func() { done <- c.call() }()
			for _, d := range tt.steps[1:] {
				time.Sleep(10 * time.Second)
				set(d)
			}
			dlWantTimeout(t, <-done)
			if took := time.Since(began); took != tt.want {
				t.Errorf("%s: the call took %v, want %v", tt.name, took, tt.want)
			}
		}
	})
}

// Deadlines can expire any number of times, and several calls can share one.
func TestDeadlineFluctuation(t *testing.T) {
	dlEach(t, func(t *testing.T, c dlCall) {
		const callers, rounds = 4, 50
		var wg sync.WaitGroup
		for range callers {
			wg.Go(func() {
				for range rounds {
					if err := c.call(); !errors.Is(err, os.ErrDeadlineExceeded) {
						t.Error(err)
						return
					}
					time.Sleep(time.Millisecond)
				}
			})
		}
		stop := make(chan struct{})
		go func() {
			wg.Wait()
			close(stop)
		}()
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			case <-time.After(10 * time.Millisecond):
				_ = c.set(time.Now().Add(time.Duration(i%7-2) * 5 * time.Millisecond))
			}
		}
	})
}

// Deadlines are set while calls begin and end, for the race detector.
func TestDeadlineRace(t *testing.T) {
	dlEach(t, func(t *testing.T, c dlCall) {
		var wg sync.WaitGroup
		end := time.Now().Add(10 * time.Millisecond)
		for i := range 8 {
			wg.Go(func() {
				for time.Now().Before(end) {
					if i%2 == 0 {
						_ = c.set(time.Now().Add(time.Duration(i) * time.Microsecond))
					} else if err := c.call(); !errors.Is(err, os.ErrDeadlineExceeded) {
						t.Error(err)
						return
					}
					time.Sleep(time.Microsecond)
				}
			})
		}
		wg.Wait()
	})
}

func TestCloseEndsBlockedCalls(t *testing.T) {
	for _, deadline := range []time.Duration{0, time.Hour} {
		t.Run(fmt.Sprint("deadline ", deadline), func(t *testing.T) {
			dlEach(t, func(t *testing.T, c dlCall) {
				_ = c.set(time.Time{})
				if deadline != 0 {
					_ = c.set(time.Now().Add(deadline))
				}
				done := make(chan error)
				for range 3 {
					go func() { done <- c.call() }()
				}
				time.Sleep(time.Minute)
				began := time.Now()
				if err := c.close(); err != nil {
					t.Errorf("Close: %v", err)
				}
				for range 3 {
					if err := <-done; !errors.Is(err, net.ErrClosed) {
						t.Errorf("got %v, want net.ErrClosed", err)
					}
				}
				if took := time.Since(began); took != 0 {
					t.Errorf("the blocked calls returned after %v", took)
				}
				if err := c.call(); !errors.Is(err, net.ErrClosed) {
					t.Errorf("a call after Close: %v, want net.ErrClosed", err)
				}
				if err := c.set(time.Now()); !errors.Is(err, net.ErrClosed) {
					t.Errorf("a deadline after Close: %v, want net.ErrClosed", err)
				}
				if err := c.close(); !errors.Is(err, net.ErrClosed) {
					t.Errorf("closing again: %v, want net.ErrClosed", err)
				}
			})
		})
	}
}

// A deadline ends nothing. Once it is moved the session works as before, and nothing written is
// lost or duplicated.
func TestSessionOutlivesItsDeadlines(t *testing.T) {
	connRun(t, closeLink, func(t *testing.T, w *connWorld) {
		client, server, _ := w.pair(Config{StreamMode: true})
		want := pattern(500_000, 11)
		go func() {
			rest := want
			for len(rest) > 0 {
				_ = client.SetWriteDeadline(time.Now().Add(30 * time.Millisecond))
				n, err := client.Write(rest)
				rest = rest[n:]
				if err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
					t.Error(err)
					return
				}
			}
			_ = client.CloseWrite()
		}()
		var got []byte
		timeouts := 0
		for buf := make([]byte, 3000); ; {
			_ = server.SetReadDeadline(time.Now().Add(7 * time.Millisecond))
			n, err := server.Read(buf)
			got = append(got, buf[:n]...)
			if err == io.EOF {
				break
			}
			if errors.Is(err, os.ErrDeadlineExceeded) {
				timeouts++
			} else if err != nil {
				t.Fatal(err)
			}
		}
		if string(got) != string(want) || timeouts == 0 {
			t.Errorf("%d bytes and %d timeouts, want the %d bytes written and some timeouts",
				len(got), timeouts, len(want))
		}
	})
}

// SetDeadline sets both directions; the deadline of one direction affects that direction alone.
func TestDeadlinesOfTheTwoDirections(t *testing.T) {
	connRun(t, closeLink, func(t *testing.T, w *connWorld) {
		client, _, _ := w.pair(Config{})
		past := time.Now().Add(-time.Second)
		read := func() error { _, err := client.Read(make([]byte, 1)); return err }
		write := func() error { _, err := client.Write([]byte{1}); return err }
		if err := client.SetDeadline(past); err != nil {
			t.Fatal(err)
		}
		dlWantTimeout(t, read())
		dlWantTimeout(t, write())
		_ = client.SetWriteDeadline(time.Time{})
		dlWantTimeout(t, read())
		if err := write(); err != nil {
			t.Errorf("Write with a deadline for Read alone: %v", err)
		}
		_ = client.SetWriteDeadline(past)
		_ = client.SetReadDeadline(time.Now().Add(time.Second))
		dlWantTimeout(t, write())
		began := time.Now()
		dlWantTimeout(t, read())
		if took := time.Since(began); took != time.Second {
			t.Errorf("Read took %v, want its own deadline's second", took)
		}
	})
}
