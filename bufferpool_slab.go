// SPDX-License-Identifier: MIT

package kcp

import "sync"

// slab is a large buffer that segments of one session share. The segments of a Write lie in it one
// behind another with room for their headers:
//
//	| header 24 | data | header 24 | data | ...
//
// Full ones are sent from there as one run of datagrams. Segments that the socket delivered as one
// run stay where the kernel put them until they are read. Either way the bytes are copied once
// less.
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

// release ends a use. The last one releases the buffer.
func (s *slab) release() {
	if s.refs--; s.refs == 0 {
		putBuffer(s.buf)
		s.recycle()
	}
}

// recycle releases a slab without users whose buffer stays with its owner.
func (s *slab) recycle() {
	s.buf = nil
	slabs.Put(s)
}
