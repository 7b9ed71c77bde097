// SPDX-License-Identifier: MIT

package kcp

import (
	"bufio"
	"io"
	"time"
)

// A tracer writes the trace of one session, on a goroutine of its own. It knows the session's
// traceLog alone.
type tracer struct {
	log   *traceLog
	out   *bufio.Writer
	buf   []byte // an event
	timer *time.Timer
}

const (
	// traceGather is how long a tracer waits for more once there is something to write.
	traceGather = 20 * time.Millisecond
	// traceIdle is how long a tracer waits before it releases memory.
	traceIdle = time.Second
	// traceBuffer is the size of the largest write.
	traceBuffer = 32 << 10
)

// traceTarget returns where a trace is written, nil for nowhere.
type traceTarget func(info TraceInfo) io.WriteCloser

// runTracer writes the trace of log until it ends. It is called on a goroutine of its own.
func runTracer(log *traceLog, open traceTarget, info TraceInfo, set *traceSettings) {
	w := open(info)
	if isNil(w) {
		log.fail(nil)
		return
	}
	t := &tracer{
		log: log, out: bufio.NewWriterSize(w, traceBuffer), timer: time.NewTimer(traceIdle),
	}
	defer t.timer.Stop()
	t.put(appendTraceHeader(t.buf[:0], &info))
	t.put(appendTraceParameters(t.buf[:0], &info, set))
	err := t.write()
	if cerr := w.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		log.fail(err)
	}
}

// write writes events until the trace ends or its writer fails.
func (t *tracer) write() error {
	for {
		for records := t.log.batch(); len(records) > 0; records = t.log.batch() {
			for i := range records {
				t.put(appendTraceRecord(t.buf[:0], &records[i]))
			}
		}
		if err := t.out.Flush(); err != nil {
			return err
		}
		if t.log.over() {
			return nil
		}
		t.wait()
	}
}

// put writes an event. bufio.Writer keeps the first error for Flush.
func (t *tracer) put(event []byte) {
	_, _ = t.out.Write(event)
	t.buf = event
}

// wait waits until there is something to write, and a little longer.
func (t *tracer) wait() {
	if t.log.sleeps() {
		t.timer.Reset(traceIdle)
		select {
		case <-t.log.wake:
		case <-t.timer.C:
			t.log.trim()
			<-t.log.wake
		}
	}
	if t.log.wakes() {
		t.timer.Reset(traceGather)
		select {
		case <-t.log.wake:
		case <-t.timer.C:
		}
	}
}

// plainTarget returns a target that writes to w. It closes w if that can be closed.
func plainTarget(w io.Writer) traceTarget {
	return func(TraceInfo) io.WriteCloser {
		if wc, ok := w.(io.WriteCloser); ok {
			return wc
		}
		return unclosed{w}
	}
}

// unclosed is a writer without Close.
type unclosed struct{ io.Writer }

func (unclosed) Close() error { return nil }
