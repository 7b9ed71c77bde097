// SPDX-License-Identifier: MIT

package kcp

import (
	"context"
	"io"
	"net"
	"time"

	"github.com/pkg/errors"
)

// Config configures sessions and listeners. The zero value is usable: no cipher, no FEC, windows of
// 512 segments, message mode. A Config may be used for any number of sessions, by several
// goroutines as long as none changes it. Later changes do not affect sessions and listeners made
// with it.
//
// Both ends must agree on BlockCrypt, and on StreamMode if the program relies on the boundaries of
// messages. All other fields are each end's own choice.
type Config struct {
	// BlockCrypt protects the datagrams. Default nil: datagrams are not encrypted.
	BlockCrypt BlockCrypt

	// RequireSessionKeys makes data wait until a session has keys of its own, which takes one round
	// trip, and refuses peers that make none. By default the first flight of a session is under the
	// key of BlockCrypt, as is a whole session with such a peer: a legacy peer, or one with an
	// earlier version of this library. Reads and Writes of a refused session return an error that
	// says so. It needs a BlockCrypt of NewAESGCMCrypt or NewXChaCha20Poly1305Crypt. Default false.
	RequireSessionKeys bool

	// DataShards and ParityShards are the Reed-Solomon configuration of what this side sends: each
	// DataShards packets are followed by ParityShards packets that can replace as many lost ones.
	// Both zero, the default: none. Together at most 256.
	//
	// The peer's configuration is found from its packets. Nothing is recovered until two of its
	// groups, or 24 packets, have shown how they are composed. A legacy peer is expected to have
	// the same configuration, until a packet contradicts that: configure both sides alike then. A
	// side that need not send parity can leave both fields zero.
	DataShards, ParityShards int

	// FEC is how the groups are chosen. Default FECFixed: as DataShards and ParityShards say. See
	// the type.
	FEC FECMode

	// MTU is the size of a datagram in bytes: its whole UDP payload. Default 1400; values above
	// 1500 count as 1500. It is the size at first if MTUDiscovery searches for a larger one.
	MTU int

	// MTUDiscovery is whether a session searches for the largest datagram that the path carries.
	// Default "": MTUDiscoveryOn. See the type.
	MTUDiscovery MTUDiscovery

	// MaxMTU is the largest datagram in bytes that the search may find, 1200 to 16368. Default 0:
	// what the interface carries in one packet; 1472 over a connection of the program that is no
	// *net.UDPConn.
	MaxMTU int

	// SendWindow and ReceiveWindow are in segments of up to one datagram each. Default 512, at most
	// 65535.
	//
	// They are the least windows. The send window grows to about four times what the path delivers
	// in a round trip, or eight times behind a lost segment, unless CongestionOff is set. It
	// returns to SendWindow after ten seconds without data. The receive window grows likewise by
	// what arrives, as long as the program reads it. It does not grow towards a legacy peer. What a
	// window has grown by is used while half of MaxMemory is free.
	SendWindow, ReceiveWindow int

	// FixedWindows keeps the windows as they are set. By default they grow.
	FixedWindows bool

	// NoDelay lowers the minimum retransmission timeout from 100 to 30 ms and its back-off factor
	// from 2 to 1.5.
	NoDelay bool

	// Interval is the longest time that an acknowledgement or a delayed write waits, 10 ms to 5 s.
	// Default 100 ms, or 10 ms with NoDelay.
	Interval time.Duration

	// FastResend is the number of acknowledgements of later segments after which a segment is
	// retransmitted before its timeout. Default 0: off. At most 64. Whatever the number, one such
	// acknowledgement suffices once 9/8 of a round trip is over.
	FastResend int

	// Redundancy is how many small segments a datagram carries once more, so that a loss costs
	// little time. Default RedundancyAuto: by what the path loses, in no-delay mode. See the type.
	Redundancy Redundancy

	// CongestionControl is the controller that decides how much is in flight and how fast it
	// leaves. Default "": CongestionRate, or what NoCongestionControl selects.
	CongestionControl CongestionControl

	// Bandwidth is what CongestionFixed takes for the bandwidth of the path, in bytes a second of
	// KCP segments: 1000 to 4e9. It has no effect where a round trip takes less than a millisecond.
	// The other controllers measure the bandwidth and do not use this field.
	// Default 0: not known, which is an error with CongestionFixed.
	Bandwidth int64

	// NoCongestionControl selects CongestionRateAggressive if CongestionControl is "", and has no
	// effect otherwise. CongestionOff disables congestion control.
	NoCongestionControl bool

	// StreamMode carries a stream of bytes, as TCP does: small writes may be merged. The default
	// keeps the boundaries of messages.
	StreamMode bool

	// WriteDelay lets small writes share a datagram. Data that does not fill a datagram waits for
	// more data, for any packet that is sent anyway, or for the interval. Within a stream of full
	// datagrams it waits about as long as one takes to fill. A full datagram is sent at once.
	WriteDelay bool

	// ACKNoDelay acknowledges after each received batch instead of waiting for the interval.
	ACKNoDelay bool

	// DeadTimeout ends a session whose peer has not answered for that long while it owed an answer,
	// such as an acknowledgement. Default 30 s; negative: never. Here and in the following two
	// fields, more than 100 years count as 100 years.
	DeadTimeout time.Duration

	// KeepAlive is the time after which a silent peer is asked for an answer. Default 0: off.
	KeepAlive time.Duration

	// IdleTimeout ends a session that has received nothing for that long. Default 0: off.
	IdleTimeout time.Duration

	// WaitPeer makes Dial and Client wait until the peer has opened the session, so that its Accept
	// returns. If the peer refuses, or the context of Dial ends, they return an error. By default
	// they send nothing and return at once.
	WaitPeer bool

	// SharedSocket makes Dial use one of a few sockets of the process, as a Transport has, instead
	// of a socket for each session. Programs with thousands of dialled sessions thus need few file
	// descriptors, and less memory. It has no effect elsewhere. Default false.
	//
	// Sessions share sockets if they have the same address family, cipher (the same key), Scheduler
	// and MaxMemory. MaxMemory limits all of them together. Up to four sockets serve them, one for
	// each processor at most. A socket opens when a Dial needs it, and closes with the last session
	// on it. Its errors are reported to the OnSocketError of the newest Dial that has set one. If
	// it is lost, all sessions on it end, and the next Dial opens another.
	//
	// The sessions have one source port, one DSCP and one receive buffer together. SetDSCP,
	// SetReadBuffer, SetWriteBuffer and Control return an error that matches errors.ErrUnsupported.
	// A packet filter or a NAT sees one flow, and a load balancer sends all sessions to the same
	// server. Parity packets do not name their session: with FEC and many sessions to one peer,
	// few losses are repaired.
	//
	// Several sessions to one address need a peer with this library. A legacy peer keeps one
	// session at a time for each address, and drops the others. Until the first answer of a peer,
	// its sessions are therefore given different sockets, up to eight. Further ones share them, and
	// fail after DeadTimeout if it is a legacy peer. Once an answer has shown that it is one, no
	// two sessions to it share a socket. Dial then opens sockets as if SharedSocket were false.
	SharedSocket bool

	// AcceptBacklog is the number of new sessions that wait for Accept. Peers beyond it retransmit
	// until there is room. Default 2048.
	AcceptBacklog int

	// MaxSessions is the number of sessions on the sockets of a listener. Further ones are refused.
	// Default 262144; an idle session takes some 2 KiB.
	MaxSessions int

	// MaxMemory is the number of bytes that all sessions on the sockets of a listener, a Transport
	// or a dialled session may hold together. It counts received data that was not read,
	// out-of-band packets, what error correction keeps, and written data that was not acknowledged.
	// Each segment counts 1536 bytes.
	//
	// A session may hold no more than what is left for the others. It gets smaller windows while
	// many sessions hold much, but always 8 segments each way, some 28 KiB. The first 8 KiB of each
	// session are not counted. A failed session counts until it is read to its end or closed.
	// Default 2 GiB; negative: no limit.
	MaxMemory int64

	// MaxPending is the number of accepted sessions whose peer's address is not validated. Beyond
	// it, or while more than half of AcceptBacklog waits, new peers must validate their address
	// before the listener keeps any state. That takes them a round trip and a retransmission, some
	// 200 ms. Default 1024.
	MaxPending int

	// MaxPerPrefix is the number of accepted sessions from one IPv4 address, or from the IPv6
	// addresses with the same first 56 bits. Loopback addresses are not limited. Default 65536.
	MaxPerPrefix int

	// AmplificationLimit limits how much an accepted session sends to a peer whose address is not
	// yet validated: this many times the bytes received from it, plus one datagram, or ten with an
	// AEAD. It prevents use of the listener to flood a forged address.
	//
	// A peer validates its address by its first acknowledgement, so that an answer of several
	// datagrams takes one more round trip. A peer that only reads earns no allowance for what is
	// lost. It is therefore asked ten times within half a minute, and again whenever it sends
	// something. A new session ends by DeadTimeout if all that it sends is lost. Default 3;
	// negative: no limit.
	AmplificationLimit int

	// OnSocketError is called for errors of the socket, with op "read" or "write". They end
	// nothing, and SocketStats counts them. A closed socket is not reported here, but by Read,
	// Write and Accept.
	//
	// It is called without locks, on a goroutine of its own, at most once a second for each socket
	// and op, and never while an earlier call for them runs. With op "key" it is called once for
	// each socket, when 2^31 packets have been sealed and opened with an AEAD whose nonces have at
	// most 12 bytes: see NewAEADCrypt. Default nil: no calls.
	OnSocketError func(op string, err error)

	// Trace is called for each session and returns where its trace is written, or nil for no trace.
	// The trace is a sequence of events in the format of qlog. docs/tracing.md lists them. Default
	// nil: no traces, at no cost.
	//
	// It is called without locks, on a goroutine of the session's own, which then writes the trace.
	// So it may open a file, and Trace may run for several sessions at once. For an accepted
	// session that is once the address of its peer is validated: a flood of forged addresses opens
	// no files. Of what happens before, the first 63 events are kept.
	//
	// A trace costs the session no lock, no wait and no allocation for a packet. If the writer is
	// too slow, events are dropped, and the trace tells how many. Up to 512 KiB of events wait. The
	// first error of the writer ends the trace and nothing else. Stats has both. The writer is
	// closed when all that was traced is written, after the end of the session or the call of
	// SetTrace that replaces the trace.
	Trace func(info TraceInfo) io.WriteCloser

	// Sockets is the number of sockets that Listen and OpenTransport open on one port, 1 to 256.
	// Each has its own reading goroutine, so that receiving scales with the processors. The kernel
	// spreads the peers over them (SO_REUSEPORT). Default 1. More than one has an effect only on
	// Linux.
	Sockets int

	// Scheduler runs the timers. Default SystemTimedSched. It must outlive the sessions.
	Scheduler *TimedSched
}

