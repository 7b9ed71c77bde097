// SPDX-License-Identifier: MIT

package main

import (
	"io"
	"log/slog"
	"os"

	"github.com/xtaci/qpp"
)

// logger returns the log that the settings ask for, and a function that closes it.
func (s *settings) logger(stderr io.Writer) (*slog.Logger, func(), error) {
	level := slog.LevelDebug
	if s.quiet {
		level = slog.LevelInfo
	}
	closeLog := func() {}
	if s.log != "" {
		f, err := os.OpenFile(s.log, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
		if err != nil {
			return nil, nil, err
		}
		stderr, closeLog = f, func() { _ = f.Close() }
	}
	return slog.New(slog.NewTextHandler(stderr, &slog.HandlerOptions{Level: level})), closeLog, nil
}

// qppBits is the size of QPP's permutations: of bytes.
const qppBits = 8

// warnings are about settings that work, but not as their user may expect.
func (s *settings) warnings() []string {
	var w []string
	if s.key == defaultKey {
		w = append(w, "the key is the default that everybody knows: set -key, or "+keyVariable)
	}
	if s.crypt == "null" || s.crypt == "none" || s.crypt == "xor" {
		w = append(w, "crypt "+s.crypt+" does not encrypt: everybody on the path can read the packets")
	}
	if s.qpp && len(s.key) < qpp.QPPMinimumSeedLength(qppBits) {
		w = append(w, "the key is too short for QPP")
	}
	if s.qpp && int(s.qppCount) < qpp.QPPMinimumPads(qppBits) {
		w = append(w, "QPPCount is too small for QPP")
	}
	return w
}
