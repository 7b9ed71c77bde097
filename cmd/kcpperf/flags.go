// SPDX-License-Identifier: MIT

package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"strings"
	"time"
)

// options are the command line.
type options struct {
	server  bool
	target  string // of the client, with its port
	listen  string // of the server
	path    *path  // of a simulation
	plan    plan
	compare []candidate
	cipher  string
	key     string
	keyLog  string // file that the key is added to
	buffer  int    // of the sockets in bytes
	sockets int    // of the server
	// oneSocket carries all sessions of a client over one socket.
	oneSocket bool
	// sharedSocket carries them over the few sockets of Config.SharedSocket.
	sharedSocket bool
	json         bool
	html         string
	qlog         string // file for the trace of a session
	oneOff       bool
	limits       limits
	firstAnswer  time.Duration   // for the server's first answer
	explicit     map[string]bool // flags that were given
}

// errUsage is returned for a command line that makes no sense.
type errUsage struct{ error }

const defaultPort = "5202"

// flagText is a flag whose value is kept as it was given.
type flagText struct {
	value *string
}

func (f flagText) String() string {
	if f.value == nil {
		return ""
	}
	return *f.value
}

func (f flagText) Set(s string) error { *f.value = s; return nil }

// raw are the flags as they were given, where they need more than flag does.
type raw struct {
	client, port, bind, time, interval, length, buffer, simulate, compare, maxTime string
	reverse, both, echo                                                            bool
	rate                                                                           float64
}

func parseOptions(args []string, stderr io.Writer) (*options, error) {
	o := &options{explicit: map[string]bool{}, firstAnswer: answerTimeout}
	o.limits.slack = slackDefault
	o.plan.Settings = fastSettings()
	f := flag.NewFlagSet("kcpperf", flag.ContinueOnError)
	f.SetOutput(io.Discard)
	r := new(raw)
	o.define(f, r)
	for _, k := range settingKeys {
		f.Func(k.name, k.meaning, func(v string) error { return o.plan.Settings.set(k.name, v) })
	}
	if err := f.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			usage(stderr)
			return nil, err
		}
		return nil, errUsage{err}
	}
	if f.NArg() > 0 {
		return nil, errUsage{fmt.Errorf("unexpected argument %q", f.Arg(0))}
	}
	f.Visit(func(fl *flag.Flag) { o.explicit[fl.Name] = true })
	if err := o.finish(r); err != nil {
		return nil, errUsage{err}
	}
	return o, nil
}

func (o *options) define(f *flag.FlagSet, r *raw) {
	text := func(to *string, value string, names ...string) {
		*to = value
		for _, n := range names {
			f.Var(flagText{to}, n, "")
		}
	}
	boolean := func(to *bool, names ...string) {
		for _, n := range names {
			f.BoolVar(to, n, false, "")
		}
	}
	boolean(&o.server, "s", "server")
	text(&r.client, "", "c", "client")
	text(&r.port, defaultPort, "p", "port")
	text(&r.bind, "", "B", "bind")
	text(&r.time, "10", "t", "time")
	text(&r.interval, "1", "i", "interval")
	f.IntVar(&o.plan.Sessions, "P", 1, "")
	f.IntVar(&o.plan.Sessions, "parallel", 1, "")
	boolean(&r.reverse, "R", "reverse")
	boolean(&r.both, "bidir")
	boolean(&r.echo, "echo")
	f.Float64Var(&r.rate, "rate", 30, "")
	text(&r.length, "", "l", "length")
	text(&o.cipher, noCipher, "cipher")
	text(&o.key, os.Getenv("KCPPERF_KEY"), "key")
	text(&o.keyLog, "", "keylog")
	text(&r.buffer, "", "sockbuf")
	boolean(&o.oneSocket, "one-socket")
	boolean(&o.sharedSocket, "shared-socket")
	f.IntVar(&o.sockets, "sockets", 1, "")
	boolean(&o.json, "json", "J")
	text(&o.html, "", "html")
	text(&o.qlog, "", "qlog")
	text(&r.simulate, "", "simulate")
	text(&r.compare, "", "compare")
	boolean(&o.oneOff, "1", "one-off")
	text(&r.maxTime, "10m", "max-time")
	f.IntVar(&o.limits.sessions, "max-sessions", 256, "")
}