// options returns the settings of c with its defaults filled in. An error names the field that is
// out of range.
func (c *Config) options() (*options, error) {
	o := &options{
		block: c.BlockCrypt, fec: fecShards{c.DataShards, c.ParityShards}, mtu: c.MTU,
		sndWnd: c.SendWindow, rcvWnd: c.ReceiveWindow, resend: c.FastResend,
		modes:       sessionModes(c.StreamMode, c.WriteDelay, c.ACKNoDelay, c.FixedWindows),
		deadTimeout: c.DeadTimeout, keepAlive: c.KeepAlive, idleTimeout: c.IdleTimeout,
		backlog: c.AcceptBacklog, amplification: c.AmplificationLimit,
		maxSessions: c.MaxSessions, maxPending: c.MaxPending, maxPerPrefix: c.MaxPerPrefix,
		maxMemory:     c.MaxMemory,
		trace:         c.Trace,
		onSocketError: c.OnSocketError, sockets: c.Sockets, sched: c.Scheduler,
	}
	if c.NoDelay {
		o.noDelay = 1
	}
	if c.RequireSessionKeys {
		o.keys = keysRequired
	}
	o.dialModes.set(dialWaits, c.WaitPeer)
	o.dialModes.set(dialShares, c.SharedSocket)
	if err := o.setCongestion(c.CongestionControl, c.NoCongestionControl, c.Bandwidth); err != nil {
		return nil, err
	}
	if err := o.setFEC(c.FEC); err != nil {
		return nil, err
	}
	if err := o.setRedundancy(c.Redundancy); err != nil {
		return nil, err
	}
	if err := o.setDiscovery(c.MTUDiscovery, c.MaxMTU); err != nil {
		return nil, err
	}
	return o, o.complete(c.Interval)
}

