// SPDX-License-Identifier: MIT

package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// dialByHand opens a session as a sender does.
func dialByHand(t *testing.T, addr string) patient {
	t.Helper()
	config, err := new(options).config()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	sess, err := config.Dial(ctx, addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { sess.Close() })
	return patient{sess, 10 * time.Second}
}

func offerOf(name string, data []byte) *offer {
	return &offer{name: name, size: int64(len(data)), sum: sha256.Sum256(data)}
}

// begin offers data and sends the first bytes of it.
func begin(t *testing.T, addr, name string, data []byte, first int) patient {
	t.Helper()
	sess := dialByHand(t, addr)
	if _, err := sess.Write(offerOf(name, data).append(nil)); err != nil {
		t.Fatal(err)
	}
	if offset, err := readVerdict(sess, verdictGoOn); offset != 0 || err != nil {
		t.Fatalf("got offset %d, %v, want 0", offset, err)
	}
	if _, err := sess.Write(data[:first]); err != nil {
		t.Fatal(err)
	}
	return sess
}

func TestBrokenTransferGoesOnWhereItEnded(t *testing.T) {
	dir := t.TempDir()
	addr, out := startReceiver(t, dir)
	data := testData(1 << 20)
	sess := begin(t, addr, "data.bin", data, 300000)
	// Ends like a sender that lost its path; what came before counts.
	if err := sess.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	var refused *refusedError
	if _, err := readVerdict(sess, verdictStored); !errors.As(err, &refused) || !strings.Contains(err.Error(), "stopped after") {
		t.Errorf("got %v, want a refusal that says where the sender stopped", err)
	}
	<-out.lines
	wantFiles(t, dir, map[string][]byte{partName(offerOf("data.bin", data)): data[:300000]})

	status, stdout, stderr := sendRun(t, addr, writeFile(t, "data.bin", data))
	if status != 0 || !strings.Contains(stdout, "going on from 300000 bytes") {
		t.Errorf("exit status %d, %s%s; want 0 and where it goes on", status, stdout, stderr)
	}
	wantFiles(t, dir, map[string][]byte{"data.bin": data})
}

func TestSecondTryTakesOverFromALostOne(t *testing.T) {
	dir := t.TempDir()
	addr, _ := startReceiver(t, dir)
	data := testData(1 << 20)
	lost := begin(t, addr, "data.bin", data, 1000) // and nothing more, as from a crashed machine
	status, _, stderr := sendRun(t, addr, writeFile(t, "data.bin", data))
	if status != 0 {
		t.Errorf("exit status %d: %s", status, stderr)
	}
	wantFiles(t, dir, map[string][]byte{"data.bin": data})
	if _, err := readVerdict(lost, verdictStored); err == nil {
		t.Error("the first session was told that its file is stored")
	}
}

func TestDamagedPartIsFoundAndDropped(t *testing.T) {
	dir := t.TempDir()
	addr, _ := startReceiver(t, dir)
	data := testData(1 << 20)
	path := writeFile(t, "data.bin", data)
	part := filepath.Join(dir, partName(offerOf("data.bin", data)))
	if err := os.WriteFile(part, make([]byte, 1000), 0o600); err != nil {
		t.Fatal(err)
	}
	status, _, stderr := sendRun(t, addr, path)
	if status != 1 || !strings.Contains(stderr, "SHA-256 differs") {
		t.Errorf("exit status %d, %q; want 1 and that the SHA-256 differs", status, stderr)
	}
	wantFiles(t, dir, nil)
	// What is longer than the file is no part of it.
	if err := os.WriteFile(part, make([]byte, len(data)+1), 0o600); err != nil {
		t.Fatal(err)
	}
	if status, _, stderr := sendRun(t, addr, path); status != 0 {
		t.Errorf("exit status %d: %s", status, stderr)
	}
	wantFiles(t, dir, map[string][]byte{"data.bin": data})
}

