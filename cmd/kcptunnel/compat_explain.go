// SPDX-License-Identifier: MIT

package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"log/slog"

	"github.com/klauspost/compress/s2"
)

// snappyStart is how every stream in the framed format of snappy begins.
var snappyStart = []byte("\xff\x06\x00\x00sNaPpY")

// dialect is what the first bytes of a session show about the end that has sent them.
type dialect struct {
	snappy bool
	smux   int // version, or 0 if the bytes are not smux's
}

// dialectOf returns what the first bytes of a session show. For those of a tunnel in its own mode,
// and of other programs, that is the zero value.
func dialectOf(first []byte) dialect {
	// Without compression smux has read no more than the header of a frame.
	start := first[:min(len(first), len(snappyStart))]
	d := dialect{snappy: len(start) >= snappyShows && bytes.HasPrefix(snappyStart, start)}
	if d.snappy {
		plain := make([]byte, smuxShows)
		r := s2.NewReader(bytes.NewReader(first),
			s2.ReaderMaxBlockSize(snappyBlock), s2.ReaderAllocBlock(1<<10))
		n, _ := io.ReadFull(r, plain)
		first = plain[:n]
	}
	if len(first) >= smuxShows && first[0] >= 1 && first[0] <= 2 && first[1] <= smuxLastCommand {
		d.smux = int(first[0])
	}
	return d
}

const (
	snappyShows     = 4 // bytes: type and length of the first chunk
	smuxShows       = 2 // bytes: version and command
	smuxLastCommand = 4
)

// explain returns why a session has ended that this end did not close, for the log. The other end
// may be configured in another way. err is that of smux.
func (c *compatSession) explain(s *settings, err error) (reason string, level slog.Level) {
	first, read := c.conn.seen()
	switch {
	case errors.Is(err, io.ErrClosedPipe):
		err = errSilentPeer // smux has closed the session
	case read != nil:
		err = read
	}
	if len(first) == 0 {
		return fmt.Sprintf("nothing was received: %v. Check that compat, nocomp, smuxver and QPP "+
			"are the same at both ends", err), slog.LevelError
	}
	if reason := s.mismatch(dialectOf(first)); reason != "" {
		return reason, slog.LevelError
	}
	if errors.Is(err, errEnded) {
		return err.Error(), slog.LevelInfo
	}
	return err.Error(), slog.LevelWarn
}

// errSilentPeer is the end of a session by smux's keepalive.
var errSilentPeer = errors.New("the other end was silent for longer than keepalive allows")

// mismatch returns how the other end, which speaks a dialect, differs from the settings, or "".
func (s *settings) mismatch(d dialect) string {
	const mustBeSame = "must be the same at both ends"
	switch {
	case d.snappy && s.noComp:
		return "the other end compresses: nocomp " + mustBeSame
	case d.smux != 0 && !d.snappy && !s.noComp:
		return "the other end does not compress: nocomp " + mustBeSame
	case d.smux != 0 && d.smux != int(s.smuxVersion):
		return fmt.Sprintf("the other end has smuxver %d, and this one %d: it %s",
			d.smux, s.smuxVersion, mustBeSame)
	case d == dialect{}:
		return "the other end does not speak as the archived tunnel does: compat " + mustBeSame
	}
	return ""
}
