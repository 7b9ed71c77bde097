// SPDX-License-Identifier: MIT

package main

import (
	"context"
	"errors"
	"io"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/seedkcp/kcp"
)

const (
	greeting      = "kcp game 1" // a player's first message and the server's answer
	maxPlayers    = 2000
	roomSize      = 4
	maxMessage    = 64  // bytes
	maxRate       = 120 // messages, and packets, a second of one player
	queueSize     = 256 // messages that wait for a player before it is removed
	answerTimeout = 10 * time.Second
)

// server passes on what players send to their rooms. A player that breaks the rules or cannot keep
// up is removed and does not delay others.
type server struct {
	listener *kcp.Listener
	busy     sync.WaitGroup

	mu      sync.Mutex // guards what follows
	rooms   []*room    // that have players
	players int
}

// room is up to roomSize players that see each other.
type room struct {
	mu      sync.Mutex // guards players; taken with the server's held
	players []*player
}

type player struct {
	sess *kcp.UDPSession
	out  chan []byte // closed by its reader, which alone leaves the room
}

func newServer(listener *kcp.Listener) *server { return &server{listener: listener} }

// serve lets players in until ctx ends.
func (s *server) serve(ctx context.Context) error {
	defer s.busy.Wait()
	stop := context.AfterFunc(ctx, func() { s.listener.Close() })
	defer stop()
	defer s.listener.Close()
	for {
		sess, err := s.listener.AcceptKCP()
		if errors.Is(err, net.ErrClosed) && ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return err
		}
		s.busy.Go(func() {
			stop := context.AfterFunc(ctx, func() { sess.Close() })
			defer stop()
			defer sess.Close()
			s.handle(sess)
		})
	}
}

// handle is one player's time in the game.
func (s *server) handle(sess *kcp.UDPSession) {
	buf := make([]byte, maxMessage+1)
	sess.SetReadDeadline(time.Now().Add(answerTimeout))
	if n, err := sess.Read(buf); err != nil || string(buf[:n]) != greeting {
		return
	}
	p := &player{sess: sess, out: make(chan []byte, queueSize)}
	p.out <- []byte(greeting)
	r := s.join(p)
	if r == nil {
		return
	}
	var writing sync.WaitGroup
	writing.Go(p.write)
	defer writing.Wait()
	defer s.leave(r, p)

	var packets limit
	sess.SetOOBHandler(func(packet []byte) {
		if len(packet) > maxMessage || packets.exceeded(time.Now()) {
			return // positions are soon out of date anyway
		}
		for _, other := range r.all() {
			other.sess.SendOOB(packet)
		}
	})
	var messages limit
	for {
		sess.SetReadDeadline(time.Now().Add(answerTimeout))
		n, err := sess.Read(buf)
		if err != nil || n > maxMessage || messages.exceeded(time.Now()) {
			return
		}
		r.send(slices.Clone(buf[:n]))
	}
}

// write sends the room's messages until the player leaves, and then the end of the stream.
func (p *player) write() {
	for message := range p.out {
		p.sess.SetWriteDeadline(time.Now().Add(answerTimeout))
		if _, err := p.sess.Write(message); err != nil {
			p.sess.Close()
		}
	}
	// What is queued reaches the player before the end does. Its own end has
	// been read, or the session is broken, so that nothing is waited for.
	if p.sess.CloseWrite() == nil {
		p.sess.SetReadDeadline(time.Now().Add(answerTimeout))
		io.Copy(io.Discard, p.sess)
	}
}

// join finds a room with a place, or makes one. It returns nil if the server
// is full.
func (s *server) join(p *player) *room {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.players >= maxPlayers {
		return nil
	}
	s.players++
	for _, r := range s.rooms {
		if r.add(p) {
			return r
		}
	}
	r := &room{players: []*player{p}}
	s.rooms = append(s.rooms, r)
	return r
}

func (s *server) leave(r *room, p *player) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.players--
	if r.remove(p) == 0 {
		s.rooms = slices.DeleteFunc(s.rooms, func(other *room) bool { return other == r })
	}
}

func (r *room) add(p *player) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.players) >= roomSize {
		return false
	}
	r.players = append(r.players, p)
	return true
}

func (r *room) remove(p *player) (left int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.players = slices.DeleteFunc(r.players, func(other *player) bool { return other == p })
	close(p.out)
	return len(r.players)
}

// send queues a message for every player of the room. It does not block.
func (r *room) send(message []byte) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, p := range r.players {
		select {
		case p.out <- message:
		default:
			p.sess.Close() // its reader notices and leaves
		}
	}
}

// all returns the players that are in the room now.
func (r *room) all() []*player {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.players)
}

// limit counts events of the current second. It is for one goroutine at a
// time.
type limit struct {
	second int64
	count  int
}

func (l *limit) exceeded(now time.Time) bool {
	if s := now.Unix(); s != l.second {
		l.second, l.count = s, 0
	}
	l.count++
	return l.count > maxRate
}
