// SPDX-License-Identifier: MIT

package main

import (
	"encoding/json"
	"io"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"syscall"
	"testing"
)

// settingsFile is a JSON file that a test changes.
type settingsFile string

func (f settingsFile) write(t *testing.T, values map[string]any) {
	t.Helper()
	text, err := json.Marshal(values)
	if err != nil {
		t.Fatal(err)
	}
	f.writeText(t, string(text))
}

func (f settingsFile) writeText(t *testing.T, text string) {
	t.Helper()
	if err := os.WriteFile(string(f), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// hangUp sends this process the signal for a reload.
func hangUp(t *testing.T) {
	t.Helper()
	if runtime.GOOS == "windows" {
		t.Skip("no signals")
	}
	self, err := os.FindProcess(os.Getpid())
	if err == nil {
		err = self.Signal(syscall.SIGHUP)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// named serves connections whose first byte is answered with a name and that byte.
func named(t *testing.T, name string) string {
	return serveTCP(t, func(conn *net.TCPConn) {
		b := make([]byte, 1)
		for {
			if _, err := io.ReadFull(conn, b); err != nil {
				return
			}
			_, _ = conn.Write(append([]byte(name), b...))
		}
	})
}

func TestReloadChangesNewConnections(t *testing.T) {
	noGoroutinesLeft(t)
	file := settingsFile(filepath.Join(t.TempDir(), "server.json"))
	values := map[string]any{"target": named(t, "first"), "drain": 0}
	file.write(t, values)
	tun := startTunnel(t, []string{"-c", string(file)}, local)
	entry := tun.client.address(t, "")
	old := connect(t, entry)
	mustWrite(t, old, "1")
	mustRead(t, old, "first1")

	values["target"] = named(t, "second")
	file.write(t, values)
	hangUp(t)
	tun.server.log.wait(t, map[string]string{"msg": "settings reloaded"})
	mustWrite(t, old, "2")
	mustRead(t, old, "first2")
	conn := connect(t, entry)
	mustWrite(t, conn, "3")
	mustRead(t, conn, "second3")

	for what, text := range map[string]string{
		"no JSON": "{", "unknown key": `{"targte":"x"}`, "wrong value": `{"allow":"10.0.0.0/99"}`,
	} {
		file.writeText(t, text)
		hangUp(t)
		tun.server.log.wait(t, map[string]string{"level": "ERROR", "msg": "reload"})
		conn := connect(t, entry)
		mustWrite(t, conn, "4")
		if mustRead(t, conn, "second4"); t.Failed() {
			t.Errorf("after %s", what)
		}
	}

	values["listen"], values["log-level"] = "127.0.0.1:1", "warn"
	file.write(t, values)
	hangUp(t)
	line := tun.server.log.wait(t, map[string]string{"level": "WARN", "msg": "restart"})
	if text, _ := json.Marshal(line["settings"]); string(text) != `["listen"]` {
		t.Errorf("a restart is needed for %s", text)
	}
}

// A client that is told another server uses it for new connections.
func TestReloadOfAClientChangesItsServer(t *testing.T) {
	file := settingsFile(filepath.Join(t.TempDir(), "client.json"))
	tun := startTunnel(t, []string{"-t", named(t, "first")}, local) // its client is not used
	second := runProgram(t, "server", "-l", "127.0.0.1:0", "-keyfile", tun.key, "-t", named(t, "second"))
	firstAt := tun.server.log.again(t, map[string]string{"msg": "listening"})
	secondAt := second.address(t, "")
	values := map[string]any{"remoteaddr": firstAt, "localaddr": "127.0.0.1:0"}
	file.write(t, values)
	client := runProgram(t, "client", "-keyfile", tun.key, "-c", string(file))
	entry := client.address(t, "")
	conn := connect(t, entry)
	mustWrite(t, conn, "1")
	mustRead(t, conn, "first1")
	values["remoteaddr"], values["compress"] = secondAt, "zstd"
	file.write(t, values)
	hangUp(t)
	client.log.wait(t, map[string]string{"msg": "settings reloaded"})
	other := connect(t, entry)
	mustWrite(t, other, "2")
	mustRead(t, other, "second2")
	mustWrite(t, conn, "3")
	mustRead(t, conn, "first3")
}
