// SPDX-License-Identifier: MIT

package kcp

const (
	// partialMost is how many segments may be there in part. Those of one segment leave in a row,
	// so that more than a few are only there where parts are lost, and those are sent again.
	partialMost = 8
	// partialRuns is how many runs of a segment's bytes may be there.
	partialRuns = 8
)

// partialSegments are the segments of which parts have arrived (S4.66).
type partialSegments struct {
	n    int
	list [partialMost]partialSegment // the oldest first
}

// A partialSegment is a segment of which parts have arrived.
type partialSegment struct {
	sn   seqNum
	frg  uint8
	n    uint8
	runs [partialRuns]partialRun
	data []byte // pooled, as long as the whole
}

// A partialRun is the bytes from one offset to before another.
type partialRun struct{ from, to int }

// size returns how many bytes of memory they take.
func (s *partialSegments) size() (bytes int) {
	for i := range s.list[:s.n] {
		bytes += cap(s.list[i].data)
	}
	return bytes
}

// addPart keeps a part. It returns the data of the segment, which the caller releases, if that is
// complete now, and otherwise nil.
func (r *recvRing) addPart(p *segmentPart) []byte {
	if r.parts == nil {
		r.parts = new(partialSegments)
	}
	i := r.parts.place(p)
	s := &r.parts.list[i]
	copy(s.data[p.offset:], p.data)
	if !s.cover(partialRun{p.offset, p.offset + len(p.data)}) {
		return nil
	}
	data := s.data
	s.data = nil
	r.parts.remove(i)
	if r.parts.n == 0 {
		r.parts = nil
	}
	return data
}

// place returns the index of the segment that a part is of. A segment that differs from what is
// there is another one.
func (s *partialSegments) place(p *segmentPart) int {
	for i := range s.list[:s.n] {
		q := &s.list[i]
		if q.sn != p.sn {
			continue
		}
		if q.frg == p.frg && len(q.data) == p.whole {
			return i
		}
		s.remove(i)
		break
	}
	if s.n == partialMost {
		s.remove(0)
	}
	s.list[s.n] = partialSegment{sn: p.sn, frg: p.frg, data: getBuffer(p.whole)}
	s.n++
	return s.n - 1
}

// remove releases a segment.
func (s *partialSegments) remove(i int) {
	if s.list[i].data != nil {
		putBuffer(s.list[i].data)
	}
	s.n--
	copy(s.list[i:], s.list[i+1:s.n+1])
	s.list[s.n] = partialSegment{}
}

// cover notes that the bytes of a run are there. It reports whether all are.
func (s *partialSegment) cover(r partialRun) (complete bool) {
	kept := 0
	for _, q := range s.runs[:s.n] {
		if q.to < r.from || r.to < q.from {
			s.runs[kept] = q
			kept++
			continue
		}
		r.from, r.to = min(r.from, q.from), max(r.to, q.to)
	}
	if kept == partialRuns {
		kept-- // one more than there is room for comes again
	}
	s.runs[kept] = r
	s.n = uint8(kept + 1)
	return r.from == 0 && r.to == len(s.data)
}

// dropParts releases what is there in part of segments before sn.
func (r *recvRing) dropParts(sn seqNum) {
	if r.parts == nil {
		return
	}
	for i := r.parts.n - 1; i >= 0; i-- {
		if r.parts.list[i].sn.before(sn) {
			r.parts.remove(i)
		}
	}
	if r.parts.n == 0 {
		r.parts = nil
	}
}
