// SPDX-License-Identifier: MIT

package main

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"time"
)

// A message of the echo test:
//
//	0        8        16
//	| number | due    | filling ... |
//
// both big-endian; due is when it was to be sent, in ns since the start. It goes back as it came.

var errEcho = errors.New("what came back is not what was sent")

// ask sends messages until the time is up: at the plan's rate, whatever comes back, or each when
// the one before is back. A message that has to wait for its turn, because the window is full,
// counts from when it was due.
func (e *engine) ask(ctx context.Context, s *end, returned <-chan struct{}) error {
	msg := make([]byte, e.plan.Length)
	for i := range msg {
		msg[i] = byte(i)
	}
	timer := time.NewTimer(0)
	defer timer.Stop()
	<-timer.C
	for i := uint64(0); ; i++ {
		due := time.Since(e.start)
		if e.plan.Rate > 0 {
			due = time.Duration(float64(i) / e.plan.Rate * float64(time.Second))
			timer.Reset(due - time.Since(e.start))
			select {
			case <-timer.C:
			case <-ctx.Done():
				return nil
			}
		}
		if ctx.Err() != nil || due >= e.plan.duration() {
			return nil
		}
		binary.BigEndian.PutUint64(msg, i)
		binary.BigEndian.PutUint64(msg[8:], uint64(due))
		e.asked.Add(1)
		if _, err := s.sess.Write(msg); err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return err
		}
		if e.plan.Rate == 0 {
			select {
			case <-returned:
			case <-ctx.Done():
				return nil
			}
		}
	}
}

// takeAnswers reads the messages that come back, and signals each.
func (e *engine) takeAnswers(s *end, returned chan<- struct{}) error {
	msg := make([]byte, e.plan.Length)
	for i := uint64(0); ; i++ {
		if _, err := io.ReadFull(s.in, msg); err != nil {
			return err
		}
		now := time.Since(e.start)
		e.read.Add(uint64(len(msg)))
		due := time.Duration(binary.BigEndian.Uint64(msg[8:]))
		if binary.BigEndian.Uint64(msg) != i || due > now {
			return errEcho
		}
		for j := echoLeast; j < len(msg); j++ {
			if msg[j] != byte(j) {
				return errEcho
			}
		}
		e.echoMu.Lock()
		e.echo.record(now - due)
		e.echoMu.Unlock()
		e.answered.Add(1)
		select {
		case returned <- struct{}{}:
		default:
		}
	}
}

// answer sends back what comes until the session ends.
func (e *engine) answer(s *end) error {
	buf := make([]byte, echoMost)
	for {
		n, err := s.in.Read(buf)
		e.read.Add(uint64(n))
		if err != nil {
			return err
		}
		if _, err := s.sess.Write(buf[:n]); err != nil {
			return err
		}
	}
}