func TestFileThatIsThereIsNotReplaced(t *testing.T) {
	dir := t.TempDir()
	addr, _ := startReceiver(t, dir)
	data, other := testData(1000), bytes.Repeat([]byte{7}, 1000)
	want := map[string][]byte{"same.bin": data, "other.bin": other, "short.bin": {1}}
	for name, content := range want {
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if status, _, stderr := sendRun(t, addr, writeFile(t, "same.bin", data)); status != 0 {
		t.Errorf("the very file again: exit status %d: %s", status, stderr)
	}
	for _, name := range []string{"other.bin", "short.bin"} {
		status, _, stderr := sendRun(t, addr, writeFile(t, name, data))
		if status != 1 || !strings.Contains(stderr, "there already") {
			t.Errorf("%s: exit status %d, %q; want 1 and that it is there already", name, status, stderr)
		}
	}
	wantFiles(t, dir, want)
}

func TestHostileOffersAreRefused(t *testing.T) {
	outside := t.TempDir()
	dir := filepath.Join(outside, "in")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	links := os.Symlink(outside, filepath.Join(dir, "link")) == nil
	addr, _ := startReceiver(t, dir, "-max", "1")
	data := testData(10)
	for _, name := range []string{
		"", ".", "..", "../escape", "/etc/escape", "a/b", `a\b`, `..\escape`, "C:escape", "nul\x00", "esc\x1b[2J", "new\nline",
		".hidden", "-rf", "trailing.", "trailing ", "not\xffutf8", strings.Repeat("x", nameMax+1), "link",
	} {
		if name == "link" && !links {
			continue
		}
		sess := dialByHand(t, addr)
		if _, err := sess.Write(offerOf(name, data).append(nil)); err != nil {
			t.Fatal(err)
		}
		var refused *refusedError
		if _, err := readVerdict(sess, verdictGoOn); !errors.As(err, &refused) {
			t.Errorf("%q: got %v, want a refusal", name, err)
		}
		sess.Close()
	}
	for _, o := range []*offer{{name: "large", size: 1<<20 + 1}, {name: "negative", size: -1}} {
		sess := dialByHand(t, addr)
		if _, err := sess.Write(o.append(nil)); err != nil {
			t.Fatal(err)
		}
		var refused *refusedError
		if _, err := readVerdict(sess, verdictGoOn); !errors.As(err, &refused) {
			t.Errorf("%s: got %v, want a refusal", o.name, err)
		}
	}
	sess := dialByHand(t, addr)
	if _, err := sess.Write(bytes.Repeat([]byte("GET / HTTP/1.1\r\n"), 10)); err != nil {
		t.Fatal(err)
	}
	if _, err := readVerdict(sess, verdictGoOn); err == nil || !strings.Contains(err.Error(), "no filecopy") {
		t.Errorf("another protocol: got %v, want that this is no filecopy", err)
	}

	os.Remove(filepath.Join(dir, "link"))
	wantFiles(t, dir, nil)
	os.Remove(dir)
	wantFiles(t, outside, nil)
}

// A receiver may be hostile too: it sends terminal commands, or asks for bytes beyond the end.
func TestHostileVerdicts(t *testing.T) {
	v := verdict{kind: verdictRefused, message: "\x1b]0;title\a" + strings.Repeat("x", 70000)}
	_, err := readVerdict(bytes.NewReader(v.append(nil)), verdictGoOn)
	if err == nil || strings.ContainsAny(err.Error(), "\x1b\a") || len(err.Error()) > messageMax+100 {
		t.Errorf("got %q, want a printable reason of bounded length", err)
	}
	if _, err := readVerdict(strings.NewReader("HTTP/1.1 400 Bad Request"), verdictGoOn); err == nil {
		t.Error("another protocol's answer was taken")
	}
	busy := bytes.Repeat(verdict{kind: verdictBusy}.append(nil), 3)
	if n, err := readVerdict(bytes.NewReader(verdict{kind: verdictGoOn, number: 7}.append(busy)), verdictGoOn); n != 7 || err != nil {
		t.Errorf("behind signs of life: got %d, %v, want 7", n, err)
	}
}
