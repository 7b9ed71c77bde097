// SPDX-License-Identifier: MIT

package kcp

import (
	"crypto/rand"
	"encoding/binary"
)

// randomUint64 returns an unguessable number. Since Go 1.24 crypto/rand does not fail.
func randomUint64() uint64 {
	var b [8]byte
	_, _ = rand.Read(b[:])
	return binary.LittleEndian.Uint64(b[:])
}

// drawNumber returns an unguessable number without a system call, but for a seed now and then: locks may be held.
func drawNumber() uint64 {
	var b [8]byte
	_, _ = entropyDefault.Read(b[:])
	return binary.LittleEndian.Uint64(b[:])
}

// randomConv returns a conversation id for a new session.
func randomConv() uint32 { return uint32(randomUint64()) }
