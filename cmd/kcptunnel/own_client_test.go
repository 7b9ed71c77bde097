// SPDX-License-Identifier: MIT

package main

import (
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"net"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// download is what the target of the downloads sends.
func download(i int) []byte { return noise(400_000, byte(i)) }

// serveDownloads makes the target send the download whose number it reads.
func serveDownloads(o *ownWorld) {
	o.connect = func(context.Context, *request) (net.Conn, error) {
		near, far := memPipe()
		go func() {
			number := make([]byte, 1)
			if _, err := io.ReadFull(far, number); err == nil {
				_, _ = far.Write(download(int(number[0])))
				_ = far.CloseWrite()
			}
		}()
		return near, nil
	}
}

func TestTwentyDownloadsUnderLoss(t *testing.T) {
	for name, compress := range map[string]string{"plain": "", "zstd": "zstd"} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, line(20*time.Millisecond, 0.05), func(t *testing.T, w *world) {
				o := ownEnds(t, w, func(s *settings) { s.compress = compress })
				serveDownloads(o)
				stop, _ := o.serve()
				defer stop()
				defer o.client.Close()
				// A download that nobody reads does not delay the others.
				stuck := o.dialOwn()
				defer stuck.Reset()
				if _, err := stuck.Write([]byte{0}); err != nil {
					t.Fatal(err)
				}
				var all sync.WaitGroup
				for i := range 20 {
					st := o.dialOwn()
					all.Go(func() {
						defer st.Close()
						_, err := st.Write([]byte{byte(i)})
						got, readErr := io.ReadAll(st)
						if err := errors.Join(err, readErr); err != nil || sha256.Sum256(got) != sha256.Sum256(download(i)) {
							t.Errorf("download %d: %d bytes, %v", i, len(got), err)
						}
					})
				}
				all.Wait()
			})
		})
	}
}

// After a minute, and after a day, of silence a connection carries on.
func TestIdleConnectionCarriesOn(t *testing.T) {
	inWorld(t, line(20*time.Millisecond, 0.01), func(t *testing.T, w *world) {
		o := ownEnds(t, w, nil)
		stop, _ := o.serve()
		defer stop()
		defer o.client.Close()
		st := o.dialOwn()
		defer st.Reset()
		for _, pause := range []time.Duration{0, time.Minute, 24 * time.Hour} {
			time.Sleep(pause)
			start := time.Now()
			mustWrite(t, st, "traffic")
			mustRead(t, st, "traffic")
			if took := time.Since(start); took > 2*time.Second {
				t.Errorf("%v after %v of silence", took, pause)
			}
		}
	})
}

// A client whose server does not run, or has another secret, learns that within a bound.
func TestServerThatDoesNotAnswerIsAnError(t *testing.T) {
	for name, c := range map[string]struct {
		passphrase string
		serves     bool
	}{"no server": {"key", false}, "another secret": {"other", true}} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, line(time.Millisecond, 0), func(t *testing.T, w *world) {
				o := ownEnds(t, w, nil)
				if c.serves {
					stop, _ := o.serve()
					defer stop()
				}
				o.client = o.newClient(c.passphrase, nil)
				defer o.client.Close()
				st := o.dialOwn()
				start := time.Now()
				_, err := st.Read(make([]byte, 1))
				if took := time.Since(start); !errors.Is(err, errNoAnswer) || took > silenceMax+time.Second {
					t.Errorf("%v after %v", err, took)
				}
				if _, err := st.Write([]byte("x")); !errors.Is(err, errNoAnswer) {
					t.Errorf("write: %v", err)
				}
				_ = st.Close()
				if c.serves && !w.log.has("end=server", "do not verify", "10.0.0.2") {
					t.Errorf("the server does not report it:\n%s", w.log.String())
				}
			})
		})
	}
}

