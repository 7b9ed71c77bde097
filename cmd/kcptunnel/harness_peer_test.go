// SPDX-License-Identifier: MIT

package main

import (
	"crypto/pbkdf2"
	"crypto/sha1"
	"io"
	"net"
	"testing"
	"time"

	"github.com/golang/snappy"
	"github.com/seedkcp/kcp"
	"github.com/xtaci/qpp"
	"github.com/xtaci/smux"
)

// These peers are set up as the archived tunnel sets its layers up, from parts of their own: not
// with what is tested. They run over the loopback interface.

// peer is one configuration of the archived tunnel.
type peer struct {
	key, crypt           string
	dataShard, parity    int
	noComp               bool
	smuxVersion          int
	qppCount             uint16 // 0: no QPP
	nodelay, interval    int
	sndWnd, rcvWnd, size int
	ackNoDelay           bool
}

// newPeer returns the defaults.
func newPeer() *peer {
	return &peer{
		key: "it's a secrect", crypt: "aes", dataShard: 10, parity: 3, smuxVersion: 2,
		interval: 30, sndWnd: 128, rcvWnd: 512, size: 1350,
	}
}

// peerCiphers has the ciphers by name, and how much of the key they take.
var peerCiphers = map[string]struct {
	size int
	make func([]byte) (kcp.BlockCrypt, error)
}{
	"aes": {32, kcp.NewAESBlockCrypt}, "aes-128": {16, kcp.NewAESBlockCrypt},
	"aes-192": {24, kcp.NewAESBlockCrypt}, "aes-128-gcm": {32, kcp.NewAESGCMCrypt},
	"sm4": {16, kcp.NewSM4BlockCrypt}, "tea": {16, kcp.NewTEABlockCrypt},
	"xtea": {16, kcp.NewXTEABlockCrypt}, "cast5": {16, kcp.NewCast5BlockCrypt},
	"3des": {24, kcp.NewTripleDESBlockCrypt}, "blowfish": {32, kcp.NewBlowfishBlockCrypt},
	"twofish": {32, kcp.NewTwofishBlockCrypt}, "salsa20": {32, kcp.NewSalsa20BlockCrypt},
	"xor": {32, kcp.NewSimpleXORBlockCrypt}, "none": {32, kcp.NewNoneBlockCrypt},
	"null": {},
}

func (p *peer) block(t *testing.T) kcp.BlockCrypt {
	t.Helper()
	c, ok := peerCiphers[p.crypt]
	if !ok {
		t.Fatalf("no cipher %q", p.crypt)
	}
	if c.make == nil {
		return nil
	}
	key, err := pbkdf2.Key(sha1.New, p.key, []byte("kcp-go"), 4096, 32)
	if err != nil {
		t.Fatal(err)
	}
	block, err := c.make(key[:c.size])
	if err != nil {
		t.Fatal(err)
	}
	return block
}

// set sets a session up.
func (p *peer) set(s *kcp.UDPSession) {
	s.SetStreamMode(true)
	s.SetWriteDelay(false)
	s.SetNoDelay(p.nodelay, p.interval, 2, 1)
	s.SetWindowSize(p.sndWnd, p.rcvWnd)
	s.SetMtu(p.size)
	s.SetACKNoDelay(p.ackNoDelay)
}

// smux returns the settings of the multiplexer.
func (p *peer) smux() *smux.Config {
	c := smux.DefaultConfig()
	c.Version = p.smuxVersion
	c.MaxReceiveBuffer = 4194304
	c.MaxStreamBuffer = 2097152
	c.MaxFrameSize = 8192
	c.KeepAliveInterval = 10 * time.Second
	return c
}

// layer returns what smux runs over.
func (p *peer) layer(s *kcp.UDPSession) io.ReadWriteCloser {
	if p.noComp {
		return s
	}
	return &peerSnappy{s, snappy.NewReader(s), snappy.NewBufferedWriter(s)}
}

// peerSnappy compresses with the library of the format's authors, and flushes each write.
type peerSnappy struct {
	net.Conn
	r *snappy.Reader
	w *snappy.Writer
}

func (c *peerSnappy) Read(p []byte) (int, error) { return c.r.Read(p) }

func (c *peerSnappy) Write(p []byte) (int, error) {
	if _, err := c.w.Write(p); err != nil {
		return 0, err
	}
	return len(p), c.w.Flush()
}

// wrap returns a stream with QPP, if that is configured.
func (p *peer) wrap(s *smux.Stream) stream {
	plain := peerStream{s}
	if p.qppCount == 0 {
		return plain
	}
	key := []byte(p.key)
	return &peerQPP{plain, qpp.NewQPP(key, p.qppCount), qpp.CreatePRNG(key), qpp.CreatePRNG(key)}
}

type peerStream struct{ *smux.Stream }

func (s peerStream) Reset() error { return s.Close() }

type peerQPP struct {
	peerStream
	pad   *qpp.QuantumPermutationPad
	r, wr *qpp.Rand
}

func (s *peerQPP) Read(p []byte) (int, error) {
	n, err := s.peerStream.Read(p)
	s.pad.DecryptWithPRNG(p[:n], s.r)
	return n, err
}

func (s *peerQPP) Write(p []byte) (int, error) {
	own := append([]byte(nil), p...)
	s.pad.EncryptWithPRNG(own, s.wr)
	return s.peerStream.Write(own)
}

// peerSettings are the settings of the tunnel that is to speak with p.
func (p *peer) settings(t *testing.T, r role) *settings {
	t.Helper()
	s := newSettings(r)
	s.compat, s.key, s.crypt, s.noComp = true, p.key, p.crypt, p.noComp
	s.dataShards, s.parityShards = int64(p.dataShard), int64(p.parity)
	s.smuxVersion = int64(p.smuxVersion)
	s.qpp, s.qppCount = p.qppCount != 0, int64(max(p.qppCount, 1))
	s.sndWnd, s.rcvWnd, s.mtu = int64(p.sndWnd), int64(p.rcvWnd), int64(p.size)
	if p.nodelay != 0 {
		s.mode = "fast3"
	}
	s.ackNoDelay = p.ackNoDelay
	s.listen = "127.0.0.1:0"
	if err := s.check(); err != nil {
		t.Fatal(err)
	}
	return s
}
