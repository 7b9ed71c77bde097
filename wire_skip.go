// SPDX-License-Identifier: MIT

package kcp

import "encoding/binary"

// The value of SKIP names messages that their sender has given up (docs/protocol.md S4.40). They
// come in runs of messages that follow each other and have the same number of fragments. The three
// numbers of a run are varints, as those of ACKR are:
//
//	0      4      8       12    13
//	| ts   | sn   | first | n   | gap, fragments, messages | gap, fragments, messages | ... |
const (
	ctlSkip = 12

	skipHeader = 13 // bytes before the first run
	skipsMost  = 32 // runs in a message

	// skipSpan bounds the sequence numbers that a SKIP names, and so the work that it causes.
	skipSpan = 1024

	// skipLargest is the size of the largest message, with its type and length. All windows are
	// below 2^16 segments, so a gap takes three bytes at most, and the other two numbers two each.
	skipLargest = 2 + skipHeader + skipsMost*7
)

// helloSkips is bit 7 of a HELLO's flags: the sender reads SKIP.
const helloSkips = 1 << 7

// A skipRun is messages that follow each other, each of so many fragments.
type skipRun struct {
	first     seqNum
	fragments uint32
	messages  uint32
}

// end returns the sequence number behind the run.
func (r *skipRun) end() seqNum { return r.first + seqNum(r.fragments*r.messages) }

// skipRuns are the runs of one SKIP, in ascending order.
type skipRuns struct {
	runs [skipsMost]skipRun
	n    int
	span uint32 // sequence numbers in them
}

// add adds a message behind those that are there, and reports whether there was room for it.
func (s *skipRuns) add(first seqNum, fragments uint32) bool {
	if s.span+fragments > skipSpan {
		return false
	}
	last := &s.runs[max(s.n-1, 0)]
	switch {
	case s.n > 0 && last.end() == first && last.fragments == fragments:
		last.messages++
	case s.n == skipsMost:
		return false
	default:
		s.runs[s.n] = skipRun{first, fragments, 1}
		s.n++
	}
	s.span += fragments
	return true
}

// appendSkip appends a SKIP with the runs of s, of which there is one at least. ts is the time of
// its transmission, and sn the segment that its acknowledgement names.
func appendSkip(b []byte, ts timestamp, sn seqNum, s *skipRuns) []byte {
	le := binary.LittleEndian
	start, at := len(b), s.runs[0].first
	b = append(b, ctlSkip, 0)
	b = le.AppendUint32(b, uint32(ts))
	b = le.AppendUint32(b, uint32(sn))
	b = le.AppendUint32(b, uint32(at))
	b = append(b, uint8(s.n))
	for i := range s.runs[:s.n] {
		r := &s.runs[i]
		b = binary.AppendUvarint(b, uint64(at.distance(r.first)))
		b = binary.AppendUvarint(b, uint64(r.fragments))
		b = binary.AppendUvarint(b, uint64(r.messages))
		at = r.end()
	}
	b[start+1] = uint8(len(b) - start - 2)
	return b
}

// skips reads the value of a SKIP, run by run.
type skips struct {
	ts   timestamp
	sn   seqNum
	at   seqNum // the end of the previous run
	left uint8
	span uint32 // sequence numbers that may still be named
	b    []byte
}

// readSkips begins to read a value of at least skipHeader bytes.
func readSkips(value []byte) skips {
	le := binary.LittleEndian
	return skips{
		ts: timestamp(le.Uint32(value)), sn: seqNum(le.Uint32(value[4:])),
		at: seqNum(le.Uint32(value[8:])), left: min(value[12], skipsMost), span: skipSpan,
		b: value[skipHeader:],
	}
}

// next returns the next run. ok is false if it is cut off or empty, or has too many fragments or
// segments (S4.43). Nothing behind such a run is read. The run is empty, and ok is true, after the
// last one.
func (s *skips) next() (r skipRun, ok bool) {
	if s.left == 0 {
		return skipRun{}, true
	}
	var numbers [3]uint64 // gap, fragments, messages
	for i := range numbers {
		v, n := binary.Uvarint(s.b)
		if n <= 0 {
			return skipRun{}, false
		}
		numbers[i], s.b = v, s.b[n:]
	}
	gap, fragments, messages := numbers[0], numbers[1], numbers[2]
	if gap > 2*wndMax || fragments == 0 || fragments > maxFragments || messages == 0 ||
		messages > uint64(s.span)/fragments {
		return skipRun{}, false
	}
	s.left--
	r = skipRun{s.at + seqNum(gap), uint32(fragments), uint32(messages)}
	s.at = r.end()
	s.span -= uint32(fragments * messages)
	return r, true
}
