// SPDX-License-Identifier: MIT

package main

import (
	"encoding/hex"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/seedkcp/kcp"
)

func TestOwnSettingsAreChecked(t *testing.T) {
	for _, c := range []struct {
		role role
		args string
		want string // in the error, "" for none
	}{
		{roleClient, "-key secret -r h:1", ""},
		{roleClient, "-keyfile k -crypt xchacha20-poly1305 -compress zstd -socks :1080 -r h:1", ""},
		{roleServer, "-key secret -allow *,10.0.0.0/8:22 -udp 127.0.0.1:53", ""},
		{roleClient, "-compat", ""},
		{roleClient, "-key secret", "-remoteaddr HOST:PORT"},
		{roleClient, "-key secret -r h:1 -udp 5353", "HOST:PORT"},
		{roleServer, "-key secret -udp nohost", "HOST:PORT"},
		{roleServer, "-nosuch", "-help"},
		{roleClient, "", "-keyfile"},
		{roleClient, "-key it's_a_secrect", "-keyfile"},
		{roleClient, "-compat=false -key secret -crypt aes", "aes-256-gcm, xchacha20-poly1305"},
		{roleClient, "-key secret -compress lz4", "zstd"},
		{roleClient, "-compat -compress zstd", "compress"},
		{roleServer, "-compat -allow *", "allow"},
		{roleServer, "-key secret -allow 10.0.0.0/40", "10.0.0.0/40"},
		{roleServer, "-key secret -log-format xml", "xml"},
		{roleServer, "-key secret -log-level loud", "loud"},
		{roleServer, "-key secret -maxconns 0", "maxconns"},
		{roleServer, "-key secret -socks :1", "socks"},
	} {
		var args []string
		for _, arg := range strings.Fields(c.args) {
			args = append(args, strings.ReplaceAll(arg, "_", " "))
		}
		_, err := newSettings(c.role).parse(args, io.Discard)
		switch {
		case c.want == "" && err != nil:
			t.Errorf("%v %s: %v", c.role, c.args, err)
		case c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)):
			t.Errorf("%v %s: got %v, want an error with %q", c.role, c.args, err, c.want)
		}
	}
}

func parsed(t *testing.T, r role, args ...string) *settings {
	t.Helper()
	s := newSettings(r)
	if r == roleClient {
		args = append(args, "-r", "server.example:29900")
	}
	if _, err := s.parse(append(args, "-key", "secret"), io.Discard); err != nil {
		t.Fatal(err)
	}
	return s
}

func TestOwnOptionsFollowFromSettings(t *testing.T) {
	o, err := parsed(t, roleClient).ownOptions()
	if err != nil {
		t.Fatal(err)
	}
	if c := o.config; c.SendWindow != 0 || c.DataShards != 0 || c.CongestionControl != "" ||
		c.NoCongestionControl || !c.NoDelay || c.KeepAlive == 0 || c.MTU != 1350 {
		t.Errorf("by default the sessions have %+v", c)
	}
	if o.local != ":12948" {
		t.Errorf("by default it listens at %q", o.local)
	}
	s := parsed(t, roleClient, "-socks", ":1080", "-sndwnd", "2048", "-mode", "normal", "-ds", "10", "-nocomp")
	if o, err = s.ownOptions(); err != nil {
		t.Fatal(err)
	}
	if o.local != "" || o.config.SendWindow != 2048 || o.config.NoDelay || o.config.DataShards != 0 {
		t.Errorf("got %+v", o)
	}
	if w := strings.Join(s.warnings(), "\n"); !strings.Contains(w, "nocomp, datashard") {
		t.Errorf("warnings: %q", w)
	}
	if o, err = parsed(t, roleClient, "-socks", ":1080", "-l", ":80").ownOptions(); err != nil || o.local != ":80" {
		t.Errorf("with -l it listens at %q, %v", o.local, err)
	}
}

// The key of a cipher depends on the secret and on the cipher's name. It never changes: that would
// part the ends of different versions.
func TestOwnKeyIsDerivedAsDocumented(t *testing.T) {
	secrets := make(map[string][]byte)
	for name, c := range map[string]struct{ passphrase, file string }{
		"passphrase": {"secret", ""}, "file": {"", keyFile(t)}, "both": {"secret", keyFile(t)},
	} {
		var err error
		if secrets[name], err = ownSecret(c.passphrase, c.file); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct{ secret, cipher, want string }{
		{"passphrase", "aes-256-gcm", "3961ea757ec21447ba54e5101a41ae4f5a620e84a8a6a94d5a10c915d374ed8d"},
		{"file", "aes-256-gcm", "488159ed353a0058cab1e049c4b0daf8d2cfc746f670ce17b9a64cf1b01ef110"},
		{"both", "aes-256-gcm", "488159ed353a0058cab1e049c4b0daf8d2cfc746f670ce17b9a64cf1b01ef110"},
		{"file", "xchacha20-poly1305", "81da031f7d29d53d02f3c323d85cf82c42152a60a26e18ddff39653aabd5f779"},
	} {
		if got, err := ownKey(secrets[c.secret], c.cipher); hex.EncodeToString(got) != c.want {
			t.Errorf("%s, %s: got %x, %v, want %s", c.secret, c.cipher, got, err, c.want)
		}
	}
}

// Sessions under each cipher can make keys of their own: a configuration that needs them is valid.
func TestOwnCiphersAllowSessionKeys(t *testing.T) {
	for _, c := range ownCiphers {
		block, err := newOwnCipher(c.name, "", keyFile(t))
		if err != nil {
			t.Fatal(err)
		}
		config := kcp.Config{BlockCrypt: block, RequireSessionKeys: true}
		l, err := config.Listen(t.Context(), "127.0.0.1:0")
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		_ = l.Close()
	}
}

func TestKeyFileMustHoldASecret(t *testing.T) {
	path := filepath.Join(t.TempDir(), "key")
	for text, valid := range map[string]bool{
		strings.Repeat("5a", 32):                   true,
		"  " + strings.Repeat("5A", 32) + "\r\n":   true,
		"":                                         false,
		strings.Repeat("5a", 31):                   false,
		strings.Repeat("5a", 33):                   false,
		strings.Repeat("zz", 32):                   false,
		strings.Repeat("5a", 32) + "\nanother one": false,
	} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := newOwnCipher("", "", path)
		if (err == nil) != valid {
			t.Errorf("%q: %v", text, err)
		}
		if err != nil && text != "" && strings.Contains(err.Error(), text) {
			t.Errorf("the error shows the secret: %v", err)
		}
	}
	if _, err := newOwnCipher("", "", path+"x"); err == nil {
		t.Error("a missing file is no error")
	}
}
