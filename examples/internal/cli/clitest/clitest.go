// SPDX-License-Identifier: MIT

// Package clitest checks what the examples make of command lines.
package clitest

import (
	"bytes"
	"context"
	"io"
	"strings"
	"testing"
)

// Status runs command lines, whose arguments spaces separate, and checks the exit status and that
// the error output of each contains what the line is mapped to.
func Status(t *testing.T, run func(ctx context.Context, args []string, stdout, stderr io.Writer) int,
	status int, lines map[string]string) {
	t.Helper()
	for line, want := range lines {
		var out, errs bytes.Buffer
		got := run(t.Context(), strings.Fields(line), &out, &errs)
		if got != status || !strings.Contains(errs.String(), want) {
			t.Errorf("%q: exit status %d, %q; want %d and %q", line, got, &errs, status, want)
		}
	}
}
