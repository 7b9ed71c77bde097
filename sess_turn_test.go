// SPDX-License-Identifier: MIT

package kcp

import "testing"

// One turn is out at a time. A flush meanwhile makes another one follow, however often it comes.
func TestTurnPhases(t *testing.T) {
	var turns turns
	turns.repeat()
	if turns.busy() {
		t.Error("a turn is out that was not begun")
	}
	for _, tt := range []struct {
		name    string
		more    bool
		repeats int
		again   bool
	}{
		{"a turn", false, 0, false},
		{"not all had room", true, 0, true},
		{"a flush meanwhile", false, 1, true},
		{"both, several times", true, 3, true},
		{"nothing stays", false, 0, false},
	} {
		turns.begin(tt.more)
		for range tt.repeats {
			turns.repeat()
		}
		if !turns.busy() {
			t.Errorf("%s: no turn is out", tt.name)
		}
		if again := turns.end(); again != tt.again || turns.busy() {
			t.Errorf("%s: another one follows: %v, want %v; a turn is out: %v",
				tt.name, again, tt.again, turns.busy())
		}
	}
}

// A split waits for what was laid out before it, and for nothing that comes later.
func TestTurnGroups(t *testing.T) {
	var turns turns
	if drained, ours := turns.split(); drained != nil || !ours {
		t.Error("there is something to wait for, without a turn")
	}
	before := turns.join()
	drained, ours := turns.split()
	after := turns.join()
	if drained == nil || !ours || before == after {
		t.Fatalf("split: %v, ours %v, groups %d and %d", drained, ours, before, after)
	}
	if again, ours := turns.split(); again != drained || ours {
		t.Error("a second split does not wait with the first")
	}
	turns.leave(after)
	select {
	case <-drained:
		t.Error("the wait ended with a packet that was laid out after it began")
	default:
	}
	turns.leave(before)
	select {
	case <-drained:
	default:
		t.Error("the wait has not ended")
	}
	if drained, _ := turns.split(); drained != nil {
		t.Error("there is something to wait for, though all is out")
	}
}
