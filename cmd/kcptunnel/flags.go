// SPDX-License-Identifier: MIT

package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"math"
	"os"
	"slices"
	"strings"
)

// keyVariable is the environment variable that has the key, if no flag and no file gives it.
const keyVariable = "KCPTUN_KEY"

// option is one setting: flags of the names, and a key of the JSON file.
type option struct {
	names []string // the first is also the JSON key, unless key is set
	key   string
	roles role
	value value
	usage string
}

// jsonKey returns the option's key in a JSON file.
func (o *option) jsonKey() string {
	if o.key != "" {
		return o.key
	}
	return o.names[0]
}

// optionsOf returns all options of s, in the order of the help text. Those of the other role are
// among them.
func optionsOf(s *settings) []option {
	return slices.Concat(endOptions(s), sessionOptions(s), forwardOptions(s), logOptions(s))
}

// names returns the names of one option.
func names(n ...string) []string { return n }

// numberMost is the largest value of numbers without another bound.
const numberMost = math.MaxInt32

// endOptions are about addresses, the secret and the mode.
func endOptions(s *settings) []option {
	return []option{
		{names("compat"), "", roleBoth, onOff{&s.compat}, "speak with the archived tunnel"},

		{names("localaddr", "l"), "", roleClient, text{&s.localAddr},
			"local address `HOST:PORT`, or path of a Unix socket"},
		{names("remoteaddr", "r"), "", roleClient, text{&s.remoteAddr},
			"server's address `HOST:PORT` or HOST:MIN-MAX"},
		{names("listen", "l"), "", roleServer, text{&s.listen},
			"address to listen on `HOST:PORT` or HOST:MIN-MAX"},
		{names("target", "t"), "", roleServer, text{&s.target},
			"address of the service `HOST:PORT`, or path of a Unix socket"},

		{names("key"), "", roleBoth, text{&s.key}, "shared `SECRET` of both ends, a passphrase"},
		{names("crypt"), "", roleBoth, text{&s.crypt}, "`CIPHER`, the same at both ends"},
		{names("mode"), "", roleBoth, text{&s.mode},
			"`MODE`: normal, fast, fast2, fast3 or manual"},
		{names("QPP"), "qpp", roleBoth, onOff{&s.qpp}, "permute the bytes of streams (compat)"},
		{names("QPPCount"), "qpp-count", roleBoth, number{&s.qppCount, 1, math.MaxUint16},
			"`PADS` of QPP, the same at both ends (compat)"},

		{names("conn"), "", roleClient, number{&s.conns, 1, 1024},
			"`SESSIONS` to use in turn (compat)"},
		{names("autoexpire"), "", roleClient, number{&s.autoExpire, 0, numberMost},
			"`SECONDS` until a session gets no new connections, 0 for never (compat)"},
		{names("scavengettl"), "", roleClient, number{&s.scavengeTTL, -1, numberMost},
			"`SECONDS` until an expired session is closed, -1 for never (compat)"},
	}
}

