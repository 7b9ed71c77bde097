// SPDX-License-Identifier: MIT

package main

// A shape is the number of data and parity packets in the groups of a flow, and where they begin.
// Parity of type F2 names neither (S2.10). The shape is given, or inferred (S2.11): between two
// groups parity is in front of data, in a group it is behind.
type shape struct {
	data, parity int    // 0 if not known
	first        uint32 // seqid of the first data packet of a group
	given        bool
	seen         *[shapeWindow]seenPacket // nil until parity is seen
}

// seenPacket is one of the newest FEC packets. Its kind is 0 if there is none.
type seenPacket struct {
	seqid uint32
	kind  fecKind
}

// shapeWindow is the number of packets that are looked at: two groups.
const shapeWindow = 512

// place returns the place of a packet in its group, nil if it is not known.
func (s *shape) place(h *fecHeader) *fecGroup {
	switch {
	case h.kind == fecNamed:
		if !s.given {
			*s = shape{} // seqids count data packets alone from now on
		}
		return h.Group
	case h.kind != fecData && h.kind != fecParity:
		return nil
	case !s.given:
		s.observe(h)
	}
	return s.group(h)
}

// group returns the place of a packet in a group of the known shape.
func (s *shape) group(h *fecHeader) *fecGroup {
	if s.data == 0 {
		return nil
	}
	total := s.data + s.parity
	index := int(h.SeqID % uint32(total))
	if !s.given {
		// A flow may begin its groups anywhere (S2.5).
		index = (int(int64(int32(h.SeqID-s.first))%int64(total)) + total) % total
	}
	if (h.kind == fecData) != (index < s.data) {
		if !s.given {
			*s = shape{}
		}
		return nil
	}
	return &fecGroup{First: h.SeqID - uint32(index), Index: index, Data: s.data, Parity: s.parity}
}

// observe notes a packet. If the shape is not known, it looks for a whole group around the packet.
func (s *shape) observe(h *fecHeader) {
	if s.data > 0 {
		return
	}
	if s.seen == nil {
		s.seen = new([shapeWindow]seenPacket)
	}
	s.seen[h.SeqID%shapeWindow] = seenPacket{h.SeqID, h.kind}
	if h.kind == fecData && s.kind(h.SeqID-1) != fecParity && s.kind(h.SeqID+1) != fecParity {
		return
	}
	if h.kind == fecParity && s.kind(h.SeqID+1) == fecData {
		s.measure(h.SeqID + 1) // the packet is the last one in front of the group
		if s.data > 0 {
			return
		}
	}
	// The packet is in the group, or is the first one behind it.
	start := h.SeqID
	if h.kind == fecParity || s.kind(start-1) == fecParity {
		start = s.back(start, fecParity)
	}
	start = s.back(start, fecData)
	if start == 0 || s.kind(start-1) == fecParity {
		s.measure(start)
	}
}

// back returns where the run of packets of one kind in front of a seqid begins.
func (s *shape) back(seqid uint32, kind fecKind) uint32 {
	for n := 0; n < shapeWindow && s.kind(seqid-1) == kind; n++ {
		seqid--
	}
	return seqid
}

// measure takes the shape of a whole group that begins at a seqid.
func (s *shape) measure(start uint32) {
	data := s.run(start, fecData)
	parity := s.run(start+uint32(data), fecParity)
	next := start + uint32(data+parity)
	if data > 0 && parity > 0 && data+parity <= 256 && s.kind(next) == fecData {
		*s = shape{data: data, parity: parity, first: start}
	}
}

// run returns the length of a run of packets of one kind.
func (s *shape) run(start uint32, kind fecKind) (n int) {
	for n < shapeWindow && s.kind(start+uint32(n)) == kind {
		n++
	}
	return n
}

// kind returns the kind of a packet that was seen, 0 if it was not.
func (s *shape) kind(seqid uint32) fecKind {
	if p := s.seen[seqid%shapeWindow]; p.seqid == seqid {
		return p.kind
	}
	return 0
}
