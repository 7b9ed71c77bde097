// SPDX-License-Identifier: MIT

package kcp

// socketStats returns the figures of all sockets: the sums of their counts, and of the rest what the first one has.
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

// ListenerStats is what a listener has done and how it stands. Counts are since its beginning.
type ListenerStats struct {
	Sessions int // on the listener's socket now, those that wait for Accept included
	Backlog  int // of them, those that wait for Accept
	// Refused counts the datagrams that would have opened a session while Config.AcceptBacklog sessions waited; a peer
	// that sends again and again is counted as often.
	Refused uint64

	Pending       int    // of the sessions, those whose peer has not proved to receive at its address
	Challenged    uint64 // newcomers that were asked to prove that first (Config.MaxPending)
	Vouched       uint64 // those that did
	RefusedFull   uint64 // datagrams that would have opened a session beyond Config.MaxSessions
	RefusedPrefix uint64 // likewise Config.MaxPerPrefix

	Memory        int64  // bytes that the sessions hold beyond 8 KiB each (Config.MaxMemory)
	RefusedMemory uint64 // segments and packets that were thrown away for want of it

	Socket SocketStats // of all sockets together, where there are several (Config.Sockets)
}

// stats returns the figures of a listener.
func (b *backlog) stats() ListenerStats {
	d := b.demux
	st := ListenerStats{Socket: d.socketStats()}
	d.mu.Lock()
	st.Sessions = d.sessions.live
	c := &d.admission.counts
	st.Challenged, st.Vouched, st.RefusedFull, st.RefusedPrefix = c.challenged, c.vouched, c.full, c.prefixFull
	d.mu.Unlock()
	st.Pending = int(d.pending.Load())
	st.Memory, st.RefusedMemory = d.memory.held.Load(), d.memory.refused.Load()
	b.mu.Lock()
	st.Backlog, st.Refused = b.waiting.Len(), b.refused
	b.mu.Unlock()
	return st
}