// finish turns what was given into what is meant, and checks it.
func (o *options) finish(r *raw) error {
	modes := 0
	for _, given := range []bool{o.server, r.client != "", o.explicit["simulate"]} {
		if given {
			modes++
		}
	}
	if modes != 1 {
		return errors.New("want one of -s (server), -c HOST (client), --simulate \"rtt=100ms loss=5% rate=20Mbit\"; --help tells more")
	}
	if o.key != "" && o.cipher == noCipher && o.explicit["key"] {
		return errors.New("--key needs a --cipher")
	}
	if o.keyLog != "" && o.cipher == noCipher {
		return errors.New("--keylog needs a --cipher")
	}
	if o.key == "" {
		o.key = defaultKey
	}
	var err error
	if r.buffer != "" {
		if o.buffer, err = parseBytes(r.buffer); err != nil {
			return fmt.Errorf("--sockbuf: %w", err)
		}
	}
	if o.server {
		return o.finishServer(r)
	}
	for _, name := range []string{"B", "bind", "1", "one-off", "max-time", "max-sessions", "sockets"} {
		if o.explicit[name] {
			return fmt.Errorf("-%s is the server's", name)
		}
	}
	if err := o.finishPlan(r); err != nil {
		return err
	}
	if r.client != "" {
		o.target = r.client
		if _, _, err := net.SplitHostPort(o.target); err != nil {
			o.target = net.JoinHostPort(strings.Trim(o.target, "[]"), r.port)
		}
	} else {
		if o.path, err = parsePath(r.simulate); err != nil {
			return fmt.Errorf("--simulate: %w", err)
		}
		if o.buffer > 0 || o.oneSocket || o.sharedSocket {
			return errors.New("--sockbuf, --one-socket and --shared-socket: a simulation has no sockets")
		}
	}
	if o.sharedSocket && (o.oneSocket || o.buffer > 0) {
		return errors.New("--shared-socket excludes --one-socket, and --sockbuf cannot be set on its sockets")
	}
	return o.finishCompare(r)
}

func (o *options) finishCompare(r *raw) (err error) {
	if !o.explicit["compare"] {
		return nil
	}
	fitted := 0
	if o.path != nil {
		fitted = o.path.fullWindow(o.plan.Settings.MTU)
	}
	if o.compare, err = parseCandidates(r.compare, o.plan.Settings, fitted, o.plan.Mode == modeEcho); err != nil {
		return fmt.Errorf("--compare: %w", err)
	}
	check := func(c candidate) error {
		p := o.plan
		p.Settings = c.settings
		return p.check()
	}
	if r.compare == builtinCompare {
		// With many sessions the wide windows of the list are too much, and the others are not.
		o.compare = slices.DeleteFunc(o.compare, func(c candidate) bool { return check(c) != nil })
	}
	for _, c := range o.compare {
		if err := check(c); err != nil {
			return fmt.Errorf("--compare: %s: %w", c.name, err)
		}
	}
	return nil
}

func (o *options) finishServer(r *raw) (err error) {
	for name := range o.explicit {
		switch name {
		case "s", "server", "p", "port", "B", "bind", "cipher", "key", "keylog", "qlog", "sockbuf", "1", "one-off", "max-time", "max-sessions", "sockets":
		default:
			return fmt.Errorf("-%s is the client's: it tells the server", name)
		}
	}
	o.listen = net.JoinHostPort(strings.Trim(r.bind, "[]"), r.port)
	if o.limits.time, err = parseTime(r.maxTime); err != nil || o.limits.time < time.Second {
		return fmt.Errorf("--max-time is %q, want at least 1s", r.maxTime)
	}
	if o.sockets < 1 || o.sockets > 256 {
		return fmt.Errorf("--sockets is %d, want 1 to 256", o.sockets)
	}
	if o.limits.sessions < 1 || o.limits.sessions > 10000 {
		return fmt.Errorf("--max-sessions is %d, want 1 to 10000", o.limits.sessions)
	}
	return nil
}

