// SPDX-License-Identifier: MIT

package apptest

import (
	"bytes"
	"context"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"
)

// playRPCX runs rpcx over its own transport, through the replace line. It is a module of its own,
// which has the library under another path. The server is a process that is killed, and started
// again.
func playRPCX(t *testing.T) outcome {
	t.Helper()
	begin := time.Now()
	binary := filepath.Join(t.TempDir(), "rpcxtest")
	if runtime.GOOS == "windows" {
		binary += ".exe"
	}
	command(t, 5*time.Minute, "go", "build", "-tags", "kcp", "-o", binary, ".")
	cells := strings.Split(command(t, time.Minute, binary), "|")
	if len(cells) != 5 {
		t.Fatalf("it prints %q", cells)
	}
	for i, c := range cells {
		cells[i] = strings.TrimSpace(c)
	}
	return outcome{
		name: "smallnest/rpcx, replaced", byClient: cells[1], byServer: cells[2],
		killed: "restarted: " + cells[3], killedAtServer: "-", took: time.Since(begin),
	}
}

// command runs a command in the module's directory and returns what it prints.
func command(t *testing.T, most time.Duration, name string, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), most)
	defer cancel()
	var stdout, stderr bytes.Buffer
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = "rpcx", &stdout, &stderr
	if err := cmd.Run(); err != nil {
		t.Fatalf("%s: %v\n%s", name, err, &stderr)
	}
	return stdout.String()
}
