// SPDX-License-Identifier: MIT

//go:build linux

// Command scale measures what many sessions cost: memory, processor time while idle and while busy,
// and the rate at which they open. It checks that nothing is left of them. The server is a separate
// process. Client sessions share a few sockets, or are dialled by a process that is measured as the
// server is. The output is tables in Markdown.
//
//	go run ./scale                           # everything but the soaks, about 4 minutes
//	go run ./scale -run idle -n 10000        # some of it
//	go run ./scale -run clients              # the dialling side
//	go run ./scale -run soak -soak 10m       # opens, echoes and closes at full speed
//	go run ./scale -run clientsoak -soak 10m # likewise, and looks at the dialling side
package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"regexp"
	"time"
)

// usageTo is where the flags are explained.
var usageTo io.Writer = os.Stderr

// settings are the flags.
type settings struct {
	run      *regexp.Regexp
	n        int           // sessions
	sockets  int           // the server's
	clients  int           // sockets of the clients
	dialled  int           // sessions with sockets of their own
	shared   int           // dialled sessions over shared sockets
	cipher   bool          // AES-128-GCM
	crowd    int           // sessions of the crowd
	measure  time.Duration // length of a measurement
	settle   time.Duration // before idle figures are taken
	wait     time.Duration // after all have closed
	soak     time.Duration
	parallel int  // sessions that open at once
	profile  bool // write server.prof
}

func main() {
	if role := os.Getenv(roleVariable); role != "" {
		exitOn(runRole(role, os.Stdin, os.Stdout))
		return
	}
	s, err := parseSettings(os.Args[1:])
	if errors.Is(err, flag.ErrHelp) {
		return
	}
	exitOn(err)
	exitOn(run(s, os.Stdout))
}

func exitOn(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "scale:", err)
		os.Exit(1)
	}
}

func parseSettings(args []string) (*settings, error) {
	s := new(settings)
	f := flag.NewFlagSet("scale", flag.ContinueOnError)
	f.SetOutput(usageTo)
	pattern := f.String("run", "idle|clients|crowd|readers", "what to measure: a regular expression for idle, clients, crowd, readers, soak, clientsoak")
	f.IntVar(&s.n, "n", 100_000, "sessions")
	f.IntVar(&s.sockets, "sockets", 1, "sockets of the server, SO_REUSEPORT")
	f.IntVar(&s.clients, "clients", 8, "sockets that the clients share")
	f.IntVar(&s.dialled, "dialled", 10_000, "dialled sessions with sockets of their own")
	f.IntVar(&s.shared, "shared", 100_000, "dialled sessions over shared sockets")
	f.BoolVar(&s.cipher, "gcm", false, "encrypt with AES-128-GCM")
	f.IntVar(&s.crowd, "crowd", 5000, "sessions of the crowd")
	f.DurationVar(&s.measure, "time", 10*time.Second, "length of each measurement")
	f.DurationVar(&s.settle, "settle", 5*time.Second, "wait before idle sessions are looked at")
	f.DurationVar(&s.wait, "wait", 15*time.Second, "wait until nothing is remembered of closed sessions")
	f.DurationVar(&s.soak, "soak", time.Minute, "length of the soak")
	f.BoolVar(&s.profile, "profile", false, "write profiles: server.prof, server.heap, ready.prof, dialler.prof, dialler.heap")
	f.IntVar(&s.parallel, "parallel", 256, "sessions that open at the same time")
	if err := f.Parse(args); err != nil {
		return nil, err
	}
	var err error
	if s.run, err = regexp.Compile("^(?:" + *pattern + ")$"); err != nil {
		return nil, fmt.Errorf("-run: %w", err)
	}
	for name, v := range map[string]int{"-n": s.n, "-sockets": s.sockets, "-clients": s.clients, "-crowd": s.crowd, "-parallel": s.parallel, "-dialled": s.dialled, "-shared": s.shared} {
		if v < 1 {
			return nil, fmt.Errorf("%s: at least 1", name)
		}
	}
	return s, nil
}

// run measures what is asked for and prints it to out.
func run(s *settings, out io.Writer) error {
	parts := []struct {
		name    string
		measure func(*settings, io.Writer) error
	}{
		{"idle", measureIdle}, {"clients", measureClients}, {"crowd", measureCrowd}, {"readers", measureReaders},
		{"soak", measureSoak}, {"clientsoak", measureClientSoak},
	}
	ran := false
	for _, p := range parts {
		if !s.run.MatchString(p.name) {
			continue
		}
		ran = true
		if err := p.measure(s, out); err != nil {
			return fmt.Errorf("%s: %w", p.name, err)
		}
	}
	if !ran {
		return fmt.Errorf("nothing matches -run %q", s.run)
	}
	return nil
}

// table is what a measurement prints.
type table struct{ rows [][]string }

func (t *table) row(cells ...any) {
	row := make([]string, len(cells))
	for i, c := range cells {
		switch c := c.(type) {
		case float64:
			row[i] = fmt.Sprintf("%.2f", c)
		default:
			row[i] = fmt.Sprint(c)
		}
	}
	t.rows = append(t.rows, row)
}

func (t *table) print(w io.Writer, title string) error {
	_, err := fmt.Fprintf(w, "### %s\n\n", title)
	for i, row := range t.rows {
		line := "|"
		for _, c := range row {
			line += " " + c + " |"
		}
		if i == 0 {
			line += "\n|---|"
			for range row[1:] {
				line += "--:|"
			}
		}
		if _, e := fmt.Fprintln(w, line); e != nil {
			err = e
		}
	}
	_, e := fmt.Fprintln(w)
	return errors.Join(err, e)
}
