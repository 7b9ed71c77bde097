// SPDX-License-Identifier: MIT

// Package kcp implements reliable, ordered connections over UDP: the KCP protocol with forward
// error correction and packet encryption, as net.Conn and net.Listener. It interoperates with
// existing KCP peers.
//
// A [Config] makes sessions and listeners. Its zero value is usable. A server and a client:
//
//	var c kcp.Config
//	l, err := c.Listen(ctx, ":4000")
//	...
//	conn, err := l.Accept() // returns with the first data of a peer
//
//	conn, err := c.Dial(ctx, "192.0.2.1:4000") // sends nothing yet
//	conn.Write([]byte("hello"))
//
// [Dial], [Listen] and their variants exist for programs written for the existing Go package. Their
// windows begin with 32 segments, as those of legacy peers. All else is as in an empty Config,
// congestion control too: docs/migrating.md describes how to have that of the existing package. A
// legacy peer is a KCP peer without this library's extension (docs/protocol.md, section 4).
//
// # Map
//
// Making sessions and listeners:
//
//   - [Config] has all settings. [Config.Dial] and [Config.Listen] open a UDP socket,
//     [Config.Client] and [Config.Serve] use any net.PacketConn. Errors name the setting that is
//     out of range.
//   - [Config.SharedSocket] lets thousands of dialled sessions share a few sockets.
//   - [Transport] carries many sessions, and a listener, over one socket, and returns datagrams
//     that are not KCP.
//   - [Dial], [DialWithOptions], [Listen], [ListenWithOptions], [ServeConn], and [NewConn] to
//     [NewConn4] do the same without a Config.
//
// Using them:
//
//   - [UDPSession] is a net.Conn. It also has [UDPSession.CloseWrite] and [UDPSession.CloseRead],
//     [UDPSession.WriteBuffers], and setters for most of Config's settings.
//   - [UDPSession.Write] is reliable: each message delays those behind it until it has arrived.
//     [UDPSession.WriteMessage] gives a message a deadline at which it is dropped, in order with
//     the others and whole or not at all. [UDPSession.SendOOB] with [UDPSession.SetOOBHandler] is
//     for datagrams beside the stream: sent once, in no order, and subject to no window.
//   - [Listener] is a net.Listener. [Listener.AcceptKCP] returns a *UDPSession, and
//     [Listener.Sessions] yields the open ones.
//   - [ReadyQueue] yields the sessions that can be read, so that a few goroutines serve any number
//     of them. [UDPSession.WriteRoom] tells how much a Write takes without waiting.
//
// Sharing the path:
//
//   - [CongestionControl] names what decides how much is in flight and how fast it leaves:
//     Config.CongestionControl and [UDPSession.SetCongestionControl] choose it.
//     [UDPSession.SetRateLimit] sets a limit beside it.
//
// Protecting and recovering packets:
//
//   - [BlockCrypt] and the New...Crypt functions: use [NewAESGCMCrypt] or [NewAEADCrypt]. The
//     others are for peers that support nothing else. [SetEntropy] sets the source of nonces.
//   - Config.DataShards and [UDPSession.SetFEC] send parity (FEC). The parity of a peer is used
//     without configuration.
//
// Statistics:
//
//   - [UDPSession.Stats] is for a session, [Listener.Stats] for a listener, [SocketStats] for a
//     socket, and [DefaultSnmp] for the process. [UDPSession.SetLogger] reports packets.
//
// Parts for other uses: [KCP] is the state machine alone, without clock or socket. [TimedSched]
// calls functions at given times and drives sessions. [RingBuffer] is a growing queue. Names that
// begin with IKCP_ are the constants of the protocol as existing programs call them.
//
// # End of a session
//
// Close delivers all written data in the background, until 10 s pass without progress (SetLinger).
// The peer then reads io.EOF. CloseWrite ends one direction. A peer that is gone or was restarted
// causes an error that matches syscall.ECONNRESET or syscall.ETIMEDOUT. Close is signalled by
// control messages that legacy KCP peers ignore. Close still delivers all pending data to such a
// peer, but the peer is not notified.
//
// # Concurrency
//
// All methods of UDPSession and Listener may be called concurrently. The library runs a fixed
// number of scheduler workers and one goroutine for each socket of a listener or a Transport, but
// none for a session. At most GOMAXPROCS goroutines read the sockets of all dialled sessions where
// the system has epoll or kqueue. Elsewhere such a socket has a goroutine. Loggers and handlers are
// called without locks. One that blocks delays the sessions that the same goroutine serves
// (loggers) or further packets of its session (SetOOBHandler).
//
// # Limits
//
// A window has at most 65535 segments of at most 1476 bytes. A message in message mode is cut into
// segments. The conversation id has 32 bits; that of Dial is random.
//
// # Security
//
// Without a cipher, anyone on the path can read and forge packets. The block and stream ciphers
// hide the content but do not authenticate it: an attacker who can change packets can change their
// content. Use [NewAESGCMCrypt] or [NewAEADCrypt] if that matters. Keys are shared beforehand:
// whoever learns one can read recorded traffic too (no forward secrecy). SECURITY.md describes what
// is protected and what is not. If you need more, run crypto/tls over the session.
package kcp
