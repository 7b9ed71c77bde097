// SPDX-License-Identifier: MIT

package kcp

import (
	"slices"
	"testing"
)

// findSkip returns the value of a SKIP, nil if there is none.
func findSkip(b []byte) (value []byte) {
	_, value = findLists(b)
	return value
}

// readRuns returns the runs of a value, and whether it is without errors.
func readRuns(value []byte) (m skips, runs []skipRun, ok bool) {
	m = readSkips(value)
	for {
		r, ok := m.next()
		if r.messages == 0 {
			return m, runs, ok
		}
		runs = append(runs, r)
	}
}

func TestSkipRoundTrip(t *testing.T) {
	type message struct {
		first     seqNum
		fragments uint32
	}
	for name, c := range map[string]struct {
		messages []message
		want     []skipRun
	}{
		"one":        {[]message{{7, 1}}, []skipRun{{7, 1, 1}}},
		"neighbours": {[]message{{7, 2}, {9, 2}, {11, 2}}, []skipRun{{7, 2, 3}}},
		"other sizes": {[]message{{7, 2}, {9, 1}, {10, 256}},
			[]skipRun{{7, 2, 1}, {9, 1, 1}, {10, 256, 1}}},
		"gaps": {[]message{{7, 1}, {9, 1}, {70000, 1}},
			[]skipRun{{7, 1, 1}, {9, 1, 1}, {70000, 1, 1}}},
		"wrapping": {[]message{{1<<32 - 2, 3}, {1, 3}}, []skipRun{{1<<32 - 2, 3, 2}}},
		"gap that wraps": {[]message{{1<<32 - 2, 1}, {5, 1}},
			[]skipRun{{1<<32 - 2, 1, 1}, {5, 1, 1}}},
	} {
		t.Run(name, func(t *testing.T) {
			var s skipRuns
			for _, m := range c.messages {
				if !s.add(m.first, m.fragments) {
					t.Fatalf("no room for %v", m)
				}
			}
			b := appendSkip([]byte{ctlPing, 0}, 1000, 99, &s)
			m, runs, ok := readRuns(findSkip(b))
			if !ok || m.ts != 1000 || m.sn != 99 || !slices.Equal(runs, c.want) {
				t.Errorf("ts %d, sn %d, runs %v, ok %v; want 1000, 99, %v",
					m.ts, m.sn, runs, ok, c.want)
			}
			if control, ok := parseControl(b); !ok || !control.empty() {
				t.Error("a reader that does not know SKIP finds messages")
			}
		})
	}
}

// The largest SKIP fits the length of a message.
func TestSkipIsBounded(t *testing.T) {
	var s skipRuns
	sn := seqNum(1)
	for s.add(sn, 1+uint32(s.n)%20) {
		sn += 2000
	}
	if s.n != skipsMost {
		t.Fatalf("%d runs, want %d", s.n, skipsMost)
	}
	b := appendSkip(nil, 1, 2, &s)
	if len(b) > skipLargest || len(b) > 2+255 {
		t.Errorf("%d bytes, at most %d", len(b), skipLargest)
	}
	if _, runs, ok := readRuns(findSkip(b)); !ok || !slices.Equal(runs, s.runs[:]) {
		t.Errorf("read %v, want %v", runs, s.runs)
	}
	s = skipRuns{}
	for s.add(sn, 1) {
		sn++
	}
	if s.span != skipSpan || s.n != 1 {
		t.Errorf("%d segments in %d runs, want %d in one", s.span, s.n, skipSpan)
	}
}

// A run that no correct peer sends ends the message. Those before it count.
func TestSkipRejects(t *testing.T) {
	head := []byte{0, 0, 0, 0, 0, 0, 0, 0, 5, 0, 0, 0, 2, 0, 1, 1}
	for name, rest := range map[string][]byte{
		"nothing":            {},
		"two numbers":        {1, 1},
		"an endless varint":  {0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80},
		"no fragments":       {0, 0, 1},
		"no messages":        {0, 1, 0},
		"too many fragments": {0, 0x81, 2, 1},
		"too many segments":  {0, 1, 0x80, 8},
		"too far":            {0xFF, 0xFF, 0xFF, 1, 1, 1},
	} {
		t.Run(name, func(t *testing.T) {
			_, runs, ok := readRuns(append(slices.Clone(head), rest...))
			if ok || !slices.Equal(runs, []skipRun{{5, 1, 1}}) {
				t.Errorf("ok %v, runs %v; want the first run alone", ok, runs)
			}
		})
	}
	if findSkip(append([]byte{ctlSkip, skipHeader - 1}, head[:skipHeader-1]...)) != nil {
		t.Error("a value that is too short was found")
	}
}

func FuzzSkip(f *testing.F) {
	var s skipRuns
	s.add(7, 2)
	s.add(19, 1)
	f.Add(appendSkip(nil, 1000, 20, &s)[2:])
	f.Fuzz(func(t *testing.T, value []byte) {
		if len(value) < skipHeader {
			return
		}
		m, runs, ok := readRuns(value)
		var again skipRuns
		for _, r := range runs {
			for range r.messages {
				if !again.add(r.first, r.fragments) {
					t.Fatalf("runs %v are more than a SKIP names", runs)
				}
				r.first += seqNum(r.fragments)
			}
		}
		if len(runs) == 0 || !ok {
			return
		}
		b := appendSkip(nil, m.ts, m.sn, &again)
		if _, got, ok := readRuns(b[2:]); !ok || !slices.Equal(got, again.runs[:again.n]) {
			t.Fatalf("%v became %v", again.runs[:again.n], got)
		}
	})
}
