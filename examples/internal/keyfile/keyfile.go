// SPDX-License-Identifier: MIT

// Package keyfile gives the examples their packet protection: under a key that both ends have in a
// file.
package keyfile

import (
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/seedkcp/kcp"
)

const (
	// Flag and Usage are what the examples offer on their command lines.
	Flag  = "key"
	Usage = "encrypt and authenticate with the key in this `file`: 64 hexadecimal digits, as 'openssl rand -hex 32' prints them; the same at both ends"

	size = 32 // bytes
)

// Load returns AES-256-GCM under the key in the file at path, and nil, which is no protection, for
// an empty path.
func Load(path string) (kcp.BlockCrypt, error) {
	key, err := Read(path)
	if key == nil || err != nil {
		return nil, err
	}
	return kcp.NewAESGCMCrypt(key)
}

// Read returns the 32 bytes of the key in the file at path, nil for an empty path.
func Read(path string) ([]byte, error) {
	if path == "" {
		return nil, nil
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("key: %w", err)
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, 4*size))
	if err != nil {
		return nil, fmt.Errorf("key: %w", err)
	}
	key, err := hex.DecodeString(strings.TrimSpace(string(text)))
	if err == nil && len(key) != size {
		err = errors.New("wrong length")
	}
	if err != nil {
		// The text itself must not be printed.
		return nil, fmt.Errorf("key: %s does not hold %d hexadecimal digits", path, 2*size)
	}
	return key, nil
}
