// SPDX-License-Identifier: MIT

// Command mutate tests the tests of this module's root package. It changes one operator at a time
// in the files that it is given and runs the tests that reach it: a mutant that no test notices
// survives, and shows a condition, a boundary or a calculation that nothing checks.
//
//	go run ./internal/mutate kcp_loss.go 'fec_*.go'
//
// Arguments are patterns as path.Match takes them, in the current directory, which holds the
// package. All mutants of a run are compiled into one binary and chosen by a variable of the
// environment, so that a mutant costs no build. The tests run with -short unless -long is set.
//
// The exit status is 1 if a file has a lower share of killed mutants than -min, or if a survivor
// is not on the list of accepted ones (-accept FILE): lines of "file: function: change: reason".
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"
)

type options struct {
	dir      string
	patterns []string
	accept   string
	list     bool
	long     bool
	min      float64
	workers  int
	perTest  time.Duration
	budget   time.Duration
	sample   int
	seed     uint64
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	o := options{dir: "."}
	fs := flag.NewFlagSet("mutate", flag.ExitOnError)
	fs.StringVar(&o.accept, "accept", "", "`file` with survivors that are accepted, each with its reason")
	fs.BoolVar(&o.list, "list", false, "print the mutants and run nothing")
	fs.BoolVar(&o.long, "long", false, "run the tests without -short")
	fs.Float64Var(&o.min, "min", 85, "least `percentage` of mutants of a file that must be killed")
	fs.IntVar(&o.workers, "workers", runtime.GOMAXPROCS(0), "`number` of test processes at once")
	fs.DurationVar(&o.perTest, "timeout", 10*time.Second, "`time` that a test may take longer than without a mutant")
	fs.DurationVar(&o.budget, "budget", 20*time.Second, "`time` of tests, as measured without a mutant, for each mutant")
	fs.IntVar(&o.sample, "sample", 0, "run a random sample of this `number` of mutants of each file, 0 for all")
	fs.Uint64Var(&o.seed, "seed", 1, "`seed` of the sample")
	_ = fs.Parse(os.Args[1:])
	o.patterns = fs.Args()
	if err := run(ctx, o, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "mutate:", err)
		os.Exit(1)
	}
}

// run does what the options say and reports to w.
func run(ctx context.Context, o options, w io.Writer) error {
	names, err := match(o.dir, o.patterns)
	if err != nil {
		return err
	}
	p, err := load(ctx, o.dir)
	if err != nil {
		return err
	}
	points, err := p.points(names)
	if err != nil {
		return err
	}
	if o.list {
		for _, m := range mutantsOf(points) {
			fmt.Fprintln(w, m)
		}
		return nil
	}
	accepted, err := readAccepted(o.accept)
	if err != nil {
		return err
	}
	scratch, err := os.MkdirTemp("", "mutate")
	if err != nil {
		return err
	}
	defer os.RemoveAll(scratch)
	binary, err := p.build(ctx, scratch, points)
	if err != nil {
		return err
	}
	t := &trial{options: o, binary: binary, scratch: scratch, log: w}
	if err := t.baseline(ctx); err != nil {
		return err
	}
	results := t.all(ctx, chosen(points, o))
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return report(w, results, accepted, o.min)
}

// match returns the names of the Go files in dir that the patterns match, without tests, in order.
func match(dir string, patterns []string) ([]string, error) {
	if len(patterns) == 0 {
		return nil, errors.New("no files given, as in: go run ./internal/mutate 'kcp_*.go'")
	}
	var names []string
	for _, pattern := range patterns {
		found, err := filepath.Glob(filepath.Join(dir, pattern))
		if err != nil {
			return nil, fmt.Errorf("%s: %w", pattern, err)
		}
		if len(found) == 0 {
			return nil, fmt.Errorf("%s matches no file", pattern)
		}
		for _, name := range found {
			if filepath.Ext(name) == ".go" && !strings.HasSuffix(name, "_test.go") {
				names = append(names, filepath.Base(name))
			}
		}
	}
	if len(names) == 0 {
		return nil, fmt.Errorf("no Go file among %q but tests", patterns)
	}
	slices.Sort(names)
	return slices.Compact(names), nil
}
