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

	messages trips // of the reader's goroutine, but for sent, which is the sender's

	mu      sync.Mutex // guards packets: the handler may still run when the session has ended
	packets trips
}

// play lets all players play at once and prints what they saw.
func play(ctx context.Context, config *kcp.Config, addr string, opts *options, stdout io.Writer) error {
	server, err := net.ResolveUDPAddr("udp", addr)
	if err != nil {
		return err
	}
	fmt.Fprintf(stdout, "%d players, each 30 messages and 30 out-of-band packets a second, for %v\n", opts.players, opts.time)
	clients := make([]*client, opts.players)
	errs := make([]error, opts.players)
	var playing sync.WaitGroup
	for i := range clients {
		c := &client{token: rand.Uint64(), start: time.Now()}
		clients[i] = c
		offset := tick * time.Duration(i) / time.Duration(opts.players) // not all at one instant
		playing.Go(func() { errs[i] = c.play(ctx, config, server, opts, offset) })
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
	var messages, packets trips
	for _, c := range clients {
		messages.add(c.messages)
		c.mu.Lock()
		packets.add(c.packets)
		c.mu.Unlock()
	}
	fmt.Fprintf(stdout, "  messages     %v\n  out of band  %v\n", &messages, &packets)
	return nil
}

// play is one player from beginning to end.
func (c *client) play(ctx context.Context, config *kcp.Config, server net.Addr, opts *options, offset time.Duration) error {
	socket, err := net.ListenPacket("udp", ":0")
	if err != nil {
		return err
	}
	defer socket.Close()
	if opts.loss > 0 {
		socket = &lossySocket{socket, opts.loss / 100}
	}
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
	go func() { sent <- c.send(ctx, opts.time, offset) }()
	err = c.receive(opts.time + answerTimeout)
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
		c.messages.sent++
		if err := c.sess.SendOOB(c.payload()); err != nil {
			return err
		}
		c.mu.Lock()
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
			c.messages.took = append(c.messages.took, took)
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
	slices.Sort(t.took)
	at := func(percent int) float64 {
		return t.took[(len(t.took)-1)*percent/100].Seconds() * 1000
	}
	return fmt.Sprintf("%d sent, %.1f %% came back, round trip p50 %.2f ms, p99 %.2f ms",
		t.sent, 100*float64(len(t.took))/float64(t.sent), at(50), at(99))
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
