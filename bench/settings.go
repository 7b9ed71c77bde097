// SPDX-License-Identifier: MIT

package main

import (
	"errors"
	"flag"
	"fmt"
	"regexp"
	"time"
)

const (
	datagramSize  = 1400 // UDP payload of a full datagram, of all contenders that can choose it
	defaultWindow = 1024 // segments
)

// sweepWindows are what -sweep compares.
var sweepWindows = []int{defaultWindow, 4096, 32768}

// settings are the values of the command line.
type settings struct {
	rounds     int
	time       time.Duration // of one measurement, after its warm-up
	run        *regexp.Regexp
	window     int // segments
	sweep      bool
	sessions   int
	markdown   bool
	json       string
	svg        string
	document   string
	lossy      bool
	cpuProfile string
}

// warmUp is how long a contender runs before it is measured.
func (s *settings) warmUp() time.Duration { return max(s.time/4, 20*time.Millisecond) }

func parseSettings(name string, args []string) (*settings, error) {
	s := new(settings)
	var pattern string
	var quick bool
	f := flag.NewFlagSet(name, flag.ContinueOnError)
	f.IntVar(&s.rounds, "rounds", 5, "number of rounds; medians are taken over them")
	f.DurationVar(&s.time, "time", time.Second, "length of one measurement of one contender")
	f.StringVar(&pattern, "run", "", "measure only what matches this regexp, as in 'bulk/kcp' or 'echo'")
	f.IntVar(&s.window, "window", defaultWindow, "window of kcp and raw UDP in segments")
	f.BoolVar(&s.sweep, "sweep", false, "compare windows of 1024, 4096 and 32768 segments: bulk, kcp only")
	f.IntVar(&s.sessions, "sessions", 1000, "number of sessions of the sessions measurement")
	f.BoolVar(&quick, "quick", false, "one short round, for a look; its figures are rough")
	f.BoolVar(&s.markdown, "md", false, "print the tables as markdown")
	f.StringVar(&s.json, "json", "", "write all figures to this `file` as JSON")
	f.StringVar(&s.svg, "svg", "", "write a bar chart to this `file` as SVG")
	f.StringVar(&s.document, "doc", "", "replace the summary between the markers in this `file`")
	f.BoolVar(&s.lossy, "lossy", false, "compare TCP, QUIC and kcp over lines that lose packets: one round unless -rounds is given, -time 1s for 20 to 60 s; "+
		"-run chooses from more lines, as in 'transfer-rtt300-loss5/kcp' or 'beside-cubic'; Linux, as root")
	f.StringVar(&s.cpuProfile, "cpuprofile", "", "write a CPU profile of the run to this `file`")
	if err := f.Parse(args); err != nil {
		return nil, err
	}
	given := map[string]bool{}
	f.Visit(func(fl *flag.Flag) { given[fl.Name] = true })
	if (quick || s.lossy) && !given["rounds"] {
		s.rounds = 1
	}
	if quick && !given["time"] {
		s.time = 200 * time.Millisecond
	}
	if f.NArg() > 0 {
		return nil, fmt.Errorf("unexpected argument %q", f.Arg(0))
	}
	var err error
	if s.run, err = regexp.Compile(pattern); err != nil {
		return nil, fmt.Errorf("-run: %w", err)
	}
	return s, s.check()
}

func (s *settings) check() error {
	switch {
	case s.rounds < 1:
		return errors.New("-rounds: at least 1")
	case s.time < 10*time.Millisecond:
		return errors.New("-time: at least 10ms")
	case s.window < 32 || s.window > 65535:
		return errors.New("-window: 32 to 65535")
	case s.sessions < 1 || s.sessions > 20000:
		return errors.New("-sessions: 1 to 20000")
	}
	return nil
}
