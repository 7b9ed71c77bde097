// SPDX-License-Identifier: MIT

package main

import (
	"io"
	"strings"
	"testing"
)

// TestEveryContender runs all of them for an instant, as a user would.
func TestEveryContender(t *testing.T) {
	s, err := parseSettings(strings.Fields("-rounds 1 -time 20ms -chunk 4096"), io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	if err := run(s, &out); err != nil {
		t.Fatal(err)
	}
	for _, c := range contenders {
		if !strings.Contains(out.String(), c.name) {
			t.Errorf("%q is not in the table:\n%s", c.name, &out)
		}
	}
}

func TestSettingsAreChecked(t *testing.T) {
	for _, args := range []string{"-rounds 0", "-time 1ms", "-chunk 0", "-run (", "extra"} {
		if _, err := parseSettings(strings.Fields(args), io.Discard); err == nil {
			t.Errorf("%q was accepted", args)
		}
	}
	s, err := parseSettings([]string{"-run", "nothing"}, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	if err := run(s, io.Discard); err == nil {
		t.Error("nothing was measured without an error")
	}
}
