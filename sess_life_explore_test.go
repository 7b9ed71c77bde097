// SPDX-License-Identifier: MIT

package kcp

import (
	"flag"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

var (
	exploreMore = flag.Int("explore.more", 0,
		"how many more datagrams of each world the network loses, doubles or delays")
	exploreShow = flag.Bool("explore.show", false, "show the course of each world without faults")
	exploreOnly = flag.String("explore.world", "", "explore this world alone")
)

// A pairWorld has a server, a client and one session between them.
type pairWorld struct {
	name           string
	faults         int
	told, bound    time.Duration
	config         Config        // of both sides
	dead           time.Duration // the dead timeout of the server; 0: as in config
	window         int           // its receive window, which does not grow; 0: as in config
	challenge      bool          // the server challenges each address
	client, server []exploreOp
	clientTold     string // the outcomes that the programs may be told, separated by "|"
	serverTold     string
	ever           []exploreAct
}

var explorePairs = []pairWorld{
	{
		name: "the client closes first", faults: 1, told: 4 * time.Second,
		client:     []exploreOp{write(5), read(5), closeAll},
		server:     []exploreOp{read(5), write(5), readEnd, closeAll},
		serverTold: "eof",
	},
	{
		name: "the server closes first", faults: 1, told: 4 * time.Second,
		client:     []exploreOp{write(5), readEnd, closeAll},
		server:     []exploreOp{read(5), write(7), closeAll},
		clientTold: "eof",
	},
	{
		name: "only the client writes", faults: 1, told: 4 * time.Second,
		client:     []exploreOp{write(5), closeAll},
		server:     []exploreOp{readEnd, closeAll},
		serverTold: "eof",
	},
	{
		name: "both close at once", faults: 1, told: 4 * time.Second,
		client: []exploreOp{write(5), read(5), closeAll},
		server: []exploreOp{read(5), write(5), closeAll},
	},
	{
		name: "both close half", faults: 1, told: 4 * time.Second,
		client:     []exploreOp{write(5), closeWrite, readEnd, closeAll},
		server:     []exploreOp{readEnd, write(9), closeWrite, closeAll},
		clientTold: "eof", serverTold: "eof",
	},
	{
		name: "the server closes half", faults: 1, told: 4 * time.Second,
		client: []exploreOp{write(5), read(5), sleep(50 * time.Millisecond), write(6), readEnd,
			closeAll},
		server:     []exploreOp{read(5), write(5), closeWrite, read(11), readEnd, closeAll},
		clientTold: "eof", serverTold: "eof",
	},
	{
		name: "the server reads no more", faults: 1, told: 4 * time.Second,
		client:     []exploreOp{write(5), read(5), write(700), closeWrite, readEnd, closeAll},
		server:     []exploreOp{read(5), closeRead, write(5), sleep(time.Second), closeAll},
		clientTold: "eof",
	},
	{
		name: "the client resets", faults: 1, told: 4 * time.Second,
		client:     []exploreOp{write(5), read(5), abort},
		server:     []exploreOp{read(5), write(5), readEnd, closeAll},
		serverTold: "reset",
	},
	{
		name: "the server resets", faults: 1, told: 4 * time.Second,
		client:     []exploreOp{write(5), readEnd, closeAll},
		server:     []exploreOp{read(5), abort},
		clientTold: "reset",
	},
	{
		name: "both reset", faults: 1, told: 4 * time.Second,
		client:     []exploreOp{write(5), read(5), abort},
		server:     []exploreOp{read(5), write(5), abort},
		clientTold: "|reset", serverTold: "|reset",
	},
	{
		name: "the server resets with a full queue", faults: 1, told: 6 * time.Second, window: 3,
		client:     []exploreOp{write(5000), readEnd, closeAll},
		server:     []exploreOp{sleep(300 * time.Millisecond), abort},
		clientTold: "reset",
	},
	{
		name: "a window closes and opens", faults: 1, told: 8 * time.Second, window: 2,
		client:     []exploreOp{write(6000), closeWrite, readEnd, closeAll},
		server:     []exploreOp{sleep(700 * time.Millisecond), readEnd, closeAll},
		clientTold: "eof", serverTold: "eof",
	},
	{
		name: "the allowance is spent", faults: 1, told: 6 * time.Second,
		client:     []exploreOp{write(5), readEnd, closeAll},
		server:     []exploreOp{read(5), write(6000), closeAll},
		clientTold: "eof",
	},
	{
		name: "the address is challenged", faults: 1, told: 6 * time.Second, challenge: true,
		client:     []exploreOp{write(5), closeWrite, readEnd, closeAll},
		server:     []exploreOp{readEnd, write(9), closeAll},
		clientTold: "eof", serverTold: "eof",
	},
	{
		name: "the server writes first", faults: 1, told: 6 * time.Second,
		config:     Config{WaitPeer: true},
		client:     []exploreOp{awaitPeer, read(5), write(5), readEnd, closeAll},
		server:     []exploreOp{write(5), read(5), closeAll},
		clientTold: "eof",
	},
	{
		name: "the server is stopped for 4.5 s", told: 10 * time.Second,
		dead:       3 * time.Second,
		client:     []exploreOp{write(5), read(5), write(6), read(11), closeAll},
		server:     []exploreOp{read(5), write(5), read(11), write(6), readEnd, closeAll},
		serverTold: "eof",
		ever:       []exploreAct{freeze("server", 4500*time.Millisecond)},
	},
}

// freeze is an act: a process is stopped for a time. When it goes on, its timers and what waits in
// its socket come in either order.
func freeze(name string, d time.Duration) exploreAct {
	return exploreAct{name: name + " is stopped", do: func(r *exploreRun) {
		n := r.named(name)
		n.frozen = true
		r.later(d, name+" goes on", func(r *exploreRun) {
			n.frozen = false
			if r.choose("timers first", 2, nil) == 0 && !r.over {
				n.fireTimers()
			}
		})
	}}
}

// world makes the world that p describes.
func (p pairWorld) world() *exploreWorld {
	w := &exploreWorld{name: p.name, faults: p.faults, told: p.told, bound: p.bound, ever: p.ever}
	if w.bound == 0 {
		w.bound = p.told + 60*time.Second
	}
	w.want = map[string][]string{
		"the client": strings.Split(p.clientTold, "|"),
		"the server": strings.Split(p.serverTold, "|"),
	}
	w.setup = func(r *exploreRun) {
		c := p.config
		c.NoDelay = true
		server := c
		if p.window > 0 {
			server.ReceiveWindow, server.FixedWindows = p.window, true
		}
		if p.dead != 0 {
			server.DeadTimeout = p.dead
		}
		s := r.node("server", exploreServer)
		s.listen(server, func(sess *UDPSession) *exploreProgram {
			return s.program("the server", sess, 2, 1, p.server...)
		})
		if p.challenge {
			s.listener.backlog.opts.maxPending = 0
		}
		k := r.node("client", exploreClient)
		k.programs = append(k.programs,
			k.program("the client", k.dial(c, s, 7), 1, 2, p.client...))
	}
	return w
}

const (
	exploreServer = "10.0.0.1:1000"
	exploreClient = "10.0.0.2:2000"
)

// keyed returns a configuration whose packets are authenticated by a key.
func keyed() Config {
	block, err := NewAESGCMCrypt(make([]byte, 16))
	if err != nil {
		panic(err)
	}
	return Config{NoDelay: true, DeadTimeout: 3 * time.Second, BlockCrypt: block}
}

// restartedClient is a world whose client is killed at any time. Another process takes its place
// and address, and dials at once.
func restartedClient(name string, faults int, config func() Config) *exploreWorld {
	w := &exploreWorld{
		name: name, faults: faults, told: 10 * time.Second, bound: 70 * time.Second,
		want: map[string][]string{
			"the server": {"reset", "dead"}, "the new client": {"eof"}, "the new server": {"eof"},
		},
		absent: map[string]bool{"the server": true},
	}
	w.setup = func(r *exploreRun) {
		s := r.node("server", exploreServer)
		s.listen(config(), func(sess *UDPSession) *exploreProgram {
			if sess.GetConv() == 7 {
				return s.program("the server", sess, 2, 1, read(5), write(5), readEnd)
			}
			return s.program("the new server", sess, 4, 3, read(6), write(6), readEnd, closeAll)
		})
		k := r.node("client", exploreClient)
		k.programs = append(k.programs, k.program("the client", k.dial(config(), s, 7), 1, 2,
			write(5), read(5), write(5), readEnd))
	}
	w.ever = []exploreAct{{name: "the client is killed and started again", do: func(r *exploreRun) {
		r.named("client").dead = true
		k := r.node("client", exploreClient)
		k.programs = append(k.programs, k.program("the new client",
			k.dial(config(), r.named("server"), 8), 3, 4,
			write(6), read(6), closeWrite, readEnd, closeAll))
	}}}
	return w
}

// restartedServer is a world whose server is killed at any time and started again.
func restartedServer(name string, faults int, config func() Config) *exploreWorld {
	w := &exploreWorld{
		name: name, faults: faults, told: 12 * time.Second, bound: 70 * time.Second,
		want: map[string][]string{
			"the client": {"eof", "reset", "dead"}, "the server": {"eof", "reset", "dead"},
		},
		absent: map[string]bool{"the server": true},
	}
	start := func(r *exploreRun) *exploreNode {
		s := r.node("server", exploreServer)
		s.listen(config(), func(sess *UDPSession) *exploreProgram {
			return s.program("the server", sess, 2, 1, read(5), write(5), read(10), write(5),
				readEnd, closeAll)
		})
		return s
	}
	w.setup = func(r *exploreRun) {
		s := start(r)
		k := r.node("client", exploreClient)
		k.programs = append(k.programs, k.program("the client", k.dial(config(), s, 7), 1, 2,
			write(5), read(5), write(5), read(10), closeWrite, readEnd, closeAll))
	}
	w.ever = []exploreAct{{name: "the server is killed and started again", do: func(r *exploreRun) {
		r.named("server").dead = true
		start(r)
	}}}
	return w
}

// exploreWorlds returns all worlds.
func exploreWorlds() (all []*exploreWorld) {
	for _, p := range explorePairs {
		all = append(all, p.world())
	}
	plain := func() Config { return Config{NoDelay: true, DeadTimeout: 3 * time.Second} }
	alive := func(config func() Config) func() Config {
		return func() Config {
			c := config()
			c.KeepAlive = time.Second
			return c
		}
	}
	return append(all,
		restartedClient("the client is restarted", 0, plain),
		restartedClient("the client is restarted, with a key", 0, keyed),
		restartedServer("the server is restarted", 0, alive(plain)),
		restartedServer("the server is restarted, with a key", 1, alive(keyed)),
	)
}

// TestExploreWorlds explores each world to its end, with few faults. CONTRIBUTING.md describes its
// flags.
func TestExploreWorlds(t *testing.T) {
	connAwaitStillness(t)
	t.Log("| world | datagrams | runs | states | depth | told, ms | all over, ms | seconds |")
	for _, w := range exploreWorlds() {
		if *exploreOnly != "" && w.name != *exploreOnly {
			continue
		}
		began := time.Now()
		x := &exploration{world: w, faults: w.faults + *exploreMore}
		if raceDetector {
			x.most = 100 // there is only one goroutine
		}
		var course string
		synctest.Test(t, func(t *testing.T) {
			if x.run(); x.fault != "" || *exploreShow {
				course = x.show()
			}
		})
		if x.fault != "" {
			t.Errorf("%s: %s\n%s", w.name, x.fault, course)
		} else if *exploreShow {
			t.Logf("%s:\n%s", w.name, course)
		}
		t.Logf("| %s | %d | %d | %d | %d | %d | %d | %.1f |", w.name, x.faults, x.runs,
			len(x.visited), x.depth, x.told, x.longest, time.Since(began).Seconds())
	}
}
