// SPDX-License-Identifier: MIT

package kcp

import (
	"bufio"
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/gob"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// appConfig is what a program that would otherwise use TCP asks for.
var appConfig = Config{StreamMode: true, NoDelay: true, FastResend: 2, NoCongestionControl: true}

// appNet makes a listener and sessions to it.
type appNet struct {
	listen func() net.Listener
	dial   func(to net.Listener) (net.Conn, error)
}

// appRun runs a program over a lossy path in virtual time, and over UDP.
func appRun(t *testing.T, program func(t *testing.T, n appNet)) {
	t.Run("lossy", func(t *testing.T) {
		link := simProfile{Delay: 10 * time.Millisecond, Jitter: 5 * time.Millisecond,
			JitterReorders: true, Loss: 0.03, Duplicate: 0.01}
		connRun(t, link, func(t *testing.T, w *connWorld) {
			port := 1000
			program(t, appNet{
				listen: func() net.Listener {
					port++
					return w.serveAt(fmt.Sprint("10.0.0.1:", port), appConfig)
				},
				dial: func(to net.Listener) (net.Conn, error) {
					return dialOver(w.endpoint("10.0.0.2:0"), true, to.Addr(), randomConv(),
						w.options(appConfig))
				},
			})
		})
	})
	t.Run("udp", func(t *testing.T) {
		connCheckLeaks(t)
		program(t, appNet{
			listen: func() net.Listener {
				l, err := appConfig.Listen(t.Context(), "127.0.0.1:0")
				if err != nil {
					t.Fatal(err)
				}
				return l
			},
			dial: func(to net.Listener) (net.Conn, error) {
				return appConfig.Dial(t.Context(), to.Addr().String())
			},
		})
	})
}

// mustDial dials, or ends the test.
func (n *appNet) mustDial(t *testing.T, to net.Listener) net.Conn {
	t.Helper()
	c, err := n.dial(to)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// serve passes each session that l accepts to handle until l is closed. wait waits for the
// handlers.
func (n *appNet) serve(l net.Listener, handle func(net.Conn)) (wait func()) {
	var all sync.WaitGroup
	all.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			all.Go(func() { handle(c) })
		}
	})
	return all.Wait
}

func TestHTTPOverASession(t *testing.T) {
	appRun(t, func(t *testing.T, n appNet) {
		l := n.listen()
		mux := http.NewServeMux()
		mux.HandleFunc("GET /hello/{name}", func(w http.ResponseWriter, r *http.Request) {
			fmt.Fprintf(w, "hello %s", r.PathValue("name"))
		})
		mux.HandleFunc("POST /sum", func(w http.ResponseWriter, r *http.Request) {
			h := sha256.New()
			m, err := io.Copy(h, r.Body)
			if err != nil {
				t.Error("request body:", err)
			}
			fmt.Fprintf(w, "%d %x", m, h.Sum(nil))
		})
		mux.HandleFunc("GET /large/{size}", func(w http.ResponseWriter, r *http.Request) {
			var size int
			_, _ = fmt.Sscan(r.PathValue("size"), &size)
			_, _ = w.Write(pattern(size, 9))
		})
		var served atomic.Int32
		handle := func(w http.ResponseWriter, r *http.Request) {
			served.Add(1)
			mux.ServeHTTP(w, r)
		}
		server := &http.Server{Handler: http.HandlerFunc(handle)}
		ended := make(chan error)
		go func() { ended <- server.Serve(l) }()
		var dials atomic.Int32
		const clients = 4
		transport := &http.Transport{
			MaxConnsPerHost: clients, MaxIdleConnsPerHost: clients, DisableCompression: true,
			DialContext: func(context.Context, string, string) (net.Conn, error) {
				dials.Add(1)
				return n.dial(l)
			},
		}
		client := &http.Client{Transport: transport, Timeout: 2 * time.Minute}
		appRequests(t, client, clients)
		for _, size := range []int{0, 1, 100_000, 5_000_000} {
			body := pattern(size, 4)
			if got, want := appGet(t, func() (*http.Response, error) {
				return client.Post("http://kcp/sum", "application/octet-stream",
					bytes.NewReader(body))
			}), fmt.Sprintf("%d %x", size, sha256.Sum256(body)); string(got) != want {
				t.Errorf("%d bytes sent: the server has %s, want %s", size, got, want)
			}
			got := appGet(t, func() (*http.Response, error) {
				return client.Get(fmt.Sprint("http://kcp/large/", size))
			})
			if !bytes.Equal(got, pattern(size, 9)) {
				t.Errorf("%d of %d bytes came back, or others", len(got), size)
			}
		}
		if n := served.Load(); n != 1008 {
			t.Errorf("%d requests were served, want 1008", n)
		}
		// A transport dials once more if a connection becomes idle at the moment it looks for one.
		if d := dials.Load(); d > 2*clients {
			t.Errorf("%d sessions for %d clients: they were not kept alive", d, clients)
		}
		transport.CloseIdleConnections()
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if err := server.Shutdown(ctx); err != nil {
			t.Error("shutdown:", err)
		}
		if err := <-ended; !errors.Is(err, http.ErrServerClosed) {
			t.Error("serve:", err)
		}
	})
}

