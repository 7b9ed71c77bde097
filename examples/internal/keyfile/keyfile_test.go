// SPDX-License-Identifier: MIT

package keyfile

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestLoad(t *testing.T) {
	dir := t.TempDir()
	good := strings.Repeat("0123456789abcdef", 4)
	for _, tt := range []struct {
		name, text, wantErr string
	}{
		{"right", good, ""},
		{"with a line end", good + "\n", ""},
		{"too short", good[2:], "does not hold 64"},
		{"too long", good + "00", "does not hold 64"},
		{"endless", strings.Repeat("0", 1<<20), "does not hold 64"},
		{"not hexadecimal", "g" + good[1:], "does not hold 64"},
		{"empty", "", "does not hold 64"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			path := filepath.Join(dir, "key")
			if err := os.WriteFile(path, []byte(tt.text), 0o600); err != nil {
				t.Fatal(err)
			}
			block, err := Load(path)
			if tt.wantErr == "" {
				if err != nil || block == nil {
					t.Errorf("got %v, %v, want a cipher", block, err)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), tt.wantErr) || block != nil {
				t.Errorf("got %v, %v, want an error with %q", block, err, tt.wantErr)
			}
			if tt.text != "" && err != nil && strings.Contains(err.Error(), tt.text) {
				t.Errorf("the error tells the key: %v", err)
			}
		})
	}
	if block, err := Load(""); block != nil || err != nil {
		t.Errorf("no file: got %v, %v, want nil, nil", block, err)
	}
	if _, err := Load(filepath.Join(dir, "missing")); err == nil || !strings.Contains(err.Error(), "missing") {
		t.Errorf("missing file: got %v, want an error that names it", err)
	}
}
