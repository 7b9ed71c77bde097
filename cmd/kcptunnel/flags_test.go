// SPDX-License-Identifier: MIT

package main

import (
	"errors"
	"flag"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// parseLine parses a command line whose JSON file, if there is one, is called FILE.
func parseLine(t *testing.T, r role, line, file string) (*settings, []string, error) {
	t.Helper()
	args := strings.Fields(line)
	if file != "" {
		path := filepath.Join(t.TempDir(), "config.json")
		if err := os.WriteFile(path, []byte(file), 0o600); err != nil {
			t.Fatal(err)
		}
		args = append(args, "-c", path)
	}
	s := newSettings(r)
	warnings, err := s.parse(args, io.Discard)
	return s, warnings, err
}

func TestDefaultsAreThoseOfTheArchivedTunnel(t *testing.T) {
	for r, want := range map[role]settings{
		roleClient: {localAddr: ":12948", remoteAddr: "vps:29900", sndWnd: 128, rcvWnd: 512},
		roleServer: {listen: ":29900", target: "127.0.0.1:12948", sndWnd: 1024, rcvWnd: 1024,
			closeWait: 30},
	} {
		s, warnings, err := parseLine(t, r, "-compat", "")
		if err != nil || len(warnings) > 0 {
			t.Fatalf("%v: %v, %v", r, warnings, err)
		}
		if r == roleClient && (s.localAddr != want.localAddr || s.remoteAddr != want.remoteAddr) ||
			r == roleServer && (s.listen != want.listen || s.target != want.target) ||
			s.sndWnd != want.sndWnd || s.rcvWnd != want.rcvWnd || s.closeWait != want.closeWait {
			t.Errorf("%v: %+v", r, s)
		}
		c := s.sessionConfig(nil)
		if c.MTU != 1350 || c.DataShards != 10 || c.ParityShards != 3 || c.NoDelay ||
			c.Interval.Milliseconds() != 30 || c.FastResend != 2 || !c.NoCongestionControl ||
			!c.StreamMode || c.WriteDelay || c.ACKNoDelay {
			t.Errorf("%v: %+v", r, c)
		}
		m, err := s.smuxConfig()
		if err != nil || m.Version != 2 || m.MaxFrameSize != 8192 ||
			m.MaxReceiveBuffer != 4194304 || m.MaxStreamBuffer != 2097152 ||
			m.KeepAliveInterval.Seconds() != 10 {
			t.Errorf("%v: %+v, %v", r, m, err)
		}
		if s.key != "it's a secrect" || s.crypt != "aes" || s.conns != 1 || s.scavengeTTL != 600 ||
			s.qppCount != 61 || s.sockBuf != 4194304 || s.snmpPeriod != 60 || s.autoExpire != 0 {
			t.Errorf("%v: %+v", r, s)
		}
	}
}

// A file that the archived tunnel reads works unchanged, except for the mode.
func TestReadsArchivedFile(t *testing.T) {
	const file = `{
		"smuxver": 1, "localaddr": ":1315", "remoteaddr": "server.example:3000-3009",
		"key": "a key", "crypt": "aes-128-gcm", "mode": "manual", "QPP": true, "qpp-count": 7,
		"conn": 4, "autoexpire": 300, "scavengettl": 60, "mtu": 1400, "ratelimit": 5000000,
		"sndwnd": 256, "rcvwnd": 2048, "datashard": 70, "parityshard": 30, "dscp": 46,
		"nocomp": true, "acknodelay": true, "nodelay": 1, "interval": 5, "resend": 2, "nc": 1,
		"sockbuf": 16777217, "smuxbuf": 16777217, "streambuf": 2097152, "framesize": 4096,
		"keepalive": 2, "closewait": 5, "snmplog": "./snmp-20060102.log", "snmpperiod": 10,
		"log": "kcp.log", "quiet": true, "tcp": false, "pprof": false
	}`
	s, warnings, err := parseLine(t, roleClient, "-compat -l :1 -key other", file)
	if err != nil || len(warnings) > 0 {
		t.Fatal(warnings, err)
	}
	got := *s
	got.given, got.dialSession, got.openSocket = nil, nil, nil
	c, m := s.sessionConfig(nil), must(s.smuxConfig())
	for name, same := range map[string]bool{
		"addresses": s.localAddr == ":1315" && s.remoteAddr == "server.example:3000-3009",
		"key":       s.key == "a key" && s.crypt == "aes-128-gcm" && s.qpp && s.qppCount == 7,
		"sessions":  s.conns == 4 && s.autoExpire == 300 && s.scavengeTTL == 60,
		"timing": c.NoDelay && c.Interval.Milliseconds() == 10 && c.FastResend == 2 &&
			c.NoCongestionControl && c.ACKNoDelay,
		"sizes": c.MTU == 1400 && c.SendWindow == 256 && c.ReceiveWindow == 2048 &&
			c.DataShards == 70 && c.ParityShards == 30,
		"socket": s.dscp == 46 && s.sockBuf == 16777217 && s.rateLimit == 5000000,
		"smux": m.Version == 1 && m.MaxReceiveBuffer == 16777217 && m.MaxFrameSize == 4096 &&
			m.KeepAliveInterval.Seconds() == 2 && s.noComp && s.closeWait == 5,
		"logs": s.snmpLog == "./snmp-20060102.log" && s.snmpPeriod == 10 && s.log == "kcp.log" &&
			s.quiet && s.profiler == "",
	} {
		if !same {
			t.Errorf("%s: %+v", name, got)
		}
	}
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// A file of the archived tunnel needs nothing beside it if it names its cipher.
func TestCipherSelectsMode(t *testing.T) {
	for _, test := range []struct {
		line, file string
		compat     bool
		err        string
	}{
		{"", `{"key": "k", "crypt": "salsa20"}`, true, ""},
		{"-key k -crypt aes", "", true, ""},
		{"-compat=false -key k -crypt aes", "", false, "aes-256-gcm"},
		{"-key k", `{"crypt": "aes", "compat": false}`, false, "aes-256-gcm"},
		{"-key k -crypt aes -socks :1080", "", false, "aes-256-gcm"},
		{"-key k -r h:1 -crypt aes-256-gcm", "", false, ""},
		{"-key k -r h:1", `{"smuxver": 1}`, false, ""},
		{"-key k -crypt rot13", "", false, "rot13"},
	} {
		s, warnings, err := parseLine(t, roleClient, test.line, test.file)
		if s.compat != test.compat || (err == nil) != (test.err == "") ||
			err != nil && !strings.Contains(err.Error(), test.err) {
			t.Errorf("%s %s: compat %v, %v", test.line, test.file, s.compat, err)
		}
		if test.compat != strings.Contains(strings.Join(warnings, "\n"), "-compat is assumed") {
			t.Errorf("%s %s: warnings %q", test.line, test.file, warnings)
		}
	}
}

func TestParseWarnsOfTheOtherEndsKeys(t *testing.T) {
	_, warnings, err := parseLine(t, roleServer, "-compat",
		`{"listen": ":1", "target": "t:1", "conn": 2, "localaddr": ":3"}`)
	if err != nil || len(warnings) != 2 || !strings.Contains(warnings[0], `"conn"`) ||
		!strings.Contains(warnings[1], `"localaddr"`) || !strings.Contains(warnings[1], "client") {
		t.Errorf("%q, %v", warnings, err)
	}
}

// Each error names the setting, what is wrong with it, and what is possible.
func TestParseErrors(t *testing.T) {
	for _, test := range []struct {
		r          role
		line, file string
		want       []string
	}{
		{roleClient, "-compat -crypt aes-256", "", []string{"aes-256", "aes-128-gcm", "null"}},
		{roleClient, "-compat", `{"crypt": "des"}`, []string{"des", "3des", "null"}},
		{roleClient, "-compat", `{"remotaddr": ":1"}`, []string{`"remotaddr"`, "remoteaddr, "}},
		{roleServer, "-compat", `{"listne": ":1"}`, []string{`"listne"`, "listen", "target"}},
		{roleClient, "-compat", `{"mtu": "1350"}`, []string{`"mtu"`, "number", "1500"}},
		{roleClient, "-compat", `{"mtu": 1350.5}`, []string{`"mtu"`, "number"}},
		{roleClient, "-compat", `{"mtu": 9000}`, []string{`"mtu"`, "9000", "64 to 1500"}},
		{roleClient, "-compat", `{"nocomp": 1}`, []string{`"nocomp"`, "true or false"}},
		{roleClient, "-compat", `{"key": 5}`, []string{`"key"`, "string"}},
		{roleClient, "-compat", `{"pprof": 5}`, []string{`"pprof"`, "true, false or a string"}},
		{roleClient, "-compat", "{\n\"mtu\": 1,,\n}", []string{"line 2", "invalid character"}},
		{roleClient, "-compat", `{} {}`, []string{"more than one"}},
		{roleClient, "-compat", `[]`, []string{"line 1"}},
		{roleClient, "-compat -c /no/such/file", "", []string{"/no/such/file", "no such file"}},
		{roleClient, "-compat -sndwnd 70000", "", []string{"sndwnd", "70000", "1 to 65535"}},
		{roleClient, "-compat -dscp x", "", []string{"dscp", `"x"`, "0 to 63"}},
		{roleClient, "-compat -mode turbo", "", []string{"turbo", "fast2, fast3, manual"}},
		{roleClient, "-compat -tcp", "", []string{"tcp", "not offered"}},
		{roleClient, "-compat", `{"tcp": true}`, []string{"tcp", "not offered"}},
		{roleClient, "-compat -smuxver 3", "", []string{"smuxver", "1 to 2"}},
		{roleClient, "-compat -streambuf 5000000", "", []string{"streambuf", "smuxbuf"}},
		{roleClient, "-compat -ds 200 -ps 100", "", []string{"datashard 200", "shard 100", "256"}},
		{roleClient, "-compat -r example", "", []string{"remoteaddr", `"example"`, "HOST:MIN-MAX"}},
		{roleClient, "-compat -r h:20-10", "", []string{"remoteaddr", "range"}},
		{roleServer, "-compat -l :70000", "", []string{"listen", "70000", "65535"}},
		{roleClient, "-compat -listen :1", "", []string{"listen"}},
		{roleClient, "-compat surplus", "", []string{`"surplus"`}},
		{roleClient, "-compat -key=", "", []string{"key", "empty"}},
	} {
		_, _, err := parseLine(t, test.r, test.line, test.file)
		if err == nil {
			t.Errorf("%s %s: no error", test.line, test.file)
			continue
		}
		for _, want := range test.want {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("%s %s: %q has no %q", test.line, test.file, err, want)
			}
		}
	}
}

func TestKeyOfTheEnvironment(t *testing.T) {
	t.Setenv("KCPTUN_KEY", "of the environment")
	for line, want := range map[string]string{
		"-compat":                  "of the environment",
		"-compat -key of-the-flag": "of-the-flag",
	} {
		s, _, err := parseLine(t, roleClient, line, "")
		if err != nil || s.key != want {
			t.Errorf("%s: key %q, %v", line, s.key, err)
		}
	}
	s, _, err := parseLine(t, roleClient, "-compat -key of-the-flag", `{"key": "of the file"}`)
	if err != nil || s.key != "of the file" {
		t.Errorf("key %q, %v", s.key, err)
	}
}

func TestProfilesListenOnLocalhost(t *testing.T) {
	for line, want := range map[string]string{
		"-compat": "", "-compat -pprof": "localhost:6060", "-compat -pprof=:7000": ":7000",
		"-compat -pprof=false": "",
	} {
		s, _, err := parseLine(t, roleClient, line, "")
		if err != nil || s.profiler != want {
			t.Errorf("%s: %q, %v", line, s.profiler, err)
		}
	}
	s, _, err := parseLine(t, roleClient, "-compat", `{"pprof": true}`)
	if err != nil || s.profiler != "localhost:6060" {
		t.Errorf("%q, %v", s.profiler, err)
	}
}

func TestModes(t *testing.T) {
	for mode, want := range map[string][4]int64{
		"normal": {0, 40, 2, 1}, "fast": {0, 30, 2, 1},
		"fast2": {1, 20, 2, 1}, "fast3": {1, 10, 2, 1},
		"manual": {1, 70, 5, 0},
	} {
		s, _, err := parseLine(t, roleClient,
			"-compat -nodelay 1 -interval 70 -resend 5 -nc 0 -mode "+mode, "")
		got := [4]int64{s.noDelay, s.interval, s.fastLimit, s.noCongestion}
		if err != nil || got != want {
			t.Errorf("%s: %v, %v", mode, got, err)
		}
	}
}

func TestHelp(t *testing.T) {
	for _, r := range []role{roleClient, roleServer} {
		var out strings.Builder
		s := newSettings(r)
		if _, err := s.parse([]string{"-help"}, &out); !errors.Is(err, flag.ErrHelp) {
			t.Fatal(err)
		}
		want := map[string]bool{}
		for _, o := range optionsOf(s) {
			want[o.names[0]] = want[o.names[0]] || o.roles&r != 0
		}
		for name, want := range want {
			shown := regexp.MustCompile("  -" + name + `\b`)
			if has := shown.MatchString(out.String()); has != want {
				t.Errorf("%v: -%s in the help: %v", r, name, has)
			}
		}
	}
}

// The help text has the default of each mode.
func TestHelpHasDefaultsOfBothModes(t *testing.T) {
	for _, test := range []struct {
		r    role
		want string
	}{
		{roleClient, "both ends, a passphrase (with -compat: default it's a secrect)\n"},
		{roleClient, " (default aes-256-gcm, with -compat aes)\n"},
		{roleClient, "HOST:MIN-MAX (with -compat: default vps:29900)\n"},
		{roleClient, "send window in PACKETS (default 512, with -compat 128)\n"},
		{roleClient, "receive window in PACKETS (default 512)\n"},
		{roleClient, "0 for a day, with -compat for 600\n"},
		{roleServer, "0 for a day, with -compat for 600 (with -compat: default 30)\n"},
		{roleServer, "at most (default 1350)\n"},
		{roleServer, "acknowledge each batch at once\n"},
	} {
		var out strings.Builder
		newSettings(test.r).help(&out)
		if !strings.Contains(out.String(), test.want) {
			t.Errorf("%v: %q is missing in:\n%s", test.r, test.want, out.String())
		}
	}
}
