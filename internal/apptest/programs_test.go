// SPDX-License-Identifier: MIT

package apptest

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"text/tabwriter"
	"time"
)

// programs are all that run in virtual time.
func programs() []program {
	return []program{
		tlsProgram(), sshProgram(), httpProgram(), grpcProgram(), websocketProgram(), rpcProgram(),
		yamuxProgram(), smuxProgram("xtaci/smux, version 1", 1), smuxProgram("xtaci/smux, version 2", 2),
	}
}

const (
	callsAtOnce = 4
	callSize    = 256 << 10
	// endMost is the longest wait for the end of a call: the dead timeout and a keep-alive, or those
	// of the program.
	endMost = 75 * time.Second
)

// outcome is a row of the table.
type outcome struct {
	name           string
	moved          time.Duration // virtual time of the transfer
	byClient       string        // how the server sees the client close
	byServer       string        // how the client sees the server close
	killed         string        // how the client sees the end of a server that is silent
	killedAtServer string        // how the server sees the end of a client that is silent
	took           time.Duration // real time
}

// scene is a client and a server of a program that have exchanged data. The client waits for an
// answer that does not come.
type scene struct {
	w       *world
	client  client
	stop    func() error
	pending chan error // how the call has ended
	handler *handler
	moved   time.Duration
}

func newScene(t *testing.T, p program, seed uint64) *scene {
	t.Helper()
	s := &scene{w: newWorld(t, seed, p.real), pending: make(chan error, 1), handler: newHandler()}
	var err error
	s.stop, err = p.serve(s.w.listener, s.handler)
	if err != nil {
		t.Fatal(err)
	}
	begin := time.Now()
	if s.client, err = p.dial(s.w.dial); err != nil {
		t.Fatal(err)
	}
	if err := exchangeAll(s.client, callsAtOnce, callSize); err != nil {
		t.Fatal(err)
	}
	s.moved = time.Since(begin)
	go func() {
		_, err := s.client.call(newRequest(silence, nil))
		s.pending <- err
	}()
	select {
	case <-s.handler.asked:
	case <-time.After(endMost):
		t.Fatal("a request does not arrive")
	}
	return s
}

// await returns the next error of a channel, or fails the test if it takes too long.
func await(t *testing.T, what string, c <-chan error) string {
	t.Helper()
	select {
	case err := <-c:
		if err == nil {
			t.Errorf("%s: no error", what)
		}
		return describe(err)
	case <-time.After(endMost):
		t.Fatalf("%s: no end after %v", what, endMost)
		return ""
	}
}

// clientEnd returns how the client's call ends, and how its connection does if that differs.
func (s *scene) clientEnd(t *testing.T, what string) string {
	t.Helper()
	call := await(t, what, s.pending)
	c, ok := s.client.(*streamClient)
	if !ok || c.wait == nil {
		return call
	}
	ended := make(chan error, 1)
	go func() { ended <- c.wait() }()
	if connection := await(t, what+"'s connection", ended); connection != call {
		return "call: " + call + ", connection: " + connection
	}
	return call
}

// end ends what is left of a scene.
func (s *scene) end(t *testing.T) {
	t.Helper()
	_ = s.client.Close()
	if err := s.stop(); err != nil && !isClosed(err) {
		t.Errorf("stopping the server: %v", err)
	}
	s.w.close(t)
}

// isClosed reports whether err is of a connection that has ended.
func isClosed(err error) bool {
	return errors.Is(err, net.ErrClosed) || errors.Is(err, io.ErrClosedPipe) ||
		errors.Is(err, syscall.ETIMEDOUT)
}

// emptyPools frees what sync.Pools hold, which takes two collections. Libraries put timers and
// channels there, which must not be used outside their bubble.
func emptyPools() {
	runtime.GC()
	runtime.GC()
}

// play runs a program in each way that it may end.
func play(t *testing.T, p program) (o outcome) {
	t.Helper()
	o.name = p.name
	begin := time.Now()
	emptyPools()
	defer emptyPools()
	run := synctest.Test
	if p.real {
		run = func(t *testing.T, f func(*testing.T)) { f(t) }
	}
	run(t, func(t *testing.T) {
		s := newScene(t, p, 1)
		o.moved = s.moved
		if err := s.client.Close(); err != nil {
			t.Errorf("the client's Close: %v", err)
		}
		o.byClient = await(t, "closed by the client: the server", s.handler.ends)
		await(t, "closed by the client: its own call", s.pending)
		s.end(t)

		s = newScene(t, p, 2)
		stopped := make(chan error, 1)
		go func() { stopped <- s.stop() }()
		o.byServer = s.clientEnd(t, "closed by the server: the client")
		if err := <-stopped; err != nil {
			t.Errorf("the server's stop: %v", err)
		}
		s.stop = func() error { return nil }
		s.end(t)

		s = newScene(t, p, 3)
		s.w.kill()
		o.killed = s.clientEnd(t, "server killed: the client")
		o.killedAtServer = await(t, "client silent: the server", s.handler.ends)
		s.end(t)
	})
	o.took = time.Since(begin)
	return o
}

// heads are the columns of the table in the document.
var heads = []string{
	"program", "transfer both ways", "closed by the client: the server sees",
	"closed by the server: the client sees", "server killed: the client sees",
	"client silent: the server sees",
}

// cells are what does not differ between runs.
func (o *outcome) cells() []string {
	return []string{o.name, "whole", o.byClient, o.byServer, o.killed, o.killedAtServer}
}

func row(cells ...string) string { return "| " + strings.Join(cells, " | ") + " |\n" }

// table returns the outcomes as the document has them.
func table(outcomes []outcome) string {
	var b strings.Builder
	b.WriteString(row(heads...) + strings.Repeat("|---", len(heads)) + "|\n")
	for _, o := range outcomes {
		b.WriteString(row(o.cells()...))
	}
	return b.String()
}

// timedTable also has how long the transfer and the whole play took.
func timedTable(outcomes []outcome) string {
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 0, 1, ' ', tabwriter.Debug)
	_, _ = fmt.Fprintln(w, strings.Join(append(heads, "transfer in", "test took"), "\t"))
	for _, o := range outcomes {
		_, _ = fmt.Fprintln(w, strings.Join(append(o.cells(), o.moved.Round(time.Millisecond).String(),
			o.took.Round(time.Millisecond).String()), "\t"))
	}
	_ = w.Flush()
	return b.String()
}

// Programs of others move data through 5 % loss, and see the end of their peer.
func TestPrograms(t *testing.T) {
	var outcomes []outcome
	for _, p := range programs() {
		t.Run(p.name, func(t *testing.T) { outcomes = append(outcomes, play(t, p)) })
	}
	t.Run("rpcx", func(t *testing.T) { outcomes = append(outcomes, playRPCX(t)) })
	t.Logf("the transfer in time of the network:\n%s", timedTable(outcomes))
	if !t.Failed() && len(outcomes) == len(programs())+1 { // all were selected
		checkDocument(t, table(outcomes))
	}
}

// checkDocument compares the table with that of the document.
func checkDocument(t *testing.T, want string) {
	t.Helper()
	const name = "../../docs/programs.md"
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	document := strings.ReplaceAll(string(text), "\r\n", "\n")
	_, rest, _ := strings.Cut(document, "<!-- programs: begin -->\n")
	if got, _, _ := strings.Cut(rest, "<!-- programs: end -->"); got != want {
		t.Errorf("%s has this table:\n%s\nwant this one:\n%s", name, got, want)
	}
}
