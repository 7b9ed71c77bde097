// SPDX-License-Identifier: MIT

package main

import (
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// documented are the files that show how the program is run.
var documented = []string{
	"README.md",
	"../../docs/kcptunnel/kcptunnel-server.service",
	"../../docs/kcptunnel/kcptunnel-client.service",
	"../../docs/kcptunnel/compose.yaml",
}

// command matches a line that runs the program, or that a container runs it with.
var command = regexp.MustCompile(`(?m)^(?:ExecStart=\S*/kcptunnel|kcptunnel|    command:) (client|server) (.*)$`)

// The command lines in the documents are ones that the program takes, with the files that they name
// beside them.
func TestDocumentedCommandsAreValid(t *testing.T) {
	found := 0
	for _, name := range documented {
		text, err := os.ReadFile(filepath.FromSlash(name))
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range command.FindAllStringSubmatch(string(text), -1) {
			if strings.HasPrefix(m[2], "[flags]") {
				continue
			}
			found++
			role := map[string]role{"client": roleClient, "server": roleServer}[m[1]]
			line := strings.ReplaceAll(m[2], "/etc/kcptunnel/", "../../docs/kcptunnel/")
			var args []string
			for _, arg := range strings.Fields(line) {
				args = append(args, strings.Trim(arg, `"`))
			}
			s := newSettings(role)
			warnings, err := s.parse(args, io.Discard)
			if err == nil {
				_, err = s.ownOptions()
			}
			if warnings = append(warnings, s.warnings()...); err != nil || len(warnings) > 0 {
				t.Errorf("%s: %s: %v, %q", name, m[0], err, warnings)
			}
		}
	}
	if found < 10 {
		t.Errorf("%d commands were found", found)
	}
}

// Each setting is in the manual page, with its default, and no other is.
func TestManualHasAllFlags(t *testing.T) {
	text, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	known := map[string]bool{"-c": true, "-compat": true}
	for _, r := range []role{roleClient, roleServer} {
		for _, o := range optionsOf(newSettings(r)) {
			if o.roles&r == 0 || o.names[0] == "tcp" {
				continue
			}
			for _, name := range o.names {
				known["-"+name] = true
			}
			if name := "-" + o.names[0]; !regexp.MustCompile("[`,(| ]" + name + "[`=, \\[]").Match(text) {
				t.Errorf("%s is missing", name)
			}
		}
	}
	for _, m := range regexp.MustCompile("`(-[a-zA-Z][a-zA-Z-]*)").FindAllStringSubmatch(string(text), -1) {
		if !known[m[1]] {
			t.Errorf("there is no %s", m[1])
		}
	}
}
