// SPDX-License-Identifier: MIT

package kcp

import (
	"slices"
	"testing"
)

func TestLogMasksHaveTheirValues(t *testing.T) {
	for i, got := range []KCPLogType{
		IKCP_LOG_OUTPUT, IKCP_LOG_INPUT, IKCP_LOG_SEND, IKCP_LOG_RECV,
		IKCP_LOG_OUT_ACK, IKCP_LOG_OUT_PUSH, IKCP_LOG_OUT_WASK, IKCP_LOG_OUT_WINS,
		IKCP_LOG_IN_ACK, IKCP_LOG_IN_PUSH, IKCP_LOG_IN_WASK, IKCP_LOG_IN_WINS,
	} {
		if want := KCPLogType(1) << i; got != want {
			t.Errorf("mask %d: got %#x, want %#x", i, got, want)
		}
	}
	for _, tt := range []struct {
		name      string
		got, want KCPLogType
	}{
		{"IKCP_LOG_OUTPUT_ALL", IKCP_LOG_OUTPUT_ALL, 0x0f1},
		{"IKCP_LOG_INPUT_ALL", IKCP_LOG_INPUT_ALL, 0xf02},
		{"IKCP_LOG_ALL", IKCP_LOG_ALL, 0xfff},
	} {
		if tt.got != tt.want {
			t.Errorf("%s: got %#x, want %#x", tt.name, tt.got, tt.want)
		}
	}
}

func TestLoggerIsAskedBeforeItIsCalled(t *testing.T) {
	ignore := func(string, ...any) {}
	for _, tt := range []struct {
		name string
		l    *logger
		ask  KCPLogType
		want bool
	}{
		{"no logger", nil, IKCP_LOG_ALL, false},
		{"no function", newLogger(IKCP_LOG_ALL, nil), IKCP_LOG_ALL, false},
		{"empty mask", newLogger(0, ignore), IKCP_LOG_ALL, false},
		{"unknown bits alone", newLogger(1<<20, ignore), 1 << 20, false},
		{"another event", newLogger(IKCP_LOG_INPUT, ignore), IKCP_LOG_OUTPUT, false},
		{"that event", newLogger(IKCP_LOG_INPUT, ignore), IKCP_LOG_INPUT, true},
		{"one of a set", newLogger(IKCP_LOG_INPUT_ALL, ignore), IKCP_LOG_IN_WINS, true},
		{"all bits", newLogger(-1, ignore), IKCP_LOG_SEND, true},
	} {
		if got := tt.l.enabled(tt.ask); got != tt.want {
			t.Errorf("%s: got %v, want %v", tt.name, got, tt.want)
		}
	}
}

func TestLoggerGetsKeyValuePairs(t *testing.T) {
	var got []any
	l := newLogger(IKCP_LOG_INPUT,
		func(msg string, args ...any) { got = append([]any{msg}, args...) })
	loggerTestSite(l, 7, 1400)
	if want := []any{"input", "conv", uint32(7), "bytes", 1400}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

// loggerTestSite is a typical call site.
func loggerTestSite(l *logger, conv uint32, n int) {
	if l.enabled(logInput) {
		l.fn("input", "conv", conv, "bytes", n)
	}
}

func TestDisabledLoggerCostsNoAllocation(t *testing.T) {
	others := newLogger(IKCP_LOG_ALL&^IKCP_LOG_INPUT,
		func(string, ...any) { t.Error("called for an event that is off") })
	for name, l := range map[string]*logger{"none": nil, "other events": others} {
		n := 100_000
		site := func() { n++; loggerTestSite(l, uint32(n), n) }
		if got := testing.AllocsPerRun(1000, site); got != 0 {
			t.Errorf("%s: got %v allocations, want 0", name, got)
		}
	}
}

func BenchmarkLoggerDisabled(b *testing.B) {
	l := newLogger(IKCP_LOG_SEND, func(string, ...any) {})
	b.ReportAllocs()
	n := 100_000
	for b.Loop() {
		n++
		loggerTestSite(l, uint32(n), n)
	}
}