func (o *options) finishPlan(r *raw) error {
	p := &o.plan
	for _, v := range []struct {
		name, value string
		to          *int
	}{{"-t", r.time, &p.Millis}, {"-i", r.interval, &p.Every}} {
		d, err := parseTime(v.value)
		if err != nil {
			return fmt.Errorf("%s: %w", v.name, err)
		}
		*v.to = int(d / time.Millisecond)
	}
	if p.interval() < intervalMin {
		return fmt.Errorf("-i is %v, want at least %v", p.interval(), intervalMin)
	}
	switch {
	case r.reverse && r.both, r.echo && (r.reverse || r.both):
		return errors.New("-R, --bidir and --echo exclude each other")
	case r.reverse:
		p.Mode = modeReceive
	case r.both:
		p.Mode = modeBoth
	case r.echo:
		p.Mode = modeEcho
	default:
		p.Mode = modeSend
	}
	p.Length = 128 << 10
	if r.echo {
		p.Length, p.Rate = 100, r.rate
		if !o.explicit["mode"] {
			p.Settings.Message = true
		}
	} else if o.explicit["rate"] {
		return errors.New("--rate is for --echo; --limit limits the speed of data")
	}
	if r.length != "" {
		var err error
		if p.Length, err = parseBytes(r.length); err != nil {
			return fmt.Errorf("-l: %w", err)
		}
	}
	return p.check()
}

func usage(w io.Writer) {
	fmt.Fprintf(w, `kcpperf measures what KCP carries over a path.

  kcpperf -s, --server                                   serve on UDP port %[1]s
  kcpperf -c, --client HOST[:PORT]                       measure the path to a server
  kcpperf --simulate "rtt=100ms loss=5%% rate=20Mbit"     the same over a simulated path

Test
  -t, --time TIME       how long, in seconds or as in 1m (default 10)
  -P, --parallel N      sessions at once (default 1)
  -R, --reverse         the server sends
      --bidir           both send
      --echo            the time messages take there and back
      --rate N          messages a second and session for --echo, 0: each when the last is back (default 30)
      --one-socket      all sessions over one socket instead of one each
      --shared-socket   all sessions over a few sockets (Config.SharedSocket)
  -l, --length BYTES    of a write (default 128K) or of an echoed message (default 100)
  -i, --interval TIME   between lines (default 1)
      --compare LIST    run several settings and rank them: builtin, a file, or 'name: key=value ...; ...'

Settings, of both ends; in a list for --compare without the dashes
`, defaultPort)
	for _, k := range settingKeys {
		fmt.Fprintf(w, "      --%-15s %s\n", k.name+" "+k.value, k.meaning)
	}
	fmt.Fprintf(w, `
Both sides, the same at both
      --cipher NAME     none (default), %s
      --key TEXT        pass phrase; better in the environment as KCPPERF_KEY
      --keylog FILE     add the key to a file, with which kcpdump and Wireshark decrypt a capture
      --sockbuf BYTES   of the UDP socket's buffers, as in 4M
  -p, --port PORT       (default %s)

Report
  -J, --json            print the report as JSON, and nothing else
      --html FILE       write it as a page with charts
      --qlog FILE       trace the first session to a file; the page draws the trace. A server does so for each test

Server
  -B, --bind HOST       listen on this address only
  -1, --one-off         end after one test
      --max-time TIME   of a test (default 10m)
      --max-sessions N  of all clients together (default 256)
      --sockets N       sockets on the port, each with a reader of its own; on Linux (default 1)

Simulated path
`, wrapped(cipherNames(), 24, 100), defaultPort)
	for _, k := range pathKeys {
		fmt.Fprintf(w, "      %-17s %s\n", k.name+"="+k.value, k.meaning)
	}
}

func cipherNames() (names []string) {
	for _, k := range cipherKinds {
		names = append(names, k.name)
	}
	return names
}

// wrapped joins words to lines of at most width characters, the lines behind the first indented.
func wrapped(words []string, indent, width int) string {
	var b strings.Builder
	column := indent + 16
	for i, word := range words {
		if i > 0 {
			word = ", " + word
		}
		if column+len(word) > width {
			b.WriteString(",\n" + strings.Repeat(" ", indent))
			word = strings.TrimPrefix(word, ", ")
			column = indent
		}
		b.WriteString(word)
		column += len(word)
	}
	return b.String()
}
