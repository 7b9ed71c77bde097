// SPDX-License-Identifier: MIT

package main

import (
	"bufio"
	"crypto/pbkdf2"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
)

// keysMost bounds a key log, since each key is tried with each flow.
const keysMost = 1024

// labelPSK begins a line of a key log with a key that both ends were configured with. README.md
// describes the format.
const labelPSK = "KCP_PSK"

// parseKeyLog reads a key log. Lines with an unknown label are skipped: other versions have more.
func parseKeyLog(r io.Reader) ([]*secret, error) {
	var secrets []*secret
	seen := map[string]bool{}
	lines := bufio.NewScanner(io.LimitReader(r, metadataMost))
	for n := 1; lines.Scan(); n++ {
		fields := strings.Fields(lines.Text())
		if len(fields) == 0 || fields[0] != labelPSK {
			continue
		}
		fields = append(fields[1:], "", "")
		if fields[1] == "-" {
			fields[1] = ""
		}
		key, err := hex.DecodeString(fields[1])
		if err != nil {
			return nil, fmt.Errorf("line %d: the key is not hexadecimal", n)
		}
		if seen[fields[0]+" "+string(key)] {
			continue
		}
		seen[fields[0]+" "+string(key)] = true
		s, err := newSecret(fields[0], key)
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", n, err)
		}
		if secrets = append(secrets, s); len(secrets) > keysMost {
			return nil, fmt.Errorf("more than %d keys", keysMost)
		}
	}
	return secrets, lines.Err()
}

// kdfs are the ways to make a key from a pass phrase.
var kdfs = map[string]func(phrase string, size int) ([]byte, error){
	"kcpperf": func(phrase string, size int) ([]byte, error) {
		return pbkdf2.Key(sha256.New, phrase, []byte("kcpperf"), 4096, size)
	},
	"kcptun": func(phrase string, size int) ([]byte, error) {
		key, err := pbkdf2.Key(sha1.New, phrase, []byte("kcp-go"), 4096, max(size, 32))
		return key[:min(size, len(key))], err
	},
}

// secrets makes the ciphers from what was given on the command line.
func (o *options) secrets() (all []*secret, err error) {
	if o.keyLog != "" {
		f, err := os.Open(o.keyLog)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		if all, err = parseKeyLog(f); err != nil {
			return nil, fmt.Errorf("%s: %w", o.keyLog, err)
		}
		if len(all) == 0 {
			return nil, fmt.Errorf("%s has no line with %s", o.keyLog, labelPSK)
		}
	}
	given := 0
	for _, text := range []string{o.key, o.keyFile, o.phrase} {
		if text != "" {
			given++
		}
	}
	switch {
	case given > 1:
		return nil, errors.New("want one of -key, -keyfile and -phrase")
	case given > 0 && o.crypt == "":
		return nil, errors.New("a key needs the cipher: -crypt NAME")
	case o.crypt == "":
		return all, nil
	}
	size, ok := keySize(o.crypt)
	if ok && given == 0 && size > 0 {
		return nil, fmt.Errorf("-crypt %s needs -key, -keyfile or -phrase", o.crypt)
	}
	var key []byte
	if ok && given > 0 {
		if key, err = o.readKey(size); err != nil {
			return nil, err
		}
	}
	s, err := newSecret(o.crypt, key)
	if err != nil {
		return nil, fmt.Errorf("-crypt: %w", err)
	}
	return append(all, s), nil
}

// readKey returns the key that was given as hexadecimal, in a file, or as a pass phrase.
func (o *options) readKey(size int) ([]byte, error) {
	if o.phrase != "" {
		derive, ok := kdfs[o.kdf]
		if !ok {
			return nil, fmt.Errorf("-kdf is %q, want kcpperf or kcptun", o.kdf)
		}
		return derive(o.phrase, size)
	}
	text, name := o.key, "-key"
	if o.keyFile != "" {
		b, err := readBounded(o.keyFile, 4096)
		if err != nil {
			return nil, err
		}
		text, name = string(b), o.keyFile
	}
	key, err := hex.DecodeString(strings.TrimSpace(text))
	if err != nil {
		return nil, fmt.Errorf("%s: the key is not hexadecimal", name)
	}
	return key, nil
}

func readBounded(name string, most int64) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, most))
}
