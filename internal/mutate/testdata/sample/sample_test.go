// SPDX-License-Identifier: MIT

package sample

import "testing"

func TestClamp(t *testing.T) {
	for _, c := range [][3]int{{-1, 5, 0}, {3, 5, 3}, {9, 5, 5}} {
		if got := Clamp(c[0], c[1]); got != c[2] {
			t.Errorf("Clamp(%d, %d) = %d, want %d", c[0], c[1], got, c[2])
		}
	}
}

func TestSum(t *testing.T) {
	if got := Sum([]int{1, 2, 0, 4}, map[int]bool{2: true}); got != 5 {
		t.Errorf("Sum is %d, want 5", got)
	}
}

func TestAlwaysFails(t *testing.T) { t.Fail() }
