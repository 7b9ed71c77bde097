// SPDX-License-Identifier: MIT

package kcp

// socketStats returns the sum of the sockets' counts. The other figures are those of the first
// socket.
func (d *demux) socketStats() SocketStats {
	st := d.eps[0].socketStats()
	for _, e := range d.eps[1:] {
		other := e.socketStats()
		st.LostDatagrams += other.LostDatagrams
		st.ReadErrors += other.ReadErrors
		if other.LastErrorTime.After(st.LastErrorTime) {
			st.LastError, st.LastErrorTime = other.LastError, other.LastErrorTime
		}
	}
	return st
}

// ListenerStats is a snapshot of a listener's counters and state. Counts start at zero when it
// opens.
type ListenerStats struct {
	Sessions int // on the listener's sockets now, including those that wait for Accept
	Backlog  int // sessions that wait for Accept
	// Refused counts the datagrams that would have opened a session while Config.AcceptBacklog
	// sessions waited. Retransmissions count too.
	Refused uint64

	Pending       int    // sessions whose peer's address is not validated
	Challenged    uint64 // challenges sent to new peers (Config.MaxPending)
	Vouched       uint64 // challenges answered
	RefusedFull   uint64 // datagrams that would have exceeded Config.MaxSessions
	RefusedPrefix uint64 // datagrams that would have exceeded Config.MaxPerPrefix

	Memory        int64  // bytes that the sessions hold beyond 8 KiB each (Config.MaxMemory)
	RefusedMemory uint64 // segments and packets dropped for lack of memory

	Socket SocketStats // totals of all sockets (Config.Sockets)
}

// stats returns the listener's figures.
func (b *backlog) stats() ListenerStats {
	d := b.demux
	st := ListenerStats{Socket: d.socketStats()}
	d.mu.Lock()
	st.Sessions = d.sessions.live
	c := &d.admission.counts
	st.Challenged, st.Vouched = c.challenged, c.vouched
	st.RefusedFull, st.RefusedPrefix = c.full, c.prefixFull
	d.mu.Unlock()
	st.Pending = int(d.pending.Load())
	st.Memory, st.RefusedMemory = d.memory.held.Load(), d.memory.refused.Load()
	b.mu.Lock()
	st.Backlog, st.Refused = b.waiting.Len(), b.refused
	b.mu.Unlock()
	return st
}
