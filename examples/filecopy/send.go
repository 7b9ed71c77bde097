// SPDX-License-Identifier: MIT

package main

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	"github.com/seedkcp/kcp"
	"github.com/seedkcp/kcp/examples/internal/progress"
)

// sendFiles sends one file after the other, all of them even if one fails.
func sendFiles(ctx context.Context, config *kcp.Config, opts *options, stdout io.Writer) error {
	var failed []error
	for _, path := range opts.files {
		err := sendFile(ctx, config, opts, path, stdout)
		if ctx.Err() != nil {
			return errors.New("interrupted; start it again to go on")
		}
		if err != nil {
			failed = append(failed, fmt.Errorf("%s: %w", path, err))
		}
	}
	return errors.Join(failed...)
}

func sendFile(ctx context.Context, config *kcp.Config, opts *options, path string, stdout io.Writer) error {
	f, o, err := openOffer(path)
	if err != nil {
		return err
	}
	defer f.Close()

	dialing, cancel := context.WithTimeout(ctx, opts.timeout)
	defer cancel()
	sess, err := config.Dial(dialing, opts.dial)
	if errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("no answer from %s within %v: is a receiver running there, with the same key?", opts.dial, opts.timeout)
	}
	if err != nil {
		return err
	}
	defer sess.Close()
	stop := context.AfterFunc(ctx, func() { sess.Close() })
	defer stop()
	return send(patient{sess, opts.timeout}, f, o, stdout)
}

// openOffer opens the file and reads it through once, for its SHA-256.
func openOffer(path string) (*os.File, *offer, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, nil, err
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = errors.New("not a regular file")
	}
	o := &offer{name: filepath.Base(path)}
	if err == nil {
		o.size = info.Size()
		err = checkName(o.name)
	}
	if err == nil {
		h := sha256.New()
		_, err = io.Copy(h, io.LimitReader(f, o.size))
		h.Sum(o.sum[:0])
	}
	if err != nil {
		f.Close()
		return nil, nil, err
	}
	return f, o, nil
}

// send makes the offer, sends what the receiver does not have, and waits until the receiver has
// confirmed all.
func send(sess patient, f *os.File, o *offer, stdout io.Writer) error {
	if _, err := sess.Write(o.append(nil)); err != nil {
		return err
	}
	offset, err := readVerdict(sess, verdictGoOn)
	if err != nil {
		return err
	}
	if offset < 0 || offset > o.size {
		return fmt.Errorf("the receiver asks for the bytes from %d on, and there are %d", offset, o.size)
	}
	if offset > 0 {
		fmt.Fprintf(stdout, "%s: going on from %s\n", o.name, progress.Bytes(offset))
	}

	var sent atomic.Int64
	sent.Store(offset)
	start := time.Now()
	stop := progress.New(stdout).Start(func(elapsed time.Duration) string {
		return fmt.Sprintf("%s %s %.1f MB/s", o.name, progress.Bar(sent.Load(), o.size, 30), progress.Rate(sent.Load()-offset, elapsed))
	})
	err = transfer(sess, io.NewSectionReader(f, offset, o.size-offset), &sent)
	stop()
	if err != nil {
		return fmt.Errorf("after %s of %s: %w", progress.Bytes(sent.Load()), progress.Bytes(o.size), err)
	}
	fmt.Fprintf(stdout, "%s: %s, %.1f MB/s, SHA-256 %x\n", o.name, progress.Bytes(o.size), progress.Rate(o.size-offset, time.Since(start)), o.sum)
	return nil
}

// transfer sends r and waits for the last verdict at the same time: the
// receiver may refuse while bytes still flow, because its disk is full.
// Whichever direction fails first ends the other one.
func transfer(sess patient, r io.Reader, sent *atomic.Int64) error {
	// The pump's deadlines end a transfer that stands still; its last one is
	// for the verdict.
	sess.SetReadDeadline(time.Time{})
	pumped := make(chan error, 1)
	go func() {
		err := pump(sess, r, sent)
		if err != nil {
			sess.abort()
		}
		pumped <- err
	}()
	_, err := readVerdict(sess.UDPSession, verdictStored)
	if err != nil {
		sess.abort()
	}
	if pumpErr := <-pumped; errors.Is(err, net.ErrClosed) && pumpErr != nil {
		return pumpErr
	}
	return err
}

// pump sends all of r and ends the stream.
func pump(sess patient, r io.Reader, sent *atomic.Int64) error {
	buf := make([]byte, chunk)
	for {
		n, err := r.Read(buf)
		if n > 0 {
			if _, err := sess.Write(buf[:n]); err != nil {
				return err
			}
			sent.Add(int64(n))
		}
		if err == io.EOF {
			break
		}
		if err != nil {
			return err
		}
	}
	if err := sess.CloseWrite(); err != nil {
		return err
	}
	// The rest of the time is for the receiver, which writes to its disk.
	return sess.SetReadDeadline(time.Now().Add(3 * sess.timeout))
}
