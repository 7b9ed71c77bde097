// SPDX-License-Identifier: MIT

package main

import (
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/seedkcp/kcp"
)

func TestKeysFromEverywhere(t *testing.T) {
	key := testKey(16)
	c := converse(t, kcp.Config{BlockCrypt: blockOf(t, "aes-128-gcm", key)}, 2000, 0)
	capture := pcapOf(t, c.packets...)
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	hexKey := hex.EncodeToString(key)
	log := write("log", "# made by a test\n\nKCP_LATER 1 2 3\nKCP_PSK crc -\nKCP_PSK aes-256 "+strings.Repeat("ab", 32)+"\n"+
		"KCP_PSK aes-128-gcm "+hexKey+" more to come\r\nKCP_PSK aes-128-gcm "+hexKey+"\n")
	for _, args := range [][]string{
		{"-crypt", "aes-128-gcm", "-key", hexKey},
		{"-crypt", "aes-128-gcm", "-keyfile", write("key", strings.ToUpper(hexKey)+"\n")},
		{"-keylog", log},
		{"-keylog", log, "-crypt", "xor", "-key", "01"},
	} {
		c.check(t, jsonLines(t, mustDump(t, capture, append(args, "-json")...)), "aes-128-gcm")
	}
	for phrase, kdf := range map[string]string{"kcpperf": "kcpperf", "it's a secrect": "kcptun"} {
		key, err := kdfs[kdf](phrase, 16)
		if err != nil {
			t.Fatal(err)
		}
		c := converse(t, kcp.Config{BlockCrypt: blockOf(t, "aes-128", key)}, 2000, 0)
		lines := mustDump(t, pcapOf(t, c.packets...), "-json", "-crypt", "aes-128", "-phrase", phrase, "-kdf", kdf)
		c.check(t, jsonLines(t, lines), "aes-128")
	}
}

func TestWrongKeysAreRefused(t *testing.T) {
	dir := t.TempDir()
	for i, tt := range []struct {
		log, want string
		args      []string
	}{
		{"", "want 16", []string{"-crypt", "aes-128", "-key", "0102"}},
		{"", "there is no cipher \"rot13\": want one of aes-128-gcm", []string{"-crypt", "rot13", "-key", "01"}},
		{"", "not hexadecimal", []string{"-crypt", "xor", "-key", "xyz"}},
		{"", "needs -key", []string{"-crypt", "xor"}},
		{"", "needs the cipher", []string{"-key", "01"}},
		{"", "want one of", []string{"-crypt", "xor", "-key", "01", "-phrase", "a"}},
		{"", "want kcpperf or kcptun", []string{"-crypt", "xor", "-phrase", "a", "-kdf", "md5"}},
		{"KCP_PSK aes-128 zz\n", "line 1: the key is not hexadecimal", nil},
		{"\nKCP_PSK aes-128\n", "line 2: aes-128: a key of 0 bytes", nil},
		{"KCP_PSK\n", "there is no cipher", nil},
		{"# nothing\n", "has no line with KCP_PSK", nil},
	} {
		if tt.log != "" {
			path := filepath.Join(dir, fmt.Sprint(i))
			if err := os.WriteFile(path, []byte(tt.log), 0o600); err != nil {
				t.Fatal(err)
			}
			tt.args = []string{"-keylog", path}
		}
		if _, stderr, status := dump(t, nil, tt.args...); status != statusUsage || !strings.Contains(stderr, tt.want) {
			t.Errorf("%q, %v: status %d, %q; want %q", tt.log, tt.args, status, stderr, tt.want)
		}
	}
}
