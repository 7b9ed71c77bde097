// SPDX-License-Identifier: MIT

package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"strings"
)

// keyLogMost bounds a key log that is extended, in bytes.
const keyLogMost = 1 << 20

// logKey adds the key of the cipher to the file that was named.
func (o *options) logKey() error {
	key, err := newKey(o.cipher, o.key)
	if err != nil {
		return err
	}
	return appendKeyLog(o.keyLog, o.cipher, key)
}

// appendKeyLog adds the key of a test to a file, for kcpdump and Wireshark, unless it is in there.
// A line is a label and its fields, with spaces between them:
//
//	KCP_PSK aes-128-gcm 000102030405060708090a0b0c0d0e0f
//
// is a key that both ends were configured with, in hexadecimal, or - for a cipher without one.
// Readers skip lines with labels that they do not know, and fields behind those that they know.
func appendKeyLog(name, cipher string, key []byte) (err error) {
	text := "-"
	if len(key) > 0 {
		text = fmt.Sprintf("%x", key)
	}
	line := "KCP_PSK " + cipher + " " + text
	f, err := os.OpenFile(name, os.O_CREATE|os.O_RDWR|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() {
		return fmt.Errorf("%s is not a file", name)
	}
	if info.Mode().Perm()&0o077 != 0 && runtime.GOOS != "windows" {
		return fmt.Errorf("%s can be read by others: chmod 600 it", name)
	}
	old, err := io.ReadAll(io.LimitReader(f, keyLogMost))
	if err != nil {
		return err
	}
	for known := range strings.Lines(string(old)) {
		if strings.TrimSpace(known) == line {
			return nil
		}
	}
	if len(old) > 0 && old[len(old)-1] != '\n' {
		line = "\n" + line
	}
	_, err = f.WriteString(line + "\n")
	return err
}
