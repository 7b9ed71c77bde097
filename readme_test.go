// SPDX-License-Identifier: MIT

package kcp

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

// readmePrograms returns the complete programs in README.md.
func readmePrograms(t *testing.T) []string {
	t.Helper()
	readme, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	var programs []string
	for _, part := range strings.Split(string(readme), "```go\n")[1:] {
		code, _, closed := strings.Cut(part, "```")
		if !closed {
			t.Fatal("a code block of README.md does not end")
		}
		if strings.HasPrefix(code, "package main\n") {
			programs = append(programs, code)
		}
	}
	if len(programs) != 3 {
		t.Fatalf("README.md has %d programs, want the first, the server and the client",
			len(programs))
	}
	return programs
}

func TestReadmeProgramsAreTheExamples(t *testing.T) {
	examples, err := os.ReadFile("example_test.go")
	if err != nil {
		t.Fatal(err)
	}
	for i, example := range []string{"Example", "ExampleListen", "ExampleDial"} {
		_, body, found := strings.Cut(readmePrograms(t)[i], "func main() {\n")
		if !found {
			t.Fatalf("program %d of README.md has no main", i+1)
		}
		// The examples are in the package itself, the programs are not.
		body = strings.ReplaceAll(body, "kcp.", "")
		if !strings.Contains(string(examples), "func "+example+"() {\n"+body) {
			t.Errorf("%s in example_test.go differs from program %d of README.md", example, i+1)
		}
	}
}

// The programs are built and run as a reader would, except for the port, which may be in use here.
func TestReadmeProgramsTalkToEachOther(t *testing.T) {
	if testing.Short() {
		t.Skip("builds programs")
	}
	goTool, err := exec.LookPath("go")
	if err != nil {
		t.Skip("no go command to build the programs with")
	}
	free, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := free.LocalAddr().String()
	free.Close()

	dir := t.TempDir()
	var binaries []string
	for i, code := range readmePrograms(t) {
		name := filepath.Join(dir, []string{"first", "server", "client"}[i])
		code = strings.ReplaceAll(code, "127.0.0.1:4000", addr)
		if err := os.WriteFile(name+".go", []byte(code), 0o600); err != nil {
			t.Fatal(err)
		}
		if runtime.GOOS == "windows" {
			name += ".exe"
		}
		build := exec.Command(goTool, "build", "-buildvcs=false", "-o", name,
			strings.TrimSuffix(name, ".exe")+".go")
		if out, err := build.CombinedOutput(); err != nil {
			t.Fatalf("program %d of README.md: %v\n%s", i+1, err, out)
		}
		binaries = append(binaries, name)
	}

	out, err := exec.Command(binaries[0]).CombinedOutput()
	if got := string(out); err != nil || got != "hello\n" {
		t.Errorf("the first program printed %q (%v), want hello", got, err)
	}
	server := exec.Command(binaries[1])
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		server.Process.Kill()
		server.Wait()
	}()
	// A client that starts before its server retransmits until the server is there.
	out, err = exec.Command(binaries[2]).CombinedOutput()
	if got := string(out); err != nil || got != "hello\n" {
		t.Errorf("the client printed %q (%v), want hello", got, err)
	}
}
