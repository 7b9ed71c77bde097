// SPDX-License-Identifier: MIT

// Package progress shows the examples' users how far a transfer is: one line drawn over and over on
// a terminal, a line now and then elsewhere.
package progress

import (
	"fmt"
	"io"
	"os"
	"strings"
	"time"
	"unicode/utf8"
)

// Line is where progress is shown. It may be started again when it was stopped; it must not be used
// by several goroutines at once.
type Line struct {
	w        io.Writer
	terminal bool
	every    time.Duration
	width    int // of the line on the terminal
}

// New returns a Line on w: redrawn ten times a second if w is a terminal, rewritten every two
// seconds if not.
func New(w io.Writer) *Line {
	if isTerminal(w) {
		return &Line{w: w, terminal: true, every: 100 * time.Millisecond}
	}
	return &Line{w: w, every: 2 * time.Second}
}

func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}

// Start shows what text returns, which is told the time since the start, until the function that
// Start returns is called.
func (l *Line) Start(text func(elapsed time.Duration) string) (stop func()) {
	quit := make(chan struct{})
	done := make(chan struct{})
	start := time.Now()
	go func() {
		defer close(done)
		ticker := time.NewTicker(l.every)
		defer ticker.Stop()
		for {
			select {
			case <-ticker.C:
				l.show(text(time.Since(start)))
			case <-quit:
				l.finish()
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
func (l *Line) show(line string) {
	if !l.terminal {
		fmt.Fprintln(l.w, line)
		return
	}
	// The padding wipes out the rest of a longer line.
	fmt.Fprintf(l.w, "\r%-*s", l.width, line)
	l.width = utf8.RuneCountInString(line)
}

// finish leaves the terminal with an empty line to go on from.
func (l *Line) finish() {
	if l.terminal && l.width > 0 {
		fmt.Fprintf(l.w, "\r%*s\r", l.width, "")
	}
}

// Bar draws done of total as a bar of width characters, with its percentage behind.
func Bar(done, total int64, width int) string {
	share := 1.0
	if total > 0 {
		share = min(1, float64(done)/float64(total))
	}
	full := int(share * float64(width))
	return fmt.Sprintf("[%s%s] %3d %%", strings.Repeat("#", full), strings.Repeat("-", width-full), int(share*100))
}

// Bytes gives n in MiB, and in bytes where there is less than one.
func Bytes(n int64) string {
	const mebibyte = 1 << 20
	if n < mebibyte {
		return fmt.Sprintf("%d bytes", n)
	}
	return fmt.Sprintf("%.1f MiB", float64(n)/mebibyte)
}

// Rate gives n bytes in d as megabytes, 10^6 bytes, a second.
func Rate(n int64, d time.Duration) float64 {
	if d <= 0 {
		return 0
	}
	return float64(n) / 1e6 / d.Seconds()
}
