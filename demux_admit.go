// SPDX-License-Identifier: MIT

package kcp

// opens reports whether a segment begins a session. Who begins one has received nothing of it yet: an una says that this
// one has another end somewhere.
func opens(s *segment) bool { return s.cmd == cmdPush && uint32(s.sn) < wndInitial && s.una == 0 }

// knocks reports whether a WASK opens a session: the peer says so, for it waits for that before it has data.
func knocks(s *segment, m *controlSet) bool {
	return s.cmd == cmdWask && s.sn == 0 && s.una == 0 && m.has[ctlHello] && m.incarnation != 0 && m.flags&helloOpens != 0
}

// headlessPatience is how long a session is kept whose first segment does not come, which was overtaken by a later one: as
// long as a peer goes on with the default DeadTimeout, or with that of the listener where it is longer.
const headlessPatience millis = 30_000

// asksWindow reports whether there is a WASK among the segments.
func asksWindow(segments []byte) bool {
	var s segment
	for len(segments) > 0 {
		var status parseStatus
		if segments, status = parseSegment(segments, &s); status != parseOK {
			break
		}
		if s.cmd == cmdWask {
			return true
		}
	}
	return false
}
