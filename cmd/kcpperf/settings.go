// SPDX-License-Identifier: MIT

package main

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/seedkcp/kcp"
)

// settings are how the sessions of a test are set up, at both ends alike. They travel to the server
// as JSON.
type settings struct {
	SendWindow    int  `json:"send_window"`    // segments
	ReceiveWindow int  `json:"receive_window"` // segments
	MTU           int  `json:"mtu"`            // UDP payload in bytes
	PathMTU       bool `json:"path_mtu,omitempty"`
	NoDelay       bool `json:"no_delay"`
	Interval      int  `json:"interval_ms"`
	FastResend    int  `json:"fast_resend"`
	NoCongestion  bool `json:"no_congestion_control"`
	// Control is the name of the congestion control; empty: NoCongestion decides.
	Control      string `json:"congestion_control,omitempty"`
	Bandwidth    int64  `json:"bandwidth_bits,omitempty"` // for kcp.CongestionFixed, in bits per second
	DataShards   int    `json:"fec_data"`
	ParityShards int    `json:"fec_parity"`
	FECAuto      bool   `json:"fec_auto,omitempty"`
	Message      bool   `json:"message_mode"`
	Redundancy   int    `json:"redundancy,omitempty"` // as kcp.Redundancy
	ACKNoDelay   bool   `json:"ack_no_delay"`
	WriteDelay   bool   `json:"write_delay"`
	Dup          int    `json:"duplicates"` // further copies of each datagram
	Limit        int64  `json:"limit_bits"` // of a session, in bits per second; 0 is none
}

// fastSettings returns the default settings of a test: a stream in no-delay mode with a window that
// fills a fast path.
func fastSettings() settings {
	return settings{
		SendWindow: 1024, ReceiveWindow: 1024, MTU: 1400,
		NoDelay: true, Interval: 10, FastResend: 2, NoCongestion: true,
	}
}

// settingKeys are the names under which set knows the settings, and what they mean.
var settingKeys = []struct{ name, value, meaning string }{
	{"window", "N", "least send and receive window in segments; both grow (default 1024)"},
	{"sndwnd", "N", "least send window in segments, 1 to 65535"},
	{"rcvwnd", "N", "least receive window in segments, 1 to 65535"},
	{"mtu", "N", "size of a datagram in bytes, 100 to 1500 (default 1400)"},
	{"pathmtu", "0/1", "search for larger datagrams that the path carries (default 0)"},
	{"nodelay", "A,B,C,D", "as SetNoDelay takes them: no-delay 0/1, interval in ms, fast resend, aggressive congestion control 0/1 (default 1,10,2,1)"},
	{"cc", "NAME", "congestion control, whatever the last number of --nodelay is: " + strings.Join(controlNames(), ", ")},
	{"bandwidth", "SPEED", "what --cc fixed sends, as in 20Mbit"},
	{"fec", "D/P", "P parity packets for every D data packets (default 0/0, none), or auto: the dialling side sends what the path needs"},
	{"redundancy", "R", "small segments that a datagram carries once more: auto, off, or 1 to 3 (default auto)"},
	{"mode", "M", "stream or message (default stream; message with --echo)"},
	{"acknodelay", "0/1", "acknowledge after each batch instead of waiting for the interval (default 0)"},
	{"writedelay", "0/1", "leave written data to the interval (default 0)"},
	{"dup", "N", "send each datagram N times more, up to 16 (default 0)"},
	{"limit", "SPEED", "limit what a session sends, as in 10Mbit (default none)"},
}

// set changes one setting.
func (s *settings) set(key, value string) error {
	var err error
	switch key {
	case "window":
		if s.SendWindow, err = parseCount(value, 1, 65535); err == nil {
			s.ReceiveWindow = s.SendWindow
		}
	case "sndwnd":
		s.SendWindow, err = parseCount(value, 1, 65535)
	case "rcvwnd":
		s.ReceiveWindow, err = parseCount(value, 1, 65535)
	case "mtu":
		s.MTU, err = parseCount(value, 100, 1500)
	case "pathmtu":
		s.PathMTU, err = strconv.ParseBool(value)
	case "nodelay":
		err = s.setNoDelay(value)
	case "cc":
		s.Control = value
		err = s.checkControl()
	case "bandwidth":
		s.Bandwidth, err = parseBits(value)
	case "fec":
		err = s.setFEC(value)
	case "redundancy":
		s.Redundancy, err = parseRedundancy(value)
	case "mode":
		if value != "stream" && value != "message" {
			return fmt.Errorf("%s is %q, want stream or message", key, value)
		}
		s.Message = value == "message"
	case "acknodelay":
		s.ACKNoDelay, err = strconv.ParseBool(value)
	case "writedelay":
		s.WriteDelay, err = strconv.ParseBool(value)
	case "dup":
		s.Dup, err = parseCount(value, 0, 16)
	case "limit":
		s.Limit, err = parseBits(value)
	default:
		return fmt.Errorf("there is no setting %q: want one of %s", key, strings.Join(settingNames(), ", "))
	}
	if err != nil {
		return fmt.Errorf("%s: %w", key, err)
	}
	return nil
}