// appRequests makes 1000 small requests from several goroutines.
func appRequests(t *testing.T, client *http.Client, clients int) {
	var wg sync.WaitGroup
	for c := range clients {
		wg.Go(func() {
			for i := range 1000 / clients {
				name := fmt.Sprint(c, "-", i)
				hello := func() (*http.Response, error) {
					return client.Get("http://kcp/hello/" + name)
				}
				if got := appGet(t, hello); string(got) != "hello "+name {
					t.Errorf("got %q for %s", got, name)
					return
				}
			}
		})
	}
	wg.Wait()
}

// appGet returns the body of a response.
func appGet(t *testing.T, do func() (*http.Response, error)) []byte {
	resp, err := do()
	if err != nil {
		t.Error(err)
		return nil
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Errorf("status %d, %v", resp.StatusCode, err)
	}
	return body
}

// appCertificate returns a certificate for "kcp" that is valid at the test's time.
func appCertificate(t *testing.T) (tls.Certificate, *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), DNSNames: []string{"kcp"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(leaf)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}, pool
}

func TestTLSOverASession(t *testing.T) {
	appRun(t, func(t *testing.T, n appNet) {
		certificate, pool := appCertificate(t)
		l := n.listen()
		secure := tls.NewListener(l, &tls.Config{Certificates: []tls.Certificate{certificate}})
		wait := n.serve(secure, func(c net.Conn) {
			if _, err := io.Copy(c, c); err != nil {
				t.Error("echo:", err)
			}
			if err := c.Close(); err != nil {
				t.Error("close:", err)
			}
		})
		for range 3 {
			c := tls.Client(n.mustDial(t, l), &tls.Config{RootCAs: pool, ServerName: "kcp"})
			if err := c.Handshake(); err != nil {
				t.Fatal(err)
			}
			want := pattern(1<<20, 6)
			go func() {
				if _, err := c.Write(want); err != nil {
					t.Error("write:", err)
				}
				if err := c.CloseWrite(); err != nil {
					t.Error("close write:", err)
				}
			}()
			got, err := io.ReadAll(c)
			if err != nil || !bytes.Equal(got, want) {
				t.Errorf("%d of %d bytes came back, %v", len(got), len(want), err)
			}
			c.Close()
		}
		secure.Close()
		wait()
	})
}

// appMessage is a message for encoding/gob.
type appMessage struct {
	Number int
	Text   string
	Data   []byte
	Parts  map[string][]float64
}

func TestGobOverASession(t *testing.T) {
	appRun(t, func(t *testing.T, n appNet) {
		l := n.listen()
		wait := n.serve(l, func(c net.Conn) {
			defer c.Close()
			in, out := gob.NewDecoder(c), gob.NewEncoder(c)
			for {
				var m appMessage
				if err := in.Decode(&m); err != nil {
					if err != io.EOF {
						t.Error("server:", err)
					}
					return
				}
				m.Number++
				if err := out.Encode(&m); err != nil {
					t.Error("server:", err)
					return
				}
			}
		})
		c := n.mustDial(t, l)
		in, out := gob.NewDecoder(c), gob.NewEncoder(c)
		for i := range 200 {
			sent := appMessage{i, fmt.Sprint("message ", i), pattern(i*50, uint64(i)),
				map[string][]float64{"x": {float64(i), 0.5}}}
			var got appMessage
			if err := errors.Join(out.Encode(&sent), in.Decode(&got)); err != nil {
				t.Fatal(err)
			}
			sent.Number++
			if fmt.Sprint(got) != fmt.Sprint(sent) {
				t.Fatalf("message %d came back changed", i)
			}
		}
		c.Close()
		l.Close()
		wait()
	})
}