// sessionOptions are about KCP sessions, and smux over them.
func sessionOptions(s *settings) []option {
	return []option{
		{names("mtu"), "", roleBoth, number{&s.mtu, 64, 1500}, "`BYTES` of a datagram at most"},
		{names("ratelimit"), "", roleBoth, number{&s.rateLimit, 0, math.MaxUint32},
			"`BYTES` a second that a session sends at most, 0 for no limit"},
		{names("sndwnd"), "", roleBoth, number{&s.sndWnd, 1, math.MaxUint16},
			"send window in `PACKETS`"},
		{names("rcvwnd"), "", roleBoth, number{&s.rcvWnd, 1, math.MaxUint16},
			"receive window in `PACKETS`"},
		{names("datashard", "ds"), "", roleBoth, number{&s.dataShards, 0, 256},
			"`PACKETS` of data in an FEC group (compat)"},
		{names("parityshard", "ps"), "", roleBoth, number{&s.parityShards, 0, 256},
			"`PACKETS` of parity in an FEC group, 0 for no FEC (compat)"},
		{names("dscp"), "", roleBoth, number{&s.dscp, 0, 63}, "`DSCP` of the packets"},
		{names("nocomp"), "", roleBoth, onOff{&s.noComp}, "no compression (compat)"},

		{names("acknodelay"), "", roleBoth, onOff{&s.ackNoDelay}, "acknowledge each batch at once"},
		{names("nodelay"), "", roleBoth, number{&s.noDelay, 0, 1}, "in mode manual: `0 or 1`"},
		{names("interval"), "", roleBoth, number{&s.interval, 0, 5000},
			"in mode manual: `MILLISECONDS`"},
		{names("resend"), "", roleBoth, number{&s.fastLimit, 0, 64}, "in mode manual: `COUNT`"},
		{names("nc"), "", roleBoth, number{&s.noCongestion, 0, 1},
			"in mode manual: `0 or 1` (compat)"},
		{names("sockbuf"), "", roleBoth, number{&s.sockBuf, 0, numberMost},
			"`BYTES` of the socket's buffers"},

		{names("smuxver"), "", roleBoth, number{&s.smuxVersion, 1, 2}, "smux `VERSION` (compat)"},
		{names("smuxbuf"), "", roleBoth, number{&s.smuxBuf, 1, numberMost},
			"`BYTES` that all streams of a session may buffer (compat)"},
		{names("framesize"), "", roleBoth, number{&s.frameSize, 1, math.MaxUint16},
			"`BYTES` of an smux frame at most (compat)"},
		{names("streambuf"), "", roleBoth, number{&s.streamBuf, 1, numberMost},
			"`BYTES` that a stream may buffer (compat)"},
		{names("keepalive"), "", roleBoth, number{&s.keepAlive, 0, 86400},
			"`SECONDS` between signs of life, 0 for none"},
		{names("closewait"), "", roleBoth, number{&s.closeWait, 0, numberMost},
			"`SECONDS` that a half-closed connection may be silent, " +
				"0 for a day, with -compat for 600"},
	}
}

// forwardOptions are about what the mode of its own forwards.
func forwardOptions(s *settings) []option {
	return []option{
		{names("keyfile"), "", roleBoth, text{&s.keyFile},
			"`FILE` with a shared secret of 64 hexadecimal digits, instead of a key"},
		{names("compress"), "", roleClient, text{&s.compress},
			"compression of connections: none or `zstd`"},
		{names("socks"), "", roleClient, text{&s.socks},
			"serve SOCKS 5 at the local address `HOST:PORT`"},
		{names("udp"), "", roleClient, text{&s.udp},
			"forward the datagrams that arrive at the local address `HOST:PORT`"},
		{names("udp"), "", roleServer, text{&s.udp},
			"send the datagrams of clients to `HOST:PORT`"},
		{names("allow"), "", roleServer, text{&s.allow},
			"`LIST` of destinations that clients may name: CIDR, name, *.name, " +
				"* for the public internet"},
		{names("maxconns"), "", roleBoth, number{&s.maxConns, 1, numberMost}, "`CONNECTIONS` at a time"},
		{names("maxflows"), "", roleBoth, number{&s.maxFlows, 1, numberMost},
			"`FLOWS` of datagrams at a time"},
		{names("udptimeout"), "", roleBoth, number{&s.udpTimeout, 1, numberMost},
			"`SECONDS` without a datagram after which a flow ends"},
		{names("drain"), "", roleBoth, number{&s.drainTimeout, 0, numberMost},
			"`SECONDS` that open connections have to end after SIGTERM"},
	}
}

// logOptions are about what can be observed.
func logOptions(s *settings) []option {
	return []option{
		{names("metrics"), "", roleBoth, text{&s.metrics},
			"serve metrics for Prometheus at `HOST:PORT`"},
		{names("log-format"), "", roleBoth, text{&s.logFormat},
			"`FORMAT` of the log: text or json"},
		{names("log-level"), "", roleBoth, text{&s.logLevel},
			"least `LEVEL` of the log: debug, info, warn or error"},

		{names("snmplog"), "", roleBoth, text{&s.snmpLog},
			"`FILE` for the counters as CSV, its name a layout of Go's package time"},
		{names("snmpperiod"), "", roleBoth, number{&s.snmpPeriod, 1, numberMost},
			"`SECONDS` between its lines"},
		{names("log"), "", roleBoth, text{&s.log}, "`FILE` for the log"},
		{names("quiet"), "", roleBoth, onOff{&s.quiet}, "log no connections"},
		{names("tcp"), "", roleBoth, onOff{&s.rawTCP}, "not offered: see COMPAT.md"},
		{names("pprof"), "", roleBoth, onOffText{&s.profiler, "localhost:6060"},
			"serve profiles on localhost:6060, or on -pprof=`HOST:PORT`"},
	}
}

