// SPDX-License-Identifier: MIT

package main

import (
	"fmt"
	"io"
	"os"
	"time"
	"unicode/utf8"
)

// progress shows how far a transfer is: one line drawn over and over on a
// terminal, a line now and then elsewhere.
type progress struct {
	w        io.Writer
	terminal bool
	every    time.Duration
	width    int // of the line on the terminal
}

func newProgress(w io.Writer) *progress {
	if isTerminal(w) {
		return &progress{w: w, terminal: true, every: 100 * time.Millisecond}
	}
	return &progress{w: w, every: 2 * time.Second}
}

func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}

// start shows c's progress until the function it returns is called.
func (p *progress) start(c *client) (stop func()) {
	quit := make(chan struct{})
	done := make(chan struct{})
	start := time.Now()
	go func() {
		defer close(done)
		ticker := time.NewTicker(p.every)
		defer ticker.Stop()
		for {
			select {
			case <-ticker.C:
				p.show(c.progressLine(time.Since(start)))
			case <-quit:
				p.finish()
				return
			}
		}
	}()
	return func() {
		close(quit)
		<-done
	}
}

// show prints line, over the last one if it can.
func (p *progress) show(line string) {
	if !p.terminal {
		fmt.Fprintln(p.w, line)
		return
	}
	// The padding wipes out the rest of a longer line.
	fmt.Fprintf(p.w, "\r%-*s", p.width, line)
	p.width = utf8.RuneCountInString(line)
}

// finish leaves the terminal with an empty line to go on from.
func (p *progress) finish() {
	if p.terminal && p.width > 0 {
		fmt.Fprintf(p.w, "\r%*s\r", p.width, "")
	}
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
		percent, formatBytes(c.size), megabytesPerSecond(received, elapsed),
		formatRTT(st.SRTT), retransmits(st))
}
