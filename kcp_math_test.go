// SPDX-License-Identifier: MIT

package kcp

import (
	"math"
	"math/big"
	"testing"
)

func TestMulDiv(t *testing.T) {
	values := []int64{
		0, 1, 2, 3, 99, 1 << 16, 1<<31 - 1, 1 << 40, 1 << 59, unlimited, math.MaxInt64,
	}
	for _, a := range values {
		for _, b := range values {
			for _, c := range values {
				want := unlimited
				if c > 0 {
					q := new(big.Int).Mul(big.NewInt(a), big.NewInt(b))
					if q.Div(q, big.NewInt(c)); q.IsInt64() {
						want = min(q.Int64(), unlimited)
					}
				}
				if got := mulDiv(a, b, c); got != want {
					t.Errorf("mulDiv(%d, %d, %d) = %d, want %d", a, b, c, got, want)
				}
			}
		}
	}
}

func TestRoots(t *testing.T) {
	check := func(x int64) {
		if s := sqrt(x); s*s > x || (s < 3037000499 && (s+1)*(s+1) <= x) {
			t.Errorf("sqrt(%d) = %d", x, s)
		}
		if c := cbrt(x); c*c*c > x || (c < 2097151 && (c+1)*(c+1)*(c+1) <= x) {
			t.Errorf("cbrt(%d) = %d", x, c)
		}
	}
	for x := int64(0); x < 5000; x++ {
		check(x)
	}
	for n := int64(2); n < 2097151; n = n*5/3 + 1 {
		check(n*n - 1)
		check(n * n)
		check(n*n*n - 1)
		check(n * n * n)
	}
	check(math.MaxInt64)
	if sqrt(-1) != 0 || cbrt(-1) != 0 {
		t.Errorf("roots of -1: %d and %d, want 0", sqrt(-1), cbrt(-1))
	}
}
