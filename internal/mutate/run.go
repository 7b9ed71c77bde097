// SPDX-License-Identifier: MIT

package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// verdict is what became of a mutant.
type verdict int

const (
	survived   verdict = iota
	killed             // a test failed
	timedOut           // a test took too long, which is noticed as well
	notReached         // no test comes to it
)

func (v verdict) String() string {
	return [...]string{"survived", "killed", "timed out", "not reached"}[v]
}

type result struct {
	mutant
	verdict
	by string // the test that failed
}

// aTest is one test as it runs without a mutant.
type aTest struct {
	name    string
	took    time.Duration
	reaches map[int]bool
}

// trial runs the tests of a binary with mutants.
type trial struct {
	options
	binary  string
	scratch string
	log     io.Writer
	tests   []aTest // those that pass without a mutant, the quickest first
}

// memoryLimit bounds the address space of a test process, in KiB: a mutant may allocate for ever.
const memoryLimit = 8 << 20

// command returns a run of the tests, with mutant id if it is not 0.
func (t *trial) command(ctx context.Context, id int, args ...string) *exec.Cmd {
	if !t.long {
		args = append(args, "-test.short")
	}
	args = append(args, "-test.paniconexit0")
	cmd := exec.CommandContext(ctx, t.binary, args...)
	if runtime.GOOS == "linux" {
		cmd = exec.CommandContext(ctx, "sh", append([]string{"-c", fmt.Sprintf(`ulimit -v %d; exec "$0" "$@"`, memoryLimit), t.binary}, args...)...)
	}
	cmd.Env = append(os.Environ(), "MUTATE="+strconv.Itoa(id))
	cmd.WaitDelay = time.Second
	return cmd
}

// baseline runs each test alone without a mutant: how long it takes and which mutants it reaches.
// A test that fails is left out, for it says nothing.
func (t *trial) baseline(ctx context.Context) error {
	out, err := t.command(ctx, 0, "-test.list", ".").Output()
	if err != nil {
		return fmt.Errorf("the tests cannot be listed: %w", err)
	}
	var names []string
	for _, name := range strings.Fields(string(out)) {
		if strings.HasPrefix(name, "Test") || strings.HasPrefix(name, "Example") || strings.HasPrefix(name, "Fuzz") {
			names = append(names, name)
		}
	}
	var mu sync.Mutex
	t.inParallel(len(names), func(i int) {
		record := filepath.Join(t.scratch, names[i])
		ctx, cancel := context.WithTimeout(ctx, time.Minute+t.perTest)
		defer cancel()
		cmd := t.command(ctx, 0, "-test.run", only(names[i]))
		cmd.Env = append(cmd.Env, "MUTATE_RECORD="+record)
		begin := time.Now()
		out, err := cmd.CombinedOutput()
		took := time.Since(begin)
		mu.Lock()
		defer mu.Unlock()
		if err != nil {
			fmt.Fprintf(t.log, "left out, it fails without a mutant: %s (%v)\n", names[i], firstFailure(out))
			return
		}
		if reaches := readNumbers(record); len(reaches) > 0 {
			t.tests = append(t.tests, aTest{names[i], took, reaches})
		}
	})
	slices.SortFunc(t.tests, func(a, b aTest) int { return int(a.took - b.took) })
	fmt.Fprintf(t.log, "%d of %d tests reach a mutant\n", len(t.tests), len(names))
	if len(t.tests) == 0 {
		return errors.New("no test reaches a mutant")
	}
	return ctx.Err()
}

// all returns what becomes of each mutant.
func (t *trial) all(ctx context.Context, mutants []mutant) []result {
	results := make([]result, len(mutants))
	begin, done := time.Now(), 0
	var mu sync.Mutex
	t.inParallel(len(mutants), func(i int) {
		r := result{mutant: mutants[i]}
		r.verdict, r.by = t.one(ctx, mutants[i].id)
		mu.Lock()
		defer mu.Unlock()
		results[i] = r
		if done++; done%100 == 0 {
			fmt.Fprintf(t.log, "%d of %d mutants after %v\n", done, len(mutants), time.Since(begin).Round(time.Second))
		}
	})
	return results
}

// one runs the tests that reach a mutant, the quickest first and some at a time, until one fails.
func (t *trial) one(ctx context.Context, id int) (verdict, string) {
	var reaching []aTest
	var total time.Duration
	for _, test := range t.tests {
		if test.reaches[id] && (total < t.budget || len(reaching) == 0) {
			reaching = append(reaching, test)
			total += test.took
		}
	}
	if len(reaching) == 0 {
		return notReached, ""
	}
	for n := 4; len(reaching) > 0 && ctx.Err() == nil; n *= 4 {
		n = min(n, len(reaching))
		if v, by := t.some(ctx, id, reaching[:n]); v != survived {
			return v, by
		}
		reaching = reaching[n:]
	}
	return survived, ""
}

// some runs some tests with a mutant.
func (t *trial) some(ctx context.Context, id int, tests []aTest) (verdict, string) {
	limit := t.perTest
	names := make([]string, len(tests))
	for i, test := range tests {
		limit += 3 * test.took
		names[i] = test.name
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	out, err := t.command(ctx, id, "-test.failfast", "-test.run", only(names...)).CombinedOutput()
	switch {
	case ctx.Err() != nil:
		return timedOut, ""
	case err != nil:
		return killed, firstFailure(out)
	}
	return survived, ""
}

// inParallel calls f(0) to f(n-1) on as many goroutines as there are workers.
func (t *trial) inParallel(n int, f func(i int)) {
	next := make(chan int)
	var wg sync.WaitGroup
	for range max(t.workers, 1) {
		wg.Go(func() {
			for i := range next {
				f(i)
			}
		})
	}
	for i := range n {
		next <- i
	}
	close(next)
	wg.Wait()
}

func only(names ...string) string { return "^(" + strings.Join(names, "|") + ")$" }

var failure = regexp.MustCompile(`(?m)^\s*--- FAIL: (\S+)|^panic: (.*)|^fatal error: (.*)`)

// firstFailure names the test that failed first, or how the process ended.
func firstFailure(out []byte) string {
	m := failure.FindSubmatch(out)
	for _, group := range m[min(1, len(m)):] {
		if len(group) > 0 {
			return string(group)
		}
	}
	return "exit without a failed test"
}

func readNumbers(name string) map[int]bool {
	f, err := os.Open(name)
	if err != nil {
		return nil
	}
	defer f.Close()
	numbers := map[int]bool{}
	for s := bufio.NewScanner(f); s.Scan(); {
		if n, err := strconv.Atoi(s.Text()); err == nil {
			numbers[n] = true
		}
	}
	return numbers
}

// chosen returns the mutants to run: all, or a sample of each file's.
func chosen(points []*point, o options) []mutant {
	all := mutantsOf(points)
	if o.sample <= 0 {
		return all
	}
	random := rand.New(rand.NewPCG(o.seed, 0))
	random.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	taken := map[string]int{}
	all = slices.DeleteFunc(all, func(m mutant) bool {
		taken[m.point.file]++
		return taken[m.point.file] > o.sample
	})
	slices.SortFunc(all, func(a, b mutant) int { return a.id - b.id })
	return all
}
