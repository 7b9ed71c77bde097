// SPDX-License-Identifier: MIT

package soak

import (
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// faults are the probabilities of what a relay does to a datagram.
type faults struct {
	loss, repeat, late, corrupt, cut float64
}

// drawFaults returns none for a third of the time. A datagram that is changed must be noticed by
// the receiver, which needs a checksum.
func drawFaults(rng *rand.Rand, changes bool) faults {
	var f faults
	if rng.IntN(3) == 0 {
		return f
	}
	p := func(most float64) float64 {
		if rng.IntN(2) == 0 {
			return 0
		}
		return most * rng.Float64()
	}
	f = faults{loss: p(0.2), repeat: p(0.1), late: p(0.1)}
	if changes {
		f.corrupt, f.cut = p(0.1), p(0.05)
	}
	return f
}

// relay passes datagrams between one client and the server, with faults that change all the time.
type relay struct {
	client, server *net.UDPConn
	peer           atomic.Pointer[net.UDPAddr] // the client
	changes        bool
	dark           atomic.Bool // nothing passes
	tape           *tape
	wg             sync.WaitGroup
}

func newRelay(server *net.UDPAddr, changes bool, tape *tape, seed uint64) (*relay, error) {
	client, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		return nil, err
	}
	r := &relay{client: client, changes: changes, tape: tape}
	if r.server, err = net.DialUDP("udp", nil, server); err != nil {
		_ = client.Close()
		return nil, err
	}
	r.wg.Go(func() { r.pass(rand.New(rand.NewPCG(seed, 1)), r.fromClient, r.toServer) })
	r.wg.Go(func() { r.pass(rand.New(rand.NewPCG(seed, 2)), r.server.Read, r.toClient) })
	return r, nil
}

func (r *relay) address() string { return r.client.LocalAddr().String() }

func (r *relay) fromClient(b []byte) (int, error) {
	n, from, err := r.client.ReadFromUDP(b)
	if err == nil {
		r.peer.Store(from)
	}
	return n, err
}

func (r *relay) toServer(b []byte) { _, _ = r.server.Write(b) }

func (r *relay) toClient(b []byte) {
	if peer := r.peer.Load(); peer != nil {
		_, _ = r.client.WriteToUDP(b, peer)
	}
}

// pass passes one direction on until its socket closes.
func (r *relay) pass(rng *rand.Rand, read func([]byte) (int, error), write func([]byte)) {
	buf := make([]byte, 2048)
	f, until := faults{}, time.Time{}
	for {
		n, err := read(buf)
		if err != nil {
			if isClosed(err) {
				return
			}
			continue // the other side is gone for now: ICMP
		}
		if now := time.Now(); now.After(until) {
			f, until = drawFaults(rng, r.changes), now.Add(time.Duration(100+rng.IntN(2000))*time.Millisecond)
		}
		r.tape.record(buf[:n])
		if r.dark.Load() || rng.Float64() < f.loss {
			continue
		}
		r.send(rng, f, buf[:n], write)
	}
}

func (r *relay) send(rng *rand.Rand, f faults, b []byte, write func([]byte)) {
	if rng.Float64() < f.corrupt && len(b) > 0 {
		b[rng.IntN(len(b))] ^= 1 << rng.IntN(8)
	}
	if rng.Float64() < f.cut {
		b = b[:rng.IntN(len(b)+1)]
	}
	if rng.Float64() < f.repeat {
		write(b)
	}
	if rng.Float64() < f.late {
		late := append([]byte(nil), b...)
		r.wg.Go(func() {
			time.Sleep(time.Duration(rand.IntN(50)) * time.Millisecond)
			write(late)
		})
		return
	}
	write(b)
}

func (r *relay) close() {
	_ = r.client.Close()
	_ = r.server.Close()
	r.wg.Wait()
}

// tape keeps some of the datagrams that relays have passed, for an attacker to send again.
type tape struct {
	mu   sync.Mutex // guards the rest
	kept [][]byte
	n    uint64
}

// record keeps a datagram or not. A nil tape keeps none.
func (t *tape) record(b []byte) {
	if t == nil {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.n++
	b = append([]byte(nil), b...)
	if len(t.kept) < 4096 {
		t.kept = append(t.kept, b)
	} else if t.n%16 == 0 {
		t.kept[t.n/16%uint64(len(t.kept))] = b
	}
}

func (t *tape) any(rng *rand.Rand) []byte {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.kept) == 0 {
		return nil
	}
	return append([]byte(nil), t.kept[rng.IntN(len(t.kept))]...)
}
