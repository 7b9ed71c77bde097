// SPDX-License-Identifier: MIT

package kcp

import (
	"context"
	"crypto/cipher"
	"io"
	"net"
	"time"
)

// This file pins the exported names and signatures that existing programs are compiled against. A
// name that vanishes or changes its type breaks the build of the tests.

var (
	_ func(string) (net.Conn, error)                                            = Dial
	_ func(string, BlockCrypt, int, int) (*UDPSession, error)                   = DialWithOptions
	_ func(string) (net.Listener, error)                                        = Listen
	_ func(string, BlockCrypt, int, int) (*Listener, error)                     = ListenWithOptions
	_ func(BlockCrypt, int, int, net.PacketConn) (*Listener, error)             = ServeConn
	_ func(string, BlockCrypt, int, int, net.PacketConn) (*UDPSession, error)   = NewConn
	_ func(net.Addr, BlockCrypt, int, int, net.PacketConn) (*UDPSession, error) = NewConn2

	_ func(uint32, net.Addr, BlockCrypt, int, int,
		net.PacketConn) (*UDPSession, error) = NewConn3
	_ func(uint32, net.Addr, BlockCrypt, int, int, bool,
		net.PacketConn) (*UDPSession, error) = NewConn4

	_ func(cipher.AEAD) BlockCrypt  = NewAEADCrypt
	_ func(io.Reader)               = SetEntropy
	_ func(int) *TimedSched         = NewTimedSched
	_ func(int) *RingBuffer[string] = NewRingBuffer[string]
)

var _ = []func(key []byte) (BlockCrypt, error){
	NewAESGCMCrypt,
	NewAESBlockCrypt,
	NewSM4BlockCrypt,
	NewTEABlockCrypt,
	NewXTEABlockCrypt,
	NewBlowfishBlockCrypt,
	NewTwofishBlockCrypt,
	NewCast5BlockCrypt,
	NewTripleDESBlockCrypt,
	NewSalsa20BlockCrypt,
	NewSimpleXORBlockCrypt,
	NewNoneBlockCrypt,
}

var _ = []func() io.Reader{
	NewEntropy,
	NewEntropyAES,
	NewEntropyChacha8,
}

// pinnedBlockCrypt has exactly BlockCrypt's methods. Assignments in both directions compile only
// while neither interface has a method more than the other.
type pinnedBlockCrypt interface {
	Encrypt(dst, src []byte)
	Decrypt(dst, src []byte)
}

var (
	_ BlockCrypt       = pinnedBlockCrypt(nil)
	_ pinnedBlockCrypt = BlockCrypt(nil)
)

var (
	_ *TimedSched     = SystemTimedSched
	_ *Snmp           = DefaultSnmp
	_ OOBCallBackType = func([]byte) {}
	_ func([]byte)    = OOBCallBackType(nil)
)

// *UDPSession
var (
	_ net.Conn = (*UDPSession)(nil)

	_ func(*UDPSession, []byte) (int, error)                       = (*UDPSession).Read
	_ func(*UDPSession, []byte) (int, error)                       = (*UDPSession).Write
	_ func(*UDPSession, [][]byte) (int, error)                     = (*UDPSession).WriteBuffers
	_ func(*UDPSession) error                                      = (*UDPSession).Close
	_ func(*UDPSession) net.Addr                                   = (*UDPSession).LocalAddr
	_ func(*UDPSession) net.Addr                                   = (*UDPSession).RemoteAddr
	_ func(*UDPSession, time.Time) error                           = (*UDPSession).SetDeadline
	_ func(*UDPSession, time.Time) error                           = (*UDPSession).SetReadDeadline
	_ func(*UDPSession, time.Time) error                           = (*UDPSession).SetWriteDeadline
	_ func(*UDPSession, bool)                                      = (*UDPSession).SetStreamMode
	_ func(*UDPSession, bool)                                      = (*UDPSession).SetWriteDelay
	_ func(*UDPSession, bool)                                      = (*UDPSession).SetACKNoDelay
	_ func(s *UDPSession, sndwnd, rcvwnd int)                      = (*UDPSession).SetWindowSize
	_ func(s *UDPSession, mtu int) bool                            = (*UDPSession).SetMtu
	_ func(s *UDPSession, nodelay, interval, resend, nc int)       = (*UDPSession).SetNoDelay
	_ func(s *UDPSession, dup int)                                 = (*UDPSession).SetDUP
	_ func(s *UDPSession, bytesPerSecond uint32)                   = (*UDPSession).SetRateLimit
	_ func(*UDPSession, int) error                                 = (*UDPSession).SetDSCP
	_ func(*UDPSession, int) error                                 = (*UDPSession).SetReadBuffer
	_ func(*UDPSession, int) error                                 = (*UDPSession).SetWriteBuffer
	_ func(*UDPSession, OOBCallBackType) error                     = (*UDPSession).SetOOBHandler
	_ func(*UDPSession, []byte) error                              = (*UDPSession).SendOOB
	_ func(*UDPSession) int                                        = (*UDPSession).GetOOBMaxSize
	_ func(*UDPSession, KCPLogType, func(msg string, args ...any)) = (*UDPSession).SetLogger
	_ func(*UDPSession) uint32                                     = (*UDPSession).GetConv
	_ func(*UDPSession) uint32                                     = (*UDPSession).GetRTO
	_ func(*UDPSession) int32                                      = (*UDPSession).GetSRTT
	_ func(*UDPSession) int32                                      = (*UDPSession).GetSRTTVar
	_ func(s *UDPSession, f func(conn net.PacketConn) error) error = (*UDPSession).Control
	_ func(*UDPSession) Stats                                      = (*UDPSession).Stats
)

