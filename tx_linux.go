// SPDX-License-Identifier: MIT

//go:build !kcpbasic

package kcp

import (
	"net/netip"
	"sync"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	// writeMessages is how many messages a call sends at most.
	writeMessages = 64
	// A full socket buffer drains at the link's rate: 64 KiB take 1 ms at 500 Mbit/s and 50 ms at
	// 10 Mbit/s. writeWait bounds how long a batch waits for that. A link that does not drain must
	// not delay a goroutine that serves other sockets too. The pauses grow from the first to the
	// longest.
	writeWait       = 100 * time.Millisecond
	writeFirstPause = 50 * time.Microsecond
	writePause      = time.Millisecond
)

// linuxWriter sends one batch at a time, with headers that are reused.
type linuxWriter struct {
	conn     *linuxConn
	msgs     [writeMessages]mmsghdr
	iovs     [writeMessages]unix.Iovec
	names    [writeMessages]unix.RawSockaddrInet6
	controls [writeMessages]writeControl
	pieces   [writeMessages]writePiece // what each message holds
	queued   int                       // messages that are filled in
	done     int                       // of them, those dealt with
	// made once: a method value made for each call would be allocated
	call  func(fd uintptr)
	whole wholeness // of the messages that are filled in
	n     int
	errno syscall.Errno

	batch      []outgoing
	index      int // with offset: where the next piece of batch begins
	offset     int
	refusal    writeRefusal
	retries    int           // of the current message
	most       time.Duration // how long the batch may wait
	rest       []outgoing    // of a batch that may not wait: what is left
	full       time.Time     // when the socket's buffer was first found full
	pause      time.Duration
	sent, lost int
	err        error
}

// writePiece is the part of a batch that a message holds.
type writePiece struct{ index, offset, size, segment int }

func (m *writePiece) run() bool { return m.size > m.segment }

// writeRefusal is a run that was refused in one piece and is sent datagram by datagram.
type writeRefusal struct {
	index, end int           // the run ends at byte end of batch[index]
	errno      syscall.Errno // why; 0 once a datagram of it went through
}

func (f *writeRefusal) covers(index, offset int) bool { return index == f.index && offset < f.end }

// linuxWriters is shared by all sockets.
var linuxWriters = sync.Pool{New: func() any { return newLinuxWriter() }}

func newLinuxWriter() *linuxWriter {
	w := new(linuxWriter)
	for i := range w.msgs {
		h := &w.msgs[i].hdr
		h.Iov = &w.iovs[i]
		h.SetIovlen(1)
	}
	w.call = func(fd uintptr) {
		if w.whole == mustStayWhole {
			defer forbidFragments(int(fd), w.conn.family)()
		}
		w.n, w.errno = w.conn.calls.send(fd, w.msgs[w.done:w.queued])
	}
	return w
}

func (w *linuxWriter) write(p []outgoing) (rest []outgoing, sent, lost int, err error) {
	w.batch, w.index, w.offset = p, 0, 0
	w.refusal, w.retries, w.pause = writeRefusal{}, 0, 0
	w.sent, w.lost, w.err, w.rest = 0, 0, nil, nil
	for w.fill() && w.flush() {
	}
	rest = w.rest
	w.batch, w.rest = nil, nil
	return rest, w.sent, w.lost, w.err
}

// fill puts the next pieces of the batch into messages. It returns false if none are left.
func (w *linuxWriter) fill() bool {
	w.queued, w.done, w.whole = 0, 0, mayFragment
	for w.queued < len(w.msgs) && w.index < len(w.batch) && w.whole == mayFragment {
		o := &w.batch[w.index]
		if o.whole == mustStayWhole {
			if w.queued > 0 {
				break // it goes alone
			}
			w.whole = mustStayWhole
		}
		to := o.destination()
		data, segment := nextPiece(o, w.offset, w.segments(o, to.Addr()))
		m := writePiece{w.index, w.offset, len(data), segment}
		if err := w.encode(w.queued, o, to, data, segment); err == nil {
			w.pieces[w.queued] = m
			w.queued++
		} else if w.queued > 0 {
			break // the messages before it come first: they may have to be filled in again
		} else {
			w.lose(m.size, m.segment, err)
		}
		w.goTo(w.index, w.offset+len(data))
	}
	return w.queued > 0
}

// segments returns how many datagrams the next message may hold.
func (w *linuxWriter) segments(o *outgoing, to netip.Addr) int {
	if o.segment <= 0 || o.segment >= len(o.buf) || w.refusal.covers(w.index, w.offset) {
		return 1
	}
	return w.conn.gso.segments(to)
}

func (w *linuxWriter) encode(
	i int, o *outgoing, to netip.AddrPort, data []byte, segment int,
) error {
	h := &w.msgs[i].hdr
	h.Name, h.Namelen = nil, 0
	peer := w.conn.peer
	switch {
	case peer.IsValid() && (to == peer || !to.IsValid()):
		to = peer
	case !to.IsValid():
		return errNoDestination
	default:
		h.Name = (*byte)(unsafe.Pointer(&w.names[i]))
		if h.Namelen = encodeAddr(&w.names[i], to, w.conn.family); h.Namelen == 0 {
			return unix.EAFNOSUPPORT
		}
	}
	w.iovs[i].Base = unsafe.SliceData(data)
	w.iovs[i].SetLen(len(data))
	if segment >= len(data) {
		segment = 0
	}
	source := o.local.Unmap()
	if source.Is4() != to.Addr().Is4() {
		source = netip.Addr{} // not usable towards this peer
	}
	w.controls[i].encode(h, segment, source, w.conn.family)
	return nil
}

