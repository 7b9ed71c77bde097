// SPDX-License-Identifier: MIT

package chaos

import (
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"sync"
	"syscall"
	"time"

	"github.com/seedkcp/kcp"
)

// chaosPlan is what is to happen on one session: what each side writes, and how it ends.
type chaosPlan struct {
	seeds      [2]uint64 // of the bytes that each side writes
	sizes      [2]int
	hurry      [2]bool // a side closes at once when it has written, and does not read to the end
	restart    bool    // the client's process ends without notice
	crashAfter time.Duration
	next       *chaosPlan // what the client does afterwards, from the same address
	accepted   bool
	opSeeds    [2]uint64
}

func newChaosPlan(rng *rand.Rand) *chaosPlan {
	p := &chaosPlan{crashAfter: time.Duration(1+rng.IntN(10000)) * time.Millisecond}
	for i := range p.sizes {
		p.seeds[i], p.opSeeds[i] = rng.Uint64(), rng.Uint64()
		switch rng.IntN(4) {
		case 0:
			p.sizes[i] = rng.IntN(100)
		case 1:
			p.sizes[i] = rng.IntN(5000)
		default:
			p.sizes[i] = rng.IntN(150000)
		}
	}
	p.sizes[0] = max(p.sizes[0], 1) // a session exists for its peer once something has been written
	p.restart = rng.IntN(8) == 0
	if rng.IntN(8) == 0 {
		p.hurry[rng.IntN(2)] = true
	}
	return p
}

// sure reports whether everything that side writes has to arrive and end with io.EOF.
func (p *chaosPlan) sure(side int) bool {
	// A side that closes while the other still writes may be answered by a reset.
	return !p.restart && !p.hurry[1-side]
}

// chaosLinger is how long a closed session may go on delivering.
const chaosLinger = 10 * time.Minute

// chaosOldest is longer than any packet stays in the network: the longest queue takes 12 s to
// drain.
const chaosOldest = 20 * time.Second

// chaosWork is one side of a session at work.
type chaosWork struct {
	c    *chaos
	s    *kcp.UDPSession
	p    *chaosPlan
	side int
}

// work writes, reads and fiddles with the settings at the same time, until the plan is done, and
// closes.
func (c *chaos) work(s *kcp.UDPSession, p *chaosPlan, side int) {
	w := &chaosWork{c, s, p, side}
	s.SetLinger(chaosLinger)
	stop := make(chan struct{})
	var jobs, fiddler sync.WaitGroup
	fiddler.Go(func() { w.fiddle(stop) })
	jobs.Go(w.write)
	if p.hurry[side] {
		jobs.Wait()
	}
	jobs.Go(w.read)
	if p.hurry[side] {
		_ = s.Close()
	}
	jobs.Wait()
	close(stop)
	fiddler.Wait()
	if err := s.Close(); err != nil && !p.hurry[side] {
		c.t.Errorf("conv %d side %d: close: %v", s.GetConv(), side, err)
	}
	if n, err := s.Read(make([]byte, 1)); n != 0 || !errors.Is(err, net.ErrClosed) {
		c.t.Errorf("conv %d side %d: read after close: %d, %v", s.GetConv(), side, n, err)
	}
}

// chaosAllowed are the ways in which a session may end before its stream does, if its plan is not
// sure.
func chaosAllowed(err error) bool {
	return errors.Is(err, net.ErrClosed) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.ETIMEDOUT)
}

func (w *chaosWork) write() {
	rng := rand.New(rand.NewPCG(w.p.opSeeds[w.side], 1))
	data := pattern(w.p.sizes[w.side], w.p.seeds[w.side])
	sure := w.p.sure(w.side) && w.p.sure(1-w.side)
	for len(data) > 0 {
		n := min(1+rng.IntN(20000), len(data))
		if rng.IntN(3) == 0 {
			n = min(1+rng.IntN(200), len(data))
		}
		if rng.IntN(4) == 0 {
			_ = w.s.SetWriteDeadline(time.Now().Add(time.Duration(rng.IntN(300)) * time.Millisecond))
		} else {
			_ = w.s.SetWriteDeadline(time.Time{})
		}
		m, err := w.s.Write(data[:n])
		data = data[m:]
		if err != nil && !os.IsTimeout(err) {
			if sure || !chaosAllowed(err) {
				w.c.t.Errorf("conv %d side %d: write: %v", w.s.GetConv(), w.side, err)
			}
			return
		}
		if rng.IntN(5) == 0 {
			time.Sleep(time.Duration(rng.IntN(500)) * time.Millisecond)
		}
	}
	if w.p.hurry[w.side] {
		return
	}
	if err := w.s.CloseWrite(); err != nil && (sure || !chaosAllowed(err)) {
		w.c.t.Errorf("conv %d side %d: close write: %v", w.s.GetConv(), w.side, err)
	}
}