// A protocol of lines, with buffers at both ends.
func TestLinesOverASession(t *testing.T) {
	appRun(t, func(t *testing.T, n appNet) {
		l := n.listen()
		wait := n.serve(l, func(c net.Conn) {
			defer c.Close()
			lines, out := bufio.NewScanner(c), bufio.NewWriter(c)
			for lines.Scan() {
				fmt.Fprintf(out, "%d %s\n", len(lines.Text()), lines.Text())
				if err := out.Flush(); err != nil {
					t.Error(err)
				}
			}
			if err := lines.Err(); err != nil {
				t.Error(err)
			}
		})
		c := n.mustDial(t, l)
		rw := bufio.NewReadWriter(bufio.NewReader(c), bufio.NewWriter(c))
		for i := range 500 {
			line := fmt.Sprintf("%0*d", i+1, i)
			fmt.Fprintln(rw, line)
			if err := rw.Flush(); err != nil {
				t.Fatal(err)
			}
			got, err := rw.ReadString('\n')
			if want := fmt.Sprintf("%d %s\n", len(line), line); err != nil || got != want {
				t.Fatalf("line %d: %.60q, %v; want %.60q", i, got, err, want)
			}
		}
		c.Close()
		l.Close()
		wait()
	})
}

// appHalf is a connection whose directions are closed separately.
type appHalf interface {
	net.Conn
	CloseWrite() error
}

// appSplice copies in both directions and passes the end of each direction on, as TCP proxies do.
func appSplice(t *testing.T, a, b appHalf) {
	var wg sync.WaitGroup
	for _, d := range [][2]appHalf{{a, b}, {b, a}} {
		wg.Go(func() {
			if _, err := io.Copy(d[0], d[1]); err != nil {
				t.Error("proxy:", err)
			}
			if err := d[0].CloseWrite(); err != nil {
				t.Error("proxy:", err)
			}
		})
	}
	wg.Wait()
	a.Close()
	b.Close()
}

func TestProxyPassesTheEndOfEachDirectionOn(t *testing.T) {
	appRun(t, func(t *testing.T, n appNet) {
		origin, proxy := n.listen(), n.listen()
		waitOrigin := n.serve(origin, func(c net.Conn) {
			// The answer begins when the question has ended.
			question, err := io.ReadAll(c)
			if err != nil {
				t.Error("origin:", err)
			}
			if _, err = fmt.Fprintf(c, "%x", sha256.Sum256(question)); err == nil {
				_, err = c.Write(question)
			}
			if err = errors.Join(err, c.Close()); err != nil {
				t.Error("origin:", err)
			}
		})
		waitProxy := n.serve(proxy, func(c net.Conn) {
			up, err := n.dial(origin)
			if err != nil {
				t.Error("proxy:", err)
				return
			}
			appSplice(t, c.(appHalf), up.(appHalf))
		})
		var wg sync.WaitGroup
		for i := range 4 {
			wg.Go(func() {
				c, err := n.dial(proxy)
				if err != nil {
					t.Error(err)
					return
				}
				defer c.Close()
				question := pattern(300_000*i+1, uint64(i))
				if _, err := c.Write(question); err != nil {
					t.Error(err)
				}
				if err := c.(appHalf).CloseWrite(); err != nil {
					t.Error(err)
				}
				got, err := io.ReadAll(c)
				want := append(fmt.Appendf(nil, "%x", sha256.Sum256(question)), question...)
				if err != nil || !bytes.Equal(got, want) {
					t.Errorf("client %d: %d bytes, %v; want %d", i, len(got), err, len(want))
				}
			})
		}
		wg.Wait()
		proxy.Close()
		waitProxy()
		origin.Close()
		waitOrigin()
	})
}

// A program may write much before it reads the answer that arrives meanwhile, whatever the windows
// and the size of its writes.
func TestWriteAllThenReadTheEcho(t *testing.T) {
	for _, c := range []Config{
		{StreamMode: true, SendWindow: 32, ReceiveWindow: 32},
		{StreamMode: true, SendWindow: 1, ReceiveWindow: 128, NoDelay: true,
			NoCongestionControl: true, WriteDelay: true},
	} {
		for _, piece := range []int{4 << 20, 1000} {
			title := fmt.Sprintf("window %d stream %v pieces of %d",
				c.SendWindow, c.StreamMode, piece)
			t.Run(title, func(t *testing.T) {
				connRun(t, simProfile{Delay: time.Millisecond}, func(t *testing.T, w *connWorld) {
					client, server, _ := w.pair(c)
					go func() { _, _ = io.Copy(server, server) }()
					want := pattern(4<<20, 3)
					_ = client.SetDeadline(time.Now().Add(10 * time.Minute))
					for p := want; len(p) > 0; p = p[min(piece, len(p)):] {
						mustWrite(t, client, p[:min(piece, len(p))])
					}
					got := make([]byte, len(want))
					if _, err := io.ReadFull(client, got); err != nil || !bytes.Equal(got, want) {
						t.Fatalf("the echo differs, or %v", err)
					}
				})
			})
		}
	}
}