// encodeAddr writes `to` for a socket of that family. It returns 0 if that is impossible.
func encodeAddr(sa *unix.RawSockaddrInet6, to netip.AddrPort, family int) (length uint32) {
	addr := to.Addr()
	port := (*[2]byte)(unsafe.Pointer(&sa.Port))
	port[0], port[1] = byte(to.Port()>>8), byte(to.Port())
	if family == unix.AF_INET6 {
		// Sockets of both families use the same memory in turn.
		sa.Family, sa.Addr, sa.Flowinfo, sa.Scope_id = unix.AF_INET6, addr.As16(), 0, 0
		if zone := addr.Zone(); zone != "" {
			sa.Scope_id = zoneIndex(zone)
		}
		return unix.SizeofSockaddrInet6
	}
	if !addr.Is4() {
		return 0
	}
	sa4 := (*unix.RawSockaddrInet4)(unsafe.Pointer(sa))
	sa4.Family, sa4.Addr = unix.AF_INET, addr.As4()
	return unix.SizeofSockaddrInet4
}

// flush sends the messages that fill has prepared, or gives up the rest of the batch. It returns
// false if the batch has ended.
func (w *linuxWriter) flush() bool {
	for w.done < w.queued {
		// Control is used instead of Write. It takes no lock, so that goroutines send concurrently.
		// It also ignores a deadline, which belongs to the owner of a shared socket.
		if err := w.conn.raw.Control(w.call); err != nil {
			return w.abandon(err)
		}
		switch {
		case w.errno == 0 && w.n > 0:
			w.accepted(w.n)
		case w.errno == unix.EINTR:
		case w.errno == unix.EAGAIN || w.errno == 0:
			if w.most == 0 {
				return w.leave()
			}
			if !w.wait() {
				return w.abandon(unix.EAGAIN)
			}
		case w.errno == unix.ENOSYS:
			return w.handOver(w.conn.block())
		default:
			w.refused(w.errno)
		}
	}
	return true
}

// wait gives the socket's buffer time to drain. It returns false if the batch has waited enough.
func (w *linuxWriter) wait() bool {
	if w.pause == 0 {
		w.full, w.pause = time.Now(), writeFirstPause
	} else if time.Since(w.full) >= w.most {
		return false
	}
	time.Sleep(w.pause)
	w.pause = min(2*w.pause, writePause)
	return true
}

// accepted records that the next n messages have been sent.
func (w *linuxWriter) accepted(n int) {
	for _, m := range w.pieces[w.done:min(w.done+n, w.queued)] {
		w.sent += datagrams(m.size, m.segment)
		switch {
		case m.run():
			w.conn.gso.accepted()
		case w.refusal.errno != 0 && w.refusal.covers(m.index, m.offset):
			w.conn.gso.refused(w.batch[m.index].destination().Addr(), w.refusal.errno)
			w.refusal.errno = 0
		}
		w.done++
	}
	w.retries = 0
}

// refused handles the next message, which the kernel has refused.
func (w *linuxWriter) refused(errno syscall.Errno) {
	m := w.pieces[w.done]
	if errno == unix.EMSGSIZE && !m.run() {
		w.batch[m.index].refused = m.segment
	}
	switch {
	case w.conn.peer.IsValid() && w.retries == 0:
		// On a connected socket the error may be an ICMP message for an earlier datagram.
		w.retries++
		return
	case m.run():
		w.refusal = writeRefusal{m.index, m.offset + m.size, errno}
		w.restart(m.index, m.offset)
	case w.refusal.errno == errno && w.refusal.covers(m.index, m.offset):
		// The cause of the refusal is not that it was a run.
		w.lose(w.refusal.end-m.offset, m.segment, errno)
		w.restart(m.index, w.refusal.end)
	default:
		w.lose(m.size, m.segment, errno)
		w.done++
	}
	w.retries = 0
}

// lose counts the datagrams in size bytes as lost.
func (w *linuxWriter) lose(size, segment int, err error) {
	w.lost += datagrams(size, segment)
	w.err = err
}

// goTo makes byte offset of batch[index] the next to fill in.
func (w *linuxWriter) goTo(index, offset int) {
	if offset >= len(w.batch[index].buf) {
		index, offset = index+1, 0
	}
	w.index, w.offset = index, offset
}

// restart drops the messages that are not sent yet. Filling continues at byte offset of
// batch[index].
func (w *linuxWriter) restart(index, offset int) {
	w.queued, w.done = 0, 0
	w.goTo(index, offset)
}

// leave ends a batch that may not wait at what is not sent yet.
func (w *linuxWriter) leave() bool {
	m := w.pieces[w.done]
	w.rest = w.batch[m.index:]
	w.rest[0].buf = w.rest[0].buf[m.offset:]
	return false
}

// abandon counts all that is not sent yet as lost.
func (w *linuxWriter) abandon(err error) bool {
	m := w.pieces[w.done]
	w.lost += datagramsFrom(w.batch, m.index, m.offset)
	w.err = err
	return false
}

// handOver leaves all that is not sent yet to the portable path.
func (w *linuxWriter) handOver(basic *portableConn) bool {
	m := w.pieces[w.done]
	first := w.batch[m.index]
	first.buf = first.buf[m.offset:]
	for _, rest := range [][]outgoing{{first}, w.batch[m.index+1:]} {
		sent, lost, err := basic.writeBatch(rest)
		w.sent += sent
		w.lost += lost
		if err != nil {
			w.err = err
		}
	}
	return false
}
