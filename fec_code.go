// SPDX-License-Identifier: MIT

package kcp

import (
	"fmt"
	"sync"

	"github.com/klauspost/reedsolomon"
)

// The code (S2.7): the default matrix of reedsolomon.New(k, p) is a polynomial code over GF(2^8).
// The bytes at one position of the k data shards are the values at the points 0..k-1 of the one
// polynomial of degree below k through them. The parity bytes are its values at k..k+p-1. Any k
// shards therefore give any other by Lagrange's formula
//
//	value(y) = sum over the known points m of value(m) *
//	           product over the other known points t of (y-t)/(m-t)
//
// and encoding and recovering are the same sum. The reedsolomon package only multiplies and adds
// shards, in its vector code. Nothing is inverted or cached: there is no k*k matrix for each
// pattern of losses, and no allocation when packets are lost. A change of k and p costs a table of
// k+p bytes.

// fecLog and fecExp are the logarithms and powers of 2 in GF(2^8) modulo x^8+x^4+x^3+x^2+1, the
// field of the reedsolomon package. fecExp is long enough for the sum of three logarithms.
var fecLog, fecExp = fecFieldTables()

const fecFieldOrder = 255 // of the multiplicative group

func fecFieldTables() (logs [256]uint8, exps [3 * fecFieldOrder]uint8) {
	x := 1
	for i := range fecFieldOrder {
		logs[x] = uint8(i)
		for j := i; j < len(exps); j += fecFieldOrder {
			exps[j] = uint8(x)
		}
		if x <<= 1; x > 255 {
			x ^= 0x11D
		}
	}
	return logs, exps
}

// fecWeight returns the logarithm of the product of (y - t) over all known points t other than y.
func fecWeight(y uint8, known []uint8) uint8 {
	sum := 0
	for _, t := range known {
		if t != y {
			sum += int(fecLog[y^t])
		}
	}
	return uint8(sum % fecFieldOrder)
}

// fecCoefficient returns the coefficient of the shard at the known point m for the wanted shard at
// y. The weights are those of the two points over the same known points.
func fecCoefficient(y, weightY, m, weightM uint8) uint8 {
	return fecExp[int(weightY)+2*fecFieldOrder-int(weightM)-int(fecLog[y^m])]
}

// fecMultiplier is the encoder of the reedsolomon package that multiplies shards. With this row of
// parity coefficients, data shard c-1 is multiplied by c. All sessions share it, because it has no
// state.
var fecMultiplier = sync.OnceValue(func() reedsolomon.Encoder {
	row := make([]byte, fecFieldOrder)
	for i := range row {
		row[i] = uint8(i + 1)
	}
	m, err := reedsolomon.New(len(row), 1, reedsolomon.WithCustomMatrix([][]byte{row}),
		reedsolomon.WithMaxGoroutines(1), reedsolomon.WithInversionCache(false))
	if err != nil {
		panic(fmt.Sprintf("kcp: Reed-Solomon multiplier: %v", err))
	}
	return m
})

// fecAdder adds multiples of shards. It holds the one-element list for the library, which would
// otherwise be allocated for each call. It is not safe for concurrent use.
type fecAdder struct {
	codec reedsolomon.Encoder
	list  [1][]byte
}

// add computes dst += coefficient*src over the length of src, which is at least 1 and at most that
// of dst. coefficient is not 0.
func (a *fecAdder) add(dst []byte, coefficient uint8, src []byte) {
	if a.codec == nil {
		a.codec = fecMultiplier()
	}
	a.list[0] = dst[:len(src)]
	if err := a.codec.EncodeIdx(src, int(coefficient)-1, a.list[:]); err != nil {
		panic(fmt.Sprintf("kcp: Reed-Solomon: %v", err)) // a bug: the lengths have been checked
	}
	a.list[0] = nil
}
