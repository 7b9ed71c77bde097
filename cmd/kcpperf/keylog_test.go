// SPDX-License-Identifier: MIT

package main

import (
	"bytes"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
)

func TestKeyLog(t *testing.T) {
	name := filepath.Join(t.TempDir(), "keys")
	test := func(args ...string) (stderr string, status int) {
		var errs bytes.Buffer
		synctest.Test(t, func(t *testing.T) {
			args := append([]string{"--simulate", "rtt=10ms rate=1Mbit", "-t", "0.1", "-i", "0.1", "--keylog", name}, args...)
			status = program(t.Context(), args, new(bytes.Buffer), &errs)
		})
		return errs.String(), status
	}
	for _, args := range [][]string{
		{"--cipher", "aes-128-gcm"}, {"--cipher", "aes-128-gcm"}, {"--cipher", "xor", "--key", "secret"}, {"--cipher", "crc"},
	} {
		if stderr, status := test(args...); status != 0 || !strings.Contains(stderr, "can decrypt the traffic") {
			t.Fatalf("%v: status %d, %q", args, status, stderr)
		}
	}
	text, err := os.ReadFile(name)
	// The key is PBKDF2-HMAC-SHA256 of the phrase and the salt "kcpperf", 4096 times.
	want := regexp.MustCompile(`^KCP_PSK aes-128-gcm [0-9a-f]{32}\nKCP_PSK xor [0-9a-f]{64}\nKCP_PSK crc -\n$`)
	if err != nil || !want.Match(text) {
		t.Errorf("got %q, %v", text, err)
	}
	if runtime.GOOS != "windows" {
		if info, err := os.Stat(name); err != nil || info.Mode() != 0o600 {
			t.Errorf("the file is %v, %v, want -rw-------", info.Mode(), err)
		}
		if err := os.Chmod(name, 0o644); err != nil {
			t.Fatal(err)
		}
		if stderr, status := test("--cipher", "tea"); status != statusFailed || !strings.Contains(stderr, "can be read by others") {
			t.Errorf("status %d, %q", status, stderr)
		}
		if after, err := os.ReadFile(name); err != nil || !bytes.Equal(after, text) {
			t.Errorf("the file has become %q, %v", after, err)
		}
	}
	if stderr, status := test(); status != statusUsage || !strings.Contains(stderr, "--keylog needs a --cipher") {
		t.Errorf("status %d, %q", status, stderr)
	}
}

// A file that is not closed by a line break is continued on a line of its own.
func TestKeyLogIsContinued(t *testing.T) {
	name := filepath.Join(t.TempDir(), "keys")
	if err := os.WriteFile(name, []byte("# mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := appendKeyLog(name, "tea", []byte{1, 2}); err != nil {
		t.Fatal(err)
	}
	if text, err := os.ReadFile(name); err != nil || string(text) != "# mine\nKCP_PSK tea 0102\n" {
		t.Errorf("got %q, %v", text, err)
	}
	if err := appendKeyLog(t.TempDir(), "tea", nil); err == nil {
		t.Error("a directory was taken for a file")
	}
}

// A cipher whose key is logged makes the same packets as the other one.
func TestLoggedCiphers(t *testing.T) {
	for _, k := range cipherKinds {
		block, err := newCipher(k.name, "secret")
		if err != nil {
			t.Fatal(err)
		}
		logged, err := loggedCipher(k.name, "secret")
		if err != nil {
			t.Fatal(err)
		}
		packet, other := make([]byte, 100), make([]byte, 100)
		block.Encrypt(packet, packet)
		logged.Encrypt(other, other)
		if !bytes.Equal(packet, other) {
			t.Errorf("%s makes another packet when its key is logged", k.name)
		}
	}
	if block, err := loggedCipher(noCipher, ""); block != nil || err != nil {
		t.Errorf("got %v, %v for no cipher", block, err)
	}
}
