// SPDX-License-Identifier: MIT

package main

import (
	"encoding/json"
	"fmt"
	"strconv"
)

// value is what a setting can be: it is set from a flag's text or from a JSON value.
type value interface {
	String() string
	Set(s string) error
	setJSON(raw json.RawMessage) error
}

// text is any string.
type text struct{ p *string }

func (v text) String() string     { return *v.p }
func (v text) Set(s string) error { *v.p = s; return nil }

func (v text) setJSON(raw json.RawMessage) error {
	var s string
	if json.Unmarshal(raw, &s) != nil {
		return fmt.Errorf("%s: want a string", raw)
	}
	return v.Set(s)
}

// number is a whole number within bounds.
type number struct {
	p           *int64
	least, most int64
}

func (v number) String() string { return strconv.FormatInt(*v.p, 10) }

func (v number) Set(s string) error {
	n, err := strconv.ParseInt(s, 0, 64)
	if err != nil || n < v.least || n > v.most {
		return fmt.Errorf("%q: want a number from %d to %d", s, v.least, v.most)
	}
	*v.p = n
	return nil
}

func (v number) setJSON(raw json.RawMessage) error {
	var n int64
	if json.Unmarshal(raw, &n) != nil || n < v.least || n > v.most {
		return fmt.Errorf("%s: want a number from %d to %d", raw, v.least, v.most)
	}
	*v.p = n
	return nil
}

// onOff is true or false, and true for a flag without a value.
type onOff struct{ p *bool }

func (v onOff) String() string   { return strconv.FormatBool(*v.p) }
func (v onOff) IsBoolFlag() bool { return true }

func (v onOff) Set(s string) error {
	b, err := strconv.ParseBool(s)
	if err != nil {
		return fmt.Errorf("%q: want true or false", s)
	}
	*v.p = b
	return nil
}

func (v onOff) setJSON(raw json.RawMessage) error {
	var b bool
	if json.Unmarshal(raw, &b) != nil {
		return fmt.Errorf("%s: want true or false", raw)
	}
	*v.p = b
	return nil
}

// onOffText is a string that true stands for, another string, or "" for false.
type onOffText struct {
	p  *string
	on string
}

func (v onOffText) String() string   { return *v.p }
func (v onOffText) IsBoolFlag() bool { return true }

func (v onOffText) Set(s string) error {
	switch b, err := strconv.ParseBool(s); {
	case err != nil:
		*v.p = s
	case b:
		*v.p = v.on
	default:
		*v.p = ""
	}
	return nil
}

func (v onOffText) setJSON(raw json.RawMessage) error {
	var s string
	var b bool
	switch {
	case json.Unmarshal(raw, &b) == nil:
		return v.Set(strconv.FormatBool(b))
	case json.Unmarshal(raw, &s) == nil:
		return v.Set(s)
	}
	return fmt.Errorf("%s: want true, false or a string", raw)
}

// flagOf is a value as package flag takes it. It notes that the setting was given.
type flagOf struct {
	value
	s    *settings
	name string
}

func (f *flagOf) String() string {
	if f.value == nil {
		return ""
	}
	return f.value.String()
}

func (f *flagOf) Set(s string) error {
	f.s.given[f.name] = true
	return f.value.Set(s)
}

func (f *flagOf) IsBoolFlag() bool {
	b, ok := f.value.(interface{ IsBoolFlag() bool })
	return ok && b.IsBoolFlag()
}
