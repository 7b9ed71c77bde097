// SPDX-License-Identifier: MIT

// Command kcpperf measures KCP over a path with chosen settings: throughput in one direction or
// both, or the round-trip time of messages. It needs two commands on two machines:
//
//	kcpperf -s
//	kcpperf -c server.example -t 10 --html report.html
//
// or one, over a simulated path:
//
//	kcpperf --simulate "rtt=100ms loss=5% rate=20Mbit" --compare builtin
//
// See README.md, and kcpperf --help for all flags.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"github.com/seedkcp/kcp"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	// A second interrupt ends the program at once.
	context.AfterFunc(ctx, stop)
	status := program(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(status)
}

// Exit statuses.
const (
	statusFailed = 1
	statusUsage  = 2
)

// program is the whole program. It returns the exit status.
func program(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	o, err := parseOptions(args, stdout)
	var wrong errUsage
	switch {
	case errors.Is(err, flag.ErrHelp):
		return 0
	case errors.As(err, &wrong):
		fmt.Fprintf(stderr, "kcpperf: %v\n", wrong.error)
		return statusUsage
	}
	makeCipher := newCipher
	if o.keyLog != "" {
		makeCipher = loggedCipher
	}
	block, err := makeCipher(o.cipher, o.key)
	if err != nil {
		fmt.Fprintf(stderr, "kcpperf: --cipher: %v\n", err)
		return statusUsage
	}
	if o.keyLog != "" {
		if err := o.logKey(); err != nil {
			fmt.Fprintf(stderr, "kcpperf: --keylog: %v\n", err)
			return statusFailed
		}
		fmt.Fprintf(stderr, "kcpperf: the key is in %s: whoever reads it can decrypt the traffic\n", o.keyLog)
	}
	if o.server {
		err = runServer(ctx, o, block, stdout, nil)
	} else {
		err = runClient(ctx, o, block, stdout)
	}
	if err != nil {
		fmt.Fprintf(stderr, "kcpperf: %v\n", err)
		return statusFailed
	}
	return 0
}

// cryptOverhead is how many bytes the cipher adds to a datagram.
func cryptOverhead(name string) int {
	switch name {
	case noCipher:
		return 0
	case "aes-128-gcm", "aes-256-gcm":
		return 12 + 16 // nonce and tag
	}
	return 16 + 4 // nonce and CRC
}