// legacyOptions returns the settings for functions without a Config, with the windows of legacy
// peers. There is no FEC if either number of shards is zero or less.
func legacyOptions(block BlockCrypt, dataShards, parityShards int) (*options, error) {
	if dataShards <= 0 || parityShards <= 0 {
		dataShards, parityShards = 0, 0
	}
	shards := fecShards{dataShards, parityShards}
	if _, err := shards.check("dataShards", "parityShards"); err != nil {
		return nil, err
	}
	c := Config{
		BlockCrypt: block, DataShards: dataShards, ParityShards: parityShards,
		SendWindow: wndInitial, ReceiveWindow: wndInitial, MTUDiscovery: MTUDiscoveryOff,
	}
	return c.options()
}

// Dial makes a session to the UDP address addr over its own socket, or over one that it shares with
// others (SharedSocket). It sends nothing and does not
// wait for the peer, unless WaitPeer is set. ctx limits the resolution of the name and that wait.
//
// An error for a field of c that is out of range names it and matches os.ErrInvalid. Other errors
// are those of the address, of opening a socket, or of ctx. With WaitPeer they can be those of the
// session, as Read returns them.
func (c *Config) Dial(ctx context.Context, addr string) (*UDPSession, error) {
	o, err := c.options()
	if err != nil {
		return nil, err
	}
	raddr, err := resolve(ctx, addr)
	if err != nil {
		return nil, errors.Wrap(err, "kcp: dial")
	}
	s, err := dialUDP(ctx, raddr, o)
	if err != nil {
		return nil, errors.Wrap(err, "kcp: dial")
	}
	if err := s.awaitPeer(ctx, o); err != nil {
		return nil, errors.Wrap(err, "kcp: dial")
	}
	return s, nil
}

