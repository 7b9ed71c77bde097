// SPDX-License-Identifier: MIT

// Package kcp carries reliable, ordered connections over UDP: the KCP protocol with forward error correction and packet
// encryption, behind net.Conn and net.Listener. It speaks with every deployed KCP peer.
//
// A server and a client:
//
//	l, err := kcp.Listen(":4000")
//	...
//	conn, err := l.Accept() // returns with the first data of a peer
//
//	conn, err := kcp.Dial("192.0.2.1:4000") // sends nothing yet
//	conn.Write([]byte("hello"))
//
// Dial, Listen and their variants take the settings of deployed peers: windows of 32 segments, an interval of 100 ms,
// message mode. A [Config] has better ones and names everything that can be set.
//
// # Map
//
// Making sessions and listeners:
//
//   - [Config] holds all settings: [Config.Dial] and [Config.Listen] open a UDP socket, [Config.Client] and
//     [Config.Serve] take any net.PacketConn. The errors name the setting that is out of range.
//   - [Dial], [DialWithOptions], [Listen], [ListenWithOptions], [ServeConn], [NewConn] to [NewConn4] do the same with the
//     settings of deployed peers.
//   - [Transport] carries many sessions, and a listener, over one socket, and hands over what is not KCP.
//
// Using them:
//
//   - [UDPSession] is a net.Conn; what it has besides are [UDPSession.CloseWrite] and [UDPSession.CloseRead],
//     [UDPSession.WriteBuffers], [UDPSession.SendOOB] with [UDPSession.SetOOBHandler] for datagrams past the stream, and
//     setters for most of Config's settings while it is open.
//   - [Listener] is a net.Listener; [Listener.AcceptKCP] returns the session as it is, [Listener.Sessions] those that are
//     open.
//
// Protecting and repairing packets:
//
//   - [BlockCrypt] and the New...Crypt functions: [NewAESGCMCrypt] and [NewAEADCrypt] are the ones to take, the others are
//     for peers that know nothing else. [SetEntropy] chooses where nonces come from.
//   - Config.DataShards and [UDPSession.SetFEC] send parity (FEC); a peer's is understood by itself.
//
// Watching them:
//
//   - [UDPSession.Stats] tells of one session, [Listener.Stats] of a listener, [SocketStats] of a socket, [DefaultSnmp]
//     counts for the process; [UDPSession.SetLogger] reports packets as they pass.
//
// Parts for other uses: [KCP] is the state machine alone, without clock or socket; [TimedSched] calls functions at given
// times, and is what drives sessions; [RingBuffer] is a growing queue. Names that begin with IKCP_ are the constants of
// the protocol as existing programs know them.
//
// # End of a session
//
// Close delivers in the background what has been written, until 10 s pass without progress (SetLinger); the peer then
// reads io.EOF. CloseWrite ends one direction. A peer that has gone, died or been restarted shows as an error that matches
// syscall.ECONNRESET or syscall.ETIMEDOUT. This rides in control messages that deployed peers skip; towards them Close
// delivers too, but they learn nothing of it, as ever.
//
// # Concurrency
//
// All methods of UDPSession and Listener may be called from any goroutine at any time. The library runs one goroutine a
// socket and a fixed number of scheduler workers, none a session. Loggers and handlers are called outside all locks; one
// that blocks holds up its own socket's reader (loggers) or its own packets (SetOOBHandler).
//
// # Limits
//
// A window has at most 65535 segments of at most 1476 bytes. A message written in message mode is cut to segments. The
// conversation id is 32 bits; Dial's is random.
//
// # Security
//
// Without a cipher everything on the path can be read and forged. The block and stream ciphers hide the content but do
// not authenticate it: whoever can change packets can change what they say. Use [NewAESGCMCrypt] or [NewAEADCrypt] where
// that matters. Keys are shared beforehand: whoever learns one reads recorded traffic too (no forward secrecy).
// SECURITY.md has what is promised and what not. Where more is needed, run crypto/tls over the session.
package kcp
