// SPDX-License-Identifier: MIT

package main

import (
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestSettingsOutOfRangeAreRefused(t *testing.T) {
	for _, args := range []string{"-rounds 0", "-time 1ms", "-window 31", "-window 65536", "-sessions 0", "-run (", "extra"} {
		if _, err := parseSettings("bench", strings.Fields(args)); err == nil {
			t.Errorf("%q: got no error", args)
		}
	}
}

func TestQuickLeavesWhatIsGiven(t *testing.T) {
	s, err := parseSettings("bench", []string{"-quick", "-rounds", "3"})
	if err != nil {
		t.Fatal(err)
	}
	if s.rounds != 3 || s.time != 200*time.Millisecond {
		t.Errorf("got %d rounds of %v, want 3 of 200ms", s.rounds, s.time)
	}
}

func TestSummary(t *testing.T) {
	for _, tt := range []struct {
		values map[int]float64
		want   summary
	}{
		{nil, summary{}},
		{map[int]float64{3: 5}, summary{5, 5, 5, 1}},
		{map[int]float64{0: 9, 1: 1, 2: 4}, summary{4, 1, 9, 3}},
		{map[int]float64{0: 9, 1: 1, 2: 4, 3: 5}, summary{4.5, 1, 9, 4}},
	} {
		if got := summarize(tt.values); got != tt.want {
			t.Errorf("summarize(%v): got %v, want %v", tt.values, got, tt.want)
		}
	}
}

func TestRatioPairsRounds(t *testing.T) {
	a := map[int]float64{0: 10, 1: 30, 2: 20}
	b := map[int]float64{0: 10, 1: 10, 3: 1000}
	if got, want := ratio(a, b), (summary{Median: 2, Min: 1, Max: 3, N: 2}); got != want {
		t.Errorf("got %v, want %v", got, want)
	}
	if got := ratio(a, nil); got.N != 0 {
		t.Errorf("got %v against nothing, want none", got)
	}
}

func TestPercentile(t *testing.T) {
	var v []time.Duration
	for i := range 100 {
		v = append(v, time.Duration(i))
	}
	for p, want := range map[float64]time.Duration{0: 0, 0.5: 50, 0.99: 99, 1: 99} {
		if got := percentile(v, p); got != want {
			t.Errorf("%v: got %v, want %v", p, got, want)
		}
	}
	if got := percentile(nil, 0.5); got != 0 {
		t.Errorf("of nothing: got %v, want 0", got)
	}
}

func TestTurnsBeginWithAnotherContenderEachRound(t *testing.T) {
	var order []string
	m := &measurement{name: "m", columns: []column{{name: "x"}}}
	for _, name := range []string{"a", "b", "c"} {
		m.add(name, false, func() ([]float64, error) {
			order = append(order, name)
			if name == "b" && len(order) < 4 {
				return nil, errors.New("refused")
			}
			return []float64{1}, nil
		})
	}
	var log strings.Builder
	failures := measureAll([]*measurement{m}, &settings{rounds: 2}, &log, nil)
	if got, want := strings.Join(order, ""), "abcbca"; got != want {
		t.Errorf("got order %s, want %s", got, want)
	}
	if failures != 1 || !strings.Contains(log.String(), "m/b: refused") {
		t.Errorf("got %d failures, log %q", failures, &log)
	}
	if got := m.seriesOf("b", 0); len(got) != 1 || got[1] != 1 {
		t.Errorf("got %v for b, want round 1 alone", got)
	}
}

func TestCreditBoundsWhatIsUnderWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCredit(10)
		for i := range uint64(2) {
			if first, err := c.take(5); err != nil || first != 5*i {
				t.Fatalf("got %d, %v, want %d", first, err, 5*i)
			}
		}
		begin := time.Now()
		go func() {
			time.Sleep(5 * time.Millisecond)
			c.give(5)
		}()
		if first, err := c.take(5); err != nil || first != 10 {
			t.Errorf("got %d, %v, want 10", first, err)
		}
		if got, want := time.Since(begin), 5*time.Millisecond; got != want {
			t.Errorf("waited %v, want %v", got, want)
		}
	})
}

func TestCreditForgetsWhatWasLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCredit(10)
		if _, err := c.take(10); err != nil {
			t.Fatal(err)
		}
		begin := time.Now()
		if _, err := c.take(5); err != nil {
			t.Error(err)
		}
		if got := time.Since(begin); got != creditTimeout {
			t.Errorf("waited %v, want %v", got, creditTimeout)
		}
	})
}

func TestStopEndsATakeThatWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCredit(10)
		if _, err := c.take(10); err != nil {
			t.Fatal(err)
		}
		go func() {
			synctest.Wait()
			c.stop()
		}()
		if _, err := c.take(1); err != errStopped {
			t.Errorf("got %v, want %v", err, errStopped)
		}
	})
}

func TestChartFitsItsBars(t *testing.T) {
	r := &report{Measurements: []result{{
		Name: "bulk", columns: bulkColumns,
		Contenders: []entry{
			{Name: "a", Figures: chartFigures(100)}, {Name: "b <&>", Figures: chartFigures(50)}, {Name: "failed", Figures: chartFigures()},
		},
	}}}
	c := r.chart()
	if len(c.Panels) != 1 || len(c.Panels[0].Bars) != 2 {
		t.Fatalf("got %+v, want one panel of two bars", c.Panels)
	}
	bars := c.Panels[0].Bars
	if bars[0].Length != chartBarMax || bars[1].Length != chartBarMax/2 {
		t.Errorf("got lengths %v and %v, want %v and half of it", bars[0].Length, bars[1].Length, chartBarMax)
	}
	var svg strings.Builder
	if err := r.writeSVG(&svg); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(svg.String(), "b &lt;&amp;&gt;") {
		t.Error("names are not escaped")
	}
}

// chartFigures returns the figures of one contender whose bulk speed is v.
func chartFigures(v ...float64) []figure {
	values := map[int]float64{}
	for i, x := range v {
		values[i] = x
	}
	figures := make([]figure, len(bulkColumns))
	figures[bulkSpeed] = newFigure(bulkColumns[bulkSpeed], values, len(v))
	return figures
}