// Client makes a session to raddr, an address of conn's own kind, over conn. conn stays the
// caller's, but no one else may read it while the session lives. With WaitPeer only DeadTimeout
// limits the wait. Errors are as for Dial.
func (c *Config) Client(conn net.PacketConn, raddr net.Addr) (*UDPSession, error) {
	o, err := c.options()
	if err != nil {
		return nil, err
	}
	s, err := dialOver(conn, false, raddr, randomConv(), o)
	if err != nil {
		return nil, err
	}
	if err := s.awaitPeer(context.Background(), o); err != nil {
		return nil, errors.Wrap(err, "kcp: client")
	}
	return s, nil
}

// Listen accepts sessions on the local UDP address addr, such as ":4000" or "[::1]:0". ctx limits
// the resolution of the name. An error for a field of c that is out of range names it and matches
// os.ErrInvalid.
func (c *Config) Listen(ctx context.Context, addr string) (*Listener, error) {
	o, err := c.options()
	if err != nil {
		return nil, err
	}
	return listenAt(ctx, addr, o)
}

// Serve accepts sessions on conn, which stays the caller's. No one else may read it while the
// listener or one of its sessions lives. Errors are as for Listen, and one that matches
// os.ErrInvalid for a nil conn.
func (c *Config) Serve(conn net.PacketConn) (*Listener, error) {
	o, err := c.options()
	if err != nil {
		return nil, err
	}
	if isNil(conn) {
		return nil, badArgument("conn", nil, "a packet connection")
	}
	return serveOver(conn, false, o), nil
}
