// SPDX-License-Identifier: MIT

package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/seedkcp/kcp"
	"github.com/seedkcp/kcp/examples/internal/progress"
)

// client streams one source to a server and takes the echo. Of its methods
// only fail, stats and the counters may be used by several goroutines.
type client struct {
	sess    *kcp.UDPSession
	addr    string
	size    int64
	timeout time.Duration

	sent, received atomic.Int64

	failOnce sync.Once
	failed   error // read when both directions are over
}

func dialClient(addr string, timeout time.Duration, size int64) (*client, error) {
	sess, err := kcp.DialWithOptions(addr, nil, 0, 0)
	if err != nil {
		return nil, fmt.Errorf("cannot dial %s: %w", addr, err)
	}
	tune(sess)
	return &client{sess: sess, addr: addr, size: size, timeout: timeout}, nil
}

// transfer streams src and reads the echo at the same time, and closes the
// session. It may be called once.
func (c *client) transfer(src io.Reader, p *progress.Line) (*result, error) {
	defer c.sess.Close()
	stop := p.Start(c.progressLine)
	defer stop()

	res := &result{size: c.size}
	start := time.Now()
	var sending sync.WaitGroup
	sending.Go(func() {
		sum, err := c.send(src)
		if err != nil {
			c.fail(err)
		}
		res.sentSum, res.out = sum, time.Since(start)
	})
	sum, back, err := c.receive()
	if err != nil {
		c.fail(err)
	}
	sending.Wait()
	if c.failed != nil {
		return nil, c.failed
	}
	res.sum, res.back, res.total = sum, back, time.Since(start)
	res.stats = c.sess.Stats()
	// Without this byte the server waits for its timeout, which does no harm.
	c.sess.Write([]byte{0})
	return res, nil
}

// fail keeps the error that came first and closes the session, which ends the
// other direction.
func (c *client) fail(err error) {
	c.failOnce.Do(func() {
		c.failed = err
		c.sess.Close()
	})
}

// send writes the header and size bytes of src, and returns their SHA-256.
func (c *client) send(src io.Reader) ([]byte, error) {
	if _, err := c.sess.Write(c.header()); err != nil {
		return nil, fmt.Errorf("sending to %s: %w", c.addr, err)
	}
	sum := sha256.New()
	buf := make([]byte, bufferSize)
	for left := c.size; left > 0; {
		n, err := io.ReadFull(src, buf[:min(bufferSize, left)])
		if err != nil {
			return nil, fmt.Errorf("reading what is to be streamed: %w", err)
		}
		sum.Write(buf[:n])
		if _, err := c.sess.Write(buf[:n]); err != nil {
			return nil, fmt.Errorf("sending to %s: %w", c.addr, err)
		}
		c.sent.Add(int64(n))
		left -= int64(n)
	}
	return sum.Sum(nil), nil
}

// receive reads the header and size bytes, and returns the SHA-256 of the
// bytes and the time they took.
func (c *client) receive() ([]byte, time.Duration, error) {
	buf := make([]byte, bufferSize)
	header := buf[:headerSize]
	if err := c.readFull(header); err != nil {
		return nil, 0, err
	}
	if !bytes.Equal(header, c.header()) {
		return nil, 0, fmt.Errorf("what answers at %s is no echo server", c.addr)
	}
	start := time.Now()
	sum := sha256.New()
	for left := c.size; left > 0; {
		n, err := c.read(buf[:min(bufferSize, left)])
		if err != nil {
			return nil, 0, err
		}
		sum.Write(buf[:n])
		c.received.Add(int64(n))
		left -= int64(n)
	}
	return sum.Sum(nil), time.Since(start), nil
}

func (c *client) header() []byte {
	return binary.BigEndian.AppendUint64(nil, uint64(c.size))
}

func (c *client) readFull(buf []byte) error {
	for len(buf) > 0 {
		n, err := c.read(buf)
		if err != nil {
			return err
		}
		buf = buf[n:]
	}
	return nil
}

// read is the session's Read with the timeout, and with an error that helps the user.
func (c *client) read(buf []byte) (int, error) {
	c.sess.SetReadDeadline(time.Now().Add(c.timeout))
	n, err := c.sess.Read(buf)
	switch {
	case n > 0 || err == nil:
		return n, nil
	case errors.Is(err, os.ErrDeadlineExceeded) && c.received.Load() == 0:
		return 0, fmt.Errorf("no answer from %s within %v: is an echo server running there?", c.addr, c.timeout)
	case errors.Is(err, os.ErrDeadlineExceeded):
		err = fmt.Errorf("silent for %v", c.timeout)
	}
	return 0, fmt.Errorf("receiving from %s, after %d of %d bytes: %w", c.addr, c.received.Load(), c.size, err)
}

// progressLine fits a terminal of 80 columns.
func (c *client) progressLine(elapsed time.Duration) string {
	st := c.sess.Stats()
	received := c.received.Load()
	percent := int64(100)
	if c.size > 0 {
		percent = received * 100 / c.size
	}
	return fmt.Sprintf("%3d %% of %s  %.1f MB/s  RTT %s  %d segments sent again",
		percent, progress.Bytes(c.size), progress.Rate(received, elapsed),
		formatRTT(st.SRTT), retransmits(st))
}
