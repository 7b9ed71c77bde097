// SPDX-License-Identifier: MIT

package main

import (
	"fmt"
	"io"
	"math"
	"os"
	"regexp"
	"runtime"
	"sync"
	"time"
)

// column is one figure of a measurement.
type column struct {
	name     string // with its unit
	decimals int
}

// measurement is one job that several contenders do. A sample has one value
// for each column, NaN where a contender has none.
type measurement struct {
	name       string // as -run sees it
	title      string
	columns    []column
	contenders []*contender
	atOnce     int // how many contenders measure at the same time; 0: one
}

type contender struct {
	name    string
	ours    bool // this library
	measure func() ([]float64, error)
	samples [][]float64 // of the rounds that did not fail
	rounds  []int       // which round each sample is of
}

var notMeasured = math.NaN()

func newPlan(s *settings) []*measurement {
	if s.sweep {
		return []*measurement{newSweep(s)}
	}
	return []*measurement{
		newBulk(s),
		newEcho(s, "echo64", "Echo of 64 bytes", 64),
		newEcho(s, "echo4k", "Echo of 4 KiB", 4096),
		newSessions(s),
	}
}

// selected leaves what matches the pattern as measurement/contender.
func selected(plan []*measurement, pattern *regexp.Regexp) []*measurement {
	var kept []*measurement
	for _, m := range plan {
		var some []*contender
		for _, c := range m.contenders {
			if pattern.MatchString(m.name + "/" + c.name) {
				some = append(some, c)
			}
		}
		if m.contenders = some; len(some) > 0 {
			kept = append(kept, m)
		}
	}
	return kept
}

// measureAll runs the rounds and returns how many turns failed. In each round every contender of a
// measurement has a turn, and another contender is first. So neither drift of the machine nor the
// order favours one.
func measureAll(plan []*measurement, s *settings, log io.Writer, stop <-chan os.Signal) (failures int) {
	for round := range s.rounds {
		for _, m := range plan {
			for i := 0; i < len(m.contenders); i += max(m.atOnce, 1) {
				select {
				case <-stop:
					fmt.Fprintln(log, "interrupted: the figures are of the rounds so far")
					return failures
				default:
				}
				var turns []*contender
				for j := i; j < min(i+max(m.atOnce, 1), len(m.contenders)); j++ {
					c := m.contenders[(j+round)%len(m.contenders)]
					fmt.Fprintf(log, "round %d of %d: %s/%s\n", round+1, s.rounds, m.name, c.name)
					turns = append(turns, c)
				}
				for j, err := range takeTurns(turns, round) {
					if err != nil {
						fmt.Fprintf(log, "%s/%s: %v\n", m.name, turns[j].name, err)
						failures++
					}
				}
			}
		}
	}
	return failures
}

// takeTurns measures contenders at the same time. It first collects the garbage of the previous
// ones.
func takeTurns(contenders []*contender, round int) []error {
	runtime.GC()
	time.Sleep(20 * time.Millisecond)
	errs := make([]error, len(contenders))
	var measuring sync.WaitGroup
	for i, c := range contenders {
		measuring.Go(func() { errs[i] = c.turn(round) })
	}
	measuring.Wait()
	return errs
}

// turn measures once.
func (c *contender) turn(round int) error {
	sample, err := c.measure()
	if err != nil {
		return err
	}
	c.samples = append(c.samples, sample)
	c.rounds = append(c.rounds, round)
	return nil
}

// series returns one column over the rounds, by round.
func (c *contender) series(column int) map[int]float64 {
	values := map[int]float64{}
	for i, sample := range c.samples {
		if v := sample[column]; !math.IsNaN(v) {
			values[c.rounds[i]] = v
		}
	}
	return values
}
