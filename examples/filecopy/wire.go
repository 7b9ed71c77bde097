// SPDX-License-Identifier: MIT

package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/seedkcp/kcp"
)

// One session carries one file. All integers are big-endian.
//
//	sender:   "KCPFILE1" | size u64 | SHA-256, 32 bytes | length u8 | name
//	receiver: verdict "go on", the offset to go on from
//	sender:   the bytes from there to the end
//	receiver: verdict "stored", the size
//
// A verdict is | kind u8 | number u64 | length u16 | message |. "Refused", with
// the reason as its message, may come in place of either, and any number of
// "busy" before it.
const (
	magic         = "KCPFILE1"
	nameMax       = 200  // bytes; file systems have 255, and partName needs some
	messageMax    = 1024 // bytes
	verdictHeader = 11

	verdictGoOn    = 'G'
	verdictStored  = 'S'
	verdictRefused = 'R'
	verdictBusy    = 'B'
)

// chunk is the size of one Read and one Write.
const chunk = 64 << 10

// offer describes a sender's file.
type offer struct {
	name string
	size int64
	sum  [sha256.Size]byte
}

func (o *offer) append(b []byte) []byte {
	b = append(b, magic...)
	b = binary.BigEndian.AppendUint64(b, uint64(o.size))
	b = append(b, o.sum[:]...)
	return append(append(b, byte(len(o.name))), o.name...)
}

// readOffer reads an offer and checks what a hostile sender may have put into
// it.
func readOffer(r io.Reader) (*offer, error) {
	head := make([]byte, len(magic)+8+sha256.Size+1)
	if _, err := io.ReadFull(r, head); err != nil {
		return nil, err
	}
	rest, isOurs := bytes.CutPrefix(head, []byte(magic))
	if !isOurs {
		return nil, errors.New("this is no filecopy, or one of another version")
	}
	o := &offer{size: int64(binary.BigEndian.Uint64(rest))}
	copy(o.sum[:], rest[8:])
	name := make([]byte, rest[8+sha256.Size])
	if _, err := io.ReadFull(r, name); err != nil {
		return nil, err
	}
	o.name = string(name)
	if o.size < 0 {
		return nil, errors.New("the size is beyond all bounds")
	}
	return o, checkName(o.name)
}

// checkName lets only plain file names pass: none that names another
// directory, hides itself, is a device on some system, or plays tricks on the
// terminal that lists it.
func checkName(name string) error {
	plain := name != "" && len(name) <= nameMax && utf8.ValidString(name) &&
		!strings.ContainsAny(name, `/\:*?"<>|`) && filepath.IsLocal(name) && filepath.Base(name) == name &&
		name[0] != '.' && name[0] != '-' && strings.TrimRight(name, ". ") == name &&
		!strings.ContainsFunc(name, func(r rune) bool { return !unicode.IsPrint(r) })
	if !plain {
		return fmt.Errorf("%q is not a plain file name", name)
	}
	return nil
}

// verdict is what a receiver answers.
type verdict struct {
	kind    byte
	number  int64
	message string
}

func (v verdict) append(b []byte) []byte {
	message := v.message[:min(len(v.message), messageMax)]
	b = binary.BigEndian.AppendUint64(append(b, v.kind), uint64(v.number))
	return append(binary.BigEndian.AppendUint16(b, uint16(len(message))), message...)
}

// refusedError is the receiver's reason for not taking a file.
type refusedError struct{ reason string }

func (e *refusedError) Error() string { return "the receiver says: " + e.reason }

// readVerdict waits for a verdict of that kind and returns the number in it.
func readVerdict(r io.Reader, kind byte) (int64, error) {
	head := make([]byte, verdictHeader)
	for {
		if _, err := io.ReadFull(r, head); err != nil {
			return 0, err
		}
		message := make([]byte, min(binary.BigEndian.Uint16(head[9:]), messageMax))
		if _, err := io.ReadFull(r, message); err != nil {
			return 0, err
		}
		switch head[0] {
		case kind:
			return int64(binary.BigEndian.Uint64(head[1:])), nil
		case verdictBusy:
		case verdictRefused:
			return 0, &refusedError{printable(string(message))}
		default:
			return 0, errors.New("what answers there is no filecopy receiver")
		}
	}
}

// printable removes what could control the terminal from a peer's text.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return '?'
	}, s)
}

// patient is a session whose calls end when the peer is silent for a time.
type patient struct {
	*kcp.UDPSession
	timeout time.Duration
}

func (p patient) Read(b []byte) (int, error) {
	p.SetReadDeadline(time.Now().Add(p.timeout))
	return p.UDPSession.Read(b)
}

func (p patient) Write(b []byte) (int, error) {
	p.SetWriteDeadline(time.Now().Add(p.timeout))
	return p.UDPSession.Write(b)
}

// abort ends the session at once and notifies the peer.
func (p patient) abort() {
	p.SetLinger(0)
	p.Close()
}
