// SPDX-License-Identifier: MIT

package cli

import (
	"errors"
	"flag"
	"strings"
	"testing"
)

func TestStatus(t *testing.T) {
	failed := errors.New("cannot dial")
	for _, tt := range []struct {
		name   string
		args   []string
		wrong  string
		err    error // of the program itself
		status int
		output string // is part of what is printed
	}{
		{name: "success", args: []string{"-n", "1"}, status: 0},
		{name: "failure", err: failed, status: 1, output: "prog: cannot dial\n"},
		{name: "help", args: []string{"-h"}, status: 0, output: "-n number"},
		{name: "unknown flag", args: []string{"-m"}, status: 2, output: "not defined: -m"},
		{name: "wrong value", wrong: "-n must be above 0", status: 2, output: "prog: -n must be above 0\n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var out strings.Builder
			flags := flag.NewFlagSet("prog", flag.ContinueOnError)
			flags.SetOutput(&out)
			flags.Int("n", 0, "a `number`")
			err := Parse(flags, tt.args, func() string { return tt.wrong })
			if err == nil {
				err = tt.err
			}
			if got := Status("prog", &out, err); got != tt.status {
				t.Errorf("status %d, want %d", got, tt.status)
			}
			if got := out.String(); !strings.Contains(got, tt.output) || tt.output == "" && got != "" {
				t.Errorf("printed %q, want %q", got, tt.output)
			}
		})
	}
}
