// SPDX-License-Identifier: MIT

package main

import (
	"context"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/seedkcp/kcp"
	"github.com/xtaci/smux"
)

// peers are the configurations that people run.
func peers() map[string]*peer {
	all := make(map[string]*peer)
	add := func(name string, change func(p *peer)) {
		p := newPeer()
		change(p)
		all[name] = p
	}
	add("defaults", func(*peer) {})
	add("smux 1", func(p *peer) { p.smuxVersion = 1 })
	add("nocomp", func(p *peer) { p.noComp = true })
	add("smux 1, nocomp", func(p *peer) { p.smuxVersion = 1; p.noComp = true })
	if !raceEnabled {
		add("QPP", func(p *peer) { p.qppCount = 61 })
		add("QPP, smux 1, nocomp", func(p *peer) {
			p.qppCount, p.smuxVersion, p.noComp = 3, 1, true
		})
	}
	add("fast3", func(p *peer) { p.nodelay, p.interval, p.sndWnd, p.rcvWnd = 1, 10, 2048, 2048 })
	add("70+30", func(p *peer) { p.dataShard, p.parity = 70, 30 })
	add("0+0", func(p *peer) { p.dataShard, p.parity = 0, 0 })
	add("acknodelay", func(p *peer) { p.ackNoDelay = true })
	add("small packets", func(p *peer) { p.size = 500 })
	for name := range peerCiphers {
		add("crypt "+name, func(p *peer) { p.crypt = name })
	}
	return all
}

// The client opens streams on a server of the archived tunnel.
func TestCompatClientWithArchivedServer(t *testing.T) {
	for name, p := range peers() {
		t.Run(name, func(t *testing.T) {
			l, err := kcp.ListenWithOptions("127.0.0.1:0", p.block(t), p.dataShard, p.parity)
			if err != nil {
				t.Fatal(err)
			}
			var serving sync.WaitGroup
			defer serving.Wait()
			defer l.Close()
			serving.Go(func() { p.accept(l) })
			s := p.settings(t, roleClient)
			s.remoteAddr = l.Addr().String()
			d, err := newCompatDialer(s, slog.New(slog.DiscardHandler))
			if err != nil {
				t.Fatal(err)
			}
			defer d.Close()
			exchangeSome(t, func() (stream, error) { return d.dial(context.Background()) })
		})
	}
}

// accept serves the streams of one session with an echo.
func (p *peer) accept(l *kcp.Listener) {
	sess, err := l.AcceptKCP()
	if err != nil {
		return
	}
	p.set(sess)
	mux, err := smux.Server(p.layer(sess), p.smux())
	if err != nil {
		return
	}
	defer mux.Close()
	var streams sync.WaitGroup
	defer streams.Wait()
	for {
		st, err := mux.AcceptStream()
		if err != nil {
			return
		}
		streams.Go(func() { echo(p.wrap(st)) })
	}
}

// The server accepts the streams of a client of the archived tunnel.
func TestCompatServerWithArchivedClient(t *testing.T) {
	for name, p := range peers() {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithCancel(context.Background())
			var serving sync.WaitGroup
			defer serving.Wait()
			defer cancel()
			s := p.settings(t, roleServer)
			where := make(chan string, 1)
			open := s.openSocket
			s.openSocket = func(
				ctx context.Context, c *kcp.Config, addr string,
			) (*kcp.Transport, error) {
				socket, err := open(ctx, c, addr)
				if err == nil {
					where <- socket.LocalAddr().String()
				}
				return socket, err
			}
			serving.Go(func() {
				if err := serveCompat(ctx, s, slog.New(slog.DiscardHandler), echo); err != nil {
					t.Error(err)
				}
			})
			sess, err := kcp.DialWithOptions(<-where, p.block(t), p.dataShard, p.parity)
			if err != nil {
				t.Fatal(err)
			}
			p.set(sess)
			mux, err := smux.Client(p.layer(sess), p.smux())
			if err != nil {
				t.Fatal(err)
			}
			defer mux.Close()
			exchangeSome(t, func() (stream, error) {
				st, err := mux.OpenStream()
				if err != nil {
					return nil, err
				}
				return p.wrap(st), nil
			})
		})
	}
}

// exchangeSome exchanges data over a few streams at once.
func exchangeSome(t *testing.T, open func() (stream, error)) {
	t.Helper()
	var streams sync.WaitGroup
	defer streams.Wait()
	for i := range 3 {
		st, err := open()
		if err != nil {
			t.Error(err)
			return
		}
		_ = st.SetDeadline(time.Now().Add(20 * time.Second))
		streams.Go(func() {
			if err := exchange(st, noise(40_000*i+1, byte(i))); err != nil {
				t.Errorf("stream %d: %v", i, err)
			}
		})
	}
}
