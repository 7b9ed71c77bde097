// SPDX-License-Identifier: MIT

package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
)

// readFile sets what a JSON file has. Its keys are the names of the flags, in any case, as the
// archived tunnel took them. A key of the other end's settings is a warning.
func (s *settings) readFile(path string) (warnings []string, err error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, errors.Unwrap(err)
	}
	return s.readJSON(data)
}

func (s *settings) readJSON(data []byte) (warnings []string, err error) {
	values, err := decodeObject(data)
	if err != nil {
		return nil, err
	}
	options := optionsOf(s)
	for _, key := range slices.Sorted(maps.Keys(values)) {
		o, err := findOption(options, key, s.role)
		if err != nil {
			return nil, err
		}
		if o.roles&s.role == 0 {
			warnings = append(warnings,
				fmt.Sprintf("key %q has no effect: it is a setting of the %v", key, o.roles))
			continue
		}
		if string(values[key]) == "null" {
			continue
		}
		if err := o.value.setJSON(values[key]); err != nil {
			return nil, fmt.Errorf("key %q: %w", key, err)
		}
		s.given[o.names[0]] = true
	}
	return warnings, nil
}

// decodeObject returns the members of the one object that data has.
func decodeObject(data []byte) (map[string]json.RawMessage, error) {
	var values map[string]json.RawMessage
	data = bytes.TrimPrefix(data, []byte("\xef\xbb\xbf")) // as some editors on Windows begin files
	decoder := json.NewDecoder(bytes.NewReader(data))
	if err := decoder.Decode(&values); err != nil {
		line := 1 + bytes.Count(data[:min(decoder.InputOffset(), int64(len(data)))], []byte{'\n'})
		var syntax *json.SyntaxError
		if errors.As(err, &syntax) {
			line = 1 + bytes.Count(data[:min(syntax.Offset, int64(len(data)))], []byte{'\n'})
		}
		return nil, fmt.Errorf("line %d: %w", line, err)
	}
	if _, err := decoder.Token(); err != io.EOF {
		return nil, errors.New("there is more than one JSON object")
	}
	return values, nil
}

// findOption returns the option with a JSON key, preferably one of the role, or an error that names
// the keys.
func findOption(options []option, key string, r role) (*option, error) {
	var known []string
	var other *option
	for i := range options {
		o := &options[i]
		switch {
		case !strings.EqualFold(o.jsonKey(), key):
		case o.roles&r != 0:
			return o, nil
		default:
			other = o
		}
		if o.roles&r != 0 {
			known = append(known, o.jsonKey())
		}
	}
	if other != nil {
		return other, nil
	}
	slices.Sort(known)
	return nil, fmt.Errorf("unknown key %q: want one of %s", key, strings.Join(known, ", "))
}
