// SPDX-License-Identifier: MIT

package kcp

import (
	"context"
	"net"
	"time"

	"github.com/pkg/errors"
)

// Config is how sessions and listeners are made. The zero value is of use: no cipher, no FEC, windows of 512 segments,
// message mode. A Config may be used for any number of sessions, from several goroutines as long as nobody changes it;
// later changes do not affect what has been made with it.
//
// Both ends must agree on BlockCrypt. Everything else is each end's own choice.
type Config struct {
	// BlockCrypt protects the datagrams; nil sends them in the clear.
	BlockCrypt BlockCrypt

	// DataShards and ParityShards are the Reed-Solomon configuration of what this side sends: for each DataShards
	// packets ParityShards packets follow that make up for as many lost ones. Both zero, the default: none. Together
	// at most 256.
	//
	// What the peer sends is found out from its packets: nothing is recovered before two of its groups, or 24 packets, have
	// shown how they are made up. Of a peer that has not said that it knows the extension the same configuration is expected,
	// as deployed peers need it, until a packet contradicts it: configure both sides alike there, or none of this at a side
	// that need not send parity.
	DataShards, ParityShards int

	// MTU is the size of a datagram in bytes, its whole UDP payload. Default 1400, at most 1500.
	MTU int

	// SendWindow and ReceiveWindow are in segments of up to a datagram each. Default 512, at most 65535.
	SendWindow, ReceiveWindow int

	// NoDelay lowers the least retransmission timeout from 100 to 30 ms and its back-off from 2 to 1.5.
	NoDelay bool

	// Interval is the most that an acknowledgement or a delayed write waits, 10 ms to 5 s. Default 100 ms, 10 ms
	// with NoDelay.
	Interval time.Duration

	// FastResend is the number of acknowledgements of later segments after which a segment is sent again without
	// waiting for its timeout; at most 64, 0 is off.
	FastResend int

	// NoCongestionControl leaves the windows alone to limit what is in flight.
	NoCongestionControl bool

	// StreamMode carries a stream of bytes, as TCP does: small writes may be merged. The default keeps messages.
	StreamMode bool

	// WriteDelay lets small writes leave together: what does not fill a datagram waits for more, for any packet that
	// leaves anyway, or for the interval. What fills one leaves at once.
	WriteDelay bool

	// ACKNoDelay acknowledges after each received batch instead of waiting for the interval.
	ACKNoDelay bool

	// DeadTimeout ends a session whose peer has not answered for that long while it owed an answer, an
	// acknowledgement for instance. Default 30 s; negative: never. Here and in the following two, more than 100 years
	// count as 100 years.
	DeadTimeout time.Duration

	// KeepAlive asks a silent peer after that time whether it is there. Default 0: off.
	KeepAlive time.Duration

	// IdleTimeout ends a session that has heard nothing for that long. Default 0: off.
	IdleTimeout time.Duration

	// WaitPeer makes Dial and Client wait until the peer has opened the session, so that its Accept returns, or refused,
	// which is an error, or, for Dial, the context ends. By default they send nothing and return at once.
	WaitPeer bool

	// AcceptBacklog is how many new sessions wait for Accept; beyond it they try again. Default 2048.
	AcceptBacklog int

	// MaxSessions is how many sessions may be on the sockets of a listener; newcomers beyond it are refused. Default
	// 262144; at some 2 KiB for an idle one.
	MaxSessions int

	// MaxMemory is how many bytes all sessions on the sockets of a listener, a Transport or a dialled session may hold
	// together: what was received and not read yet, out-of-band packets and what error correction keeps of it, and what
	// was written and not acknowledged yet. Each segment counts 1536 bytes. A session may hold no more than what is then
	// left for the others, and so gets smaller windows while many hold much, but always 8 segments each way, some 28 KiB.
	// The first 8 KiB of each are not counted. A session that has failed counts until it has been read to its end or closed.
	// Default 2 GiB; negative is no bound.
	MaxMemory int64

	// MaxPending is how many accepted sessions there may be whose peer has not proved to receive at its address.
	// Newcomers beyond it, or while half of AcceptBacklog waits, have to prove it before anything is kept of them: that
	// takes them a round trip and a retransmission, some 200 ms. Default 1024.
	MaxPending int

	// MaxPerPrefix is how many accepted sessions may come from one IPv4 address, or from the addresses that share 56 bits
	// of an IPv6 address, loopback addresses excepted. Default 65536.
	MaxPerPrefix int

	// AmplificationLimit bounds what an accepted session sends to an address that has not yet proved to receive: this many
	// times the bytes that came from it, and one datagram besides, or ten where the cipher authenticates who asks. It keeps
	// the listener from being used to flood strangers whose address was forged. A peer proves itself by its first
	// acknowledgement, so that an answer of several datagrams takes one round trip more. One that only reads earns nothing
	// for what is lost on its way to it, so it is asked for the proof ten times within half a minute, and again with all that
	// comes from it. A new session of which all that is lost ends by DeadTimeout. Default 3; negative: no bound.
	AmplificationLimit int

	// OnSocketError is told of errors of the socket: op is "read" or "write". They end nothing (see SocketStats, which
	// counts them); a socket that has been closed is no such error and shows in Read, Write and Accept. It is called
	// outside all locks, on a goroutine of its own, at most once a second for each socket and op, and not while an
	// earlier call for them has not returned. With op "key" it is told, once for each socket, that 2^31 packets have been
	// sealed and opened with an AEAD of nonces of 12 bytes or fewer: see NewAEADCrypt. Default nil: nobody is told.
	OnSocketError func(op string, err error)

	// Sockets is how many sockets Listen and OpenTransport open on one port, 1 to 256, each read by a goroutine of its
	// own, so that receiving grows with the processors. The kernel spreads the peers over them (SO_REUSEPORT). Default
	// 1; what is more than that counts on Linux alone.
	Sockets int

	// Scheduler drives the timers. Default SystemTimedSched. It must outlive the sessions.
	Scheduler *TimedSched
}