// The ends of different modes do not understand each other, and both report it.
func TestModesOfTheEndsDiffer(t *testing.T) {
	t.Run("server in compat mode", func(t *testing.T) {
		inWorld(t, line(time.Millisecond, 0), func(t *testing.T, w *world) {
			stop := w.serve(w.settings(roleServer, nil), echo)
			defer stop()
			o := ownEnds(t, w, nil)
			defer o.client.Close()
			st := o.dialOwn()
			if _, err := st.Read(make([]byte, 1)); !errors.Is(err, errNoAnswer) {
				t.Errorf("got %v", err)
			}
			_ = st.Close()
		})
	})
	t.Run("client in compat mode", func(t *testing.T) {
		inWorld(t, line(time.Millisecond, 0), func(t *testing.T, w *world) {
			o := ownEnds(t, w, nil)
			stop, _ := o.serve()
			defer stop()
			d := w.client(w.settings(roleClient, nil))
			defer d.Close()
			st := w.dial(d)
			defer st.Close()
			mustWrite(t, st, "x")
			ended := make(chan error, 1)
			go func() { _, err := st.Read(make([]byte, 1)); ended <- err }()
			select {
			case err := <-ended:
				if err == nil {
					t.Error("the client reads something")
				}
			case <-time.After(2 * time.Minute):
				t.Error("the client hangs")
			}
			if !w.log.has("end=server", "do not verify", "-compat") {
				t.Errorf("the server does not report it:\n%s", w.log.String())
			}
		})
	})
}

// A destination that does not answer is reported by the server, which is there.
func TestSlowDestinationIsAnError(t *testing.T) {
	inWorld(t, line(time.Millisecond, 0), func(t *testing.T, w *world) {
		o := ownEnds(t, w, nil)
		o.connect = func(ctx context.Context, _ *request) (net.Conn, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		}
		stop, _ := o.serve()
		defer stop()
		defer o.client.Close()
		st := o.dialOwn()
		defer st.Close()
		start := time.Now()
		var answer *statusError
		if _, err := st.Read(make([]byte, 1)); !errors.As(err, &answer) || answer.status != statusTimeout {
			t.Errorf("got %v", err)
		}
		if took := time.Since(start); took > answerMax+time.Second {
			t.Errorf("after %v", took)
		}
	})
}

func TestClientUsesAllPortsOfARange(t *testing.T) {
	inWorld(t, line(time.Millisecond, 0), func(t *testing.T, w *world) {
		o := ownEnds(t, w, func(s *settings) {
			s.listen, s.remoteAddr = "10.0.0.1:3000-3003", "10.0.0.1:3000-3003"
		})
		stop, _ := o.serve()
		defer stop()
		defer o.client.Close()
		ports := make(map[string]bool)
		for range 100 {
			st := o.dialOwn()
			ports[st.RemoteAddr().String()] = true
			if err := exchange(st, []byte("x")); err != nil {
				t.Error(err)
			}
		}
		if len(ports) != 4 {
			t.Errorf("used were %v", ports)
		}
	})
}

// What was written before the end is delivered, also on a line that loses much.
func TestCloseDeliversWhatWasWritten(t *testing.T) {
	inWorld(t, line(50*time.Millisecond, 0.2), func(t *testing.T, w *world) {
		o := ownEnds(t, w, nil)
		data := noise(500_000, 1)
		got := make(chan []byte, 1)
		o.connect = func(context.Context, *request) (net.Conn, error) {
			near, far := memPipe()
			go func() { b, _ := io.ReadAll(far); got <- b; _ = far.Close() }()
			return near, nil
		}
		stop, _ := o.serve()
		defer stop()
		st := o.dialOwn()
		if _, err := st.Write(data); err != nil {
			t.Fatal(err)
		}
		_ = st.Close()
		_ = o.client.Close()
		if b := <-got; sha256.Sum256(b) != sha256.Sum256(data) {
			t.Errorf("%d of %d bytes arrived", len(b), len(data))
		}
		synctest.Wait()
	})
}
