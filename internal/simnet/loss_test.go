// SPDX-License-Identifier: MIT

package simnet

import (
	"bytes"
	"math"
	"math/bits"
	"testing"
	"time"
)

// lossPattern sends count packets and returns which were lost.
func lossPattern(t *testing.T, p Profile, count int) []bool {
	t.Helper()
	lost := make([]bool, count)
	inBubble(t, func(t *testing.T, n *Network, a, b *Endpoint) {
		n.SetDefault(p)
		sendNumbered(t, a, addrB, count, 4)
		for i := range lost {
			lost[i] = true
		}
		for _, p := range readAll(t, b) {
			lost[p.number] = false
		}
	})
	return lost
}

// lossRuns returns the number of packets lost and the lengths of the runs.
func lossRunsOf(lost []bool) (total int, runs []int) {
	for i, l := range lost {
		if !l {
			continue
		}
		total++
		if i == 0 || !lost[i-1] {
			runs = append(runs, 0)
		}
		runs[len(runs)-1]++
	}
	return total, runs
}

func TestRandomLossIsIndependent(t *testing.T) {
	const count = 10000
	for _, p := range []float64{0, 0.01, 0.3, 0.9, 1} {
		lost := lossPattern(t, Profile{Loss: p}, count)
		total, _ := lossRunsOf(lost)
		checkShare(t, "lost", total, count, p)
		pairs := 0
		for i := 1; i < count; i += 2 {
			if lost[i] && lost[i-1] {
				pairs++
			}
		}
		checkShare(t, "lost in pairs", pairs, count/2, p*p)
	}
}

func TestLossMaxRunBoundsRuns(t *testing.T) {
	const count = 20000
	total, runs := lossRunsOf(lossPattern(t, Profile{Loss: 0.5, LossMaxRun: 3}, count))
	longest := 0
	for _, r := range runs {
		longest = max(longest, r)
	}
	if longest != 3 {
		t.Errorf("longest run is %d, want 3", longest)
	}
	// Of 1 + 1/2 + 1/4 + 1/8 packets of a cycle, 1/2 + 1/4 + 1/8 are lost.
	checkShare(t, "lost", total, count, 0.875/1.875)
}

func TestGilbertElliottHasItsRateAndRuns(t *testing.T) {
	const count = 30000
	for _, c := range []struct{ rate, run float64 }{{0.01, 5}, {0.1, 3}, {0.3, 3}, {0.3, 20}, {0.5, 1}} {
		total, runs := lossRunsOf(lossPattern(t, Profile{Burst: BurstLoss(c.rate, c.run)}, count))
		gotRate, gotRun := float64(total)/count, float64(total)/float64(len(runs))
		// Losses come in runs, so the deviation of the rate is that of count/run trials.
		sigma := math.Sqrt(c.rate * (1 - c.rate) / count * 2 * c.run)
		if math.Abs(gotRate-c.rate) > 4*sigma || math.Abs(gotRun-c.run) > 0.15*c.run {
			t.Errorf("rate %v, mean run %v: got %.4f, %.2f", c.rate, c.run, gotRate, gotRun)
		}
	}
}

func TestElliottLosesInBothStates(t *testing.T) {
	const count = 20000
	total, _ := lossRunsOf(lossPattern(t, Profile{Burst: GilbertElliott{ToBad: 0.5, ToGood: 0.5, LossGood: 0.1, LossBad: 0.3}}, count))
	checkShare(t, "lost", total, count, 0.2)
}

func TestLossRunsHaveTheirLength(t *testing.T) {
	const count = 20000
	for _, c := range []struct {
		rate   float64
		length int
	}{{0.05, 1}, {0.1, 4}, {0.3, 3}, {0.5, 10}} {
		total, runs := lossRunsOf(lossPattern(t, Profile{Runs: RunLoss(c.rate, c.length)}, count))
		for i, r := range runs[:len(runs)-1] {
			if r%c.length != 0 { // two runs may touch
				t.Fatalf("length %d: run %d is %d packets", c.length, i, r)
			}
		}
		sigma := math.Sqrt(c.rate * (1 - c.rate) / count * 2 * float64(c.length))
		if got := float64(total) / count; math.Abs(got-c.rate) > 4*sigma {
			t.Errorf("runs of %d: lost %.4f, want %.4f", c.length, got, c.rate)
		}
	}
}

func TestMTUDropsWhatIsLarger(t *testing.T) {
	inBubble(t, func(t *testing.T, n *Network, a, b *Endpoint) {
		n.SetDefault(Profile{MTU: 1200})
		for _, size := range []int{1199, 1200, 1201, 9000} {
			send(t, a, addrB, make([]byte, size))
		}
		all := readAll(t, b)
		if len(all) != 2 || len(all[0].data) != 1199 || len(all[1].data) != 1200 || n.Stats().Lost[LossMTU] != 2 {
			t.Errorf("got %d packets, %+v", len(all), n.Stats())
		}
	})
}

