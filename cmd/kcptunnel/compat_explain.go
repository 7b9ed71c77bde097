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
	d := dialect{snappy: bytes.HasPrefix(first, snappyStart)}
	if d.snappy {
		plain := make([]byte, smuxShows)
		r := s2.NewReader(bytes.NewReader(first),
			s2.ReaderMaxBlockSize(snappyBlock), s2.ReaderAllocBlock(len(first)))
		n, _ := io.ReadFull(r, plain)
		first = plain[:n]
	}
	if len(first) >= smuxShows && first[0] >= 1 && first[0] <= 2 && first[1] <= smuxLastCommand {
		d.smux = int(first[0])
	}
	return d
}

const (
	smuxShows       = 2 // bytes: version and command
	smuxLastCommand = 4
)

// explain returns why a session has ended, for the log: the other end may be configured in another
// way. err is that of smux.
func (c *compatSession) explain(s *settings, err error) (reason string, level slog.Level) {
	first, read := c.conn.seen()
	switch d := dialectOf(first); {
	case len(first) == 0 && read != nil:
		return fmt.Sprintf("nothing was received: %v. Check that compat, nocomp, smuxver and QPP are "+
			"the same at both ends", read), slog.LevelError
	case len(first) == 0:
	case d.snappy && s.noComp:
		return "the other end compresses: nocomp must be the same at both ends", slog.LevelError
	case d.smux != 0 && !d.snappy && !s.noComp:
		return "the other end does not compress: nocomp must be the same at both ends",
			slog.LevelError
	case d.smux != 0 && d.smux != int(s.smuxVersion):
		return fmt.Sprintf("the other end has smuxver %d, and this one %d: they must be the same",
			d.smux, s.smuxVersion), slog.LevelError
	case d == dialect{}:
		return "the other end does not speak as the archived tunnel does: compat must be the same " +
			"at both ends", slog.LevelError
	}
	if read != nil && !errors.Is(read, errEnded) {
		return read.Error(), slog.LevelWarn
	}
	if read != nil {
		return errEnded.Error(), slog.LevelInfo
	}
	return err.Error(), slog.LevelWarn
}