func settingNames() (names []string) {
	for _, k := range settingKeys {
		names = append(names, k.name)
	}
	return names
}

func parseCount(s string, least, most int) (int, error) {
	n, err := strconv.Atoi(s)
	if err != nil || n < least || n > most {
		return 0, fmt.Errorf("%q is not a number from %d to %d", s, least, most)
	}
	return n, nil
}

// parseRedundancy parses what redundancyText returns.
func parseRedundancy(s string) (int, error) {
	switch s {
	case "auto":
		return int(kcp.RedundancyAuto), nil
	case "off":
		return int(kcp.RedundancyOff), nil
	}
	n, err := parseCount(s, 1, 3)
	if err != nil {
		return 0, fmt.Errorf("%q is not auto, off, or a number from 1 to 3", s)
	}
	return n, nil
}

func redundancyText(r int) string {
	switch kcp.Redundancy(r) {
	case kcp.RedundancyAuto:
		return "auto"
	case kcp.RedundancyOff:
		return "off"
	}
	return strconv.Itoa(r)
}

func (s *settings) setNoDelay(value string) error {
	parts := strings.Split(value, ",")
	if len(parts) != 4 {
		return fmt.Errorf("%q is not four numbers as in 1,10,2,1", value)
	}
	var n [4]int
	for i, most := range []int{1, 5000, 64, 1} {
		var err error
		if n[i], err = parseCount(strings.TrimSpace(parts[i]), 0, most); err != nil {
			return err
		}
	}
	if n[1] < 10 {
		return fmt.Errorf("the interval is %d ms, want 10 to 5000", n[1])
	}
	s.NoDelay, s.Interval, s.FastResend, s.NoCongestion = n[0] == 1, n[1], n[2], n[3] == 1
	return nil
}

func (s *settings) setFEC(value string) error {
	if s.FECAuto = value == "auto"; s.FECAuto || value == "0" || value == "none" {
		value = "0/0"
	}
	d, p, ok := strings.Cut(value, "/")
	data, err1 := strconv.Atoi(d)
	parity, err2 := strconv.Atoi(p)
	if !ok || err1 != nil || err2 != nil {
		return fmt.Errorf("%q is not two numbers as in 10/3", value)
	}
	s.DataShards, s.ParityShards = data, parity
	return s.checkFEC()
}

// parse changes settings by a text such as "window=256 fec=10/3".
func (s *settings) parse(text string) error {
	for _, field := range strings.Fields(text) {
		key, value, ok := strings.Cut(field, "=")
		if !ok {
			return fmt.Errorf("%q has no value: want key=value", field)
		}
		if err := s.set(key, value); err != nil {
			return err
		}
	}
	return s.check()
}

// check returns an error that names the first setting out of its range. What a client sends is
// checked with it too.
func (s *settings) check() error {
	for _, f := range []struct {
		name               string
		value, least, most int
	}{
		{"sndwnd", s.SendWindow, 1, 65535}, {"rcvwnd", s.ReceiveWindow, 1, 65535}, {"mtu", s.MTU, 100, 1500},
		{"interval", s.Interval, 10, 5000}, {"resend", s.FastResend, 0, 64}, {"dup", s.Dup, 0, 16},
		{"redundancy", s.Redundancy, int(kcp.RedundancyOff), 3},
	} {
		if f.value < f.least || f.value > f.most {
			return fmt.Errorf("%s is %d, want %d to %d", f.name, f.value, f.least, f.most)
		}
	}
	if err := s.checkFEC(); err != nil {
		return err
	}
	if err := s.checkControl(); err != nil {
		return fmt.Errorf("cc: %w", err)
	}
	if s.Bandwidth != 0 && (s.Bandwidth < 8000 || s.Bandwidth > 32e9) {
		return fmt.Errorf("bandwidth is %d bit/s, want 8kbit to 32Gbit", s.Bandwidth)
	}
	if s.Control == string(kcp.CongestionFixed) && s.Bandwidth == 0 {
		return fmt.Errorf("cc %s needs a bandwidth", s.Control)
	}
	if s.Limit != 0 && (s.Limit < 8000 || s.Limit > 32e9) {
		return fmt.Errorf("limit is %d bit/s, want 8kbit to 32Gbit", s.Limit)
	}
	return nil
}

func (s *settings) checkFEC() error {
	if d, p := s.DataShards, s.ParityShards; (d != 0 || p != 0) && (d < 1 || p < 1 || d+p > 256) {
		return fmt.Errorf("fec is %d/%d, want two numbers from 1 up, together at most 256", d, p)
	}
	return nil
}

func (s *settings) checkControl() error {
	if s.Control != "" && !slices.Contains(controlNames(), s.Control) {
		return fmt.Errorf("%q is none of %s", s.Control, strings.Join(controlNames(), ", "))
	}
	return nil
}

// controlNames returns the names of the library's controllers.
func controlNames() (names []string) {
	for _, cc := range []kcp.CongestionControl{
		kcp.CongestionRate, kcp.CongestionRateAggressive, kcp.CongestionCubic, kcp.CongestionClassic, kcp.CongestionFixed,
		kcp.CongestionOff,
	} {
		names = append(names, string(cc))
	}
	return names
}

