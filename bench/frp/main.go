// SPDX-License-Identifier: MIT

// Command frp measures one download over the settings of a common reverse proxy: delayed writes,
// stream mode, small windows, FEC, and a multiplexer that allows 256 KiB of a stream in flight. The
// same without the multiplexer, a bulk transfer with the settings of a fast link, and the
// multiplexer over kernel TCP take turns with it. All of them run over loopback in one process.
//
//	go run ./frp                          # about 15 seconds
//	go run ./frp -chunk 4096              # a program that writes less at a time
//	go run ./frp -run 'frp.*download' -cpuprofile frp.prof
package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"regexp"
	"runtime/pprof"
	"slices"
	"text/tabwriter"
	"time"
)

// settings are the flags.
type settings struct {
	rounds     int
	time       time.Duration // of one measurement, after its warm-up
	chunk      int           // bytes written at a time
	run        *regexp.Regexp
	cpuProfile string
}

func main() {
	s, err := parseSettings(os.Args[1:], os.Stderr)
	if errors.Is(err, flag.ErrHelp) {
		return
	}
	if err == nil {
		err = run(s, os.Stdout)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "frp:", err)
		os.Exit(1)
	}
}

func parseSettings(args []string, usageTo io.Writer) (*settings, error) {
	s := new(settings)
	f := flag.NewFlagSet("frp", flag.ContinueOnError)
	f.SetOutput(usageTo)
	f.IntVar(&s.rounds, "rounds", 5, "number of rounds, in which all take turns")
	f.DurationVar(&s.time, "time", 500*time.Millisecond, "length of one measurement")
	f.IntVar(&s.chunk, "chunk", 16<<10, "bytes written at a time, as the proxy copies them")
	pattern := f.String("run", "", "measure only what matches this regular expression")
	f.StringVar(&s.cpuProfile, "cpuprofile", "", "write a CPU profile of the run to this `file`")
	if err := f.Parse(args); err != nil {
		return nil, err
	}
	if s.rounds < 1 || s.time < 10*time.Millisecond || s.chunk < 1 || f.NArg() > 0 {
		return nil, errors.New("-rounds and -chunk are at least 1, -time at least 10ms")
	}
	var err error
	if s.run, err = regexp.Compile(*pattern); err != nil {
		return nil, fmt.Errorf("-run: %w", err)
	}
	return s, nil
}

// run measures what is asked for and prints the table to out.
func run(s *settings, out io.Writer) (err error) {
	chosen := slices.DeleteFunc(slices.Clone(contenders), func(c contender) bool {
		return !s.run.MatchString(c.name)
	})
	if len(chosen) == 0 {
		return fmt.Errorf("nothing matches -run %q", s.run)
	}
	if s.cpuProfile != "" {
		f, err := os.Create(s.cpuProfile)
		if err != nil {
			return err
		}
		defer f.Close()
		if err := pprof.StartCPUProfile(f); err != nil {
			return err
		}
		defer pprof.StopCPUProfile()
	}
	rates := make([][]float64, len(chosen))
	for range s.rounds {
		for i, c := range chosen {
			rate, err := c.measure(s.time, s.chunk)
			if err != nil {
				return fmt.Errorf("%s: %w", c.name, err)
			}
			rates[i] = append(rates[i], rate)
		}
	}
	return print(out, chosen, rates)
}

// print prints the median, the least and the largest rate of each contender.
func print(out io.Writer, chosen []contender, rates [][]float64) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "one stream\tMB/s, median\tleast\tlargest")
	for i, c := range chosen {
		v := slices.Sorted(slices.Values(rates[i]))
		fmt.Fprintf(w, "%s\t%.0f\t%.0f\t%.0f\n", c.name, v[len(v)/2], v[0], v[len(v)-1])
	}
	return w.Flush()
}
