// SPDX-License-Identifier: MIT

package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/seedkcp/kcp"
)

const (
	tick        = time.Second / 30
	payloadSize = 40 // bytes, most of which would describe an event
)

// trips are the round trips of one kind.
type trips struct {
	sent int
	took []time.Duration
}

// client is one player's side.
type client struct {
	sess  *kcp.UDPSession
	token uint64 // distinguishes its own messages from those of the room
	start time.Time

	mu       sync.Mutex // guards what follows: the handler may still run when the session has ended
	messages trips
	packets  trips
}

// game is the players' side of a game.
type game struct {
	opts    *options
	open    func() (net.PacketConn, error) // a player's socket
	clients []*client
}

// newGame returns a game over sockets of the system, which lose packets if the options say so.
func newGame(opts *options) *game {
	g := &game{opts: opts, clients: make([]*client, opts.players)}
	for i := range g.clients {
		g.clients[i] = &client{token: rand.Uint64(), start: time.Now()}
	}
	g.open = func() (net.PacketConn, error) {
		socket, err := net.ListenPacket("udp", ":0")
		if err == nil && opts.loss > 0 {
			socket = &lossySocket{socket, opts.loss / 100}
		}
		return socket, err
	}
	return g
}

func intro(opts *options) string {
	return fmt.Sprintf("%d players, each 30 messages and 30 out-of-band packets a second, for %v\n", opts.players, opts.time)
}

// play lets all players play at once and prints what they saw.
func play(ctx context.Context, config *kcp.Config, addr string, opts *options, stdout io.Writer) error {
	server, err := net.ResolveUDPAddr("udp", addr)
	if err != nil {
		return err
	}
	fmt.Fprint(stdout, intro(opts))
	g := newGame(opts)
	if err := g.play(ctx, config, server); err != nil {
		return err
	}
	g.print(stdout)
	return nil
}

// play lets all players play at once.
func (g *game) play(ctx context.Context, config *kcp.Config, server net.Addr) error {
	errs := make([]error, len(g.clients))
	var playing sync.WaitGroup
	for i, c := range g.clients {
		offset := tick * time.Duration(i) / time.Duration(len(g.clients)) // not all at one instant
		playing.Go(func() { errs[i] = c.play(ctx, config, server, g, offset) })
	}
	playing.Wait()
	if ctx.Err() != nil {
		return errors.New("interrupted")
	}
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// trips returns what all players have seen so far.
func (g *game) trips() (messages, packets *trips) {
	messages, packets = new(trips), new(trips)
	for _, c := range g.clients {
		c.mu.Lock()
		messages.add(c.messages)
		packets.add(c.packets)
		c.mu.Unlock()
	}
	return messages, packets
}

func (g *game) print(stdout io.Writer) {
	messages, packets := g.trips()
	fmt.Fprintf(stdout, "  messages     %v\n  out of band  %v\n", messages, packets)
}

// play is one player from beginning to end.
func (c *client) play(ctx context.Context, config *kcp.Config, server net.Addr, g *game, offset time.Duration) error {
	socket, err := g.open()
	if err != nil {
		return err
	}
	defer socket.Close()
	if c.sess, err = config.Client(socket, server); err != nil {
		return err
	}
	defer c.sess.Close()
	stop := context.AfterFunc(ctx, func() { c.sess.Close() })
	defer stop()
	if err := c.enter(server); err != nil {
		return err
	}
	if err := c.sess.SetOOBHandler(c.handlePacket); err != nil {
		return err
	}
	sent := make(chan error, 1)
	go func() { sent <- c.send(ctx, g.opts.time, offset) }()
	err = c.receive(g.opts.time + answerTimeout)
	return errors.Join(err, <-sent)
}

// enter greets the server and waits for its answer.
func (c *client) enter(server net.Addr) error {
	c.sess.SetDeadline(time.Now().Add(answerTimeout))
	if _, err := c.sess.Write([]byte(greeting)); err != nil {
		return err
	}
	buf := make([]byte, maxMessage)
	n, err := c.sess.Read(buf)
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		return fmt.Errorf("no answer from %v: is a game server running there, with the same key?", server)
	case err != nil:
		return fmt.Errorf("the server does not let me in: %w", err)
	case string(buf[:n]) != greeting:
		return fmt.Errorf("what answers at %v is no game server", server)
	}
	return nil
}