func TestOutageFollowsItsSchedule(t *testing.T) {
	const s = time.Second
	for _, c := range []struct {
		name   string
		outage Outage
		want   string // one letter for each second: up or down
	}{
		{"none", Outage{}, "uuuuuuuuuu"},
		{"once", Outage{After: 2 * s, Down: 3 * s}, "uudddUUUUU"},
		{"in turn", Outage{After: 1 * s, Down: 2 * s, Up: 1 * s}, "udduddudduu"[:10]},
		{"at once", Outage{Down: 5 * s, Up: 2 * s}, "ddddduuddd"},
	} {
		t.Run(c.name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, n *Network, a, b *Endpoint) {
				n.SetDefault(Profile{Outage: c.outage})
				sendNumbered(t, a, addrB, 1, 4) // at the very beginning of second 0
				for i := range 9 {
					time.Sleep(s)
					send(t, a, addrB, []byte{0, 0, 0, byte(i + 1)})
				}
				got := bytes.Repeat([]byte("d"), 10)
				for _, p := range readAll(t, b) {
					got[p.number] = 'u'
				}
				if want := bytes.ToLower([]byte(c.want)); !bytes.Equal(got, want) {
					t.Errorf("got %s, want %s", got, want)
				}
			})
		})
	}
}

func TestDuplicatesComeTwice(t *testing.T) {
	const count = 5000
	inBubble(t, func(t *testing.T, n *Network, a, b *Endpoint) {
		n.SetDefault(Profile{Delay: time.Millisecond, Duplicate: 0.25, DuplicateDelay: 2 * time.Millisecond})
		sendNumbered(t, a, addrB, count, 4)
		seen := make(map[int]int)
		for _, p := range readAll(t, b) {
			first := seen[p.number] == 0
			if first && p.after != time.Millisecond || p.after > 3*time.Millisecond {
				t.Fatalf("packet %d came after %v", p.number, p.after)
			}
			seen[p.number]++
		}
		twice := 0
		for i := range count {
			switch seen[i] {
			case 1:
			case 2:
				twice++
			default:
				t.Fatalf("packet %d came %d times", i, seen[i])
			}
		}
		checkShare(t, "twice", twice, count, 0.25)
		if got := n.Stats().Duplicated; got != uint64(twice) {
			t.Errorf("Stats.Duplicated = %d, want %d", got, twice)
		}
	})
}

func TestCorruptionFlipsSoManyBits(t *testing.T) {
	for _, c := range []struct{ count, size, bits, want int }{
		{4000, 100, 0, 1}, {4000, 100, 7, 7}, {500, 1, 8, 8}, {500, 1, 100, 8}, {100, 1400, 11200, 11200},
	} {
		inBubble(t, func(t *testing.T, n *Network, a, b *Endpoint) {
			n.SetDefault(Profile{Corrupt: 0.3, CorruptBits: c.bits})
			for range c.count {
				send(t, a, addrB, make([]byte, c.size))
			}
			bad, places := 0, make(map[byte]int)
			for _, p := range readAll(t, b) {
				flipped := 0
				for i, v := range p.data {
					flipped += bits.OnesCount8(v)
					if v != 0 {
						places[byte(i)]++
					}
				}
				if flipped != 0 && flipped != c.want || len(p.data) != c.size {
					t.Fatalf("%+v: %d bits flipped", c, flipped)
				}
				if flipped > 0 {
					bad++
				}
			}
			checkShare(t, "corrupted", bad, c.count, 0.3)
			if got := n.Stats().Corrupted; got != uint64(bad) {
				t.Errorf("Stats.Corrupted = %d, want %d", got, bad)
			}
			if c.size == 100 && len(places) != 100 {
				t.Errorf("%+v: only %d of the bytes were ever hit", c, len(places))
			}
		})
	}
}

func TestCopiesAreCorruptedIndependently(t *testing.T) {
	const count = 2000
	inBubble(t, func(t *testing.T, n *Network, a, b *Endpoint) {
		n.SetDefault(Profile{Corrupt: 0.5, Duplicate: 1})
		for range count {
			send(t, a, addrB, make([]byte, 64))
		}
		all := readAll(t, b)
		if len(all) != 2*count {
			t.Fatalf("got %d packets, want %d", len(all), 2*count)
		}
		one := 0
		clean := make([]byte, 64)
		for i := 0; i < len(all); i += 2 {
			if bytes.Equal(all[i].data, clean) != bytes.Equal(all[i+1].data, clean) {
				one++
			}
		}
		checkShare(t, "just one of two corrupted", one, count, 0.5)
	})
}

func TestEmptyPacketsPassEveryImpairment(t *testing.T) {
	inBubble(t, func(t *testing.T, n *Network, a, b *Endpoint) {
		n.SetDefault(Profile{Rate: 1000, Corrupt: 1, Duplicate: 1, MTU: 1})
		send(t, a, addrB, nil)
		if all := readAll(t, b); len(all) != 2 || len(all[0].data) != 0 {
			t.Errorf("got %+v", all)
		}
		if got := n.Stats().Corrupted; got != 0 {
			t.Errorf("Stats.Corrupted = %d for a packet without bits", got)
		}
	})
}
