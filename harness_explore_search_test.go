// SPDX-License-Identifier: MIT

package kcp

import (
	cryptorand "crypto/rand"
	"fmt"
	"strings"
	"time"
)

// exploration is the search through a world.
type exploration struct {
	world   *exploreWorld
	faults  int
	most    int // runs, 0: no limit
	prefix  []exploreChoice
	visited map[uint64]*exploreState
	runs    int
	depth   int    // most choices of a run
	longest millis // until all was over
	told    millis // until all programs had ended, at most
	fault   string
	trace   []exploreChoice // of the run with the fault
	buf     []byte
}

// exploreState is what is known of a state.
type exploreState struct {
	open bool   // on the path that is being explored
	left millis // the longest time from it to the end
	told millis // and until all programs have ended, negative if they have
}

// meet looks a state up. It reports whether the run need not go on.
func (x *exploration) meet(r *exploreRun, c exploreChoice) bool {
	s := x.visited[c.hash]
	if s == nil {
		x.visited[c.hash] = &exploreState{open: true, told: -1}
		return false
	}
	told := r.told
	if told == never {
		told = c.at + s.told
	}
	switch {
	case s.open:
		r.fail("a state comes again for ever: %s", r.waiting())
	case c.at+s.left > toMillis(x.world.bound):
		r.fail("not over after %v, from a state that takes %d ms more", x.world.bound, s.left)
	case told > toMillis(x.world.told):
		r.fail("a program has not ended after %v, from a state where it takes %d ms more",
			x.world.told, s.told)
	default:
		r.pruned = true
		x.ended(r.made, c.at+s.left, told)
	}
	return true
}

// ended notes for the states of a run when all was over, and when the programs had ended.
func (x *exploration) ended(made []exploreChoice, at, told millis) {
	x.longest, x.told = max(x.longest, at), max(x.told, told)
	for i := range made {
		s := x.visited[made[i].hash]
		s.left = max(s.left, at-made[i].at)
		s.told = max(s.told, told-made[i].at)
	}
}

// run explores the world to the end, or to the first fault.
func (x *exploration) run() {
	x.visited = map[uint64]*exploreState{}
	for x.fault == "" && (x.most == 0 || x.runs < x.most) {
		made := x.once(nil)
		if x.fault != "" {
			break
		}
		i := len(made) - 1
		for ; i >= 0 && made[i].took+1 >= made[i].of; i-- {
			x.visited[made[i].hash].open = false
		}
		if i < 0 {
			break
		}
		x.prefix = append(x.prefix[:0], made[:i+1]...)
		x.prefix[i].took++
	}
}

// once runs the world along the prefix and by default from there on.
func (x *exploration) once(log *strings.Builder) []exploreChoice {
	x.runs++
	restore := fixRandom(1)
	defer restore()
	r := &exploreRun{world: x.world, x: x, start: time.Now(), faults: x.faults, log: log}
	r.play()
	if r.failed != "" {
		x.fault, x.trace = r.failed, r.made
	} else if x.visited != nil && !r.pruned {
		x.ended(r.made, r.now().ms(), r.told)
	}
	x.depth = max(x.depth, len(r.made))
	r.release()
	return r.made
}

// show runs the course with the fault once more and returns what happens.
func (x *exploration) show() string {
	y := &exploration{world: x.world, faults: x.faults, prefix: x.trace}
	var log strings.Builder
	y.once(&log)
	return log.String()
}

// fixRandom makes all numbers that are drawn at random functions of the seed. The function that it
// returns undoes that.
func fixRandom(seed uint64) (restore func()) {
	reader, source := cryptorand.Reader, entropyDefault
	cryptorand.Reader = &countingReader{seed}
	entropyDefault = newShardedEntropy(func() entropyGenerator { return fixedGenerator{} })
	SetEntropy(&countingReader{seed})
	return func() {
		cryptorand.Reader, entropyDefault = reader, source
		SetEntropy(nil)
	}
}

// countingReader gives numbers that differ from each other.
type countingReader struct{ state uint64 }

func (c *countingReader) Read(p []byte) (int, error) {
	for i := range p {
		if i%8 == 0 {
			c.state += 0x9e3779b97f4a7c15
		}
		p[i] = byte((c.state ^ c.state>>29) >> (8 * (i % 8)))
	}
	return len(p), nil
}

// fixedGenerator gives the same numbers again and again, so that a state does not depend on how
// many were drawn before.
type fixedGenerator struct{}

func (fixedGenerator) reseed(*[entropySeedSize]byte) error { return nil }

func (fixedGenerator) generate(p []byte) {
	for i := range p {
		p[i] = 0x5b
	}
}

// describeDatagram names the segments in a datagram.
func describeDatagram(data []byte) string {
	var all []string
	var s segment
	for len(data) > 0 {
		rest, status := parseSegment(data, &s)
		if status != parseOK {
			return fmt.Sprintf("%d bytes", len(data))
		}
		data = rest
		switch {
		case isControl(&s):
			names := []string{"", "HELLO", "FIN", "FINACK", "RESET", "PING", "PONG"}
			for b := s.data; len(b) >= 2; b = b[min(len(b), 2+int(b[1])):] {
				if int(b[0]) < len(names) {
					all = append(all, names[b[0]])
				} else {
					all = append(all, fmt.Sprint("control ", b[0]))
				}
			}
			if m, ok := parseControl(s.data); ok && m.has[ctlReset] {
				all = append(all, fmt.Sprint("una ", s.una))
			}
		case s.cmd == cmdPush:
			all = append(all, fmt.Sprintf("PUSH %d (%d bytes)", int32(s.sn), len(s.data)))
		case s.cmd == cmdAck:
			all = append(all, fmt.Sprint("ACK ", int32(s.sn)))
		case s.cmd == cmdWask:
			all = append(all, "WASK")
		default:
			all = append(all, fmt.Sprintf("WINS wnd %d una %d", s.wnd, s.una))
		}
	}
	return strings.Join(all, ", ")
}
