// SPDX-License-Identifier: MIT

package kcp

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

// Stats returns the listener's figures, also after Close.
func (l *Listener) Stats() ListenerStats {
	st := ListenerStats{Socket: l.demux.socketStats()}
	l.demux.mu.Lock()
	st.Sessions = l.demux.sessions.live
	c := &l.demux.admission.counts
	st.Challenged, st.Vouched, st.RefusedFull, st.RefusedPrefix = c.challenged, c.vouched, c.full, c.prefixFull
	l.demux.mu.Unlock()
	st.Pending = int(l.demux.pending.Load())
	st.Memory, st.RefusedMemory = l.demux.memory.held.Load(), l.demux.memory.refused.Load()
	l.mu.Lock()
	st.Backlog, st.Refused = l.backlog.Len(), l.refused
	l.mu.Unlock()
	return st
}