// runServer serves until ctx ends, or one test with --one-off. listening, if not nil, is called
// with the address.
func runServer(ctx context.Context, o *options, block kcp.BlockCrypt, stdout io.Writer, listening func(addr string)) error {
	conf := baseConfig(block)
	conf.AcceptBacklog, conf.Sockets = 2*sessionsMost, o.sockets
	t, err := conf.OpenTransport(ctx, o.listen)
	if err != nil {
		return err
	}
	defer t.Close()
	if err := setBuffers(t, o.buffer); err != nil {
		return fmt.Errorf("--sockbuf: %w", err)
	}
	l, err := t.Listen(nil)
	if err != nil {
		return err
	}
	var mu sync.Mutex // guards stdout
	log := func(format string, args ...any) {
		mu.Lock()
		defer mu.Unlock()
		fmt.Fprintf(stdout, time.Now().Format(time.TimeOnly)+"  "+format+"\n", args...)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	s := newServer(l, o.limits, cryptOverhead(o.cipher), log)
	if o.oneOff {
		s.tested = cancel
	}
	if s.traces, _ = newTraceFiles(o.qlog, false); s.traces != nil {
		if err := writable(o.qlog); err != nil {
			return fmt.Errorf("--qlog: %w", err)
		}
		defer func() { _, _ = s.traces.newest() }() // a trace that is not complete is one, too
	}
	log("kcpperf serves on %v, cipher %s; stop it with Ctrl-C", l.Addr(), o.cipher)
	if listening != nil {
		listening(l.Addr().String())
	}
	door := doorkeeper{o.cipher, func() uint64 { return kcp.DefaultSnmp.Copy().InCsumErrors }, log}
	var others sync.WaitGroup
	others.Go(func() { door.run(ctx, t) })
	others.Go(func() {
		<-ctx.Done()
		s.close()
	})
	err = s.serve()
	cancel()
	others.Wait()
	return err
}

// runClient runs the test or the tests, over the network or a simulated one, and reports.
func runClient(ctx context.Context, o *options, block kcp.BlockCrypt, stdout io.Writer) error {
	rep := &report{
		Format: 1, Started: time.Now().UTC().Truncate(time.Second), Target: o.target, Cipher: o.cipher, Mode: o.plan.Mode,
		Sessions: o.plan.Sessions, Seconds: o.plan.duration().Seconds(), Length: o.plan.Length, Rate: o.plan.Rate,
		Compared: len(o.compare) > 0,
	}
	if o.path != nil {
		rep.Target, rep.Simulated = "a simulated path", o.path.text
	}
	if err := writable(o.html); err != nil {
		return fmt.Errorf("--html: %w", err)
	}
	if err := writable(o.qlog); err != nil {
		return fmt.Errorf("--qlog: %w", err)
	}
	mine, theirs := newTraceFiles(o.qlog, o.path != nil)
	candidates := o.compare
	if !rep.Compared {
		candidates = []candidate{{"test", o.plan.Settings}}
	}
	text := stdout
	if o.json {
		text = io.Discard
	}
	out := newScreen(text)
	var failure error
	for i, c := range candidates {
		p := o.plan
		p.Settings = c.settings
		head := fmt.Sprintf("%s: %s", rep.Target, &p)
		if rep.Compared {
			head = fmt.Sprintf("\n%d of %d, %s: %s", i+1, len(candidates), c.name, &p)
		}
		out.printf("%s", head)
		m, loss, err := runTest(ctx, o, block, &p, out, mine, theirs)
		out.ended()
		r := newRun(c.name, &p, m, err)
		r.PathLoss = loss
		if m != nil {
			if terr := r.addTraces(mine, theirs, o.html != ""); terr != nil {
				failure = errors.Join(failure, fmt.Errorf("--qlog: %w", terr))
			}
		}
		rep.Runs = append(rep.Runs, r)
		if err != nil && (m == nil || len(candidates) == 1) {
			failure = err
		}
		if m != nil {
			printRun(text, rep, r)
		}
		if ctx.Err() != nil || m == nil {
			break // the others would fare no better
		}
	}
	if failure != nil && !o.json && len(rep.Runs) == 1 && rep.Runs[0].Intervals == nil {
		return failure
	}
	if rep.Compared {
		rank(rep.Runs)
		printRanking(text, rep)
	}
	return errors.Join(failure, deliver(rep, o, stdout))
}

// runTest runs one test. loss is what a simulated path lost, in percent, up and down. Either side's
// traces may be nil.
func runTest(ctx context.Context, o *options, block kcp.BlockCrypt, p *plan, w watcher, mine, theirs *traceFiles) (
	m *measured, loss *[2]float64, err error,
) {
	c := &client{
		target: o.target, cipher: o.cipher, block: block, crypt: cryptOverhead(o.cipher), firstAnswer: o.firstAnswer,
		traces: mine,
	}
	switch {
	case o.path != nil:
		// Each test has a network of its own, so that those compared meet the same path.
		sim, err := newSimulation(o.path, block, c.crypt, theirs)
		if err != nil {
			return nil, nil, err
		}
		defer func() {
			up, down := sim.lost()
			loss = &[2]float64{100 * up, 100 * down}
		}()
		c.dialer, c.target = sim, "the other end of the simulated path"
	case o.oneSocket:
		if c.dialer, err = newSharedDialer(ctx, o.target, block, o.buffer); err != nil {
			return nil, nil, err
		}
	default:
		c.dialer = &udpDialer{addr: o.target, buffer: o.buffer, shared: o.sharedSocket}
	}
	defer c.dialer.close()
	m, err = c.run(ctx, p, w)
	return m, nil, err
}

// writable returns an error if a file cannot be written, before the test whose report it will hold.
// An empty name is no file.
func writable(name string) error {
	if name == "" {
		return nil
	}
	f, err := os.OpenFile(name, os.O_CREATE|os.O_WRONLY, 0o666)
	if err != nil {
		return err
	}
	return f.Close()
}

// deliver writes the report to the chosen outputs.
func deliver(rep *report, o *options, stdout io.Writer) error {
	if o.html != "" {
		page, err := renderPage(rep)
		if err == nil {
			err = os.WriteFile(o.html, page, 0o666)
		}
		if err != nil {
			return fmt.Errorf("--html: %w", err)
		}
	}
	if !o.json {
		return nil
	}
	enc := json.NewEncoder(stdout)
	enc.SetIndent("", "  ")
	return enc.Encode(rep)
}
