// SPDX-License-Identifier: MIT

package kcp

// runBuilder joins neighbouring packets of equal size, the last of which may be shorter, into runs
// that a socket with segmentation offload sends at once.
type runBuilder struct {
	tx    *txScratch
	turn  *turn
	run   []byte // with all the capacity behind it
	count int
	size  int
}

// resume goes on with the run of the turn before, if it goes to the same peer. Many sessions of one
// address, as a Transport or a tunnel has, then leave in one piece too. A turn with copies needs
// runs of its own.
func (r *runBuilder) resume() {
	n := len(r.tx.batch)
	if n == 0 || r.tx.socket.maxRunSegments < 2 || r.turn.dup > 0 {
		return
	}
	last := &r.tx.batch[n-1]
	if last.to != r.turn.to || last.local != r.turn.local || last.segment == 0 ||
		last.whole == mustStayWhole {
		return
	}
	r.run, r.size, r.count = last.buf, last.segment, datagrams(len(last.buf), last.segment)
	*last = outgoing{}
	r.tx.batch = r.tx.batch[:n-1]
}

// add adds a datagram. Its capacity extends to the end of the memory that it lies in.
func (r *runBuilder) add(datagram []byte) {
	n := len(r.run)
	end := n + len(datagram)
	joins := r.count > 0 && r.count < r.tx.socket.maxRunSegments &&
		end <= r.tx.socket.maxRunBytes && end <= cap(r.run) &&
		len(datagram) <= r.size && n%r.size == 0 && &r.run[:n+1][n] == &datagram[0]
	if joins {
		r.run = r.run[:end]
	} else {
		r.end()
		r.run, r.size = datagram, len(datagram)
	}
	r.count++
}

// addAlone adds a probe of the path's MTU, which no run may contain.
func (r *runBuilder) addAlone(datagram []byte) {
	r.end()
	r.tx.batch = append(r.tx.batch, outgoing{
		buf: datagram, to: r.turn.to, toAddr: r.turn.toAddr, local: r.turn.local,
		whole: r.tx.socket.probes,
	})
}

func (r *runBuilder) end() {
	if r.count > 0 {
		r.tx.batch = append(r.tx.batch, outgoing{
			buf:     r.run,
			segment: r.size,
			to:      r.turn.to,
			toAddr:  r.turn.toAddr,
			local:   r.turn.local,
		})
	}
	r.count = 0
}
