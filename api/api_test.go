// SPDX-License-Identifier: MIT

package main

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const library = `package kcp

import (
	"io"
	"net"
)

type hidden struct{ secret func() }

type mode uint8

type Level uint8

func (mode) String() string { return "" }

const (
	Fast mode = 3
	Size      = 1 << 40
	Name      = "kcp"
)

var Shared *Config

type Config struct {
	MTU    int
	Stream bool
	h      hidden
}

func (c *Config) Dial(addr string) (net.Conn, error) { return nil, nil }
func (c Config) hide()                               {}

type Key struct{ A, b int }

type Crypt interface{ Encrypt(dst, src []byte) }

type Handler func(w io.Writer, m map[string]*Config) (n int, err error)

type Pair[K comparable, V any] struct {
	Key   K
	Value V
}

func (p *Pair[K, V]) Swap(with V) V { return with }

func Map[T, U any](in []T, f func(T) U) []U { return nil }

func New(options ...Handler) *Config { return nil }

type Old = Config
`

// module writes a package and returns its directory.
func module(t *testing.T, source string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range map[string]string{"go.mod": "module example.com/kcp\n\ngo 1.25.0\n", "kcp.go": source} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestWhatBreaksProgramsIsFound(t *testing.T) {
	file := filepath.Join(t.TempDir(), baseline)
	if err := run([]string{"-w"}, module(t, library), file, nil); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name, old, new string
		breaking       string // in what is reported, empty for a compatible change
	}{
		{name: "nothing"},
		{"a function more", "func New(", "func Newer() {}\n\nfunc New(", ""},
		{"a field more", "MTU    int", "MTU    int\nWindow int", ""},
		{"a method more", "func (c Config) hide()", "func (c Config) Seek()", ""},
		{"an unexported field more", "h      hidden", "h      hidden\ni int", ""},
		{"a body", "return with", "panic(with)", ""},
		{"a parameter's name", "Dial(addr string)", "Dial(address string)", ""},
		{"a function less", "func New(", "func anew(", "New: removed"},
		{"a method less", "func (c *Config) Dial", "func (c *Config) dial", "(*Config).Dial: removed"},
		{"a field less", "Stream bool", "stream bool", "Config.Stream: removed"},
		{"a field's type", "MTU    int", "MTU    int64", "Config.MTU: changed from int to int64"},
		{"a result more", "func New(options ...Handler) *Config { return nil }",
			"func New(options ...Handler) (*Config, error) { return nil, nil }", "New: changed from"},
		{"a parameter more", "Dial(addr string)", "Dial(addr string, mtu int)", "(*Config).Dial: changed from"},
		{"a method more of an interface", "Encrypt(dst, src []byte)", "Encrypt(dst, src []byte); Close()", "Crypt.Close: added"},
		{"a constant's value", "Fast mode = 3", "Fast mode = 4", "Fast: value changed from 3 to 4"},
		{"a string's value", `"kcp"`, `"kcp2"`, "Name: value changed"},
		{"an underlying type", "type Level uint8", "type Level int8", "Level: changed from"},
		{"no longer comparable", "type Key struct{ A, b int }", "type Key struct{ A int; b []int }", "Key: old is comparable, new is not"},
		{"a constraint", "Pair[K comparable, V any]", "Pair[K comparable, V comparable]", "Pair"},
		{"a generic function's parameter", "f func(T) U)", "f func(U) T)", "Map: changed from"},
		{"a variable's type", "var Shared *Config", "var Shared Config", "Shared: changed from"},
		{"an alias", "type Old = Config", "type Old = Key", "Old: changed from"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			source := strings.Replace(library, tt.old, tt.new, 1)
			if source == library && tt.old != "" {
				t.Fatalf("%q is not in the source", tt.old)
			}
			var out bytes.Buffer
			err := run(nil, module(t, source), file, &out)
			if tt.breaking == "" {
				if err != nil || strings.Contains(out.String(), "incompatible") {
					t.Errorf("got %v and %q, want no complaint", err, out.String())
				}
				return
			}
			if !errors.Is(err, errIncompatible) || !strings.Contains(out.String(), tt.breaking) {
				t.Errorf("got %v and %q, want %q", err, out.String(), tt.breaking)
			}
		})
	}
}

func TestLibraryIsCompatibleWithBaseline(t *testing.T) {
	breaking, _, err := compare("..", baseline)
	if err != nil || len(breaking) > 0 {
		t.Errorf("got %v and error %v", breaking, err)
	}
}

// A regenerated description has no additions and no breaks.
func TestDescriptionDescribesAll(t *testing.T) {
	text, err := describe("..")
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), baseline)
	if err := os.WriteFile(file, text, 0o666); err != nil {
		t.Fatal(err)
	}
	breaking, added, err := compare("..", file)
	if err != nil || len(breaking) > 0 || len(added) > 0 {
		t.Errorf("breaking %v, added %v, error %v; want none", breaking, added, err)
	}
	if again, err := describe(".."); err != nil || !bytes.Equal(text, again) {
		t.Errorf("written twice, the text differs (error %v)", err)
	}
	lines := strings.Split(string(text), "\n")
	if !slices.Contains(lines, "func Dial(raddr string) (net.Conn, error)") {
		t.Error("Dial is not in it")
	}
}

func TestWrongArgumentsAndFiles(t *testing.T) {
	for _, args := range [][]string{{"x"}, {"-x"}} {
		if err := run(args, "..", baseline, &bytes.Buffer{}); err == nil {
			t.Errorf("run(%q) succeeded", args)
		}
	}
	if err := run(nil, "..", filepath.Join(t.TempDir(), "absent"), &bytes.Buffer{}); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("got %v for an absent baseline", err)
	}
	if err := run(nil, module(t, "package kcp\n\nvar x int = \"a\"\n"), baseline, &bytes.Buffer{}); err == nil {
		t.Error("a package that does not compile was accepted")
	}
}
