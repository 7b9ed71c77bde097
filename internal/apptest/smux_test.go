// SPDX-License-Identifier: MIT

package apptest

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/seedkcp/kcp"
	"github.com/xtaci/smux"
)

// noise returns n bytes that follow from seed.
func noise(n int, seed uint64) []byte {
	b := make([]byte, n)
	r := rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8)})
	_, _ = r.Read(b)
	return b
}

// configs are the settings under which the multiplexer runs.
func configs(t *testing.T) map[string]kcp.Config {
	t.Helper()
	gcm, err := kcp.NewAESGCMCrypt(make([]byte, 16))
	if err != nil {
		t.Fatal(err)
	}
	fast := kcp.Config{StreamMode: true, NoDelay: true, FastResend: 2, NoCongestionControl: true}
	sealed, parity, plain := fast, fast, kcp.Config{StreamMode: true}
	sealed.BlockCrypt = gcm
	parity.DataShards, parity.ParityShards = 10, 3
	return map[string]kcp.Config{"default": plain, "fast": fast, "aes-gcm": sealed, "fec": parity}
}

// checkLeaks fails the test if goroutines of the library or of the multiplexer outlive it.
func checkLeaks(t *testing.T) {
	t.Cleanup(func() {
		for deadline := time.Now().Add(15 * time.Second); ; time.Sleep(10 * time.Millisecond) {
			buf := make([]byte, 1<<20)
			var left []string
			for _, g := range strings.Split(string(buf[:runtime.Stack(buf, true)]), "\n\n") {
				if (strings.Contains(g, "kcp.(*") || strings.Contains(g, "smux.")) && !strings.Contains(g, "schedWorker).run") {
					left = append(left, g)
				}
			}
			if len(left) == 0 {
				return
			}
			if time.Now().After(deadline) {
				t.Errorf("%d goroutines are left:\n%s", len(left), strings.Join(left, "\n\n"))
				return
			}
		}
	})
}

// echoServer accepts sessions with streams in them and sends back what comes, until l is closed.
func echoServer(t *testing.T, l net.Listener) (wait func()) {
	var all sync.WaitGroup
	all.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			all.Go(func() {
				mux, err := smux.Server(conn, nil)
				if err != nil {
					t.Error(err)
					return
				}
				defer mux.Close()
				for {
					stream, err := mux.AcceptStream()
					if err != nil {
						return
					}
					all.Go(func() {
						defer stream.Close()
						_, _ = io.Copy(stream, stream)
					})
				}
			})
		}
	})
	return all.Wait
}

// echo sends size bytes through a stream of its own and takes them back.
func echo(mux *smux.Session, size int, seed uint64) error {
	stream, err := mux.OpenStream()
	if err != nil {
		return err
	}
	defer stream.Close()
	want := noise(size, seed)
	written := make(chan error, 1)
	go func() {
		_, err := stream.Write(want)
		written <- err
	}()
	got := make([]byte, size)
	_ = stream.SetReadDeadline(time.Now().Add(time.Minute))
	n, err := io.ReadFull(stream, got)
	if err = errors.Join(err, <-written); err != nil {
		return fmt.Errorf("after %d of %d bytes: %w", n, size, err)
	}
	if !bytes.Equal(got, want) {
		return fmt.Errorf("%x came back for %x", sha256.Sum256(got), sha256.Sum256(want))
	}
	return nil
}

// Many streams share a session, each with its own bytes in both directions at once.
func TestStreamsOverASession(t *testing.T) {
	for name, config := range configs(t) {
		t.Run(name, func(t *testing.T) {
			checkLeaks(t)
			l, err := config.Listen(context.Background(), "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			wait := echoServer(t, l)
			conn, err := config.Dial(context.Background(), l.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			mux, err := smux.Client(conn, nil)
			if err != nil {
				t.Fatal(err)
			}
			var streams sync.WaitGroup
			for i := range 20 {
				streams.Go(func() {
					for round := range 3 {
						if err := echo(mux, (i*i*round+1)*500, uint64(i)); err != nil {
							t.Errorf("stream %d, round %d: %v", i, round, err)
						}
					}
				})
			}
			streams.Wait()
			if err := mux.Close(); err != nil {
				t.Error(err)
			}
			if err := l.Close(); err != nil {
				t.Error(err)
			}
			wait()
		})
	}
}

// The end of the session ends its streams, at the other side too.
func TestClosedSessionEndsItsStreams(t *testing.T) {
	checkLeaks(t)
	config := configs(t)["fast"]
	l, err := config.Listen(context.Background(), "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	conn, err := config.Dial(context.Background(), l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	client, err := smux.Client(conn, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	stream, err := client.OpenStream()
	if err != nil {
		t.Fatal(err)
	}
	if _, err = stream.Write([]byte("hello")); err != nil {
		t.Fatal(err)
	}
	accepted, err := l.AcceptKCP()
	if err != nil {
		t.Fatal(err)
	}
	server, err := smux.Server(accepted, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err = server.AcceptStream(); err != nil {
		t.Fatal(err)
	}
	server.Close()
	_ = stream.SetReadDeadline(time.Now().Add(10 * time.Second))
	began := time.Now()
	if _, err = stream.Read(make([]byte, 1)); err == nil || time.Since(began) > 5*time.Second {
		t.Errorf("the stream reads %v after %v, want an error at once", err, time.Since(began))
	}
}
