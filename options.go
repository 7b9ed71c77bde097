// SPDX-License-Identifier: MIT

package kcp

import (
	"fmt"
	"io"
	"time"
)

const (
	windowDefault = 512
	// backlogDefault lets a thousand clients connect at once without a Config that raises it.
	backlogDefault     = 2048
	sessionsDefault    = 1 << 18
	pendingDefault     = 1 << 10
	perPrefixDefault   = 1 << 16
	deadTimeoutDefault = 30 * time.Second
)

// options are the settings of sessions and their sockets. They are plain values, valid once
// complete has returned nil.
type options struct {
	block                     BlockCrypt
	fec                       fecShards
	chooser                   fecChooser
	mtu                       int
	search                    mtuSearch
	pathMost                  int // the largest MTU that is searched for, 0 for the usual bounds
	sndWnd, rcvWnd            int
	noDelay, interval, resend int
	modes                     modes
	control                   controlKind
	bandwidth                 int64 // of the path, for controlFixed
	deadTimeout               time.Duration
	keepAlive                 time.Duration
	idleTimeout               time.Duration
	dialModes                 dialModes
	keys                      keyDemand
	backlog                   int
	amplification             int // 0: no bound
	maxSessions, maxPending   int
	maxPerPrefix              int
	maxMemory                 int64 // 0: no bound
	onSocketError             func(op string, err error)
	trace                     func(info TraceInfo) io.WriteCloser // nil: none
	sockets                   int
	sched                     *TimedSched
}

// keyDemand is what a program requires of the keys of a session.
type keyDemand uint8

const (
	keysOffered  keyDemand = iota // a peer without keys is served under the pre-shared key
	keysRequired                  // Config.RequireSessionKeys
)

// dialModes are the ways in which Config.Dial differs from its default.
type dialModes uint8

const (
	dialWaits  dialModes = 1 << iota // for the peer's answer (Config.WaitPeer)
	dialShares                       // sockets with other sessions (Config.SharedSocket)
)

func (m dialModes) has(mode dialModes) bool { return m&mode != 0 }

func (m *dialModes) set(mode dialModes, on bool) {
	if on {
		*m |= mode
	}
}

// complete checks the settings of a Config and fills in the defaults. An error names the field of
// Config that is out of range.
func (o *options) complete(interval time.Duration) error {
	var err error
	if o.fec, err = o.fec.check("Config.DataShards", "Config.ParityShards"); err != nil {
		return err
	}
	checks := []struct {
		name         string
		value        *int
		least, most  int
		defaultValue int
	}{
		{"Config.MTU", &o.mtu, 1, 1 << 16, mtuDefault},
		{"Config.SendWindow", &o.sndWnd, 1, wndMax, windowDefault},
		{"Config.ReceiveWindow", &o.rcvWnd, 1, wndMax, windowDefault},
		{"Config.FastResend", &o.resend, 0, resendMax, 0},
		{"Config.AcceptBacklog", &o.backlog, 1, 1 << 20, backlogDefault},
		{"Config.MaxSessions", &o.maxSessions, 1, 1 << 30, sessionsDefault},
		{"Config.MaxPending", &o.maxPending, 1, 1 << 30, pendingDefault},
		{"Config.MaxPerPrefix", &o.maxPerPrefix, 1, 1 << 30, perPrefixDefault},
		{"Config.Sockets", &o.sockets, 1, socketsMax, 1},
	}
	for _, f := range checks {
		if *f.value == 0 {
			*f.value = f.defaultValue
		} else if *f.value < f.least || *f.value > f.most {
			return badArgument(f.name, *f.value, fmt.Sprintf("%d to %d", f.least, f.most))
		}
	}
	o.mtu = min(o.mtu, mtuMax)
	return o.completeRest(interval)
}

// completeRest checks and fills in settings that depend on several fields.
func (o *options) completeRest(interval time.Duration) error {
	sealer := newSealer(o.block)
	if o.keys == keysRequired && sealer.keySource() == nil {
		return badArgument("Config.RequireSessionKeys", true,
			"a BlockCrypt of NewAESGCMCrypt or NewXChaCha20Poly1305Crypt with it")
	}
	least := sealer.headroom() + sealer.tailroom() + fecHeaderSize + segmentHeaderSize + 1
	if o.mtu < least {
		want := fmt.Sprintf("at least %d with these settings", least)
		return badArgument("Config.MTU", o.mtu, want)
	}
	o.interval = int(intervalDefault)
	if o.noDelay > 0 {
		o.interval = int(intervalMin)
	}
	if interval != 0 {
		ms := toMillis(interval)
		if ms < intervalMin || ms > intervalMax {
			return badArgument("Config.Interval", interval, "10ms to 5s")
		}
		o.interval = int(ms)
	}
	switch {
	case o.deadTimeout == 0:
		o.deadTimeout = deadTimeoutDefault
	case o.deadTimeout < 0:
		o.deadTimeout = 0
	}
	if o.keepAlive < 0 {
		return badArgument("Config.KeepAlive", o.keepAlive, "0 or more")
	}
	if o.idleTimeout < 0 {
		return badArgument("Config.IdleTimeout", o.idleTimeout, "0 or more")
	}
	if o.maxMemory == 0 {
		o.maxMemory = memoryDefault
	} else {
		o.maxMemory = max(o.maxMemory, 0)
	}
	switch {
	case o.amplification == 0:
		o.amplification = amplificationDefault
	case o.amplification > 0:
		o.amplification = min(o.amplification, amplificationMost)
	default:
		o.amplification = 0
	}
	if o.sched == nil {
		o.sched = SystemTimedSched
	}
	return nil
}

// setRedundancy sets how many segments a datagram carries once more.
func (o *options) setRedundancy(r Redundancy) error {
	rule, err := r.rule("Config.Redundancy")
	o.modes.setCopyRule(rule)
	return err
}

// sessionModes returns the modes of a session that are asked for.
func sessionModes(stream, writeDelay, ackNoDelay, fixedWindows bool) modes {
	var m modes
	m.set(modeStream, stream)
	m.set(modeWriteDelay, writeDelay)
	m.set(modeACKNoDelay, ackNoDelay)
	m.set(modeFixedWindows, fixedWindows)
	return m
}
