// SPDX-License-Identifier: MIT

package main

import (
	"bytes"
	"io"
	"sync"

	"github.com/klauspost/compress/s2"
)

const (
	snappyBlock = 64 << 10 // bytes of the largest block in the framed format of snappy
	snappyUsual = 16 << 10 // bytes in which an smux frame of the default size fits
)

// snappyConn compresses what a session carries, in the framed format of snappy. Each Write is
// complete at the peer without a later one.
//
// Package s2 writes and reads that format. It is in the module that has zstd too, is 1.6 times as
// fast at writing text as github.com/golang/snappy, 1.25 times at reading, and as good within 3 %.
type snappyConn struct {
	*sessionConn
	reader *s2.Reader

	mu     sync.Mutex // guards the following
	buf    bytes.Buffer
	writer *s2.Writer // into buf
}

func newSnappyConn(conn *sessionConn) *snappyConn {
	c := &snappyConn{
		sessionConn: conn,
		reader: s2.NewReader(conn,
			s2.ReaderMaxBlockSize(snappyBlock), s2.ReaderAllocBlock(snappyUsual)),
	}
	c.writer = s2.NewWriter(&c.buf,
		s2.WriterSnappyCompat(), s2.WriterConcurrency(1), s2.WriterBlockSize(snappyUsual))
	return c
}

func (c *snappyConn) Read(p []byte) (int, error) {
	return c.reader.Read(p)
}

func (c *snappyConn) Write(p []byte) (int, error) {
	return c.write(p)
}

// WriteBuffers compresses the slices of v as one Write.
func (c *snappyConn) WriteBuffers(v [][]byte) (int, error) {
	return c.write(v...)
}

func (c *snappyConn) write(v ...[]byte) (n int, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.buf.Reset()
	for _, p := range v {
		if _, err := c.writer.Write(p); err != nil {
			return 0, err
		}
		n += len(p)
	}
	if err := c.writer.Flush(); err != nil {
		return 0, err
	}
	if _, err := c.sessionConn.Write(c.buf.Bytes()); err != nil {
		return 0, err
	}
	return n, nil
}

var _ io.ReadWriteCloser = (*snappyConn)(nil)