// chaosPatience is how long after the network has healed the last byte may take.
const chaosPatience = 10 * time.Minute

func (w *chaosWork) read() {
	rng := rand.New(rand.NewPCG(w.p.opSeeds[w.side], 2))
	want := pattern(w.p.sizes[1-w.side], w.p.seeds[1-w.side])
	sure := w.p.sure(0) && w.p.sure(1)
	buf := make([]byte, 40000)
	got := 0
	giveUp := time.Now().Add(time.Minute + chaosPatience)
	for {
		if time.Now().After(giveUp) && got == len(want) && !w.s.Stats().PeerExtended {
			return // all HELLOs were lost: towards an old peer there is no end of file
		}
		if time.Now().After(giveUp) {
			w.c.t.Errorf("conv %d side %d: no end %v after the network healed, %d of %d bytes there\n%+v", w.s.GetConv(), w.side, chaosPatience, got, len(want), w.s.Stats())
			return
		}
		_ = w.s.SetReadDeadline(time.Now().Add(time.Duration(1+rng.IntN(60000)) * time.Millisecond))
		n, err := w.s.Read(buf[:1+rng.IntN(len(buf))])
		if n > len(want)-got || string(buf[:n]) != string(want[got:got+n]) {
			w.c.t.Errorf("conv %d side %d: bytes %d to %d are not those that were written", w.s.GetConv(), w.side, got, got+n)
			return
		}
		got += n
		switch {
		case err == nil, os.IsTimeout(err):
		case err == io.EOF:
			w.ended(got, len(want), sure)
			return
		default:
			if sure || !chaosAllowed(err) {
				w.c.t.Errorf("conv %d side %d: read after %d of %d bytes: %v\n%+v", w.s.GetConv(), w.side, got, len(want), err, w.s.Stats())
			}
			return
		}
		if rng.IntN(10) == 0 {
			time.Sleep(time.Duration(rng.IntN(200)) * time.Millisecond)
		}
	}
}

// ended checks an end of file: it is due behind the last byte and comes again on every Read.
func (w *chaosWork) ended(got, want int, sure bool) {
	if got != want && (sure || !w.p.restart && !w.p.hurry[1-w.side]) {
		w.c.t.Errorf("conv %d side %d: end of file after %d of %d bytes", w.s.GetConv(), w.side, got, want)
	}
	_ = w.s.SetReadDeadline(time.Time{})
	if n, err := w.s.Read(make([]byte, 10)); n != 0 || err != io.EOF && !w.p.hurry[w.side] {
		w.c.t.Errorf("conv %d side %d: behind the end of file: %d, %v", w.s.GetConv(), w.side, n, err)
	}
}

// fiddle changes settings under way.
func (w *chaosWork) fiddle(stop chan struct{}) {
	rng := rand.New(rand.NewPCG(w.p.opSeeds[w.side], 3))
	for {
		select {
		case <-stop:
			return
		case <-time.After(time.Duration(1+rng.IntN(3000)) * time.Millisecond):
		}
		switch rng.IntN(9) {
		case 0:
			w.s.SetMtu(200 + rng.IntN(1400))
		case 1:
			w.s.SetWindowSize(1+rng.IntN(300), 1+rng.IntN(300))
		case 2:
			w.s.SetNoDelay(rng.IntN(2), 10+rng.IntN(100), rng.IntN(4), rng.IntN(2))
		case 3:
			if err := w.s.SetFEC(1+rng.IntN(10), 1+rng.IntN(4)); err != nil {
				w.c.t.Error(err)
			}
		case 4:
			if err := w.s.SetFEC(0, 0); err != nil {
				w.c.t.Error(err)
			}
		case 5:
			w.s.SetACKNoDelay(rng.IntN(2) == 0)
		case 6:
			w.s.SetWriteDelay(rng.IntN(2) == 0)
		case 7:
			w.s.SetDUP(rng.IntN(2))
		case 8:
			w.s.SetRateLimit(uint32(rng.IntN(3)) * 100000)
		}
	}
}
