// SPDX-License-Identifier: MIT

package kcp

import (
	"bytes"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"time"
)

func TestRequireSessionKeys(t *testing.T) {
	for _, both := range []bool{false, true} {
		for _, serverAlone := range []bool{false, true} {
			t.Run(fmt.Sprintf("both %v server %v", both, serverAlone), func(t *testing.T) {
				connRun(t, closeLink, func(t *testing.T, w *connWorld) {
					requires, other := keysConfig(t), keysConfig(t)
					requires.RequireSessionKeys, other.RequireSessionKeys = true, both
					if serverAlone {
						requires, other = other, requires
					}
					var tap keysTap
					w.setDrop(tap.drop)
					l := w.serve(other)
					began := time.Now()
					client := w.dial(requires)
					connWrite(t, client, "hello")
					server := w.accept(l)
					connWantRead(t, server, "hello")
					d := time.Since(began)
					if d > 65*time.Millisecond && requires.RequireSessionKeys {
						t.Errorf("the first data took %v, want one and a half round trips", d)
					}
					keysTalk(t, client, server, "more")
					keysWant(t, client, server)
					sendAcross(t, client, server, pattern(100_000, 1))
				})
			})
		}
	}
}

// No data leaves under the pre-shared key, and none is read, if one side requires keys.
func TestRequiredKeysProtectAllData(t *testing.T) {
	connRun(t, closeLink, func(t *testing.T, w *connWorld) {
		c := keysConfig(t)
		c.RequireSessionKeys = true
		sealer := newSealer(c.BlockCrypt)
		var pushes atomic.Int32
		w.setDrop(func(_, _ string, payload []byte) bool {
			if plain, ok := sealer.open(bytes.Clone(payload)); ok {
				var s segment
				for len(plain) > 0 {
					var status parseStatus
					if plain, status = parseSegment(plain, &s); status != parseOK {
						break
					}
					if s.cmd == cmdPush && len(s.data) > 0 {
						pushes.Add(1)
					}
				}
			}
			return false
		})
		l := w.serve(c)
		client := w.dial(c)
		if err := client.SendOOB([]byte("x")); err == nil {
			t.Error("an out-of-band packet leaves before there are keys")
		}
		go func() { _, _ = client.Write(pattern(100_000, 1)) }()
		server := w.accept(l)
		go func() { _, _ = server.Write(pattern(100_000, 2)) }()
		connWantRead(t, server, string(pattern(100_000, 1)))
		connWantRead(t, client, string(pattern(100_000, 2)))
		if n := pushes.Load(); n > 0 {
			t.Errorf("%d segments with data under the pre-shared key", n)
		}
	})
}

// A peer that makes no keys is refused where they are required, with an error that says so.
func TestRequiredKeysRefuse(t *testing.T) {
	for _, serverRequires := range []bool{false, true} {
		t.Run(fmt.Sprint("server requires ", serverRequires), func(t *testing.T) {
			connRun(t, closeLink, func(t *testing.T, w *connWorld) {
				requires, other := keysConfig(t), keysConfig(t)
				requires.RequireSessionKeys = true
				other.BlockCrypt = keyless(other.BlockCrypt)
				dials, serves := requires, other
				if serverRequires {
					dials, serves = other, requires
				}
				l := w.serve(serves)
				client := w.dial(dials)
				began := time.Now()
				if _, err := client.Write([]byte("secret")); err != nil {
					t.Fatal(err)
				}
				one := client
				if serverRequires {
					one = w.accept(l)
				}
				n, err := one.Read(make([]byte, 10))
				if n != 0 || !errors.Is(err, errNoKeys) || !errors.Is(err, connReset) {
					t.Errorf("Read gave %d bytes and %v, want none and the reason", n, err)
				}
				if _, err := one.Write([]byte("x")); !errors.Is(err, errNoKeys) {
					t.Errorf("Write gave %v, want the reason", err)
				}
				if d := time.Since(began); d > time.Second {
					t.Errorf("refused after %v", d)
				}
				if serverRequires {
					_ = client.SetReadDeadline(time.Now().Add(time.Minute))
					if _, err := client.Read(make([]byte, 1)); !errors.Is(err, connReset) {
						t.Errorf("the refused side reads %v", err)
					}
				}
			})
		})
	}
	c := Config{RequireSessionKeys: true}
	if _, err := c.Listen(t.Context(), "127.0.0.1:0"); err == nil {
		t.Error("keys are required without a cipher")
	}
	c.BlockCrypt = keyless(keysConfig(t).BlockCrypt)
	if _, err := c.Listen(t.Context(), "127.0.0.1:0"); err == nil {
		t.Error("keys are required of a cipher that makes none")
	}
}

// keysStripped returns a datagram of segments without the messages of key exchanges. The flags of
// HELLO lose those that are not in keep.
func keysStripped(plain []byte, keep uint32) []byte {
	var out []byte
	var s segment
	for rest := plain; len(rest) > 0; {
		var status parseStatus
		if rest, status = parseSegment(rest, &s); status != parseOK {
			return plain
		}
		if isControl(&s) {
			if findKex(s.data).kind != 0 {
				continue
			}
			if m, ok := parseControl(s.data); ok && m.has[ctlHello] {
				m.flags &= keep
				s.data = appendControl(nil, &m)
			}
		}
		out = appendSegment(out, &s)
	}
	return out
}

// Only a holder of the pre-shared key can remove what makes keys. Without required keys the session
// then goes on, and says what protects it. Otherwise it ends, and no data leaves.
func TestKeysAreStripped(t *testing.T) {
	for _, required := range []bool{false, true} {
		for _, keep := range []uint32{0xff, 0xff &^ helloKeys} {
			t.Run(fmt.Sprintf("required %v flags %x", required, keep), func(t *testing.T) {
				connRun(t, closeLink, func(t *testing.T, w *connWorld) {
					c := keysConfig(t)
					c.RequireSessionKeys = required
					c.DeadTimeout = 20 * time.Second
					dials, accepts := newSealer(c.BlockCrypt).forBothSides(new(nonceSet))
					l := w.serve(c)
					client := w.dial(c)
					ours := endpointOf(client).conn.(*simEndpoint)
					theirs := l.demux.eps[0].conn.(*simEndpoint)
					w.setDrop(func(from, _ string, payload []byte) bool {
						plain, ok := dials.open(bytes.Clone(payload))
						if !ok {
							t.Error("a packet under keys of the session")
							return false
						}
						plain = keysStripped(plain, keep)
						if from == client.LocalAddr().String() {
							theirs.put(cryptSeal(t, dials, plain), client.LocalAddr())
						} else {
							ours.put(cryptSeal(t, accepts, plain), l.Addr())
						}
						return true
					})
					connWrite(t, client, "hello")
					if !required {
						server := w.accept(l)
						connWantRead(t, server, "hello")
						keysTalk(t, client, server, "more")
						for _, s := range []*UDPSession{client, server} {
							if k := s.Stats().Keys; k != KeysPreShared {
								t.Errorf("protected by %q", k)
							}
						}
						return
					}
					_ = client.SetReadDeadline(time.Now().Add(time.Minute))
					_, err := client.Read(make([]byte, 1))
					if want := errors.Is(err, errNoKeys) || errors.Is(err, errPeerDead) ||
						errors.Is(err, errReset); !want {
						t.Errorf("the client reads %v", err)
					}
				})
			})
		}
	}
}
