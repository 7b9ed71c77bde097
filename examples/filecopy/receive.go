// SPDX-License-Identifier: MIT

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"

	"github.com/seedkcp/kcp"
	"github.com/seedkcp/kcp/examples/internal/progress"
)

// maxTransfers is how many files are received at a time; further senders are
// turned away.
const maxTransfers = 64

// receiver serves a directory. All of it may be used by several goroutines.
type receiver struct {
	listener *kcp.Listener
	store    *store
	timeout  time.Duration
	busy     sync.WaitGroup
	places   chan struct{} // one token for each transfer

	logMu sync.Mutex // guards log
	log   io.Writer
}

// receiveFiles stores what senders offer until ctx ends.
func receiveFiles(ctx context.Context, config *kcp.Config, opts *options, stdout io.Writer) error {
	st, err := openStore(opts.dir, opts.maxSize<<20)
	if err != nil {
		return err
	}
	defer st.close()
	listener, err := config.Listen(ctx, opts.listen)
	if err != nil {
		return err
	}
	r := &receiver{
		listener: listener, store: st, timeout: opts.timeout,
		places: make(chan struct{}, maxTransfers), log: stdout,
	}
	fmt.Fprintf(stdout, "receiving on %v into %s, stop it with Ctrl-C\n", listener.Addr(), opts.dir)
	stop := context.AfterFunc(ctx, func() { listener.Close() })
	defer stop()
	return r.serve(ctx)
}

func (r *receiver) serve(ctx context.Context) error {
	defer r.busy.Wait()
	defer r.listener.Close()
	for {
		sess, err := r.listener.AcceptKCP()
		if errors.Is(err, net.ErrClosed) && ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return fmt.Errorf("accept: %w", err)
		}
		p := patient{sess, r.timeout}
		select {
		case r.places <- struct{}{}:
			r.busy.Go(func() {
				defer func() { <-r.places }()
				stop := context.AfterFunc(ctx, p.abort)
				defer stop()
				r.handle(p)
			})
		default:
			p.abort()
		}
	}
}

// handle receives one file and reports the outcome to the sender and in the log.
func (r *receiver) handle(sess patient) {
	defer sess.Close()
	o, err := readOffer(sess)
	if err != nil {
		r.refuse(sess, "an offer", err)
		return
	}
	start := time.Now()
	offset, err := r.store.receive(sess, o)
	if err != nil {
		r.refuse(sess, fmt.Sprintf("%q", o.name), err)
		return
	}
	if _, err := sess.Write(verdict{kind: verdictStored, number: o.size}.append(nil)); err != nil {
		return
	}
	r.logf("stored %q, %s from %v, %.1f MB/s", o.name, progress.Bytes(o.size), sess.RemoteAddr(),
		progress.Rate(o.size-offset, time.Since(start)))
	r.part(sess)
}

// refuse sends the sender the reason, except for an error of the session itself.
func (r *receiver) refuse(sess patient, what string, err error) {
	r.logf("%s from %v: %v", what, sess.RemoteAddr(), err)
	if _, err := sess.Write(verdict{kind: verdictRefused, message: reason(err)}.append(nil)); err == nil {
		r.part(sess)
	}
}

// part ends the session after the peer has read the last verdict. Bytes on their way would be
// answered by a reset, which could overtake the verdict.
func (r *receiver) part(sess patient) {
	if sess.CloseWrite() != nil {
		return
	}
	sess.SetReadDeadline(time.Now().Add(r.timeout))
	io.Copy(io.Discard, sess.UDPSession)
}

func (r *receiver) logf(format string, args ...any) {
	r.logMu.Lock()
	defer r.logMu.Unlock()
	fmt.Fprintf(r.log, format+"\n", args...)
}
