// SPDX-License-Identifier: MIT

package main

import (
	"bytes"
	"io"
	"net"
	"sync"

	"github.com/klauspost/compress/zstd"
)

// zstdWindow is how far back a match may be. It bounds the memory of a connection, some 1 MiB for
// both directions, whatever a peer sends.
const zstdWindow = 256 << 10

var zstdEncoders = sync.Pool{New: func() any {
	e, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1), zstd.WithLowerEncoderMem(true),
		zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithWindowSize(zstdWindow))
	if err != nil {
		panic(err) // the options are constants
	}
	return e
}}

var zstdDecoders = sync.Pool{New: func() any {
	d, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true),
		zstd.WithDecoderMaxWindow(zstdWindow))
	if err != nil {
		panic(err) // the options are constants
	}
	return d
}}

// zstdStream compresses one stream: a zstd frame (RFC 8878) in each direction, which is flushed
// with each Write. Read and Write may be called concurrently with each other and with close.
type zstdStream struct {
	readMu  sync.Mutex // guards decoder
	decoder *zstd.Decoder

	writeMu sync.Mutex // guards what follows
	encoder *zstd.Encoder
	out     bytes.Buffer // so that a Write becomes one of the session
	dst     io.Writer
}

func newZstdStream(rw io.ReadWriter) (*zstdStream, error) {
	z := &zstdStream{dst: rw,
		decoder: zstdDecoders.Get().(*zstd.Decoder), encoder: zstdEncoders.Get().(*zstd.Encoder)}
	z.encoder.Reset(&z.out)
	return z, z.decoder.Reset(rw)
}

func (z *zstdStream) Read(p []byte) (int, error) {
	z.readMu.Lock()
	defer z.readMu.Unlock()
	if z.decoder == nil {
		return 0, net.ErrClosed
	}
	return z.decoder.Read(p)
}

func (z *zstdStream) Write(p []byte) (int, error) {
	z.writeMu.Lock()
	defer z.writeMu.Unlock()
	if z.encoder == nil {
		return 0, net.ErrClosed
	}
	if _, err := z.encoder.Write(p); err != nil {
		return 0, err
	}
	if err := z.encoder.Flush(); err != nil {
		return 0, err
	}
	if err := z.drain(); err != nil {
		return 0, err
	}
	return len(p), nil
}

// drain sends what the encoder has produced. z.writeMu must be held.
func (z *zstdStream) drain() error {
	_, err := z.dst.Write(z.out.Bytes())
	z.out.Reset()
	return err
}

// closeWrite ends the frame, so that the peer can tell the end from a loss of the rest. It does
// nothing while a Write waits, and when it is called again.
func (z *zstdStream) closeWrite() error {
	if !z.writeMu.TryLock() {
		return nil
	}
	defer z.writeMu.Unlock()
	if z.encoder == nil {
		return nil
	}
	err := z.encoder.Close()
	if err == nil {
		err = z.drain()
	}
	z.releaseEncoder()
	return err
}

// close releases the memory. The session must be closed before, so that no Read waits.
func (z *zstdStream) close() {
	z.readMu.Lock()
	if z.decoder != nil {
		_ = z.decoder.Reset(nil)
		zstdDecoders.Put(z.decoder)
		z.decoder = nil
	}
	z.readMu.Unlock()
	z.writeMu.Lock()
	z.releaseEncoder()
	z.writeMu.Unlock()
}

// releaseEncoder is called with z.writeMu held.
func (z *zstdStream) releaseEncoder() {
	if z.encoder != nil {
		z.encoder.Reset(nil)
		zstdEncoders.Put(z.encoder)
		z.encoder = nil
	}
}
