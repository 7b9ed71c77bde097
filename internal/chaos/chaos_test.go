// SPDX-License-Identifier: MIT

package chaos

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seedkcp/kcp"
	"github.com/seedkcp/kcp/internal/simnet"
)

var (
	chaosSeeds = flag.Uint64("seeds", 20, "how many seeds TestChaos runs")
	chaosFirst = flag.Uint64("first", 0, "the seed that TestChaos begins with")
	chaosSeed  = flag.Int64("seed", -1, "the one seed that TestChaos replays")
)

// TestChaos runs clients and servers with random settings over a network with random faults, which
// heals after a while. It checks every byte and every end of a stream against the plan, and that
// nothing leaks.
func TestChaos(t *testing.T) {
	if *chaosSeed >= 0 {
		chaosRun(t, uint64(*chaosSeed))
		return
	}
	for i := range *chaosSeeds {
		chaosRun(t, *chaosFirst+i)
	}
}

func chaosRun(t *testing.T, seed uint64) {
	t.Run(fmt.Sprint(seed), func(t *testing.T) {
		defer func() {
			if t.Failed() {
				t.Logf("replay with: go test ./internal/chaos -run 'TestChaos$' -seed %d", seed)
			}
		}()
		before := buffersOutstanding()
		synctest.Test(t, func(t *testing.T) { newChaos(t, seed).run() })
		if n := buffersOutstanding(); n != before {
			t.Errorf("%d buffers were not released", n-before)
		}
	})
}

// chaos is one run.
type chaos struct {
	t        *testing.T
	rng      *rand.Rand
	net      *simnet.Network
	sched    *kcp.TimedSched
	config   kcp.Config
	listener *kcp.Listener
	address  string
	healed   chan struct{}
	wg       sync.WaitGroup

	mu    sync.Mutex // guards plans
	plans map[uint32]*chaosPlan
}

func newChaos(t *testing.T, seed uint64) *chaos {
	c := &chaos{
		t: t, rng: rand.New(rand.NewPCG(seed, 77)), net: simnet.New(seed), sched: kcp.NewTimedSched(2),
		healed: make(chan struct{}), plans: make(map[uint32]*chaosPlan), address: "10.0.0.1:4000",
	}
	c.config = chaosConfig(c.rng)
	c.config.Scheduler = c.sched
	return c
}

func (c *chaos) run() {
	t := c.t
	c.net.SetDefault(chaosProfile(c.rng, c.config.BlockCrypt != nil))
	at, err := c.net.Listen(c.address)
	if err != nil {
		t.Fatal(err)
	}
	if c.listener, err = c.config.Serve(at); err != nil {
		t.Fatal(err)
	}
	c.wg.Go(c.serve)
	var clients sync.WaitGroup
	for i := range 1 + c.rng.IntN(20) {
		p := newChaosPlan(c.rng)
		if p.restart {
			p.next = newChaosPlan(c.rng)
			p.next.restart = false
		}
		clients.Go(func() { c.client(i, p) })
	}
	time.Sleep(time.Duration(c.rng.IntN(30)) * time.Second)
	c.net.SetDefault(simnet.Profile{Delay: time.Duration(1+c.rng.IntN(100)) * time.Millisecond})
	close(c.healed)
	clients.Wait()
	c.finish(at)
}

// finish closes everything. A session, a timer or a time-wait record that does not end keeps the
// listener's reader or a worker of the scheduler alive. With a goroutine left the bubble does not
// end.
func (c *chaos) finish(at *simnet.Endpoint) {
	t := c.t
	if err := c.listener.Close(); err != nil {
		t.Error(err)
	}
	c.wg.Wait()
	time.Sleep(chaosLinger + time.Minute)
	before := at.Stats().Received
	probe, err := c.net.Listen("10.0.9.9:1")
	if err != nil {
		t.Fatal(err)
	}
	_, _ = probe.WriteTo(make([]byte, 100), at.LocalAddr())
	time.Sleep(time.Second)
	if n := at.Stats().Received; n != before {
		t.Error("the listener's reader goes on: a session has not come to its end")
	}
	_ = at.Close()
	c.sched.Close()
	_ = c.net.Close()
	synctest.Wait()
	if n := c.net.Leases(); n != 0 {
		t.Errorf("the network still holds %d packets", n)
	}
}

// serve accepts sessions until the listener closes.
func (c *chaos) serve() {
	for {
		s, err := c.listener.AcceptKCP()
		if err != nil {
			return
		}
		c.mu.Lock()
		p := c.plans[s.GetConv()]
		if p == nil || p.accepted {
			c.t.Errorf("a session that nobody opened, conv %d", s.GetConv())
		} else {
			p.accepted = true
		}
		c.mu.Unlock()
		if p == nil {
			_ = s.Close()
			continue
		}
		c.wg.Go(func() { c.work(s, p, 1) })
	}
}

// client dials, works, and perhaps crashes and comes back from the same address.
func (c *chaos) client(i int, p *chaosPlan) {
	address := fmt.Sprintf("10.0.1.%d:5000", i+1)
	for ; p != nil; p = p.next {
		conn, err := c.net.Listen(address)
		if err != nil {
			c.t.Error(err)
			return
		}
		s, err := c.config.Client(conn, c.listener.Addr())
		if err != nil {
			c.t.Error(err)
			return
		}
		c.mu.Lock()
		c.plans[s.GetConv()] = p
		c.mu.Unlock()
		if p.restart {
			go func() {
				time.Sleep(p.crashAfter)
				_ = conn.Close() // the process is gone, the peer is not notified
			}()
		}
		c.work(s, p, 0)
		if p.restart {
			// Packets of the crashed process that came later than the first of its successor would
			// be taken for another new session: nothing in them shows which is newer.
			time.Sleep(chaosOldest)
		} else {
			time.Sleep(chaosLinger + time.Minute) // what is delivered in the background
		}
		_ = conn.Close()
	}
}