// options returns the settings that c gives, with its defaults filled in. The error names the field that is out of range.
func (c *Config) options() (*options, error) {
	o := &options{
		block: c.BlockCrypt, fec: fecShards{c.DataShards, c.ParityShards}, mtu: c.MTU,
		sndWnd: c.SendWindow, rcvWnd: c.ReceiveWindow, resend: c.FastResend,
		modes: sessionModes(c.StreamMode, c.WriteDelay, c.ACKNoDelay), waitPeer: c.WaitPeer,
		deadTimeout: c.DeadTimeout, keepAlive: c.KeepAlive, idleTimeout: c.IdleTimeout,
		backlog: c.AcceptBacklog, amplification: c.AmplificationLimit,
		maxSessions: c.MaxSessions, maxPending: c.MaxPending, maxPerPrefix: c.MaxPerPrefix, maxMemory: c.MaxMemory,
		onSocketError: c.OnSocketError, sockets: c.Sockets, sched: c.Scheduler,
	}
	if c.NoDelay {
		o.noDelay = 1
	}
	if c.NoCongestionControl {
		o.nc = 1
	}
	return o, o.complete(c.Interval)
}

// legacyOptions are the settings of deployed peers, for the functions that take no Config. Either number of shards zero or
// less is no FEC, as it is for them.
func legacyOptions(block BlockCrypt, dataShards, parityShards int) (*options, error) {
	if dataShards <= 0 || parityShards <= 0 {
		dataShards, parityShards = 0, 0
	}
	if _, err := (fecShards{dataShards, parityShards}).check("dataShards", "parityShards"); err != nil {
		return nil, err
	}
	c := Config{
		BlockCrypt: block, DataShards: dataShards, ParityShards: parityShards,
		SendWindow: wndInitial, ReceiveWindow: wndInitial,
	}
	return c.options()
}

// Dial makes a session to the UDP address addr over a socket of its own. It sends nothing and does not wait for the
// peer, unless WaitPeer is set; ctx limits the resolution of the name and that wait, and nothing later. An error for a
// field of c that is out of range names it and matches os.ErrInvalid; others are those of the address, of opening a socket,
// of ctx, or, with WaitPeer, of the session, as Read returns them.
func (c *Config) Dial(ctx context.Context, addr string) (*UDPSession, error) {
	o, err := c.options()
	if err != nil {
		return nil, err
	}
	raddr, err := resolve(ctx, addr)
	if err != nil {
		return nil, errors.Wrap(err, "kcp: dial")
	}
	conn, err := openSocket(ctx, raddr)
	if err != nil {
		return nil, errors.Wrap(err, "kcp: dial")
	}
	s, err := dialOpened(conn, raddr, o)
	if err != nil {
		conn.Close()
		return nil, err
	}
	if err := s.awaitPeer(ctx, o); err != nil {
		return nil, errors.Wrap(err, "kcp: dial")
	}
	return s, nil
}

// Client makes a session to raddr, an address of conn's own kind, over conn, which stays the caller's: nobody else may
// read it while the session lives. With WaitPeer it waits without an end but DeadTimeout. Errors are as of Dial.
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

// Listen accepts sessions on the local UDP address addr, as in ":4000" or "[::1]:0". ctx limits the resolution of the
// name. An error for a field of c that is out of range names it and matches os.ErrInvalid.
func (c *Config) Listen(ctx context.Context, addr string) (*Listener, error) {
	o, err := c.options()
	if err != nil {
		return nil, err
	}
	return listenAt(ctx, addr, o)
}

// Serve accepts sessions on conn, which stays the caller's: nobody else may read it while the listener or one of its
// sessions lives. Errors are as of Listen, and one that matches os.ErrInvalid for a nil conn.
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
