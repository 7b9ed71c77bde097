// SPDX-License-Identifier: MIT

package main

import (
	"errors"
	"fmt"
	"os"
	"strings"
)

// candidate is one of the settings that --compare tries.
type candidate struct {
	name     string
	settings settings
}

// builtinCompare selects the built-in list of --compare.
const builtinCompare = "builtin"

// compareMost bounds a list: each entry is a whole test.
const compareMost = 50

// builtinCandidates returns settings that differ in what matters on most paths. For bulk data that
// is the congestion control and the window. Messages do not fill a window; for them it is parity
// and copies. The window fitted
// fits a simulated path; it is 0 if the path is not known.
func builtinCandidates(base settings, fitted int, echo bool) (list []candidate) {
	add := func(name, text string) {
		s := base
		if err := s.parse(text); err != nil {
			panic(err) // the texts below are constants
		}
		list = append(list, candidate{name, s})
	}
	const noDelay = "nodelay=1,10,2,0 cc=rate "
	add("default", "nodelay=0,100,0,0 cc=rate window=512")
	add("no-delay", noDelay)
	add("no-delay, aggressive", noDelay+"cc=rate-aggressive")
	add("no-delay + FEC 10/3", noDelay+"fec=10/3")
	add("no-delay + FEC 3/1", noDelay+"fec=3/1")
	if echo {
		add("no-delay + FEC 1/1", noDelay+"fec=1/1")
		add("no-delay, sent twice", noDelay+"dup=1")
		add("no-delay, no copies", noDelay+"redundancy=off")
		add("no-delay, ACKs at once", noDelay+"acknodelay=1")
		return list
	}
	add("no-delay, CUBIC", noDelay+"cc=cubic")
	add("no-delay, classic window", noDelay+"cc=classic")
	add("no-delay, none", noDelay+"cc=off")
	add("no-delay + FEC 20/2", noDelay+"fec=20/2")
	add("no-delay, window 256", noDelay+"window=256")
	add("no-delay, window 4096", noDelay+"window=4096")
	if fitted > 0 {
		add("no-delay, fitted window", fmt.Sprintf("%swindow=%d", noDelay, min(max(fitted, 32), 16384)))
	}
	return list
}

// parseCandidates reads a list: "builtin", the name of a file with an entry a line, or entries
// separated by semicolons. An entry is "name: key=value key=value"; without a name it is named by
// its text. Missing settings are those of base.
func parseCandidates(list string, base settings, fitted int, echo bool) ([]candidate, error) {
	if list == builtinCompare {
		return builtinCandidates(base, fitted, echo), nil
	}
	lines := strings.Split(list, ";")
	if !strings.Contains(list, "=") {
		text, err := os.ReadFile(list)
		if err != nil {
			return nil, fmt.Errorf("want %q, entries such as 'fast: nodelay=1,10,2,1; slow: nodelay=0,100,0,0', or a file of them: %w",
				builtinCompare, err)
		}
		lines = strings.Split(string(text), "\n")
	}
	var all []candidate
	for i, line := range lines {
		line, _, _ = strings.Cut(line, "#")
		if line = strings.TrimSpace(line); line == "" {
			continue
		}
		name, text, named := strings.Cut(line, ":")
		if !named {
			text = line
		}
		s := base
		if err := s.parse(text); err != nil {
			return nil, fmt.Errorf("entry %d: %w", i+1, err)
		}
		all = append(all, candidate{strings.TrimSpace(name), s})
	}
	switch {
	case len(all) == 0:
		return nil, errors.New("the list is empty")
	case len(all) > compareMost:
		return nil, fmt.Errorf("%d entries, want at most %d", len(all), compareMost)
	}
	return all, nil
}
