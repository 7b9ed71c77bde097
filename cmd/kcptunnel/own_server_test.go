// SPDX-License-Identifier: MIT

package main

import (
	"context"
	"errors"
	"io"
	"net"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seedkcp/kcp"
)

// raw opens a session of a client that has the secret, and sends what it likes.
func (o *ownWorld) raw(first []byte) *kcp.UDPSession {
	o.t.Helper()
	settings := o.client.settings()
	server, err := o.client.serverAddr(context.Background(), &settings)
	if err != nil {
		o.t.Fatal(err)
	}
	transport, err := o.client.socket(context.Background())
	if err != nil {
		o.t.Fatal(err)
	}
	sess, err := transport.Dial(context.Background(), server, &settings.config)
	if err != nil {
		o.t.Fatal(err)
	}
	if _, err := sess.Write(first); err != nil {
		o.t.Fatal(err)
	}
	return sess
}

// A session that has sent no request in time is reset, also if it sends a byte now and then.
func TestSessionWithoutRequestIsReset(t *testing.T) {
	for name, pause := range map[string]time.Duration{"silent": time.Hour, "trickling": 3 * time.Second} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, line(time.Millisecond, 0), func(t *testing.T, w *world) {
				o := ownEnds(t, w, nil)
				stop, _ := o.serve()
				defer stop()
				defer o.client.Close()
				sess := o.raw([]byte(wireMagic)[:1])
				start := time.Now()
				ended := make(chan error, 1)
				go func() { _, err := sess.Read(make([]byte, 1)); ended <- err }()
				for open := true; open; {
					select {
					case err := <-ended:
						if !errors.Is(err, syscall.ECONNRESET) {
							t.Errorf("got %v", err)
						}
						open = false
					case <-time.After(pause):
						_, _ = sess.Write([]byte(wireMagic)[1:2])
					}
				}
				if took := time.Since(start); took > requestTimeout+time.Second {
					t.Errorf("after %v", took)
				}
				_ = sess.Close()
			})
		})
	}
}

func TestFirstMessageThatIsNoRequestResetsTheSession(t *testing.T) {
	inWorld(t, line(time.Millisecond, 0), func(t *testing.T, w *world) {
		o := ownEnds(t, w, nil)
		stop, _ := o.serve()
		defer stop()
		defer o.client.Close()
		for _, first := range []string{
			"GET / HTTP/1.1\r\nHost: example.com\r\n\r\n",
			wireMagic + "\x01\x02\x00\x03\x00\x50a b",
			wireMagic + "\x01\x02\x00\x00\x00\x50.....",
		} {
			sess := o.raw([]byte(first))
			if n, err := sess.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
				t.Errorf("%q: %d, %v", first, n, err)
			}
			_ = sess.Close()
		}
	})
}

// Data that is not compressed as the request says resets the session.
func TestCorruptCompressionResetsTheSession(t *testing.T) {
	inWorld(t, line(time.Millisecond, 0), func(t *testing.T, w *world) {
		o := ownEnds(t, w, nil)
		stop, _ := o.serve()
		defer stop()
		defer o.client.Close()
		r := request{kind: kindTarget, compression: compressZstd}
		sess := o.raw(append(r.append(nil), "this is no frame of zstd"...))
		if st, err := readAnswer(sess); st != statusOK || err != nil {
			t.Fatal(st, err)
		}
		if _, err := io.Copy(io.Discard, onlyReader{sess}); !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("got %v", err)
		}
		_ = sess.Close()
	})
}

// What a later client may ask for is answered, so that it can report that.
func TestUnknownRequestsAreAnswered(t *testing.T) {
	inWorld(t, line(time.Millisecond, 0), func(t *testing.T, w *world) {
		o := ownEnds(t, w, nil)
		stop, _ := o.serve()
		defer stop()
		defer o.client.Close()
		for _, first := range []string{
			wireMagic + "\x02\x01\x00\x00\x00\x00", // version
			wireMagic + "\x01\x09\x00\x00\x00\x00", // kind
			wireMagic + "\x01\x01\x07\x00\x00\x00", // compression
		} {
			sess := o.raw([]byte(first))
			st, err := readAnswer(sess)
			if st != statusUnsupported || err != nil {
				t.Errorf("%q: %v, %v", first, st, err)
			}
			if n, err := sess.Read(make([]byte, 1)); err != io.EOF {
				t.Errorf("%q: %d bytes behind the answer, %v", first, n, err)
			}
			_ = sess.Close()
		}
	})
}

func TestServerBoundsConnections(t *testing.T) {
	inWorld(t, line(time.Millisecond, 0), func(t *testing.T, w *world) {
		o := ownEnds(t, w, func(s *settings) { s.maxConns = 2 })
		stop, _ := o.serve()
		defer stop()
		defer o.client.Close()
		var open []*ownStream
		for range 2 {
			st := o.dialOwn()
			mustWrite(t, st, "x")
			mustRead(t, st, "x")
			open = append(open, st)
		}
		var answer *statusError
		third := o.dialOwn()
		if _, err := third.Read(make([]byte, 1)); !errors.As(err, &answer) || answer.status != statusBusy {
			t.Errorf("got %v", err)
		}
		_ = third.Close()
		// One that ends makes room.
		if err := exchange(open[0], []byte("y")); err != nil {
			t.Error(err)
		}
		time.Sleep(time.Second)
		if err := exchange(o.dialOwn(), []byte("z")); err != nil {
			t.Error(err)
		}
		_ = open[1].Reset()
	})
}

// A flow of datagrams that is silent for the time ends at both ends.
func TestIdleFlowEnds(t *testing.T) {
	inWorld(t, line(5*time.Millisecond, 0), func(t *testing.T, w *world) {
		o := ownEnds(t, w, func(s *settings) { s.udpTimeout = 60; s.given["udp"] = true })
		closed := make(chan struct{})
		o.connect = func(_ context.Context, r *request) (net.Conn, error) {
			near, far := memPipe()
			go func() {
				defer close(closed)
				buf := make([]byte, 100)
				for {
					n, err := far.Read(buf)
					if err != nil {
						return
					}
					_, _ = far.Write(buf[:n])
				}
			}()
			return near, nil
		}
		stop, _ := o.serve()
		defer stop()
		defer o.client.Close()
		options, err := w.ownSettings(roleClient, nil).ownOptions()
		if err != nil {
			t.Fatal(err)
		}
		limit := new(flowLimiter)
		table := newFlowTable(t.Context(), o.client, limit, func() *ownOptions { return options }, o.logger("client"))
		defer table.close()
		replies := make(chan string, 10)
		send := func(text string) {
			table.send(flowKey{}, []byte(text), func(b []byte) { replies <- string(b) })
			if got := <-replies; got != text {
				t.Errorf("%q came back for %q", got, text)
			}
		}
		send("a")
		for range 3 { // what is sent keeps it open
			time.Sleep(50 * time.Second)
			send("b")
		}
		if n := limit.count(); n != 1 {
			t.Errorf("%d flows are open", n)
		}
		start := time.Now()
		<-closed
		if took := time.Since(start); took < 59*time.Second || took > 62*time.Second {
			t.Errorf("the flow has ended after %v", took)
		}
		time.Sleep(5 * time.Second)
		synctest.Wait()
		if n := limit.count(); n != 0 {
			t.Errorf("%d flows are open", n)
		}
	})
}
