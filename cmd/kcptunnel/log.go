// SPDX-License-Identifier: MIT

package main

import (
	"fmt"
	"io"
	"log/slog"
	"os"

	"github.com/xtaci/qpp"
)

// logger returns the log that the settings ask for, and a function that closes it.
func (s *settings) logger(stderr io.Writer) (*slog.Logger, func(), error) {
	closeLog := func() {}
	if s.log != "" {
		f, err := os.OpenFile(s.log, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
		if err != nil {
			return nil, nil, err
		}
		stderr, closeLog = f, func() { _ = f.Close() }
	}
	options := &slog.HandlerOptions{Level: s.level}
	if s.logFormat == "json" {
		return slog.New(slog.NewJSONHandler(stderr, options)), closeLog, nil
	}
	return slog.New(slog.NewTextHandler(stderr, options)), closeLog, nil
}

// checkLog returns what is wrong with the settings of the log, and sets its level.
func (s *settings) checkLog() error {
	if s.logFormat != "text" && s.logFormat != "json" {
		return fmt.Errorf("log-format %q: want text or json", s.logFormat)
	}
	level := slog.LevelDebug
	if s.quiet {
		level = slog.LevelInfo
	}
	switch s.logLevel {
	case "":
	case "debug", "info", "warn", "error":
		_ = level.UnmarshalText([]byte(s.logLevel)) // it is one of its names
	default:
		return fmt.Errorf("log-level %q: want debug, info, warn or error", s.logLevel)
	}
	s.level.Set(level)
	return nil
}

// qppBits is the size of QPP's permutations: of bytes.
const qppBits = 8

// warnings are about settings that work, but not as their user may expect.
func (s *settings) warnings() []string {
	var w []string
	if !s.compat {
		return s.ownWarnings()
	}
	if s.key == defaultKey {
		w = append(w, "the key is the default that everybody knows: set -key, or "+keyVariable)
	}
	if s.crypt == "null" || s.crypt == "none" || s.crypt == "xor" {
		w = append(w, "crypt "+s.crypt+" does not encrypt: everybody on the path can read all")
	}
	if s.qpp && len(s.key) < qpp.QPPMinimumSeedLength(qppBits) {
		w = append(w, "the key is too short for QPP")
	}
	if s.qpp && int(s.qppCount) < qpp.QPPMinimumPads(qppBits) {
		w = append(w, "QPPCount is too small for QPP")
	}
	return w
}
