// SPDX-License-Identifier: MIT

package chaos

import (
	"math/rand/v2"
	"time"

	"github.com/seedkcp/kcp"
	"github.com/seedkcp/kcp/internal/simnet"
)

// chaosConfig draws the settings of all sessions of a run.
func chaosConfig(rng *rand.Rand) kcp.Config {
	c := kcp.Config{
		MTU:                 []int{0, 300, 576, 1200, 1500}[rng.IntN(5)],
		SendWindow:          1 + rng.IntN(600),
		ReceiveWindow:       1 + rng.IntN(600),
		NoDelay:             rng.IntN(2) == 0,
		Interval:            time.Duration(10+rng.IntN(100)) * time.Millisecond,
		FastResend:          rng.IntN(4),
		NoCongestionControl: rng.IntN(3) > 0,
		StreamMode:          rng.IntN(2) == 0,
		WriteDelay:          rng.IntN(4) == 0,
		ACKNoDelay:          rng.IntN(3) == 0,
		DeadTimeout:         5 * time.Minute,
		BlockCrypt:          chaosCrypt(rng),
	}
	if rng.IntN(2) == 0 {
		c.DataShards, c.ParityShards = 1+rng.IntN(12), 1+rng.IntN(4)
	}
	return c
}

// chaosCrypt draws a cipher, nil among them. Errors cannot happen: the key lengths are right.
func chaosCrypt(rng *rand.Rand) kcp.BlockCrypt {
	key := make([]byte, 32)
	for i := range key {
		key[i] = byte(rng.Uint32())
	}
	var b kcp.BlockCrypt
	switch rng.IntN(6) {
	case 0:
		b, _ = kcp.NewAESGCMCrypt(key[:16])
	case 1:
		b, _ = kcp.NewAESBlockCrypt(key)
	case 2:
		b, _ = kcp.NewSalsa20BlockCrypt(key)
	case 3:
		b, _ = kcp.NewTripleDESBlockCrypt(key[:24])
	case 4:
		b, _ = kcp.NewNoneBlockCrypt(key)
	default:
		return nil
	}
	return b
}

// chaosProfile draws what the network does until it heals. Without a checksum bytes must not be
// corrupted.
func chaosProfile(rng *rand.Rand, checked bool) simnet.Profile {
	p := simnet.Profile{Delay: time.Duration(rng.IntN(150)) * time.Millisecond}
	if rng.IntN(2) == 0 {
		p.Loss = rng.Float64() * 0.4
	}
	if rng.IntN(3) == 0 {
		p.Burst = simnet.BurstLoss(rng.Float64()*0.3, 1+3*rng.Float64())
	}
	if rng.IntN(2) == 0 {
		p.Jitter = time.Duration(rng.IntN(100)) * time.Millisecond
		p.JitterReorders = rng.IntN(2) == 0
	}
	if rng.IntN(3) == 0 {
		p.Duplicate, p.DuplicateDelay = rng.Float64()*0.3, time.Duration(rng.IntN(300))*time.Millisecond
	}
	if rng.IntN(3) == 0 {
		p.Reorder, p.ReorderDelay = rng.Float64()*0.3, time.Duration(rng.IntN(500))*time.Millisecond
	}
	if rng.IntN(3) == 0 {
		p.Rate, p.Queue = int64(200_000+rng.IntN(20_000_000)), 5+rng.IntN(200)
	}
	if rng.IntN(4) == 0 {
		p.Outage = simnet.Outage{After: time.Duration(rng.IntN(5000)) * time.Millisecond,
			Down: time.Duration(1+rng.IntN(6000)) * time.Millisecond, Up: time.Duration(1+rng.IntN(6000)) * time.Millisecond}
	}
	if checked && rng.IntN(3) == 0 {
		p.Corrupt, p.CorruptBits = rng.Float64()*0.2, 1+rng.IntN(5)
	}
	return p
}
