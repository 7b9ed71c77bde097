// SPDX-License-Identifier: MIT

package main

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
)

func TestRequestRoundTrip(t *testing.T) {
	for _, want := range []request{
		{kind: kindTarget},
		{kind: kindTarget, compression: compressZstd},
		{kind: kindAddress, host: "example.com", port: 443},
		{kind: kindAddress, compression: compressZstd, host: "2001:db8::1", port: 1},
		{kind: kindUDPTarget},
		{kind: kindUDPAddress, host: strings.Repeat("a", 255), port: 65535},
	} {
		wire := want.append(nil)
		r := bytes.NewReader(append(wire, "data"...))
		got, err := readRequest(r)
		if err != nil || *got != want {
			t.Errorf("got %+v, %v, want %+v", got, err, want)
		}
		if rest, _ := io.ReadAll(r); string(rest) != "data" {
			t.Errorf("%+v: %q is left behind the request", want, rest)
		}
	}
}

func TestReadRequestRefusesWhatIsNone(t *testing.T) {
	valid := (&request{kind: kindAddress, host: "a.example", port: 80}).append(nil)
	with := func(at int, b byte) []byte {
		changed := bytes.Clone(valid)
		changed[at] = b
		return changed
	}
	for name, c := range map[string]struct {
		wire []byte
		want error
	}{
		"nothing":           {nil, io.EOF},
		"half a header":     {valid[:5], io.ErrUnexpectedEOF},
		"half a host":       {valid[:12], io.ErrUnexpectedEOF},
		"other magic":       {with(0, 'x'), errNotTunnel},
		"other version":     {with(4, 2), errOtherVersion},
		"kind 0":            {with(5, 0), errors.ErrUnsupported},
		"kind 5":            {with(5, 5), errors.ErrUnsupported},
		"compression 2":     {with(6, 2), errors.ErrUnsupported},
		"compressed UDP":    {(&request{kind: kindUDPTarget, compression: compressZstd}).append(nil), errors.ErrUnsupported},
		"target and a host": {with(5, byte(kindTarget)), errNotTunnel},
		"no host":           {(&request{kind: kindAddress, port: 80}).append(nil), errNotTunnel},
		"no port":           {(&request{kind: kindAddress, host: "a"}).append(nil), errNotTunnel},
		"line feed":         {with(11, '\n'), errNotTunnel},
		"path":              {with(11, '/'), errNotTunnel},
	} {
		if r, err := readRequest(bytes.NewReader(c.wire)); !errors.Is(err, c.want) {
			t.Errorf("%s: got %+v, %v, want %v", name, r, err, c.want)
		}
	}
}

func TestAnswerRoundTrip(t *testing.T) {
	for s := statusOK; s <= statusBusy+1; s++ {
		if got, err := readAnswer(bytes.NewReader(appendAnswer(nil, s))); got != s || err != nil {
			t.Errorf("got %v, %v, want %v", got, err, s)
		}
		if s.String() == "" {
			t.Errorf("status %d has no text", s)
		}
	}
	for wire, want := range map[string]error{
		"":                io.EOF,
		"kTnL":            io.ErrUnexpectedEOF,
		"HTTP/1.1 400":    errNotTunnel,
		"kTnL\x02\x00":    errOtherVersion,
		"kTnL\x00\x00etc": errOtherVersion,
	} {
		if _, err := readAnswer(strings.NewReader(wire)); !errors.Is(err, want) {
			t.Errorf("%q: got %v, want %v", wire, err, want)
		}
	}
}

func TestNewAddressRequest(t *testing.T) {
	for address, valid := range map[string]bool{
		"example.com:80": true, "[::1]:80": true, "10.0.0.1:65535": true,
		"example.com": false, "example.com:0": false, "example.com:65536": false, ":80": false,
		"ex ample:80": false, "example.com:http": false, strings.Repeat("a", 256) + ":80": false,
	} {
		r, err := newAddressRequest(kindAddress, address)
		if (err == nil) != valid {
			t.Errorf("%q: %v", address, err)
		}
		if valid && r.address() != address {
			t.Errorf("%q became %q", address, r.address())
		}
	}
}

// A request that is accepted is the one that its bytes say, and nothing behind it is read.
func FuzzReadRequest(f *testing.F) {
	f.Add([]byte{})
	f.Add((&request{kind: kindTarget}).append(nil))
	f.Add((&request{kind: kindAddress, host: "a.example", port: 80}).append(nil))
	f.Add((&request{kind: kindUDPAddress, host: "::1", port: 53}).append(nil))
	f.Fuzz(func(t *testing.T, wire []byte) {
		src := bytes.NewReader(wire)
		r, err := readRequest(src)
		read := len(wire) - src.Len()
		if read > requestMax {
			t.Fatalf("%d bytes were read", read)
		}
		if err == nil && !bytes.Equal(r.append(nil), wire[:read]) {
			t.Errorf("%x became %+v", wire[:read], r)
		}
	})
}
