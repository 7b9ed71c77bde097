// SPDX-License-Identifier: MIT

// Package sample has mutants of every kind for the test of the command.
package sample

// Clamp returns n, at least 0 and at most limit.
func Clamp(n, limit int) int {
	if n < 0 {
		return 0
	}
	if n > limit {
		return limit
	}
	return n
}

// Sum adds the numbers that are not skipped.
func Sum(numbers []int, skip map[int]bool) (total int) {
	for i := 0; i < len(numbers); i++ {
		if n := numbers[i]; !skip[n] && n != 0 {
			total += n
		}
	}
	return total
}

// Unreached is called by no test.
func Unreached(a, b uint8) uint8 { return a<<1 | b }

// Name has no mutants: the addition of strings and constants.
func Name(s string) string {
	const two = 1 + 1
	s += "x"
	return s + s[:two-1]
}
