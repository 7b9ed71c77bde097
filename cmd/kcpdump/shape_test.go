// SPDX-License-Identifier: MIT

package main

import "testing"

func TestShapeIsInferred(t *testing.T) {
	type event struct {
		seqid uint32
		kind  fecKind
	}
	// groups lists the packets of n groups of 3 and 2 from a seqid on.
	groups := func(first uint32, n int) (all []event) {
		for i := range uint32(n * 5) {
			kind := fecData
			if i%5 >= 3 {
				kind = fecParity
			}
			all = append(all, event{first + i, kind})
		}
		return all
	}
	reversed := groups(10, 3)
	for i, j := 0, len(reversed)-1; i < j; i, j = i+1, j-1 {
		reversed[i], reversed[j] = reversed[j], reversed[i]
	}
	lost := append(groups(0, 1)[:4], groups(5, 3)...)
	for _, tt := range []struct {
		name   string
		events []event
		first  uint32 // of the group of the last packet; 0 and index 0 for none
		index  int
	}{
		{"from the first packet", groups(0, 2), 5, 4},
		{"too little", groups(0, 1), 0, 0},
		{"in the middle", groups(101, 3), 111, 4},
		{"in the middle, too little", groups(101, 2), 0, 0},
		{"a lost one", lost, 15, 4},
		{"backwards", reversed[:12], 10, 3},
		{"around the end of the numbers", groups(1<<32-7, 4), 8, 4},
		{"after parity that names its group", append(groups(0, 3), event{100, fecNamed}, event{101, fecData}), 0, 0},
		{"after a contradiction", append(groups(0, 3), event{16, fecParity}), 0, 0},
		{"and again", append(append(groups(0, 3), event{16, fecParity}), groups(203, 4)...), 218, 4},
	} {
		var s shape
		var g *fecGroup
		for _, e := range tt.events {
			g = s.place(&fecHeader{kind: e.kind, SeqID: e.seqid})
		}
		if (g != nil) != (tt.first != 0) {
			t.Errorf("%s: got %+v", tt.name, g)
		} else if g != nil && *g != (fecGroup{First: tt.first, Index: tt.index, Data: 3, Parity: 2}) {
			t.Errorf("%s: got %+v, want first %d, index %d", tt.name, *g, tt.first, tt.index)
		}
	}
}

func TestGivenShape(t *testing.T) {
	s := shape{data: 3, parity: 1, given: true}
	for _, tt := range []struct {
		seqid uint32
		kind  fecKind
		index int // -1 for none
	}{{8, fecData, 0}, {11, fecParity, 3}, {12, fecParity, -1}, {14, fecData, 2}, {1<<32 - 1, fecOOB, -1}} {
		g := s.place(&fecHeader{kind: tt.kind, SeqID: tt.seqid})
		if g == nil && tt.index >= 0 || g != nil && (g.Index != tt.index || g.First != tt.seqid-uint32(tt.index)) {
			t.Errorf("%d: got %+v, want index %d", tt.seqid, g, tt.index)
		}
	}
}
