// SPDX-License-Identifier: MIT

package main

import (
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	"github.com/seedkcp/kcp"
)

// ownSettings are the settings that the mode of its own has besides those of the archived tunnel.
type ownSettings struct {
	keyFile  string
	socks    string // client: local address of the SOCKS server
	udp      string // client: local address; server: target of datagrams
	allow    string // server
	compress string // client

	maxConns, maxFlows       int64
	udpTimeout, drainTimeout int64 // seconds
	metrics                  string
	logFormat, logLevel      string
}

// compressionNames are the values of -compress.
var compressionNames = map[string]compression{"": compressNone, "none": compressNone, "zstd": compressZstd}

// compatOnly are the settings without effect in the mode of its own: what they are about does not
// exist there. Parity is among them, because it does not name its session, and all sessions share a
// socket.
var compatOnly = []string{"QPP", "QPPCount", "conn", "autoexpire", "scavengettl", "nocomp", "nc",
	"datashard", "parityshard", "smuxver", "smuxbuf", "framesize", "streambuf"}

// ownOnly are the settings that compat mode does not have.
var ownOnly = []string{"keyfile", "socks", "udp", "allow", "compress", "maxconns", "maxflows",
	"udptimeout", "drain"}

// ownDefaults are the defaults that differ from those of compat mode. "" is none.
var ownDefaults = map[string]string{"remoteaddr": "", "key": "", "crypt": ownCiphers[0].name,
	"mode": "", "sndwnd": "512", "rcvwnd": "512", "closewait": "0"}

// ownOptions are the settings as the mode of its own uses them.
type ownOptions struct {
	settings           *settings
	config             kcp.Config
	listen, remote     ports
	local, socks, udp  string // "" for none
	target             string
	allow              *policy
	compression        compression
	rateLimit          uint32
	closeWait          time.Duration
	udpTimeout, drain  time.Duration
	maxConns, maxFlows int
}

// ownCloseWait is how long a half-closed connection may be silent if closewait does not say it. The
// keep-alive of both ends detects a peer that is gone much sooner.
const ownCloseWait = 24 * time.Hour

// checkOwn returns what is wrong with the settings in the mode of its own.
func (s *settings) checkOwn() error {
	if !s.given["crypt"] {
		s.crypt = ownCiphers[0].name
	}
	known := false
	for _, c := range ownCiphers {
		known = known || c.name == s.crypt
	}
	if !known {
		return fmt.Errorf("crypt %q: want one of %s; others need -compat", s.crypt, ownCipherNames())
	}
	if s.keyFile == "" && (s.key == "" || s.key == defaultKey) {
		return errNoKey
	}
	if _, known := compressionNames[s.compress]; !known {
		return fmt.Errorf("compress %q: want none or zstd", s.compress)
	}
	if s.role == roleClient && s.remoteAddr == defaultRemote && !s.given["remoteaddr"] {
		return errors.New("remoteaddr: the server's address is needed: -remoteaddr HOST:PORT")
	}
	if _, _, err := net.SplitHostPort(s.udp); s.udp != "" && err != nil {
		return fmt.Errorf("udp: %q: want HOST:PORT", s.udp)
	}
	_, err := parsePolicy(s.allow)
	return err
}

// checkCompat returns an error for settings that compat mode does not have.
func (s *settings) checkCompat() error {
	for _, name := range ownOnly {
		if s.given[name] {
			return fmt.Errorf("%s: the archived tunnel has no such setting: it excludes -compat", name)
		}
	}
	return nil
}

// ownWarnings are about settings without effect.
func (s *settings) ownWarnings() (w []string) {
	var without []string
	for _, name := range compatOnly {
		if s.given[name] {
			without = append(without, name)
		}
	}
	if len(without) > 0 {
		w = append(w, "without -compat these settings have no effect: "+strings.Join(without, ", "))
	}
	return w
}

// ownOptions returns the settings as they are used. s was checked.
func (s *settings) ownOptions() (*ownOptions, error) {
	o := &ownOptions{
		settings: s,
		target:   s.target, socks: s.socks, udp: s.udp,
		compression: compressionNames[s.compress],
		rateLimit:   uint32(s.rateLimit),
		closeWait:   ownCloseWait,
		udpTimeout:  time.Duration(s.udpTimeout) * time.Second,
		drain:       time.Duration(s.drainTimeout) * time.Second,
		maxConns:    int(s.maxConns), maxFlows: int(s.maxFlows),
	}
	if s.given["closewait"] && s.closeWait > 0 {
		o.closeWait = time.Duration(s.closeWait) * time.Second
	}
	var err error
	if s.role == roleServer {
		if o.allow, err = parsePolicy(s.allow); err != nil {
			return nil, err
		}
		o.listen, err = parsePorts(s.listen)
	} else {
		o.remote, err = parsePorts(s.remoteAddr)
		// A client that offers something else forwards to the target only if it is told so.
		if s.given["localaddr"] || s.socks == "" && s.udp == "" {
			o.local = s.localAddr
		}
		if err == nil && o.remote.min == 0 {
			err = errors.New("remoteaddr: port 0")
		}
	}
	if err != nil {
		return nil, err
	}
	o.config = s.ownConfig()
	return o, nil
}

// ownConfig returns the settings of sessions, but for the cipher.
func (s *settings) ownConfig() kcp.Config {
	c := kcp.Config{
		MTU:        int(s.mtu),
		NoDelay:    true,
		Interval:   10 * time.Millisecond,
		FastResend: 2,
		ACKNoDelay: s.ackNoDelay,
		StreamMode: true,
		KeepAlive:  time.Duration(s.keepAlive) * time.Second,
	}
	if s.given["mode"] {
		c.NoDelay = s.noDelay != 0
		c.Interval = time.Duration(s.interval) * time.Millisecond
		c.FastResend = int(s.fastLimit)
	}
	// The windows grow as a connection needs it: only those that were asked for are set.
	if s.given["sndwnd"] {
		c.SendWindow = int(s.sndWnd)
	}
	if s.given["rcvwnd"] {
		c.ReceiveWindow = int(s.rcvWnd)
	}
	return c
}

// client returns the settings of an ownClient that can change.
func (o *ownOptions) client() clientSettings {
	return clientSettings{
		remote: o.remote, config: o.config, rateLimit: o.rateLimit, compression: o.compression,
	}
}
