// SPDX-License-Identifier: MIT

package main

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// The table of COMPAT.md has all settings of compat mode, with their defaults, and all ciphers.
func TestCompatDocument(t *testing.T) {
	text, err := os.ReadFile("COMPAT.md")
	if err != nil {
		t.Fatal(err)
	}
	rows := map[string]string{} // by the first name
	row := regexp.MustCompile("(?m)^\\| (`[^|]*) \\|([^|]*)\\|")
	for _, m := range row.FindAllStringSubmatch(string(text), -1) {
		for _, name := range strings.Split(m[1], ", ") {
			rows[strings.Trim(strings.Fields(name)[0], "`")] = m[2]
		}
	}
	elsewhere := append(slices.Clone(ownOnly), "metrics", "log-format", "log-level") // README.md
	client, server := optionsOf(newSettings(roleClient)), optionsOf(newSettings(roleServer))
	for i, o := range client {
		if slices.Contains(elsewhere, o.names[0]) {
			continue
		}
		for _, name := range o.names {
			if _, ok := rows[name]; !ok {
				t.Errorf("COMPAT.md has no setting %q", name)
			}
		}
		if o.key != "" && !strings.Contains(string(text), "(JSON: `"+o.key+"`)") {
			t.Errorf("COMPAT.md has no key %q", o.key)
		}
		documented := rows[o.names[0]]
		for _, value := range []string{o.value.String(), server[i].value.String()} {
			if value != "" && value != "false" && !strings.Contains(documented, value) {
				t.Errorf("the default of %s is %s, not %s", o.names[0], value, documented)
			}
		}
	}
	for _, c := range ciphers {
		if !strings.Contains(string(text), "`"+c.name+"`") {
			t.Errorf("COMPAT.md has no cipher %q", c.name)
		}
	}
}
