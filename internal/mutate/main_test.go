// SPDX-License-Identifier: MIT

package main

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

// sampleOptions are for a copy of testdata/sample that is a module of its own.
func sampleOptions(t *testing.T) options {
	t.Helper()
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS(filepath.Join("testdata", "sample"))); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "go.mod"), []byte("module sample\n\ngo 1.25\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return options{
		dir: dir, patterns: []string{"*.go"}, min: 60, workers: 2,
		perTest: 2 * time.Second, budget: time.Minute,
	}
}

func TestMutants(t *testing.T) {
	o := sampleOptions(t)
	o.list = true
	var out strings.Builder
	if err := run(t.Context(), o, &out); err != nil {
		t.Fatal(err)
	}
	want := []string{
		"sample.go:8:7: Clamp: n < 0 => n <= 0",
		"sample.go:8:7: Clamp: n < 0 => n >= 0",
		"sample.go:11:7: Clamp: n > limit => n >= limit",
		"sample.go:11:7: Clamp: n > limit => n <= limit",
		"sample.go:19:16: Sum: i < len(numbers) => i <= len(numbers)",
		"sample.go:19:16: Sum: i < len(numbers) => i >= len(numbers)",
		"sample.go:19:33: Sum: i++ => i--",
		"sample.go:20:32: Sum: !skip[n] && n != 0 => !skip[n] || n != 0",
		"sample.go:20:23: Sum: !skip[n] => skip[n]",
		"sample.go:20:37: Sum: n != 0 => n == 0",
		"sample.go:21:10: Sum: total += n => total -= n",
		"sample.go:28:48: Unreached: a<<1 | b => a<<1 & b",
		"sample.go:28:44: Unreached: a<<1 => a>>1",
	}
	if got := strings.Split(strings.TrimSpace(out.String()), "\n"); !slices.Equal(got, want) {
		t.Errorf("the mutants are\n%s", strings.Join(got, "\n"))
	}
}

// What survives is equivalent, is not reached, or is a boundary that the test does not look at.
func TestRun(t *testing.T) {
	o := sampleOptions(t)
	o.accept = filepath.Join(t.TempDir(), "accepted")
	if err := os.WriteFile(o.accept, []byte("# known\nsample.go: Clamp: n < 0 => n <= 0: equivalent\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	if err := run(t.Context(), o, &out); err != nil {
		t.Fatalf("%v\n%s", err, out.String())
	}
	for _, want := range []string{
		`left out, it fails without a mutant: TestAlwaysFails`,
		`survived: sample.go:8:7: Clamp: n < 0 => n <= 0 \(accepted: equivalent\)`,
		`survived: sample.go:11:7: Clamp: n > limit => n >= limit\n`,
		`not reached: sample.go:28:44: Unreached: `,
		`(?m)^sample.go +13 +\d+ +\d+ +1 +2 +1 +75.0$`,
	} {
		if !regexp.MustCompile(want).MatchString(out.String()) {
			t.Errorf("no %q in\n%s", want, out.String())
		}
	}
	if n := strings.Count(out.String(), "survived: "); n != 2 {
		t.Errorf("%d survivors\n%s", n, out.String())
	}
}

func TestScoreTooLow(t *testing.T) {
	o := sampleOptions(t)
	o.min = 90
	var out strings.Builder
	if err := run(t.Context(), o, &out); err == nil || !strings.Contains(err.Error(), "sample.go") {
		t.Errorf("the error is %v", err)
	}
}

func TestBadArguments(t *testing.T) {
	for _, patterns := range [][]string{nil, {"nothing_*.go"}, {"["}, {"sample_test.go"}} {
		o := sampleOptions(t)
		o.patterns = patterns
		if err := run(t.Context(), o, &strings.Builder{}); err == nil {
			t.Errorf("no error for %q", patterns)
		}
	}
	bad := filepath.Join(t.TempDir(), "bad")
	if err := os.WriteFile(bad, []byte("sample.go: Clamp\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := readAccepted(bad); err == nil {
		t.Error("no error for a line without a reason")
	}
}
