// SPDX-License-Identifier: MIT

package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"golang.org/x/term"
)

// screen prints a line an interval, and on a terminal a bar below the newest that shows how much of
// the time is over. Its methods may be called from any goroutine.
type screen struct {
	w     io.Writer
	width int // of the terminal in characters; 0: no terminal

	mu    sync.Mutex // guards what follows
	plan  *plan
	start time.Time
	state string // at the end of the bar
	drawn int    // width of the bar on the screen
	quit  chan struct{}
	done  chan struct{}
}

func newScreen(w io.Writer) *screen {
	s := &screen{w: w}
	if f, ok := w.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		s.width = 80
		if width, _, err := term.GetSize(int(f.Fd())); err == nil && width > 0 {
			s.width = width
		}
	}
	return s
}

// printf prints a line, above the bar.
func (s *screen) printf(format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.erase()
	fmt.Fprintf(s.w, format+"\n", args...)
	s.draw()
}

const barEvery = 100 * time.Millisecond

// started begins the bar.
func (s *screen) started(p *plan) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.plan, s.start, s.state = p, time.Now(), ""
	if s.width == 0 {
		return
	}
	quit, done := make(chan struct{}), make(chan struct{})
	s.quit, s.done = quit, done
	go func() {
		defer close(done)
		tick := time.NewTicker(barEvery)
		defer tick.Stop()
		for {
			select {
			case <-quit:
				return
			case <-tick.C:
				s.mu.Lock()
				s.draw()
				s.mu.Unlock()
			}
		}
	}()
}

// ended takes the bar away.
func (s *screen) ended() {
	s.mu.Lock()
	quit, done := s.quit, s.done
	s.quit = nil
	s.mu.Unlock()
	if quit != nil {
		close(quit)
		<-done
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.erase()
	s.plan = nil
}

func (s *screen) erase() {
	if s.drawn > 0 {
		fmt.Fprintf(s.w, "\r%*s\r", s.drawn, "")
		s.drawn = 0
	}
}

func (s *screen) draw() {
	if s.width == 0 || s.plan == nil {
		return
	}
	line := bar(time.Since(s.start), s.plan.duration(), s.state, s.width-1)
	fmt.Fprintf(s.w, "\r%-*s", s.drawn, line)
	s.drawn = utf8.RuneCountInString(line)
}

// bar returns a progress bar of at most width characters.
func bar(elapsed, total time.Duration, state string, width int) string {
	elapsed = min(elapsed, total)
	text := fmt.Sprintf(" %.0f of %.0f s  %s", elapsed.Seconds(), total.Seconds(), state)
	cells := min(40, width-utf8.RuneCountInString(text)-2)
	if cells < 5 {
		r := []rune(strings.TrimSpace(text))
		return string(r[:min(len(r), max(width, 0))])
	}
	full := int(float64(cells) * elapsed.Seconds() / total.Seconds())
	return "[" + strings.Repeat("=", full) + strings.Repeat(" ", cells-full) + "]" + text
}

// interval prints the figures of an interval, as far as they are known. Of data sent it shows what
// the peer has acknowledged.
func (s *screen) interval(local, remote *sample) {
	s.mu.Lock()
	p := s.plan
	s.mu.Unlock()
	line, state := intervalLine(p, local, remote)
	s.mu.Lock()
	s.state = state
	s.mu.Unlock()
	s.printf("%s", line)
}

// intervalLine returns the line, and its gist.
func intervalLine(p *plan, local, remote *sample) (line, state string) {
	at := fmt.Sprintf("%5.1f - %4.1f s", local.Start, local.End)
	if p.Mode == modeEcho {
		state = fmt.Sprintf("p50 %s ms  p99 %s ms", quantile(local.Echo, 0.5), quantile(local.Echo, 0.99))
		return fmt.Sprintf("%s  %7d back  %s  max %s ms  %s", at, local.Answered, state, quantile(local.Echo, 1), again(local)), state
	}
	var speeds []string
	sender := local
	if p.sends(true) {
		speeds = append(speeds, "up "+formatBits(ratio(float64(local.Acked*8), local.seconds())))
	}
	if p.sends(false) {
		speeds = append(speeds, "down "+formatBits(ratio(float64(local.Read*8), local.seconds())))
		if !p.sends(true) {
			sender = remote // which is late by what the path takes
		}
	}
	state = strings.Join(speeds, "  ")
	line = fmt.Sprintf("%s  %-18s", at, state)
	if sender != nil {
		line += fmt.Sprintf("  RTT p50 %s p99 %s ms  %s", quantile(sender.RTT, 0.5), quantile(sender.RTT, 0.99), again(sender))
	}
	if local.FECRecovered > 0 {
		line += fmt.Sprintf("  FEC rebuilt %d", local.FECRecovered)
	}
	return line, state
}

func again(sender *sample) string {
	n := sender.retransmits()
	return fmt.Sprintf("sent again %d (%s)", n, formatPercent(ratio(float64(n), float64(sender.DatagramsSent))))
}

// quantile writes one of q's times; "-" if there are none.
func quantile(q *quantiles, at float64) string {
	if q == nil {
		return "-"
	}
	return formatMillis(map[float64]float64{0: q.Min, 0.5: q.P50, 0.9: q.P90, 0.99: q.P99, 0.999: q.P999, 1: q.Max}[at])
}
