// SPDX-License-Identifier: MIT

package kcp

// fecNaming is whether the peer names its groups. A peer begins to do so when it has heard that
// this side reads that, and goes on.
type fecNaming uint8

const (
	fecNamesNot   fecNaming = iota // the peer does not know how
	fecNamesMay                    // it may: both kinds of groups are prepared for
	fecNamesLater                  // it has not for a long time: its data is not kept for it
	fecNamesOnly                   // it does
	fecNamesPause                  // likewise, but there was no parity for a long time
)

// expectNames is called when the peer is known to read, and so to send, parity that names its
// groups.
func (d *fecDecoder) expectNames() {
	if d.naming == fecNamesNot {
		d.naming = fecNamesMay
	}
}

// inputNamed takes a parity packet that names its group, as input does.
func (d *fecDecoder) inputNamed(packet []byte) (recovered [][]byte) {
	d.dropResults(0)
	switch {
	case d.named != nil:
	case d.naming == fecNamesLater, d.naming == fecNamesPause:
		d.named = newFECNamedDecoder(d)
	default: // the peer is not known to send any, or there was no data yet
		d.counts.parity++
		d.counts.parityUnused++
		return nil
	}
	d.named.parity(packet)
	return d.results
}

// inputNamedData passes a data packet on to the decoder of named groups. It reports whether nothing
// else is to be done with a packet, because all groups are named.
func (d *fecDecoder) inputNamedData(packet []byte, h fecHeader) bool {
	only := d.naming == fecNamesOnly || d.naming == fecNamesPause
	if h.kind != fecTypeData {
		if only { // it was sent before the peer knew
			d.counts.parity++
			d.counts.parityUnused++
		}
		return only
	}
	if d.named == nil && (d.naming == fecNamesMay || d.naming == fecNamesOnly) {
		d.named = newFECNamedDecoder(d)
	}
	if d.named != nil {
		d.named.data(packet, h.seqid)
	}
	return only
}

// noteNamed is called when parity that names its group has come from the peer. Nothing is inferred
// from now on (S2.24).
func (d *fecDecoder) noteNamed() {
	if d.naming != fecNamesOnly {
		d.naming = fecNamesOnly
		d.clear()
		d.slots, d.spares, d.members, d.looked = nil, nil, nil, 0
	}
}

// dropNamed releases the decoder of named groups until such parity arrives again.
func (d *fecDecoder) dropNamed() {
	d.releaseNamed()
	if d.naming == fecNamesOnly {
		d.naming = fecNamesPause
	} else {
		d.naming = fecNamesLater
	}
}

// releaseNamed releases what is kept for groups that are named.
func (d *fecDecoder) releaseNamed() {
	if d.named != nil {
		d.named.restart(0)
		d.named = nil
	}
}