// errVersion is a request for the version.
var errVersion = errors.New("version")

// parse reads the command line after the subcommand. It returns flag.ErrHelp after a request for
// help, which goes to out. Warnings are about settings that have no effect.
func (s *settings) parse(args []string, out io.Writer) (warnings []string, err error) {
	s.args = args
	flags := flag.NewFlagSet("kcptunnel "+s.role.String(), flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	var file string
	flags.StringVar(&file, "c", "", "JSON `FILE`, which overrides all flags")
	showVersion := flags.Bool("version", false, "")
	flags.BoolVar(showVersion, "v", false, "")
	for _, o := range optionsOf(s) {
		if o.roles&s.role == 0 {
			continue
		}
		for _, name := range o.names {
			flags.Var(&flagOf{o.value, s, o.names[0]}, name, o.usage)
		}
	}
	if key := os.Getenv(keyVariable); key != "" {
		s.key = key
	}
	switch err := flags.Parse(args); {
	case err == flag.ErrHelp:
		s.help(out)
		return nil, err
	case err != nil:
		return nil, fmt.Errorf("%w; kcptunnel %v -help lists the flags", err, s.role)
	case *showVersion:
		return nil, errVersion
	case flags.NArg() > 0:
		return nil, fmt.Errorf("unexpected argument %q", flags.Arg(0))
	}
	if file != "" {
		if warnings, err = s.readFile(file); err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
	}
	if s.assumeCompat() {
		warnings = append(warnings, fmt.Sprintf("crypt %q is a cipher of the archived tunnel: "+
			"-compat is assumed", s.crypt))
	}
	return warnings, s.check()
}

// assumeCompat turns compat mode on, and returns true, if nothing says which mode it is but the
// cipher: no cipher is in both modes, and it must be the same at both ends. So the files of the
// archived tunnel work as they are, whether one end is replaced or both.
func (s *settings) assumeCompat() bool {
	if s.compat || s.given["compat"] || !s.given["crypt"] {
		return false
	}
	for _, name := range ownOnly {
		if s.given[name] {
			return false
		}
	}
	_, err := cipherByName(s.crypt)
	s.compat = err == nil
	return s.compat
}

// shownDefault returns the default as the help text has it, which is "" for none. The value of o is
// the default of compat mode.
func (o *option) shownDefault() string {
	shown := func(v string) string {
		if v == "0" || v == "false" {
			return ""
		}
		return v
	}
	compat := shown(o.value.String())
	own, differs := ownDefaults[o.names[0]]
	switch own = shown(own); {
	case compat == "" && own == "":
		return ""
	case !differs || own == compat:
		return fmt.Sprintf(" (default %s)", compat)
	case own == "":
		return fmt.Sprintf(" (with -compat: default %s)", compat)
	}
	return fmt.Sprintf(" (default %s, with -compat %s)", own, compat)
}

// help prints the options of the role.
func (s *settings) help(out io.Writer) {
	fmt.Fprintf(out, "usage: kcptunnel %v [flags]\n\n", s.role)
	fmt.Fprintf(out, "  -c FILE\n    \tJSON file of these settings, which overrides all flags\n")
	for _, o := range optionsOf(newSettings(s.role)) {
		if o.roles&s.role == 0 {
			continue
		}
		shown := &flag.Flag{Usage: o.usage, Value: &flagOf{value: o.value}}
		argument, usage := flag.UnquoteUsage(shown)
		if _, ok := o.value.(onOff); ok {
			argument = ""
		}
		line := "-" + strings.Join(o.names, ", -") + " " + argument
		fmt.Fprintf(out, "  %s\n    \t%s", strings.TrimSpace(line), usage)
		fmt.Fprintln(out, o.shownDefault())
	}
	fmt.Fprintf(out, "\nThe key may be given in the environment variable %s.\n", keyVariable)
}
