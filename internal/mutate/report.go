// SPDX-License-Identifier: MIT

package main

import (
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
)

// readAccepted reads the survivors that are known and the reasons: a line each, as report prints
// them without their position, and a reason behind the last colon. Lines with # are comments.
func readAccepted(name string) (map[string]string, error) {
	accepted := map[string]string{}
	if name == "" {
		return accepted, nil
	}
	data, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	for n, line := range strings.Split(string(data), "\n") {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		at := strings.LastIndex(line, ": ")
		if at < 0 || strings.Count(line, ": ") < 3 {
			return nil, fmt.Errorf("%s:%d: want \"file: function: change: reason\"", name, n+1)
		}
		accepted[line[:at]] = line[at+2:]
	}
	return accepted, nil
}

// key names a mutant without its position, so that it keeps its name while lines move.
func (m mutant) key() string { return m.point.file + ": " + m.point.function + ": " + m.change() }

// score is the count of a file's mutants by verdict.
type score struct {
	total, killed, timedOut, survived, notReached, accepted int
}

// percentage is the share of mutants killed, of those that are not accepted.
func (s score) percentage() float64 {
	if s.total == s.accepted {
		return 100
	}
	return 100 * float64(s.killed+s.timedOut) / float64(s.total-s.accepted)
}

// report prints the survivors and a table of files. Its error says which files fall short of least.
func report(w io.Writer, results []result, accepted map[string]string, least float64) error {
	scores := map[string]*score{}
	kinds := map[string]*score{}
	for _, r := range results {
		for _, s := range []*score{of(scores, r.point.file), of(kinds, r.kind())} {
			s.add(r.verdict, accepted[r.key()] != "")
		}
		if r.verdict == survived || r.verdict == notReached {
			reason := accepted[r.key()]
			if reason != "" {
				reason = " (accepted: " + reason + ")"
			}
			fmt.Fprintf(w, "%s: %s%s\n", r.verdict, r.mutant, reason)
		}
	}
	var short []string
	fmt.Fprintf(w, "\n%-32s %8s %8s %9s %9s %11s %8s %6s\n", "file", "mutants", "killed", "timed out", "survived", "not reached", "accepted", "%")
	for _, name := range sorted(scores) {
		fmt.Fprintln(w, scores[name].row(name))
		if scores[name].percentage() < least {
			short = append(short, name)
		}
	}
	for _, name := range sorted(kinds) {
		fmt.Fprintln(w, kinds[name].row(name))
	}
	if len(short) > 0 {
		return fmt.Errorf("less than %.0f %% killed in %s", least, strings.Join(short, ", "))
	}
	return nil
}

func of(scores map[string]*score, name string) *score {
	if scores[name] == nil {
		scores[name] = new(score)
	}
	return scores[name]
}

func sorted(scores map[string]*score) []string {
	var names []string
	for name := range scores {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// add counts a mutant. One that is accepted counts so only if it was not killed.
func (s *score) add(v verdict, accepted bool) {
	s.total++
	switch {
	case v == killed:
		s.killed++
	case v == timedOut:
		s.timedOut++
	case accepted:
		s.accepted++
	case v == survived:
		s.survived++
	case v == notReached:
		s.notReached++
	}
}

func (s *score) row(name string) string {
	return fmt.Sprintf("%-32s %8d %8d %9d %9d %11d %8d %6.1f", name, s.total, s.killed, s.timedOut, s.survived, s.notReached, s.accepted, s.percentage())
}
