// SPDX-License-Identifier: MIT

package kcp

import "sync"

// slab is a large buffer that the segments of one session share. Those of a Write lie in one behind each other with room
// for their headers, as
//
//	| header 24 | data | header 24 | data | ...
//
// so that full ones leave from where they are, as one run of datagrams. Those that the socket delivered as one run stay
// where the kernel put them until they are read. Either way the bytes are copied once less.
type slab struct {
	buf  []byte // pooled, of bufferLarge
	refs int    // segments in it, and other users; guarded by the session's lock
	used int    // of buf, by a Write
}

var slabs = sync.Pool{New: func() any { return new(slab) }}

// newSlab returns a slab with one user.
func newSlab(buf []byte) *slab {
	s := slabs.Get().(*slab)
	s.buf, s.refs, s.used = buf, 1, 0
	return s
}

// release ends a use. The buffer goes back with the last.
func (s *slab) release() {
	if s.refs--; s.refs == 0 {
		putBuffer(s.buf)
		s.recycle()
	}
}

// recycle takes back a slab without users whose buffer stays with its owner.
func (s *slab) recycle() {
	s.buf = nil
	slabs.Put(s)
}
