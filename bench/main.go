// SPDX-License-Identifier: MIT

// Command bench compares this library with kernel TCP, raw UDP and quic-go on
// the loopback interface: bulk transfer, echo latency, and many small
// sessions. Contenders take turns, several rounds long; it prints the medians
// and the least and largest round.
//
//	go run .                              # everything, about 3 minutes
//	go run . -quick                       # a look, some 10 seconds
//	go run . -run bulk/kcp -rounds 9      # some of it
//	go run . -sweep                       # windows 1024, 4096, 32768
//	go run . -md -json r.json -svg r.svg  # for a document
//	go run . -doc ../README.md -svg ../docs/bench.svg
//	go run . -lossy -rounds 3 -doc ../README.md   # over lines that lose packets, 9 minutes
//	go run . -lossy -run 'transfer-rtt300-loss5/(kcp|TCP bbr)'   # one line, 20 seconds
//	go run . -lossy -run 'beside|messages-beside|shallow|jitter|gigabit'   # its other lines
package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime/pprof"
)

func main() {
	s, err := parseSettings("bench", os.Args[1:])
	if errors.Is(err, flag.ErrHelp) {
		return
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(2)
	}
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, os.Interrupt)
	if err := run(s, os.Stdout, os.Stderr, stop); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// run measures, prints the tables to out and writes the files asked for.
// Progress and failures of single contenders go to log; if there were any of
// the latter, run still reports the rest and returns an error.
func run(s *settings, out, log io.Writer, stop <-chan os.Signal) (err error) {
	if s.lossy {
		return runLossy(s, out, log, stop)
	}
	plan := selected(newPlan(s), s.run)
	if len(plan) == 0 {
		return fmt.Errorf("nothing matches -run %q", s.run)
	}
	if s.cpuProfile != "" {
		end, err := startProfile(s.cpuProfile)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, end()) }()
	}
	failures := measureAll(plan, s, log, stop)
	rep := newReport(plan, s, findMachine())
	if err := rep.print(out, s.markdown); err != nil {
		return err
	}
	if s.json != "" {
		if err := writeFile(s.json, rep.writeJSON); err != nil {
			return err
		}
	}
	if s.svg != "" {
		if err := writeFile(s.svg, rep.writeSVG); err != nil {
			return err
		}
	}
	if s.document != "" {
		if err := rep.writeDocument(s.document); err != nil {
			return err
		}
	}
	if failures > 0 {
		return fmt.Errorf("%d measurements failed", failures)
	}
	return nil
}

func startProfile(name string) (end func() error, err error) {
	f, err := os.Create(name)
	if err != nil {
		return nil, err
	}
	if err := pprof.StartCPUProfile(f); err != nil {
		f.Close()
		return nil, err
	}
	return func() error {
		pprof.StopCPUProfile()
		return f.Close()
	}, nil
}

func writeFile(name string, write func(io.Writer) error) error {
	f, err := os.Create(name)
	if err != nil {
		return err
	}
	return errors.Join(write(f), f.Close())
}
