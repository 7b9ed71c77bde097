// SPDX-License-Identifier: MIT

package kcp

// fecChooser is who chooses the groups.
type fecChooser uint8

const (
	fecManual    fecChooser = iota // the program
	fecAutomatic                   // the library, for a peer that reads named groups
)

// fecPath is what the choice of parity depends on.
type fecPath struct {
	rtt, rto millis
	packets  int // data packets a second
	lost     int // of a million data packets, before any recovery
	longest  int // run of lost packets, 0 if unknown
}

const (
	// fecLeastRTT is the round trip below which a retransmission is as good as parity.
	fecLeastRTT millis = 20

	// fecLeastLoss is the loss, of a million packets, from which on parity is worth its cost, and
	// fecQuietLoss that below which it is given up.
	fecLeastLoss = 5000
	fecQuietLoss = 2500

	// fecGroupTime is the most that a group may take.
	fecGroupTime millis = 50

	// fecMostData is the most data packets of a group that is chosen, and fecMostShare the most
	// parity packets for ten data packets.
	fecMostData  = 20
	fecMostShare = 6
)

// shards returns the groups that a path needs, 0/0 if parity does not help: where the round trip is
// short, little is lost, or a group takes longer than a retransmission. on means that parity is
// being sent.
func (p *fecPath) shards(on bool) fecShards {
	least := fecLeastLoss
	if on {
		least = fecQuietLoss
	}
	if p.rtt < fecLeastRTT || p.lost < least || p.packets < 1 {
		return fecShards{}
	}
	k := min(max(1+p.packets*int(min(p.rtt/2, fecGroupTime))/1000, 2), fecMostData)
	if millis((k-1)*1000/p.packets) > p.rto-p.rtt/2 {
		return fecShards{}
	}
	for parity := 1; ; parity++ {
		if parity >= max(k*fecMostShare/10, 1) || p.suffices(k+parity, parity) {
			return fecShards{k, parity}
		}
	}
}

// suffices reports whether no more than so many of n packets are lost, except in one case of a
// hundred. Runs of lost packets count as a Gilbert channel.
func (p *fecPath) suffices(n, parity int) bool {
	const million = 1_000_000
	run := max(p.longest/2, 1) // the correlation is 1-1/run
	mean := int64(n) * int64(p.lost)
	over := int64(parity)*million - mean
	// over >= 2.33 sqrt(n q (1-q) (2 run - 1)), both squared
	variance := mean * (million - int64(p.lost)) * int64(2*run-1)
	return over >= 0 && over*over >= variance/100*543
}

// fecTally is what the peer has reported of late.
type fecTally struct {
	packets, lost uint32
	longest       uint16
}

const fecTallyMost = 1024

// add takes a report.
func (t *fecTally) add(r *parityReport) {
	for t.packets > fecTallyMost {
		t.packets, t.lost = t.packets/2, t.lost/2
		t.longest -= t.longest / 4
	}
	t.packets += r.packets()
	t.lost += r.packets() - r.data
	t.longest = max(t.longest, r.longest)
}

// known reports whether enough has been reported.
func (t *fecTally) known() bool { return t.packets >= 64 }

// share returns how much was lost, of a million.
func (t *fecTally) share() int {
	return int(uint64(t.lost) * 1_000_000 / uint64(max(t.packets, 1)))
}
