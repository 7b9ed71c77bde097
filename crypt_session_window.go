// SPDX-License-Identifier: MIT

package kcp

// replayWindowSize is how many counters below the highest a packet may have (S3.17).
const replayWindowSize = 8192

// replayWords has one word more than the window, which seldom begins at the first bit of one.
const replayWords = replayWindowSize/64 + 1

// replayWindow accepts each counter once, and none that is 8192 or more below the highest (RFC
// 6479). The words are a ring: the counter c is a bit of word c/64 mod 129.
type replayWindow struct {
	next  uint64 // the counter behind the highest accepted
	floor uint64 // none below it is accepted
	words [replayWords]uint64
}

// begin makes the window accept counters from next on.
func (w *replayWindow) begin(next uint64) { *w = replayWindow{next: next, floor: next} }

// fresh reports whether a counter may be accepted.
func (w *replayWindow) fresh(counter uint64) bool {
	switch {
	case counter >= w.next:
		return true
	case counter < w.floor || w.next-counter > replayWindowSize:
		return false
	}
	return w.words[counter/64%replayWords]&(1<<(counter%64)) == 0
}

// accept notes a counter that is fresh.
func (w *replayWindow) accept(counter uint64) {
	if counter >= w.next {
		word, newest := (w.next+63)/64, counter/64 // the words up to word-1 are in use
		if newest >= word+replayWords {
			clear(w.words[:])
		} else {
			for ; word <= newest; word++ {
				w.words[word%replayWords] = 0
			}
		}
		w.next = counter + 1
	}
	w.words[counter/64%replayWords] |= 1 << (counter % 64)
}