// config returns what the dialling end is made with.
func (s *settings) config(block kcp.BlockCrypt) *kcp.Config {
	c := baseConfig(block)
	c.SendWindow, c.ReceiveWindow, c.MTU = s.SendWindow, s.ReceiveWindow, s.MTU
	if !s.PathMTU {
		c.MTUDiscovery = kcp.MTUDiscoveryOff
	}
	c.NoDelay, c.Interval = s.NoDelay, time.Duration(s.Interval)*time.Millisecond
	c.FastResend, c.NoCongestionControl = s.FastResend, s.NoCongestion
	c.CongestionControl, c.Bandwidth = kcp.CongestionControl(s.Control), s.Bandwidth/8
	c.DataShards, c.ParityShards = s.DataShards, s.ParityShards
	if s.FECAuto {
		c.FEC = kcp.FECAuto
	}
	c.Redundancy = kcp.Redundancy(s.Redundancy)
	c.StreamMode, c.ACKNoDelay, c.WriteDelay = !s.Message, s.ACKNoDelay, s.WriteDelay
	return c
}

// apply configures an accepted session. Its listener does not know the settings; the client sends
// them.
func (s *settings) apply(sess *kcp.UDPSession) error {
	sess.SetWindowSize(s.SendWindow, s.ReceiveWindow)
	if !s.PathMTU && !sess.SetMtu(s.MTU) { // which ends the search
		return fmt.Errorf("mtu %d leaves no room for data", s.MTU)
	}
	noDelay, noCongestion := 0, 0
	if s.NoDelay {
		noDelay = 1
	}
	if s.NoCongestion {
		noCongestion = 1
	}
	sess.SetNoDelay(noDelay, s.Interval, s.FastResend, noCongestion)
	if s.Bandwidth > 0 {
		if err := sess.SetBandwidth(s.Bandwidth / 8); err != nil {
			return err
		}
	}
	if s.Control != "" {
		if err := sess.SetCongestionControl(kcp.CongestionControl(s.Control)); err != nil {
			return err
		}
	}
	if err := sess.SetRedundancy(kcp.Redundancy(s.Redundancy)); err != nil {
		return err
	}
	sess.SetStreamMode(!s.Message)
	sess.SetACKNoDelay(s.ACKNoDelay)
	sess.SetWriteDelay(s.WriteDelay)
	s.applyRest(sess)
	return sess.SetFEC(s.DataShards, s.ParityShards)
}

// applyRest sets up what a Config does not.
func (s *settings) applyRest(sess *kcp.UDPSession) {
	sess.SetDUP(s.Dup)
	sess.SetRateLimit(uint32(min(s.Limit/8, 1<<32-1)))
}

// String returns the settings as parse takes them, without those that are off.
func (s settings) String() string {
	digit := map[bool]int{true: 1}
	text := fmt.Sprintf("nodelay=%d,%d,%d,%d", digit[s.NoDelay], s.Interval, s.FastResend, digit[s.NoCongestion])
	if s.Control != "" {
		text += " cc=" + s.Control
	}
	if s.Bandwidth > 0 {
		text += fmt.Sprintf(" bandwidth=%dbit", s.Bandwidth)
	}
	if s.SendWindow == s.ReceiveWindow {
		text += fmt.Sprintf(" window=%d", s.SendWindow)
	} else {
		text += fmt.Sprintf(" sndwnd=%d rcvwnd=%d", s.SendWindow, s.ReceiveWindow)
	}
	text += fmt.Sprintf(" mtu=%d", s.MTU)
	if s.PathMTU {
		text += " pathmtu=1"
	}
	if s.DataShards > 0 {
		text += fmt.Sprintf(" fec=%d/%d", s.DataShards, s.ParityShards)
	}
	if s.FECAuto {
		text += " fec=auto"
	}
	if s.Redundancy != 0 {
		text += " redundancy=" + redundancyText(s.Redundancy)
	}
	if s.Message {
		text += " mode=message"
	}
	if s.ACKNoDelay {
		text += " acknodelay=1"
	}
	if s.WriteDelay {
		text += " writedelay=1"
	}
	if s.Dup > 0 {
		text += fmt.Sprintf(" dup=%d", s.Dup)
	}
	if s.Limit > 0 {
		text += fmt.Sprintf(" limit=%dbit", s.Limit)
	}
	return text
}

// Times of all kcpperf sessions. A peer that has gone is noticed by its silence.
const (
	deadTimeout = 10 * time.Second
	keepAlive   = 2 * time.Second
	idleTimeout = 15 * time.Second
)

// baseConfig configures the control sessions, and a listener's sessions until their settings
// arrive.
func baseConfig(block kcp.BlockCrypt) *kcp.Config {
	return &kcp.Config{
		BlockCrypt: block, StreamMode: true, SendWindow: 128, ReceiveWindow: 128,
		NoDelay: true, Interval: 10 * time.Millisecond, FastResend: 2, NoCongestionControl: true,
		DeadTimeout: deadTimeout, KeepAlive: keepAlive, IdleTimeout: idleTimeout,
	}
}