// *Listener
var (
	_ net.Listener = (*Listener)(nil)

	_ func(*Listener) (net.Conn, error)                          = (*Listener).Accept
	_ func(*Listener) (*UDPSession, error)                       = (*Listener).AcceptKCP
	_ func(*Listener) error                                      = (*Listener).Close
	_ func(*Listener) net.Addr                                   = (*Listener).Addr
	_ func(*Listener, time.Time) error                           = (*Listener).SetDeadline
	_ func(*Listener, time.Time) error                           = (*Listener).SetReadDeadline
	_ func(*Listener, time.Time) error                           = (*Listener).SetWriteDeadline
	_ func(*Listener, int) error                                 = (*Listener).SetDSCP
	_ func(*Listener, int) error                                 = (*Listener).SetReadBuffer
	_ func(*Listener, int) error                                 = (*Listener).SetWriteBuffer
	_ func(l *Listener, f func(conn net.PacketConn) error) error = (*Listener).Control
)

// *KCP
var (
	_ func(*KCP) uint32                                            = (*KCP).Check
	_ func(k *KCP, data []byte, t PacketType, ackNoDelay bool) int = (*KCP).Input
	_ func(k *KCP, nodelay, interval, resend, nc int) int          = (*KCP).NoDelay
	_ func(*KCP) int                                               = (*KCP).PeekSize
	_ func(*KCP, []byte) int                                       = (*KCP).Recv
	_ func(*KCP, []byte) int                                       = (*KCP).Send
	_ func(*KCP, int) int                                          = (*KCP).SetMtu
	_ func(*KCP)                                                   = (*KCP).Update
	_ func(*KCP) int                                               = (*KCP).WaitSnd
	_ func(k *KCP, snd, rcv int) int                               = (*KCP).WndSize
)

// *TimedSched, *RingBuffer and *Snmp
var (
	_ func(s *TimedSched, f func(), deadline time.Time) = (*TimedSched).Put
	_ func(*TimedSched)                                 = (*TimedSched).Close

	_ func(*RingBuffer[string]) int                 = (*RingBuffer[string]).Len
	_ func(*RingBuffer[string], string)             = (*RingBuffer[string]).Push
	_ func(*RingBuffer[string]) (string, bool)      = (*RingBuffer[string]).Pop
	_ func(*RingBuffer[string]) (*string, bool)     = (*RingBuffer[string]).Peek
	_ func(*RingBuffer[string], int) int            = (*RingBuffer[string]).Discard
	_ func(*RingBuffer[string], func(*string) bool) = (*RingBuffer[string]).ForEach
	_ func(*RingBuffer[string], func(*string) bool) = (*RingBuffer[string]).ForEachReverse
	_ func(*RingBuffer[string])                     = (*RingBuffer[string]).Clear
	_ func(*RingBuffer[string]) bool                = (*RingBuffer[string]).IsEmpty
	_ func(*RingBuffer[string]) bool                = (*RingBuffer[string]).IsFull
	_ func(*RingBuffer[string]) int                 = (*RingBuffer[string]).MaxLen

	_ func(*Snmp) *Snmp    = (*Snmp).Copy
	_ func(*Snmp) []string = (*Snmp).Header
	_ func(*Snmp) []string = (*Snmp).ToSlice
	_ func(*Snmp)          = (*Snmp).Reset
)

// *Config
var (
	_ func(*Config, context.Context, string) (*UDPSession, error)  = (*Config).Dial
	_ func(*Config, context.Context, string) (*Listener, error)    = (*Config).Listen
	_ func(*Config, net.PacketConn) (*Listener, error)             = (*Config).Serve
	_ func(*Config, net.PacketConn, net.Addr) (*UDPSession, error) = (*Config).Client
)

// The calls below are compiled and never made. Their parameters may have named function types,
// which a function literal fits and a function value need not equal.
var _ = func() {
	k := NewKCP(1, func(buf []byte, size int) {})
	k.SetLogger(IKCP_LOG_ALL, func(msg string, args ...any) {})
}

var _ = Config{
	BlockCrypt:          BlockCrypt(nil),
	DataShards:          int(0),
	ParityShards:        int(0),
	MTU:                 int(0),
	SendWindow:          int(0),
	ReceiveWindow:       int(0),
	NoDelay:             bool(false),
	Interval:            time.Duration(0),
	FastResend:          int(0),
	NoCongestionControl: bool(false),
	StreamMode:          bool(false),
	WriteDelay:          bool(false),
	ACKNoDelay:          bool(false),
	Scheduler:           (*TimedSched)(nil),
	AcceptBacklog:       int(0),
}

var _ = Stats{
	BytesSent:          uint64(0),
	BytesReceived:      uint64(0),
	PacketsSent:        uint64(0),
	PacketsReceived:    uint64(0),
	SegmentsSent:       uint64(0),
	SegmentsReceived:   uint64(0),
	FastRetransmits:    uint64(0),
	EarlyRetransmits:   uint64(0),
	TimeoutRetransmits: uint64(0),
	SRTT:               time.Duration(0),
	RTTVar:             time.Duration(0),
	MinRTT:             time.Duration(0),
	RTO:                time.Duration(0),
}
