// SPDX-License-Identifier: MIT

package main

import (
	"maps"
	"slices"
	"time"
)

// summary is what a figure was over the rounds.
type summary struct {
	Median float64 `json:"median"`
	Min    float64 `json:"min"`
	Max    float64 `json:"max"`
	N      int     `json:"n"`
}

func summarize(values map[int]float64) summary {
	v := slices.Sorted(maps.Values(values))
	n := len(v)
	if n == 0 {
		return summary{}
	}
	return summary{Median: (v[(n-1)/2] + v[n/2]) / 2, Min: v[0], Max: v[n-1], N: n}
}

// ratio compares two figures: the ratio of their medians, and the least and
// largest ratio within one round.
func ratio(a, b map[int]float64) summary {
	within := map[int]float64{}
	for round, v := range a {
		if w, ok := b[round]; ok && w > 0 {
			within[round] = v / w
		}
	}
	s := summarize(within)
	if s.N > 0 {
		s.Median = summarize(a).Median / summarize(b).Median
	}
	return s
}

// percentile returns the value that a share p of the sorted values does not exceed.
func percentile(sorted []time.Duration, p float64) time.Duration {
	if len(sorted) == 0 {
		return 0
	}
	return sorted[min(int(p*float64(len(sorted))), len(sorted)-1)]
}
