// SPDX-License-Identifier: MIT

package main

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// splitUnit separates a number from the letters behind it.
func splitUnit(s string) (number float64, unit string, err error) {
	i := strings.IndexFunc(s, func(r rune) bool { return (r < '0' || r > '9') && r != '.' && r != '+' && r != '-' })
	if i < 0 {
		i = len(s)
	}
	number, err = strconv.ParseFloat(s[:i], 64)
	if err != nil || number < 0 || math.IsInf(number, 0) {
		return 0, "", fmt.Errorf("%q is no number with a unit", s)
	}
	return number, strings.TrimSpace(s[i:]), nil
}

// parseBits reads a speed in bits per second: "20Mbit", "2.5G", "300kbit/s", "64000".
func parseBits(s string) (int64, error) {
	n, unit, err := splitUnit(s)
	if err != nil {
		return 0, err
	}
	unit = strings.ToLower(unit)
	for _, suffix := range []string{"/s", "ps", "bit", "b"} {
		unit = strings.TrimSuffix(unit, suffix)
	}
	scale, ok := map[string]float64{"": 1, "k": 1e3, "m": 1e6, "g": 1e9}[unit]
	if !ok || n*scale > 1e15 {
		return 0, fmt.Errorf("%q is no speed: want bits per second, as in 20Mbit", s)
	}
	return int64(n * scale), nil
}

// parseBytes reads a size in bytes: "1400", "128K", "4MiB". K, M and G are powers of 1024.
func parseBytes(s string) (int, error) {
	n, unit, err := splitUnit(s)
	if err != nil {
		return 0, err
	}
	unit = strings.TrimSuffix(strings.TrimSuffix(strings.ToLower(unit), "b"), "i")
	scale, ok := map[string]float64{"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30}[unit]
	if !ok || n*scale > math.MaxInt32 {
		return 0, fmt.Errorf("%q is no size in bytes: want one as in 4MiB", s)
	}
	return int(n * scale), nil
}

// parseTime reads a time: "100ms", "1m30s"; a plain number is in seconds.
func parseTime(s string) (time.Duration, error) {
	if n, unit, err := splitUnit(s); err == nil && unit == "" && n < math.MaxInt32 {
		return time.Duration(n * float64(time.Second)), nil
	}
	d, err := time.ParseDuration(s)
	if err != nil || d < 0 {
		return 0, fmt.Errorf("%q is no time: want one as in 100ms, or a number of seconds", s)
	}
	return d, nil
}

// parseShare reads a probability: "5%" or "0.05".
func parseShare(s string) (float64, error) {
	n, unit, err := splitUnit(s)
	if err == nil && unit == "%" {
		n, unit = n/100, ""
	}
	if err != nil || unit != "" || n > 1 {
		return 0, fmt.Errorf("%q is no share: want one as in 5%% or 0.05", s)
	}
	return n, nil
}

func formatBits(bitsPerSecond float64) string {
	switch {
	case bitsPerSecond >= 999.5e6:
		return fmt.Sprintf("%.2f Gbit/s", bitsPerSecond/1e9)
	case bitsPerSecond >= 999.5e3:
		return fmt.Sprintf("%.1f Mbit/s", bitsPerSecond/1e6)
	}
	return fmt.Sprintf("%.1f kbit/s", bitsPerSecond/1e3)
}

func formatBytes(n uint64) string {
	switch {
	case n >= 1e9:
		return fmt.Sprintf("%.2f GB", float64(n)/1e9)
	case n >= 1e6:
		return fmt.Sprintf("%.1f MB", float64(n)/1e6)
	case n >= 1e3:
		return fmt.Sprintf("%.1f kB", float64(n)/1e3)
	}
	return fmt.Sprintf("%d B", n)
}

// formatMillis writes milliseconds with about three digits. KCP's own clock has whole ones: 0 is
// less than one.
func formatMillis(ms float64) string {
	switch {
	case ms >= 100:
		return fmt.Sprintf("%.0f", ms)
	case ms >= 10:
		return fmt.Sprintf("%.1f", ms)
	case ms >= 1:
		return fmt.Sprintf("%.2f", ms)
	case ms >= 0.001:
		return fmt.Sprintf("%.3f", ms)
	}
	return "<1"
}

// formatPercent writes a share of 1.
func formatPercent(share float64) string {
	if share > 0 && share < 0.00005 {
		return "<0.01 %"
	}
	return fmt.Sprintf("%.2f %%", share*100)
}

// ratio is a/b, and 0 where there is no b.
func ratio(a, b float64) float64 {
	if b == 0 {
		return 0
	}
	return a / b
}
