// SPDX-License-Identifier: MIT

package kcp

import (
	"net"
	"net/netip"
	"strconv"
	"sync"
	"time"
)

const (
	// zoneLifetime is how long an answer is used: interfaces change, and asking takes several
	// system calls. Package net keeps its own table for as long.
	zoneLifetime = time.Minute
	// zoneEntries bounds a table. A host with more links asks the system again.
	zoneEntries = 64
)

// zoneTable maps interface indexes to names, for IPv6 link-local addresses, in one direction. It is
// safe for concurrent use.
type zoneTable struct {
	mu      sync.Mutex // guards all below
	entries []zoneEntry
	victim  int // the entry that makes room next
}

type zoneEntry struct {
	index   uint32
	name    string
	keep    netip.Addr // keeps the interned zone alive, so that WithZone does not allocate
	expires time.Time
}

// The tables serve the whole process. There are two because the directions differ: "2" is index 2,
// but index 2 is "eth0".
var zoneNames, zoneIndexes zoneTable

// zoneName returns the name of the interface with this index, or the index in digits if there is
// none.
func zoneName(index uint32) string {
	return zoneNames.lookup(
		func(e *zoneEntry) bool { return e.index == index },
		func() zoneEntry {
			name := strconv.FormatUint(uint64(index), 10)
			if ifi, err := net.InterfaceByIndex(int(index)); err == nil {
				name = ifi.Name
			}
			return zoneEntry{index: index, name: name}
		}).name
}

// zoneIndex returns the index of the interface with this name, the number that the name is, or 0.
func zoneIndex(name string) uint32 {
	return zoneIndexes.lookup(
		func(e *zoneEntry) bool { return e.name == name },
		func() zoneEntry {
			if ifi, err := net.InterfaceByName(name); err == nil {
				return zoneEntry{index: uint32(ifi.Index), name: name}
			}
			index, err := strconv.ParseUint(name, 10, 32)
			if err != nil {
				index = 0
			}
			return zoneEntry{index: uint32(index), name: name}
		}).index
}

// lookup returns the entry that matches. It asks the system if the entry is missing or old.
func (t *zoneTable) lookup(match func(*zoneEntry) bool, ask func() zoneEntry) zoneEntry {
	now := time.Now()
	t.mu.Lock()
	defer t.mu.Unlock()
	at := -1
	for i := range t.entries {
		if e := &t.entries[i]; match(e) {
			if now.Before(e.expires) {
				return *e
			}
			at = i
			break
		}
	}
	e := ask()
	e.expires = now.Add(zoneLifetime)
	e.keep = netip.IPv6LinkLocalAllNodes().WithZone(e.name)
	switch {
	case at >= 0:
		t.entries[at] = e
	case len(t.entries) < zoneEntries:
		t.entries = append(t.entries, e)
	default:
		t.entries[t.victim] = e
		t.victim = (t.victim + 1) % zoneEntries
	}
	return e
}
