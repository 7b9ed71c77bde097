// SPDX-License-Identifier: MIT

package main

import (
	"flag"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/seedkcp/kcp/internal/simnet"
)

func TestUnits(t *testing.T) {
	bits := map[string]int64{"20Mbit": 20e6, "2.5G": 25e8, "300kbit/s": 300e3, "64000": 64000, "1mbps": 1e6, "10 Mbit": 10e6}
	for s, want := range bits {
		if got, err := parseBits(s); got != want || err != nil {
			t.Errorf("parseBits(%q) = %d, %v; want %d", s, got, err, want)
		}
	}
	sizes := map[string]int{"1400": 1400, "128K": 128 << 10, "4MiB": 4 << 20, "1kb": 1024, "1.5k": 1536}
	for s, want := range sizes {
		if got, err := parseBytes(s); got != want || err != nil {
			t.Errorf("parseBytes(%q) = %d, %v; want %d", s, got, err, want)
		}
	}
	times := map[string]time.Duration{"10": 10 * time.Second, "0.5": 500 * time.Millisecond, "100ms": 100 * time.Millisecond, "1m30s": 90 * time.Second}
	for s, want := range times {
		if got, err := parseTime(s); got != want || err != nil {
			t.Errorf("parseTime(%q) = %v, %v; want %v", s, got, err, want)
		}
	}
	shares := map[string]float64{"5%": 0.05, "0.05": 0.05, "0": 0, "100%": 1}
	for s, want := range shares {
		if got, err := parseShare(s); got != want || err != nil {
			t.Errorf("parseShare(%q) = %v, %v; want %v", s, got, err, want)
		}
	}
	for _, s := range []string{"", "x", "-1", "1e400", "NaN", "5 furlongs", "1e5"} {
		if v, err := parseBits(s); err == nil {
			t.Errorf("parseBits(%q) = %d, want an error", s, v)
		}
		if v, err := parseBytes(s); err == nil {
			t.Errorf("parseBytes(%q) = %d, want an error", s, v)
		}
		if v, err := parseTime(s); err == nil {
			t.Errorf("parseTime(%q) = %v, want an error", s, v)
		}
		if v, err := parseShare(s); err == nil {
			t.Errorf("parseShare(%q) = %v, want an error", s, v)
		}
	}
	for got, want := range map[string]string{
		formatBits(1234): "1.2 kbit/s", formatBits(20e6): "20.0 Mbit/s", formatBits(1.25e9): "1.25 Gbit/s",
		formatMillis(0): "<1", formatMillis(0.25): "0.250", formatMillis(1.5): "1.50", formatMillis(12.34): "12.3", formatMillis(345.6): "346",
		formatPercent(0): "0.00 %", formatPercent(0.00001): "<0.01 %", formatPercent(0.05): "5.00 %",
		formatBytes(999): "999 B", formatBytes(1.5e9): "1.50 GB",
	} {
		if got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

func TestSettingsFromText(t *testing.T) {
	s := fastSettings()
	if err := s.parse("nodelay=0,40,3,0 sndwnd=64 rcvwnd=128 mtu=1200 fec=10/3 mode=message acknodelay=1 writedelay=1 dup=2 limit=10Mbit cc=fixed bandwidth=20Mbit redundancy=2"); err != nil {
		t.Fatal(err)
	}
	want := settings{
		SendWindow: 64, ReceiveWindow: 128, MTU: 1200, Interval: 40, FastResend: 3, DataShards: 10, ParityShards: 3,
		Message: true, ACKNoDelay: true, WriteDelay: true, Dup: 2, Limit: 10e6,
		Control: "fixed", Bandwidth: 20e6, Redundancy: 2,
	}
	off := fastSettings()
	off.Redundancy = -1
	if s != want {
		t.Errorf("got %+v\nwant %+v", s, want)
	}
	// What String writes reads back as the same.
	for _, want := range []settings{s, fastSettings(), off} {
		got := settings{}
		if err := got.parse(want.String()); err != nil || got != want {
			t.Errorf("%q reads back as %+v, %v; want %+v", want, got, err, want)
		}
	}
	for text, part := range map[string]string{
		"windows=3": "one of window, sndwnd", "window": "key=value", "window=0": "1 to 65535", "window=65536": "1 to 65535",
		"mtu=1501": "100 to 1500", "nodelay=1,10,2": "four numbers", "nodelay=1,9,2,1": "10 to 5000", "nodelay=2,10,2,1": "0 to 1",
		"fec=10": "10/3", "fec=200/100": "at most 256", "fec=1/-1": "at most 256", "mode=datagram": "stream or message",
		"cc=bbr": "rate, rate-aggressive, cubic, classic, fixed, off", "cc=fixed": "bandwidth", "bandwidth=7999": "8kbit",
		"bandwidth=33Gbit": "32Gbit", "bandwidth=fast": "bandwidth: ",
		"redundancy=4": "auto, off", "redundancy=-1": "auto, off",
		"dup=17": "0 to 16", "limit=1": "8kbit", "acknodelay=maybe": "acknodelay",
	} {
		s := fastSettings()
		if err := s.parse(text); err == nil || !strings.Contains(err.Error(), part) {
			t.Errorf("%q gives %v, want %q in it", text, err, part)
		}
	}
}

func TestSimulatedPathFromText(t *testing.T) {
	p, err := parsePath("rtt=100ms,loss=5%  rate=20Mbit jitter=3ms reorder=1% hold=7ms duplicate=2% corrupt=0.1% mtu=1300 seed=9 outage=500ms@3s")
	if err != nil {
		t.Fatal(err)
	}
	want := simnet.Profile{
		Rate: 20e6, Overhead: 28, Queue: 175, MTU: 1300, Delay: 50 * time.Millisecond, Jitter: 3 * time.Millisecond,
		Reorder: 0.01, ReorderDelay: 7 * time.Millisecond, Loss: 0.05, Duplicate: 0.02, Corrupt: 0.001,
		Outage: simnet.Outage{After: 3 * time.Second, Down: 500 * time.Millisecond},
	}
	if !reflect.DeepEqual(p.up, want) || !reflect.DeepEqual(p.down, want) || p.seed != 9 {
		t.Errorf("got %+v and %+v, seed %d\nwant %+v", p.up, p.down, p.seed, want)
	}
	if got, want := p.fullWindow(1372), 267; got != want {
		t.Errorf("a window that fits is %d segments, want %d", got, want)
	}

	p, err = parsePath("up=10Mbit down=100Mbit queue=50ms loss=5% burst=4")
	if err != nil {
		t.Fatal(err)
	}
	if p.up.Rate != 10e6 || p.down.Rate != 100e6 || p.up.Queue != 43 || p.down.Queue != 437 || p.up.Loss != 0 || p.up.Burst != simnet.BurstLoss(0.05, 4) {
		t.Errorf("got %+v and %+v", p.up, p.down)
	}
	if p, err = parsePath("rate=1Mbit queue=7"); err != nil || p.up.Queue != 7 {
		t.Errorf("got a queue of %d, %v; want 7", p.up.Queue, err)
	}
	for text, part := range map[string]string{
		"delay=3ms":            "want one of rtt, jitter, rate, up, down, queue, loss",
		"rtt":                  "rtt=TIME",
		"rtt=fast":             "rtt: ",
		"loss=2":               "loss: ",
		"burst=0":              "1 to 1000",
		"loss=90% burst=2":     "runs of 2",
		"queue=50ms":           "needs a rate",
		"queue=many rate=1M":   "neither",
		"queue=0 rate=1M":      "neither",
		"outage=5s":            "500ms@3s",
		"seed=-1":              "seed: ",
		"mtu=0":                "mtu: ",
		"rtt=200000h":          "Delay",
		"rate=20Mbit rtt=1s;x": "rtt: ",
	} {
		if _, err := parsePath(text); err == nil || !strings.Contains(err.Error(), part) {
			t.Errorf("%q gives %v, want %q in it", text, err, part)
		}
	}
	if _, err := parsePath(""); err != nil {
		t.Errorf("a perfect path gives %v", err)
	}
}

func TestCandidates(t *testing.T) {
	base := fastSettings()
	list, err := parseCandidates("slow: nodelay=0,100,0,0; fec=3/1;", base, 0, false)
	if err != nil || len(list) != 2 || list[0].name != "slow" || list[0].settings.NoDelay || list[1].name != "fec=3/1" || list[1].settings.DataShards != 3 {
		t.Errorf("got %+v, %v", list, err)
	}
	file := filepath.Join(t.TempDir(), "list")
	if err := os.WriteFile(file, []byte("# two of them\na: window=64 # small\n\nb: window=128\n"), 0o666); err != nil {
		t.Fatal(err)
	}
	if list, err = parseCandidates(file, base, 0, false); err != nil || len(list) != 2 || list[1].name != "b" || list[1].settings.SendWindow != 128 {
		t.Errorf("got %+v, %v", list, err)
	}
	if list, err = parseCandidates(builtinCompare, base, 300, false); err != nil || list[len(list)-1].settings.SendWindow != 300 {
		t.Errorf("got %+v, %v", list, err)
	}
	without, err := parseCandidates(builtinCompare, base, 0, false)
	if err != nil || len(without) != len(list)-1 {
		t.Errorf("got %d entries where the path is unknown, %v; want %d", len(without), err, len(list)-1)
	}
	for _, s := range []string{"", "no-such-file", "a: window=x", ";;=", strings.Repeat("window=32;", compareMost+1)} {
		if list, err := parseCandidates(s, base, 0, false); err == nil {
			t.Errorf("%q gives %+v, want an error", s, list)
		}
	}
}

func TestOptions(t *testing.T) {
	parse := func(args ...string) (*options, error) {
		return parseOptions(args, &strings.Builder{})
	}
	o, err := parse("-c", "::1", "--port", "7", "-t", "2.5", "-P", "3", "--bidir", "--window", "99", "-l", "4K", "--sockbuf", "1M", "--cipher", "salsa20", "--key", "x")
	if err != nil {
		t.Fatal(err)
	}
	want := plan{Settings: fastSettings(), Mode: modeBoth, Sessions: 3, Millis: 2500, Every: 1000, Length: 4096}
	want.Settings.SendWindow, want.Settings.ReceiveWindow = 99, 99
	if o.plan != want || o.target != "[::1]:7" || o.buffer != 1<<20 || o.cipher != "salsa20" || o.key != "x" {
		t.Errorf("got %+v", o)
	}
	if o, err = parse("-client=host:9", "--echo", "--parallel=2"); err != nil || o.target != "host:9" || o.plan.Length != 100 || o.plan.Rate != 30 || !o.plan.Settings.Message {
		t.Errorf("got %+v, %v", o, err)
	}
	if o, err = parse("--echo", "-c", "h", "--mode", "stream", "--rate", "0"); err != nil || o.plan.Settings.Message || o.plan.Rate != 0 {
		t.Errorf("got %+v, %v", o, err)
	}
	if o, err = parse("-c", "h", "--cc", "fixed", "--fec", "10/3", "--bandwidth", "20Mbit"); err != nil || o.plan.Settings.Control != "fixed" || o.plan.Settings.Bandwidth != 20e6 {
		t.Errorf("got %+v, %v", o, err)
	}
	if o, err = parse("-s", "-B", "127.0.0.1", "-1", "--max-time", "1h"); err != nil || o.listen != "127.0.0.1:5202" || !o.oneOff || o.limits.time != time.Hour {
		t.Errorf("got %+v, %v", o, err)
	}
	if o, err = parse("-c", "h", "-P", "100", "--window", "64", "--compare", builtinCompare); err != nil || len(o.compare) < 3 {
		t.Errorf("got %d entries for many sessions, %v", len(o.compare), err)
	}
	for _, tt := range []struct{ args, part string }{
		{"", "want one of -s"},
		{"-s -c h", "want one of -s"},
		{"-c h x", "unexpected argument"},
		{"-c h --nonsense", "nonsense"},
		{"-c h -R --bidir", "exclude each other"},
		{"-c h -R --echo", "exclude each other"},
		{"-c h -t 0", "a time of 0 ms"},
		{"-c h -t 25h", "24 h"},
		{"-c h -t x", "-t: "},
		{"-c h -i 0.01", "at least 100ms"},
		{"-c h -P 0", "1 to 256"},
		{"-c h -P 200 --window 65535", "windows"},
		{"-c h -l 2M", "length"},
		{"-c h --echo -l 15", "16 to"},
		{"-c h --echo --rate -1", "rate"},
		{"-c h --rate 5", "--limit"},
		{"-c h --key x", "--cipher"},
		{"-c h --cc bbr", "cubic"},
		{"-c h --cc fixed", "bandwidth"},
		{"-c h --bandwidth 1", "8kbit"},
		{"-s --cc rate", "client's"},
		{"-c h --max-time 5m", "server's"},
		{"-c h --sockbuf many", "--sockbuf"},
		{"-s -t 5", "client's"},
		{"-s --html x", "client's"},
		{"-s --max-time 0", "at least 1s"},
		{"-s --max-sessions 0", "1 to 10000"},
		{"--simulate loss=x", "--simulate: loss"},
		{"--simulate rtt=1ms --sockbuf 1M", "no sockets"},
		{"--simulate rtt=1ms --shared-socket", "no sockets"},
		{"-c h --shared-socket --one-socket", "--one-socket"},
		{"-c h --shared-socket --sockbuf 1M", "--sockbuf"},
		{"-c h --compare nothing", "--compare"},
		{"-c h -P 200 --compare a:window=65535", "--compare: a"},
	} {
		if _, err := parse(strings.Fields(tt.args)...); err == nil || !strings.Contains(err.Error(), tt.part) {
			t.Errorf("%q gives %v, want %q in it", tt.args, err, tt.part)
		}
	}
}

func TestCiphers(t *testing.T) {
	for _, k := range cipherKinds {
		block, err := newCipher(k.name, "secret")
		if err != nil || block == nil {
			t.Errorf("%s: %v", k.name, err)
		}
	}
	if block, err := newCipher(noCipher, ""); block != nil || err != nil {
		t.Errorf("none gives %v, %v", block, err)
	}
	if _, err := newCipher("rot13", ""); err == nil || !strings.Contains(err.Error(), "salsa20") {
		t.Errorf("an unknown cipher gives %v, want the list", err)
	}
}

// The commands of README.md are valid.
func TestCommandsOfTheReadme(t *testing.T) {
	text, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	commands := 0
	for line := range strings.Lines(string(text)) {
		line, _, _ = strings.Cut(line, "   #")
		args, ok := strings.CutPrefix(strings.TrimSpace(line), "kcpperf ")
		if !ok {
			continue
		}
		commands++
		// As a shell splits them: quoted parts are whole.
		var words []string
		for i, part := range strings.Split(args, `"`) {
			if i%2 == 1 {
				words = append(words, part)
			} else {
				words = append(words, strings.Fields(part)...)
			}
		}
		if _, err := parseOptions(words, &strings.Builder{}); err != nil {
			t.Errorf("%q: %v", line, err)
		}
	}
	if commands < 8 {
		t.Errorf("found %d commands", commands)
	}
}

// Each flag is in the usage.
func TestUsageNamesEachFlag(t *testing.T) {
	var b strings.Builder
	if _, err := parseOptions([]string{"--help"}, &b); err == nil {
		t.Error("--help is no reason to end")
	}
	usage := b.String() + " "
	f := flag.NewFlagSet("", flag.ContinueOnError)
	new(options).define(f, new(raw))
	for _, k := range settingKeys {
		f.String(k.name, "", "")
	}
	f.VisitAll(func(fl *flag.Flag) {
		if !regexp.MustCompile(`[ ,]-?-` + regexp.QuoteMeta(fl.Name) + `[ ,\n]`).MatchString(usage) {
			t.Errorf("-%s is missing", fl.Name)
		}
	})
	for _, k := range pathKeys {
		if !strings.Contains(usage, " "+k.name+"=") {
			t.Errorf("%s= is missing", k.name)
		}
	}
}
