// SPDX-License-Identifier: MIT

package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"time"

	"github.com/seedkcp/kcp"
)

// role is the end of the tunnel that a process is.
type role int

const (
	roleClient role = 1 << iota // accepts connections, and carries them to the server
	roleServer                  // connects to the target

	roleBoth = roleClient | roleServer
)

func (r role) String() string {
	switch r {
	case roleClient:
		return "client"
	case roleServer:
		return "server"
	}
	return "client and server"
}

// settings are all flags and keys of the JSON file. optionsOf names them.
type settings struct {
	role   role
	compat bool // speak with the archived tunnel

	localAddr, remoteAddr string // client
	listen, target        string // server

	key, crypt string
	mode       string

	qpp      bool
	qppCount int64

	conns, autoExpire, scavengeTTL int64 // seconds

	mtu, rateLimit           int64
	sndWnd, rcvWnd           int64
	dataShards, parityShards int64
	dscp, sockBuf            int64

	noComp, ackNoDelay           bool
	noDelay, interval, fastLimit int64
	noCongestion                 int64

	smuxVersion, smuxBuf   int64
	frameSize, streamBuf   int64
	keepAlive, closeWait   int64 // seconds
	snmpLog, log, profiler string
	snmpPeriod             int64 // seconds
	quiet, rawTCP          bool

	ownSettings

	args    []string         // the command line, which a reload reads again
	hangups <-chan os.Signal // asks for a reload
	level   *slog.LevelVar   // of the log

	// given has the names of the settings that the command line or the file has set.
	given map[string]bool

	// dialSession and openSocket are Config.Dial and Config.OpenTransport, except in tests.
	dialSession func(ctx context.Context, c *kcp.Config, addr string) (*kcp.UDPSession, error)
	openSocket  func(ctx context.Context, c *kcp.Config, addr string) (*kcp.Transport, error)
}

// defaultRemote is a place holder of the archived tunnel: no such host exists.
const defaultRemote = "vps:29900"

// newSettings returns the defaults of a role, which are those of the archived tunnel.
func newSettings(r role) *settings {
	s := &settings{
		role:       r,
		localAddr:  ":12948",
		remoteAddr: defaultRemote,
		listen:     ":29900",
		target:     "127.0.0.1:12948",
		key:        defaultKey,
		crypt:      "aes",
		mode:       "fast",

		qppCount:    61,
		conns:       1,
		scavengeTTL: 600,

		mtu:          1350,
		sndWnd:       128,
		rcvWnd:       512,
		dataShards:   10,
		parityShards: 3,
		interval:     50,
		sockBuf:      4 << 20,
		smuxVersion:  2,
		smuxBuf:      4 << 20,
		frameSize:    8192,
		streamBuf:    2 << 20,
		keepAlive:    10,
		snmpPeriod:   60,

		given: make(map[string]bool),
		level: new(slog.LevelVar),
		ownSettings: ownSettings{
			maxConns: 8192, maxFlows: 1024, udpTimeout: 60, drainTimeout: 10,
			logFormat: "text",
		},

		dialSession: func(
			ctx context.Context, c *kcp.Config, addr string,
		) (*kcp.UDPSession, error) {
			return c.Dial(ctx, addr)
		},
		openSocket: func(ctx context.Context, c *kcp.Config, addr string) (*kcp.Transport, error) {
			return c.OpenTransport(ctx, addr)
		},
	}
	if r == roleServer {
		s.sndWnd, s.rcvWnd = 1024, 1024
		s.closeWait = 30
	}
	return s
}

// check returns an error for settings that are well-formed by themselves but do not fit together.
// It also computes those that follow from others.
func (s *settings) check() error {
	if s.rawTCP {
		return errors.New("tcp: packets disguised as TCP over a raw socket are not offered: " +
			"remove the setting at both ends")
	}
	if err := s.applyMode(); err != nil {
		return err
	}
	if err := s.checkLog(); err != nil {
		return err
	}
	if err := s.checkCarrier(); err != nil {
		return err
	}
	if s.dataShards+s.parityShards > 256 {
		return fmt.Errorf("datashard %d and parityshard %d: more than 256 together",
			s.dataShards, s.parityShards)
	}
	addresses := map[string]string{"remoteaddr": s.remoteAddr}
	if s.role == roleServer {
		addresses = map[string]string{"listen": s.listen}
	}
	for name, addr := range addresses {
		if _, err := parsePorts(addr); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	if s.compat {
		_, err := s.smuxConfig()
		return err
	}
	return nil
}

// checkCarrier returns what is wrong with the settings of the mode, compat or not.
func (s *settings) checkCarrier() error {
	if !s.compat {
		return s.checkOwn()
	}
	if _, err := cipherByName(s.crypt); err != nil {
		return err
	}
	if s.key == "" {
		return errors.New("key: it is empty")
	}
	return s.checkCompat()
}

// modes are the timings that have a name: nodelay, interval, resend and nc.
var modes = []struct {
	name   string
	values [4]int64
}{
	{"normal", [4]int64{0, 40, 2, 1}},
	{"fast", [4]int64{0, 30, 2, 1}},
	{"fast2", [4]int64{1, 20, 2, 1}},
	{"fast3", [4]int64{1, 10, 2, 1}},
}

// modeManual leaves the timing to the settings nodelay, interval, resend and nc.
const modeManual = "manual"

// applyMode sets the timing that the mode names.
func (s *settings) applyMode() error {
	if s.mode == modeManual {
		return nil
	}
	var names []string
	for _, m := range modes {
		if m.name == s.mode {
			s.noDelay, s.interval, s.fastLimit, s.noCongestion =
				m.values[0], m.values[1], m.values[2], m.values[3]
			return nil
		}
		names = append(names, m.name)
	}
	return fmt.Errorf("mode %q: want one of %s, %s", s.mode, strings.Join(names, ", "), modeManual)
}

// intervalLeast is the least interval in milliseconds. Lower values count as this.
const intervalLeast = 10

// sessionConfig returns the settings of the KCP sessions. block may be nil.
func (s *settings) sessionConfig(block kcp.BlockCrypt) *kcp.Config {
	c := &kcp.Config{
		BlockCrypt:          block,
		MTU:                 int(s.mtu),
		SendWindow:          int(s.sndWnd),
		ReceiveWindow:       int(s.rcvWnd),
		NoDelay:             s.noDelay != 0,
		Interval:            time.Duration(max(s.interval, intervalLeast)) * time.Millisecond,
		FastResend:          int(s.fastLimit),
		NoCongestionControl: s.noCongestion != 0,
		StreamMode:          true,
		ACKNoDelay:          s.ackNoDelay,
	}
	// The archived tunnel sends no parity if one of the two is zero.
	if s.dataShards > 0 && s.parityShards > 0 {
		c.DataShards, c.ParityShards = int(s.dataShards), int(s.parityShards)
	}
	return c
}