// send sends 30 messages and packets a second, and then the end.
func (c *client) send(ctx context.Context, length, offset time.Duration) error {
	begin := time.NewTimer(offset)
	defer begin.Stop()
	select {
	case <-begin.C:
	case <-ctx.Done():
		return nil
	}
	ticker := time.NewTicker(tick)
	defer ticker.Stop()
	for end := time.Now().Add(length); time.Now().Before(end); {
		c.sess.SetWriteDeadline(time.Now().Add(answerTimeout))
		if _, err := c.sess.Write(c.payload()); err != nil {
			return err
		}
		if err := c.sess.SendOOB(c.payload()); err != nil {
			return err
		}
		c.mu.Lock()
		c.messages.sent++
		c.packets.sent++
		c.mu.Unlock()
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return nil
		}
	}
	return c.sess.CloseWrite()
}

// payload is who sends and when.
func (c *client) payload() []byte {
	p := make([]byte, payloadSize)
	binary.LittleEndian.PutUint64(p, c.token)
	binary.LittleEndian.PutUint64(p[8:], uint64(time.Since(c.start)))
	return p
}

// trip returns how long a payload has been on its way, if it is the player's
// own.
func (c *client) trip(p []byte) (time.Duration, bool) {
	if len(p) != payloadSize || binary.LittleEndian.Uint64(p) != c.token {
		return 0, false
	}
	return time.Since(c.start) - time.Duration(binary.LittleEndian.Uint64(p[8:])), true
}

// receive reads until the server has sent all and its end.
func (c *client) receive(length time.Duration) error {
	c.sess.SetReadDeadline(time.Now().Add(length))
	buf := make([]byte, maxMessage)
	for {
		n, err := c.sess.Read(buf)
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		if took, own := c.trip(buf[:n]); own {
			c.mu.Lock()
			c.messages.took = append(c.messages.took, took)
			c.mu.Unlock()
		}
	}
}

func (c *client) handlePacket(p []byte) {
	if took, own := c.trip(p); own {
		c.mu.Lock()
		c.packets.took = append(c.packets.took, took)
		c.mu.Unlock()
	}
}

func (t *trips) add(other trips) {
	t.sent += other.sent
	t.took = append(t.took, other.took...)
}

func (t *trips) String() string {
	if len(t.took) == 0 {
		return fmt.Sprintf("%d sent, none came back", t.sent)
	}
	return fmt.Sprintf("%d sent, %.1f %% came back, round trip %s",
		t.sent, 100*float64(len(t.took))/float64(t.sent), t.quantiles())
}

// quantiles returns the median and the 99th percentile of what came back.
func (t *trips) quantiles() string {
	if len(t.took) == 0 {
		return "nothing came back"
	}
	slices.Sort(t.took)
	at := func(percent int) float64 {
		return t.took[(len(t.took)-1)*percent/100].Seconds() * 1000
	}
	return fmt.Sprintf("p50 %.2f ms, p99 %.2f ms", at(50), at(99))
}

// lossySocket loses a share of the packets each way. Sessions take any
// net.PacketConn.
type lossySocket struct {
	net.PacketConn
	share float64
}

func (s *lossySocket) WriteTo(p []byte, to net.Addr) (int, error) {
	if rand.Float64() < s.share {
		return len(p), nil
	}
	return s.PacketConn.WriteTo(p, to)
}

func (s *lossySocket) ReadFrom(p []byte) (int, net.Addr, error) {
	for {
		n, from, err := s.PacketConn.ReadFrom(p)
		if err != nil || rand.Float64() >= s.share {
			return n, from, err
		}
	}
}
